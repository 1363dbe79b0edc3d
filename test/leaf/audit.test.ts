// The auditor of the leaf tests finds what it must: one planted fault each in a clean result.

import { expect, test } from 'vitest';
import { mirrorFindings, sourceFindings } from './audit.ts';
import { digest, Ledger, type Kept } from './ledger.ts';

const MESSAGES = 30;

function kept(seq: number): Kept {
  return {
    seq,
    subject: `lim.a.${seq % 3}`,
    headers: seq % 2 === 0 ? [['Unit', ['kPa']]] : [],
    data: digest(Buffer.from(`message ${seq}`)),
    timeNs: BigInt(seq) * 1_000_000_007n,
  };
}

function stream(): Kept[] {
  return Array.from({ length: MESSAGES }, (_, i) => kept(i + 1));
}

/** A ledger, and what a faultless hub sources. */
function sourced(): { ledger: Ledger; hub: Kept[] } {
  const ledger = new Ledger();
  const hub = stream().map((one) => {
    const { seq, timeNs: _timeNs, ...sent } = one;
    ledger.sent(sent);
    ledger.ack(seq, sent);
    const line = `LIM:h4sh ${seq} > > ${one.subject} 1dent1ty`;
    return { ...one, headers: [...one.headers, ['Nats-Stream-Source', [line]] as const] };
  });
  return { ledger, hub };
}

function change<T>(list: T[], at: number, by: (one: T) => T): T[] {
  return list.map((one, i) => (i === at ? by(one) : one));
}

const OTHER = digest(Buffer.from('another'));

test('a faultless mirror and a faultless source are found so', () => {
  const { ledger, hub } = sourced();
  expect(mirrorFindings(stream(), stream())).toEqual([]);
  expect(sourceFindings(ledger, hub)).toEqual([]);
});

test('a mirror with a hole, a message too many, or a difference in anything is found', () => {
  const ours = stream();
  expect(mirrorFindings(ours, ours.toSpliced(9, 1))).toEqual(['the mirror lacks 10']);
  expect(mirrorFindings(ours, ours.slice(0, -1))).toEqual([`the mirror lacks ${MESSAGES}`]);
  expect(mirrorFindings(ours.slice(0, -1), ours)).toHaveLength(1);
  const differences: [string, Partial<Kept>][] = [
    ['subject', { subject: '$JS.M.x' }],
    ['data', { data: OTHER }],
    ['headers', { headers: [['Unit', ['bar']]] }],
    ['time', { timeNs: 5n }],
  ];
  for (const [what, by] of differences)
    expect(
      mirrorFindings(
        ours,
        change(ours, 7, (one) => ({ ...one, ...by })),
      ),
    ).toEqual([`mirror differs at 8 in its ${what}`]);
});

test('a source with a hole, also at its end, is found', () => {
  const { ledger, hub } = sourced();
  expect(sourceFindings(ledger, hub.toSpliced(9, 1))).toEqual(['source sequence 10 is missing']);
  expect(sourceFindings(ledger, hub.slice(0, -1))).toEqual([
    `source sequence ${MESSAGES} is missing`,
  ]);
  expect(sourceFindings(ledger, hub.toSpliced(9, 1), { gap: (seq) => seq === 10 })).toEqual([]);
});

test('a message that is there twice, or out of order, is found', () => {
  const { ledger, hub } = sourced();
  const twice = hub.toSpliced(9, 0, hub[9] ?? kept(0));
  expect(sourceFindings(ledger, twice)).toEqual(['source sequence 10 is there twice']);
  const late = [...hub, hub[4] ?? kept(0)];
  expect(sourceFindings(ledger, late)).toEqual([`source sequence 5 comes after ${MESSAGES}`]);
});

test('what came beside the source, what nobody sent, and what differs is found', () => {
  const { ledger, hub } = sourced();
  const beside = [...hub, kept(MESSAGES + 1)];
  expect(sourceFindings(ledger, beside)[0]).toMatch(/^31 came in another way/);
  const more = { ...(hub[0] ?? kept(0)), data: OTHER };
  const line = `LIM:h4sh ${MESSAGES + 1} > > lim.a.1 1dent1ty`;
  const madeUp: Kept = { ...more, headers: [['Nats-Stream-Source', [line]]] };
  expect(sourceFindings(ledger, [...hub, madeUp])).toEqual(['nobody sent what 1 has']);
  const data = change(hub, 3, (one) => ({ ...one, data: OTHER }));
  expect(sourceFindings(ledger, data)).toEqual(['source sequence 4 differs in its data']);
  const subject = change(hub, 3, (one) => ({ ...one, subject: '$JS.S.x' }));
  expect(sourceFindings(ledger, subject)).toEqual(['source sequence 4 differs in its subject']);
});

test('a sequence that was acknowledged for two messages is found', () => {
  const { ledger, hub } = sourced();
  const { seq: _seq, ...sent } = kept(8);
  ledger.ack(7, sent);
  expect(sourceFindings(ledger, hub).join()).toContain('acknowledged for two messages');
});
