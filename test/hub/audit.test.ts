// The auditor of the hub tests finds what it must: one planted fault each in a clean result.

import { expect, test } from 'vitest';
import { audit, Ledger, type HubRecord } from '../support/audit.ts';

const MESSAGES = 40;

/** A ledger of two sources, and what a faultless hub holds of it. */
function clean(): { ledger: Ledger; found: HubRecord[] } {
  const ledger = new Ledger();
  const found: HubRecord[] = [];
  for (let seq = 1; seq <= MESSAGES; seq++) {
    const { key, data } = ledger.next(seq % 3 === 0 ? 'meter' : 'gps', 200);
    ledger.ack(key);
    found.push(record(seq, `gw7:SENSORS:epochA:${seq}`, data));
  }
  return { ledger, found };
}

function record(seq: number, id: string, data: Buffer): HubRecord {
  return { seq, subject: 'edge.gw7.SENSORS.plant1.x', id, data, headers: new Map() };
}

function kinds(ledger: Ledger, found: readonly HubRecord[]): string[] {
  return [...new Set(audit(ledger, found).map(({ kind }) => kind))];
}

test('a clean result has no findings', () => {
  const { ledger, found } = clean();
  expect(audit(ledger, found)).toEqual([]);
});

test('a lost message is found by what it carried and by its sequence', () => {
  const { ledger, found } = clean();
  found.splice(20, 1);
  expect(audit(ledger, found).map(({ kind }) => kind)).toEqual(['lost', 'lost']);
});

test('a lost last message is found', () => {
  const { ledger, found } = clean();
  found.pop();
  expect(kinds(ledger, found)).toEqual(['lost']);
});

test('a duplicate is found, with the same ID and with another', () => {
  const { ledger, found } = clean();
  const twice = found[30]!;
  found.push({ ...twice, seq: 41 });
  expect(kinds(ledger, found)).toContain('duplicate');
  found[40] = { ...twice, seq: 41, id: 'gw7:SENSORS:epochA:41' };
  expect(kinds(ledger, found)).toEqual(['duplicate']);
});

test('two messages in each other’s place are found', () => {
  const { ledger, found } = clean();
  [found[9], found[10]] = [found[10]!, found[9]!];
  expect(kinds(ledger, found)).toContain('swapped');
});

test('one flipped bit is found', () => {
  const { ledger, found } = clean();
  const data = Buffer.from(found[12]!.data);
  data[data.length - 1]! ^= 1;
  found[12] = { ...found[12]!, data };
  expect(kinds(ledger, found)).toEqual(['flipped']);
});

test('a message that nobody sent is found, and one with a strange ID', () => {
  const { ledger, found } = clean();
  found.push(record(41, 'gw7:SENSORS:epochA:41', Buffer.from('gps#999 made up')));
  expect(kinds(ledger, found)).toEqual(['phantom']);
  found[40] = { ...found[5]!, id: 'somebody else' };
  expect(kinds(ledger, found)).toContain('phantom');
});

test('a gap record accounts for what is missing, a restored store for what is numbered twice', () => {
  const { ledger, found } = clean();
  const [missing] = found.splice(20, 1);
  const gap = Buffer.from(JSON.stringify({ first_seq: 21, last_seq: 21 }));
  const record21 = {
    ...record(21, 'gw7:SENSORS:epochA:21', gap),
    headers: new Map([['Mangrove-Gap', '1']]),
  };
  found.splice(20, 0, record21);
  const key = missing!.data.toString().split(' ')[0]!;
  expect(audit(ledger, found, { excused: (other) => other === key })).toEqual([]);
  const { key: later, data } = ledger.next('gps');
  ledger.ack(later);
  found.push(record(41, 'gw7:SENSORS:epochB:30', data));
  expect(audit(ledger, found, { excused: (other) => other === key })).not.toEqual([]);
  expect(audit(ledger, found, { excused: (other) => other === key, restored: true })).toEqual([]);
});
