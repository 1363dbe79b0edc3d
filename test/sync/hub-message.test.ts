import { expect, test } from 'vitest';
import { checkpoint, hubMessage, messageId, parseId, positionOf } from '../../sync/hub-message.ts';
import type { Entry, Gap, StoredMessage } from '../../src/jetstream/stream-types.ts';
import { randomBytes, randomInt, seededRandom } from '../support/random.ts';

const ORIGIN = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const TIME = 'Mangrove-Time: 2026-02-03T04:05:06.789Z\r\nMangrove-Time-Quality: synced\r\n';

function entry(message: Partial<StoredMessage>): Entry {
  return {
    kind: 'message',
    message: {
      subject: 'plant1.boiler.temp',
      data: Buffer.from('21.5'),
      seq: 42,
      epoch: 'Ab3',
      timeMs: Date.UTC(2026, 1, 3, 4, 5, 6, 789),
      timeSynced: true,
      ...message,
    },
  };
}

function lines(headers: string): string {
  return hubMessage(ORIGIN, entry({ headers: Buffer.from(headers, 'latin1') })).headerLines;
}

test('a stored message gets its subject, ID, time and quality, and keeps its data', () => {
  const data = Buffer.from([0, 255, 13, 10]);
  const message = hubMessage(ORIGIN, entry({ data }));
  expect(message.subject).toBe('edge.gw7.telemetry.plant1.boiler.temp');
  expect(message.id).toBe('gw7:telemetry:Ab3:42');
  expect(message.headerLines).toBe(TIME);
  expect(message.data).toBe(data);
});

test('a time from before the clock was set says so', () => {
  const { headerLines } = hubMessage(ORIGIN, entry({ timeMs: 12, timeSynced: false }));
  expect(headerLines).toBe(
    'Mangrove-Time: 1970-01-01T00:00:00.012Z\r\nMangrove-Time-Quality: unsynced\r\n',
  );
});

test('a time beyond what RFC 3339 can write does not stop the message', () => {
  const first = (timeMs: number): string =>
    hubMessage(ORIGIN, entry({ timeMs })).headerLines.split('\r\n')[0] ?? '';
  expect(first(1e18)).toBe('Mangrove-Time: 9999-12-31T23:59:59.999Z');
  expect(first(-5)).toBe('Mangrove-Time: 1970-01-01T00:00:00.000Z');
  expect(first(Number.NaN)).toBe('Mangrove-Time: 1970-01-01T00:00:00.000Z');
});

test('headers travel unchanged and in order', () => {
  const own = 'Unit: °C\r\nunit:  kPa \r\nMangrove-Time: mine\r\nEmpty:\r\n';
  expect(lines(`NATS/1.0\r\n${own}\r\n`)).toBe(TIME + own);
});

test('header values of any bytes keep them', () => {
  const value = Buffer.concat([
    Buffer.from('NATS/1.0\r\nX: '),
    Buffer.from([0xff, 0x80, 0, 0xc3]),
    Buffer.from('\r\n\r\n'),
  ]);
  const { headerLines } = hubMessage(ORIGIN, entry({ headers: value }));
  expect(Buffer.from(headerLines, 'latin1').subarray(TIME.length)).toEqual(value.subarray(10, -2));
});

test('orders to the local broker are renamed, in any spelling', () => {
  expect(
    lines(
      'NATS/1.0\r\nNats-Msg-Id: a\r\nX: Nats-TTL\r\nnats-rollup: all\r\nNATS-Expected-Last-Sequence: 5\r\nNats-: 1\r\n\r\n',
    ),
  ).toBe(
    `${TIME}Mangrove-Nats-Msg-Id: a\r\nX: Nats-TTL\r\nMangrove-nats-rollup: all\r\nMangrove-NATS-Expected-Last-Sequence: 5\r\nMangrove-Nats-: 1\r\n`,
  );
});

test('an order hidden behind an early blank line or a bare line feed is renamed too', () => {
  expect(lines('NATS/1.0\r\nA: 1\r\n\r\nNats-Rollup: all\r\n\r\n')).toContain(
    '\r\nMangrove-Nats-Rollup: all',
  );
  expect(lines('NATS/1.0\r\nA: 1\nNats-Rollup: all\r\n\r\n')).toContain(
    '\nMangrove-Nats-Rollup: all',
  );
});

