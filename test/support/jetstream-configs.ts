// Stream and consumer configurations of chance, for the differential test: mostly such as are taken, some that must be
// refused, every option among them.

import { randomInt, type Random } from './random.ts';

export type Json = Readonly<Record<string, unknown>>;

export const MS = 1_000_000;
export const SECOND = 1_000 * MS;

export function one<T>(random: Random, list: readonly T[]): T {
  return list[randomInt(random, list.length)] as T;
}

/** Each option by its own chance. */
function some(
  random: Random,
  options: Readonly<Record<string, readonly [number, () => unknown]>>,
): Json {
  const out: Record<string, unknown> = {};
  for (const [key, [share, value]] of Object.entries(options))
    if (random() < share) out[key] = value();
  return out;
}

export const STREAMS = ['S1', 'S2'] as const;
/** What S1 and S2 listen on, unless a configuration says otherwise. */
export const SUBJECTS: Readonly<Record<string, readonly string[]>> = {
  S1: ['a.>'],
  S2: ['b.*', 'c'],
};
export const PUBLISHED = ['a.x', 'a.y', 'a.x.1', 'a.größe', 'b.x', 'b.y', 'c', 'd.x'];

/** A configuration that is taken. */
export function plainStream(random: Random, name: string): Json {
  return {
    name,
    subjects: SUBJECTS[name] ?? [`${name}.>`],
    retention: 'limits',
    storage: one(random, ['file', 'memory']),
    num_replicas: 1,
    allow_direct: random() < 0.7,
    ...some(random, {
      description: [0.1, () => 'a stream'],
      metadata: [0.15, () => ({ site: 'north', 'a.b': 'c' })],
      max_msgs: [0.2, () => one(random, [-1, 3, 5, 10])],
      max_msgs_per_subject: [0.3, () => one(random, [1, 2, 5])],
      max_msg_size: [0.1, () => one(random, [-1, 10, 200])],
      max_age: [0.1, () => 3_600 * SECOND],
      max_consumers: [0.1, () => one(random, [-1, 1, 2])],
      discard: [0.2, () => one(random, ['old', 'new'])],
      duplicate_window: [0.2, () => one(random, [100 * MS, 2 * SECOND, 120 * SECOND])],
      allow_rollup_hdrs: [0.4, () => true],
      deny_delete: [0.05, () => true],
      allow_msg_ttl: [0.2, () => true],
      allow_atomic: [0.3, () => true],
      compression: [0.1, () => one(random, ['none', 's2'])],
      first_seq: [0.1, () => one(random, [1, 10, 100])],
      no_ack: [0.03, () => true],
      subject_transform: [0.08, () => ({ src: 'a.>', dest: 'a.t.>' })],
      republish: [
        0.1,
        () => ({ src: one(random, ['a.>', '>']), dest: 'rep.>', headers_only: random() < 0.5 }),
      ],
      consumer_limits: [0.08, () => ({ max_ack_pending: 5, inactive_threshold: 60 * SECOND })],
    }),
  };
}

