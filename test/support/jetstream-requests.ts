// Bodies and headers of chance for the differential test: of gets, removals, pulls, acknowledgements and publishes. Half of
// them make sense.

import { MS, one, SECOND } from './jetstream-configs.ts';
import type { Header } from './jetstream-script.ts';
import { randomInt, type Random } from './random.ts';

/** A pull that expires does so within this time. */
export const EXPIRES_MS = 120;

/** Of `STREAM.INFO`. */
export const INFOS: readonly unknown[] = [
  undefined,
  {},
  { subjects_filter: 'a.*' },
  { subjects_filter: '>', offset: 1 },
  { deleted_details: true },
  'no json',
  { x: 1 },
  [],
];

/** Of `STREAM.NAMES` and `STREAM.LIST`. */
export const LISTS: readonly unknown[] = [
  undefined,
  {},
  { subject: 'a.x' },
  { subject: '>' },
  { subject: 'b.*' },
  { offset: 1 },
  { offset: 100 },
  { offset: -1 },
  'x',
  { x: 1 },
];

/** Of `STREAM.CREATE`, that are no configurations. */
export function noConfigs(name: string): readonly unknown[] {
  return [
    undefined,
    'no json',
    {},
    [],
    { name: 'OTHER' },
    { name, subjects: 'a.>' },
    { name, max_msgs: 'many' },
    { name, max_age: 1.5 },
    { name, num_replicas: null },
    'null',
    '{"name":"S1"',
    { Name: name },
  ];
}

/** Of `CONSUMER.CREATE`, that are no configurations. */
export const NO_CONSUMERS: readonly unknown[] = [
  undefined,
  'x',
  {},
  { stream_name: 'S1' },
  { stream_name: 'S1', config: {} },
  { stream_name: 'S1', config: { name: 'C1', ack_policy: 1 } },
  { stream_name: 'S1', config: 'x' },
];

export const PURGES: readonly unknown[] = [
  undefined,
  {},
  { filter: 'a.x' },
  { filter: 'a.>', keep: 1 },
  { filter: 'q.*' },
  { keep: 2 },
  { keep: 0 },
  { seq: 3 },
  { seq: 1_000 },
  { seq: 2, filter: 'a.x' },
  { seq: 2, keep: 1 },
  'x',
  { x: 1 },
  { filter: 'a..' },
];

export const PAUSES: readonly unknown[] = [
  undefined,
  {},
  { pause_until: '2030-01-01T00:00:00Z' },
  { pause_until: '2020-01-01T00:00:00Z' },
  { pause_until: 'x' },
  'x',
];

/** Of `STREAM.MSG.DELETE`. */
export function deletion(random: Random): unknown {
  const seq = 1 + randomInt(random, 8);
  return one(random, [
    { seq },
    { seq },
    { seq, no_erase: true },
    { seq: 0 },
    { seq: 1_000 },
    {},
    undefined,
    'x',
    { seq: -1 },
    { seq: 'x' },
  ]);
}

/** Of `STREAM.MSG.GET`, and good for a direct get. */
export function get(random: Random): unknown {
  const seq = 1 + randomInt(random, 10);
  return one(random, [
    { seq },
    { seq },
    { last_by_subj: one(random, ['a.x', 'a.*', '>', 'q', 'b.x', 'c', 'a..b', '']) },
    { next_by_subj: one(random, ['a.x', 'a.*', '>', 'q']), seq: randomInt(random, 6) },
    { next_by_subj: 'a.x' },
    { seq: 0 },
    {},
    undefined,
    'x',
    { seq, last_by_subj: 'a.x' },
    { start_time: '2020-01-01T00:00:00Z' },
    { start_time: '2030-01-01T00:00:00Z' },
    { start_time: '2020-01-01T00:00:00Z', next_by_subj: 'a.y' },
    { start_time: '2020-01-01T00:00:00Z', seq: 1 },
    { x: 1 },
    { seq, no_hdr: true },
    { seq: 1_000 },
  ]);
}

/** Of `DIRECT.GET`: one message, a batch, the last of several subjects. */
export function directGet(random: Random): unknown {
  const seq = 1 + randomInt(random, 10);
  const plain = get(random);
  return one(random, [
    plain,
    plain,
    plain,
    { seq, batch: 3 },
    { seq: 1, batch: 100 },
    { batch: 2, next_by_subj: 'a.*' },
    { batch: 2, next_by_subj: 'a.*', seq: 2 },
    { batch: 5, start_time: '2020-01-01T00:00:00Z' },
    { batch: 5, seq: 1, max_bytes: one(random, [1, 30, 100, 10_000]) },
    { seq: 500, batch: 3 },
    { batch: 0, seq: 1 },
    { batch: -1, seq: 1 },
    { batch: 3 },
    { multi_last: ['a.x', 'a.y'] },
    { multi_last: ['>'] },
    { multi_last: ['a.*', 'c'], batch: 2 },
    { multi_last: ['>'], up_to_seq: 4 },
    { multi_last: ['>'], up_to_seq: 4, batch: 1 },
    { multi_last: ['>'], up_to_time: '2030-01-01T00:00:00Z' },
    { multi_last: ['>'], up_to_time: '2020-01-01T00:00:00Z' },
    { multi_last: ['>'], up_to_time: '2020-01-01T00:00:00Z', up_to_seq: 3 },
    { multi_last: ['q.*'] },
    { multi_last: [] },
    { multi_last: ['>'], seq: 1 },
    { multi_last: ['>'], no_hdr: true },
    { multi_last: ['>'], max_bytes: 1 },
    { seq: 1, batch: 3, no_hdr: true },
    { last_by_subj: 'a.x', batch: 2 },
  ]);
}