test('a block without lines, with a status, or without an end is harmless', () => {
  expect(lines('NATS/1.0\r\n\r\n')).toBe(TIME);
  expect(lines('NATS/1.0 503 No Responders\r\n\r\n')).toBe(TIME);
  expect(lines('NATS/1.0')).toBe(TIME);
  expect(lines('NATS/1.0\r\nA: 1')).toBe(`${TIME}A: 1\r\n`);
  expect(lines('NATS/1.0\r\nA: 1\r\n')).toBe(`${TIME}A: 1\r\n`);
});

test('a gap becomes a record with the ID of the last missing sequence', () => {
  const gap: Gap = {
    firstSeq: 5,
    lastSeq: 9,
    count: 5,
    reason: 'max_age',
    epoch: 'Ab3',
    firstTimeMs: 0,
    lastTimeMs: null,
  };
  const record = hubMessage(ORIGIN, { kind: 'gap', gap });
  expect(record).toMatchObject({
    subject: 'edge.gw7.telemetry._gap',
    id: 'gw7:telemetry:Ab3:9',
    headerLines: 'Mangrove-Gap: 1\r\n',
  });
  expect(JSON.parse(record.data.toString())).toEqual({
    stream: 'telemetry',
    first_seq: 5,
    last_seq: 9,
    count: 5,
    reason: 'max_age',
    first_time: '1970-01-01T00:00:00.000Z',
    last_time: null,
  });
  expect(positionOf({ kind: 'gap', gap })).toMatchObject({ epoch: 'Ab3', seq: 9 });
});

test('an ID is read back as the position it was made of, and nothing else is', () => {
  const position = { epoch: 'Ab3', seq: 42 };
  expect(parseId(ORIGIN, messageId(ORIGIN, position))).toEqual(position);
  expect(parseId(ORIGIN, checkpoint(ORIGIN, position).id)).toEqual(position);
  for (const other of [
    undefined,
    '',
    'x',
    'gw8:telemetry:Ab3:42',
    'gw7:other:Ab3:42',
    'gw7:telemetry::42',
    'gw7:telemetry:Ab3:',
    'gw7:telemetry:Ab3:-1',
    'gw7:telemetry:Ab3:4e2',
    'gw7:telemetry:Ab3:99999999999999999',
    'gw7:telemetry:Ab3:42:more',
    'gw7:telemetry:Ab3:42:checkpoint:more',
  ])
    expect(parseId(ORIGIN, other)).toBeNull();
});

test('a checkpoint stands outside of the filter and outlives the messages', () => {
  const message = checkpoint(ORIGIN, { epoch: 'Ab3', seq: 42 });
  expect(message.subject).toBe('edge.gw7.telemetry');
  expect(message.headerLines).toBe('Nats-TTL: never\r\n');
  expect(JSON.parse(message.data.toString())).toEqual({ id: 'gw7:telemetry:Ab3:42' });
});

test('whatever bytes a header block holds, no order reaches the hub', () => {
  const random = seededRandom(11);
  const pieces = [
    '\r\n',
    '\n',
    '\r',
    ':',
    ' ',
    'Nats-Rollup: all',
    'nats-ttl',
    'Nats-',
    'X: y',
    'NATS/1.0',
  ];
  for (let round = 0; round < 2_000; round++) {
    const parts = Array.from({ length: randomInt(random, 12) }, () =>
      random() < 0.2
        ? randomBytes(random, randomInt(random, 6)).toString('latin1')
        : (pieces[randomInt(random, pieces.length)] ?? ''),
    );
    const block = `NATS/1.0\r\n${parts.join('')}\r\n\r\n`;
    const { headerLines } = hubMessage(ORIGIN, entry({ headers: Buffer.from(block, 'latin1') }));
    // What nats-server looks for: a line end, then the name.
    expect(headerLines).not.toMatch(/(?:^|\n)nats-/i);
    expect(headerLines.endsWith('\r\n')).toBe(true);
    expect(
      headerLines.replaceAll('Mangrove-Nats-', 'Nats-').replaceAll('Mangrove-nats-', 'nats-'),
    ).toBe(TIME + block.slice(10, -2));
  }
});