/** Options that may be wrong, together or by themselves. */
export function wildStream(random: Random, name: string): Json {
  const seconds = (): number =>
    one(random, [-SECOND, 0, 1, 50 * MS, 100 * MS, SECOND, 60 * SECOND]);
  return {
    ...(random() < 0.7 ? plainStream(random, name) : { name, subjects: SUBJECTS[name] }),
    ...some(random, {
      name: [0.05, () => one(random, ['', 'S9', 'a b', 'a.b', 'x'.repeat(256)])],
      subjects: [
        0.25,
        () =>
          one(random, [
            [],
            ['a.>', 'a.x'],
            ['a.>', 'a.>'],
            ['b.*', 'e'],
            ['>'],
            ['*'],
            ['$JS.API.>'],
            ['$SYS.x'],
            ['$JS.EVENT.>'],
            ['a..b'],
            ['a b'],
            ['a.>.b'],
            [''],
            ['a.*', 'd.x'],
            ['$KV.x.>'],
            ['d.>'],
          ]),
      ],
      retention: [0.15, () => one(random, ['limits', 'interest', 'workqueue', 'forever'])],
      storage: [0.1, () => one(random, ['file', 'memory', 'tape'])],
      discard: [0.1, () => one(random, ['old', 'new', 'none'])],
      max_msgs: [0.1, () => one(random, [-2, -1, 0, 1, 1_000])],
      max_bytes: [0.1, () => one(random, [-2, -1, 0, 1 << 20])],
      max_age: [0.15, seconds],
      max_msgs_per_subject: [0.1, () => one(random, [-2, -1, 0, 1])],
      max_msg_size: [0.1, () => one(random, [-2, -1, 0, 1, 1 << 20])],
      max_consumers: [0.1, () => one(random, [-2, -1, 0, 1])],
      num_replicas: [0.1, () => one(random, [-1, 0, 1, 2, 3, 6])],
      duplicate_window: [0.2, seconds],
      discard_new_per_subject: [0.1, () => true],
      sealed: [0.04, () => true],
      deny_delete: [0.1, () => random() < 0.7],
      deny_purge: [0.1, () => random() < 0.7],
      allow_rollup_hdrs: [0.1, () => random() < 0.7],
      allow_direct: [0.1, () => random() < 0.7],
      mirror_direct: [0.03, () => true],
      allow_msg_ttl: [0.1, () => random() < 0.7],
      subject_delete_marker_ttl: [0.15, seconds],
      allow_atomic: [0.1, () => random() < 0.7],
      no_ack: [0.05, () => true],
      compression: [0.05, () => one(random, ['none', 's2', 'zip'])],
      first_seq: [0.05, () => one(random, [0, 1, 7, -1])],
      subject_transform: [
        0.1,
        () =>
          one(random, [
            { src: 'a.>', dest: 'z.>' },
            { src: 'a.*', dest: 'a.{{wildcard(1)}}.q' },
            { src: '', dest: 'a.q' },
            { src: 'nothing.>', dest: 'z.>' },
            { src: 'a.*', dest: 'z.{{wildcard(2)}}' },
            { src: 'a.*', dest: 'z.*' },
            { src: 'a..', dest: 'z' },
            { src: 'a.>', dest: '' },
          ]),
      ],
      republish: [
        0.1,
        () =>
          one(random, [
            { src: 'a.>', dest: 'a.r.>' },
            { src: '>', dest: 'rep.>' },
            { dest: 'rep.>' },
            { src: 'a.*', dest: 'rep.{{wildcard(1)}}' },
            { src: 'q.>', dest: 'rep.>' },
            { src: 'a.>', dest: 'rep..>' },
            { src: 'a.*', dest: 'rep.>' },
          ]),
      ],
      consumer_limits: [
        0.1,
        () =>
          one(random, [
            { max_ack_pending: -1 },
            { inactive_threshold: -SECOND },
            { max_ack_pending: 5 },
          ]),
      ],
      placement: [0.02, () => ({ tags: ['x'] })],
      persist_mode: [0.03, () => one(random, ['default', 'async'])],
      unknown_field: [0.03, () => 1],
      description: [0.03, () => 'd'.repeat(5_000)],
      metadata: [0.03, () => ({ big: 'x'.repeat(140_000) })],
    }),
  };
}

export const CONSUMERS = ['C1', 'C2', 'C3'] as const;
const FILTERS: Readonly<Record<string, readonly string[]>> = {
  S1: ['a.x', 'a.y', 'a.*', 'a.>', '>', 'a.x.1', '*.x', 'a.größe'],
  S2: ['b.x', 'b.*', 'c', '>', 'b.y', '*'],
};

/** A pull or push consumer that a stream `S1` or `S2` takes. */
export function plainConsumer(random: Random, stream: string, push: boolean): Json {
  const filters = FILTERS[stream] ?? ['>'];
  const start = one(random, [
    { deliver_policy: 'all' },
    { deliver_policy: 'all' },
    { deliver_policy: 'all' },
    { deliver_policy: 'last' },
    { deliver_policy: 'new' },
    { deliver_policy: 'last_per_subject', filter_subject: one(random, filters) },
    { deliver_policy: 'by_start_sequence', opt_start_seq: 1 + (randomInt(random, 6) >> 1) },
    {
      deliver_policy: 'by_start_time',
      opt_start_time: one(random, ['2020-01-01T00:00:00Z', '2030-06-01T00:00:00Z']),
    },
  ]);
  return {
    ack_policy: one(random, ['explicit', 'explicit', 'all', 'none']),
    replay_policy: one(random, ['instant', 'instant', 'instant', 'instant']),
    ...some(random, {
      filter_subject: [0.25, () => one(random, filters)],
      description: [0.1, () => 'a consumer'],
      metadata: [0.1, () => ({ crew: 'day' })],
      max_deliver: [0.2, () => one(random, [-1, 1, 2, 3])],
      max_ack_pending: [0.15, () => one(random, [1, 2, 5])],
      headers_only: [0.1, () => true],
      sample_freq: [0.1, () => one(random, ['100', '100%'])],
      mem_storage: [0.15, () => true],
      inactive_threshold: [0.1, () => 60 * SECOND],
      ack_wait: [0.1, () => 20 * SECOND],
    }),
    ...start,
    ...(random() < 0.1 && !('filter_subject' in start)
      ? { filter_subject: undefined, filter_subjects: filters.slice(0, 2) }
      : {}),
    ...(push
      ? {
          deliver_subject: one(random, ['push.1', 'push.2']),
          ...some(random, {
            deliver_group: [0.25, () => one(random, ['crew', 'gang'])],
            flow_control: [0.0, () => true],
            idle_heartbeat: [0.2, () => SECOND],
          }),
        }
      : some(random, {
          max_waiting: [0.15, () => one(random, [1, 2, 512])],
          max_batch: [0.1, () => one(random, [1, 2, 5])],
          max_expires: [0.05, () => SECOND],
          max_bytes: [0.05, () => 100],
        })),
  };
}

