// The demo's verdict must be able to fail.

import { expect, test } from 'vitest';
import { audit, type Audit } from './audit.ts';
import type { HubRecord } from './hub.ts';

const SENT = [
  { subject: 'serial.gps', data: ['$A', '$B', '$A'] },
  { subject: 'plant1.temp', data: ['{"n":0}', '{"n":1}'] },
];

function record(seq: number, subject: string, data: string, local = seq): HubRecord {
  return { seq, subject: `edge.demo.SENSORS.${subject}`, data, id: `demo:SENSORS:e1:${local}` };
}

const GOOD = [
  record(1, 'serial.gps', '$A'),
  record(2, 'plant1.temp', '{"n":0}'),
  record(3, 'serial.gps', '$B'),
  record(4, 'plant1.temp', '{"n":1}'),
  record(5, 'serial.gps', '$A'),
];

function judge(records: readonly HubRecord[]): Audit {
  return audit(SENT, records, { stored: 5, prefix: 'edge.demo.SENSORS' });
}

test('every message at the hub once is neither lost nor duplicated', () => {
  expect(judge(GOOD)).toEqual({
    sent: 5,
    stored: 5,
    atHub: 5,
    lost: 0,
    duplicated: 0,
    inOrder: true,
  });
});

test('a message that is not at the hub is lost, also one of two with the same data', () => {
  expect(judge(GOOD.slice(0, 4)).lost).toBe(1);
  expect(judge(GOOD.filter(({ seq }) => seq !== 4)).lost).toBe(1);
});

test('a message that is at the hub twice is duplicated, whatever its ID', () => {
  expect(judge([...GOOD, record(6, 'serial.gps', '$A', 5)]).duplicated).toBe(1);
  expect(judge([...GOOD, record(6, 'serial.gps', '$B', 6)]).duplicated).toBe(1);
  expect(judge([...GOOD, record(6, 'plant1.temp', '{"n":1}', 4)]).duplicated).toBe(1);
});

test('a reading that the gateway took twice is duplicated, as QoS 2 is exactly once', () => {
  expect(judge([...GOOD, record(6, 'plant1.temp', '{"n":1}', 6)]).duplicated).toBe(1);
});

test('a damaged message is one lost and one too many', () => {
  const damaged = GOOD.map((one) => (one.seq === 3 ? { ...one, data: '$X' } : one));
  expect(judge(damaged)).toMatchObject({ lost: 1, duplicated: 1 });
});

test('messages in another order than the gateway numbered them are seen', () => {
  expect(judge([...GOOD.slice(1), record(6, 'serial.gps', '$A', 1)]).inOrder).toBe(false);
});