export function pull(random: Random): unknown {
  const expires = EXPIRES_MS * MS;
  return one(random, [
    undefined,
    { batch: 1, no_wait: true },
    { batch: 3, no_wait: true },
    { batch: 10, no_wait: true },
    '2',
    { batch: 2, expires },
    { batch: 5, expires },
    { batch: 5, expires, no_wait: true },
    { batch: 5, no_wait: true, max_bytes: one(random, [1, 60, 150, 10_000]) },
    { batch: 3, expires, max_bytes: 120 },
    { batch: 1, expires: 3_600 * SECOND },
    { batch: 2, expires, idle_heartbeat: 100 * MS },
    { batch: 2, expires: 2_000 * MS, idle_heartbeat: 900 * MS, no_wait: true },
    { expires: -1 },
    { batch: -1 },
    { batch: 0, no_wait: true },
    { max_bytes: -1, no_wait: true },
    { idle_heartbeat: SECOND },
    'x',
    '{',
    { x: 1, no_wait: true },
    { batch: 'x' },
    { batch: 2, group: 'g', no_wait: true },
    { batch: 2, priority: 3, no_wait: true },
    { batch: 2, min_pending: 3, no_wait: true },
  ]);
}

export const ACKS: readonly string[] = [
  '',
  '+ACK',
  '+ACK',
  '+OK',
  '-NAK',
  '-NAK',
  '-NAK {"delay":3600000000000}',
  '-NAK 1h',
  '-NAK x',
  '+WPI',
  '+TERM',
  '+TERM no good',
  '+NXT',
  '+NXT 2',
  '+NXT {"batch":2,"no_wait":true}',
  'what',
];

/** One or more headers of a publish; `unique` is an ID that nobody used. */
export function publishHeaders(random: Random, unique: string): readonly Header[] {
  const seq = (): string => String(randomInt(random, 12));
  return one<() => readonly Header[]>(random, [
    () => [['Nats-Msg-Id', one(random, ['i1', 'i2', 'i3', ''])]],
    () => [['Nats-Msg-Id', unique]],
    () => [['Nats-Expected-Stream', one(random, ['S1', 'S2', '', 'NONE'])]],
    () => [['Nats-Expected-Last-Sequence', one(random, [seq(), seq(), 'x', '', '-1'])]],
    () => [['Nats-Expected-Last-Subject-Sequence', one(random, [seq(), seq(), '0', '0', 'x', ''])]],
    () => [
      ['Nats-Expected-Last-Subject-Sequence', seq()],
      [
        'Nats-Expected-Last-Subject-Sequence-Subject',
        one(random, ['a.x', 'a.>', 'a.*', 'b.x', 'q', 'a..b']),
      ],
    ],
    () => [['Nats-Expected-Last-Subject-Sequence-Subject', 'a.>']],
    () => [['Nats-Expected-Last-Msg-Id', one(random, ['i1', 'i2', '', 'none'])]],
    () => [['Nats-Rollup', one(random, ['sub', 'all', 'none', ''])]],
    () => [['Nats-TTL', one(random, ['never', '60', '1h', '0', '1ms', 'x', '-1', ''])]],
    () => [['X-Custom', 'a value']],
    () => [['Nats-Stream-Source', 'other 1 > >']],
    () => [['Nats-Batch-Sequence', '1']],
    () => [['Nats-Expected-Last-Subject-sequence', '99']],
  ])();
}

/** A header of one message of an atomic batch. */
export function batchHeader(random: Random, unique: string): Header {
  return one<Header>(random, [
    ['Nats-Msg-Id', one(random, ['i1', 'i2', unique])],
    ['Nats-Expected-Last-Sequence', String(randomInt(random, 14))],
    ['Nats-Expected-Last-Subject-Sequence', String(randomInt(random, 10))],
    ['Nats-Expected-Last-Msg-Id', 'i1'],
    ['Nats-Rollup', 'sub'],
    ['Nats-TTL', '60'],
    ['Nats-Expected-Stream', one(random, ['S1', 'S2'])],
  ]);
}