/** Options that may be wrong, together or by themselves. */
export function wildConsumer(random: Random, stream: string): Json {
  const duration = (): number => one(random, [-SECOND, 0, 50 * MS, 100 * MS, SECOND, 60 * SECOND]);
  return {
    ...plainConsumer(random, stream, random() < 0.4),
    ...some(random, {
      deliver_policy: [
        0.15,
        () =>
          one(random, [
            'all',
            'last',
            'new',
            'by_start_sequence',
            'by_start_time',
            'last_per_subject',
            'some',
          ]),
      ],
      opt_start_seq: [0.1, () => one(random, [0, 1, 2, 1_000])],
      opt_start_time: [0.06, () => one(random, ['2020-01-01T00:00:00Z', 'yesterday'])],
      ack_policy: [0.1, () => one(random, ['none', 'all', 'explicit', 'sometimes'])],
      replay_policy: [0.05, () => one(random, ['instant', 'instant', 'slow'])],
      filter_subject: [
        0.15,
        () => one(random, ['', 'q.x', 'a..b', 'a.x', 'b.x', '>', '*', 'a.>.b']),
      ],
      filter_subjects: [
        0.15,
        () =>
          one(random, [
            [],
            ['a.x'],
            ['a.x', 'a.y'],
            ['a.x', 'a.*'],
            ['a.x', ''],
            ['b.x', 'c'],
            ['a.x', 'a.x'],
          ]),
      ],
      ack_wait: [0.1, duration],
      max_deliver: [0.1, () => one(random, [-5, -1, 0, 1, 10])],
      backoff: [
        0.1,
        () =>
          one(random, [
            [],
            [SECOND],
            [SECOND, 2 * SECOND],
            [SECOND, 2 * SECOND, 3 * SECOND],
            [-1],
            [2 * SECOND, SECOND],
          ]),
      ],
      max_ack_pending: [0.1, () => one(random, [-5, -1, 0, 1, 100])],
      max_waiting: [0.1, () => one(random, [-1, 0, 1, 10])],
      max_batch: [0.05, () => one(random, [-1, 0, 1, 10])],
      max_expires: [0.05, duration],
      max_bytes: [0.05, () => one(random, [-1, 0, 10])],
      idle_heartbeat: [0.1, duration],
      flow_control: [0.1, () => true],
      rate_limit_bps: [0.05, () => 1_000_000],
      deliver_subject: [0.1, () => one(random, ['', 'push.1', 'a.x', 'push.*', 'push..x', '>'])],
      deliver_group: [0.1, () => one(random, ['crew', '', 'a b'])],
      inactive_threshold: [0.1, duration],
      num_replicas: [0.06, () => one(random, [-1, 0, 1, 3])],
      sample_freq: [0.1, () => one(random, ['0', '50', '100%', '101', 'often', '-1'])],
      durable_name: [0.1, () => one(random, ['C1', 'C9', 'a.b', 'a b', 'x'.repeat(300)])],
      name: [0.1, () => one(random, ['C1', 'C9', 'a.b', '', 'x'.repeat(300)])],
      description: [0.03, () => 'd'.repeat(5_000)],
      metadata: [
        0.03,
        () => ({ '_nats.own': 'x', big: 'x'.repeat(random() < 0.5 ? 10 : 140_000) }),
      ],
      unknown_field: [0.03, () => 1],
      headers_only: [0.05, () => true],
      pause_until: [0.04, () => one(random, ['2020-01-01T00:00:00Z', '2030-01-01T00:00:00Z'])],
    }),
  };
}
