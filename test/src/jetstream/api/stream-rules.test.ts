// What a stream may be like: nats-server 2.15's rules, in its words and its order.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { decode } from '../../../../src/jetstream/api/decode.ts';
import {
  STREAM_CONFIG_REQUEST,
  sameStreamConfig,
  wireStreamConfig,
  type StreamConfigRequest,
} from '../../../../src/jetstream/api/stream-config.ts';
import { checkedStreamConfig, refuseUnbuilt } from '../../../../src/jetstream/api/stream-rules.ts';
import { updatedStreamConfig } from '../../../../src/jetstream/api/stream-update.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { randomInt, seededRandom, type Random } from '../../../support/random.ts';

function read(request: object): StreamConfigRequest {
  return decode(STREAM_CONFIG_REQUEST, Buffer.from(JSON.stringify(request)));
}

function checked(request: object): StreamConfig {
  const asked = read(request);
  const config = checkedStreamConfig(asked);
  refuseUnbuilt(asked);
  return config;
}

function refusal(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    if (error instanceof ApiError) return `${error.code} ${error.errCode} ${error.message}`;
    throw error;
  }
  return 'none';
}

const S = 1_000_000_000;
const JS = '500 10052 subjects that overlap with jetstream api require no-ack to be true';
const SYS = '500 10052 subjects that overlap with system api require no-ack to be true';

test.each<[object, string]>([
  [
    { name: 'a.b' },
    "500 10052 stream name is required and can not contain '.', '*', '>', '\\', '/'",
  ],
  [{ name: 'x'.repeat(256) }, '500 10052 stream name is too long, maximum allowed is 255'],
  [
    { description: 'x'.repeat(4097) },
    '500 10052 stream description is too long, maximum allowed is 4096',
  ],
  [
    { metadata: { a: 'x'.repeat(131_072) } },
    '500 10052 stream metadata exceeds maximum size of 131072 bytes',
  ],
  [{ num_replicas: 6 }, '500 10052 maximum replicas is 5'],
  [{ num_replicas: -1 }, '400 10133 replicas count cannot be negative'],
  [{ num_replicas: 3 }, '500 10074 replicas > 1 not supported in non-clustered mode'],
  [{ pedantic: true, max_msgs: -2 }, '400 10157 pedantic mode: max_msgs must be set to -1'],
  [
    { pedantic: true, max_age: S },
    '400 10157 pedantic mode: duplicate window cannot be bigger than max age',
  ],
  [
    { pedantic: true, republish: { dest: 'r.>' } },
    '400 10157 pedantic mode: republish source can not be empty',
  ],
  [{ max_age: -1 }, '500 10052 max age can not be negative'],
  [{ max_age: S / 10 - 1 }, '500 10052 max age needs to be >= 100ms'],
  [{ duplicate_window: -1 }, '500 10052 duplicates window can not be negative'],
  [{ duplicate_window: 1 }, '500 10052 duplicates window needs to be >= 100ms'],
  [
    { max_age: S, duplicate_window: 2 * S },
    '500 10052 duplicates window can not be larger then max age',
  ],
  [
    { deny_purge: true, allow_rollup_hdrs: true },
    '500 10052 roll-ups require the purge permission',
  ],
  [
    { discard_new_per_subject: true },
    '500 10052 discard new per subject requires discard new policy to be set',
  ],
  [
    { discard_new_per_subject: true, discard: 'new' },
    '500 10052 discard new per subject requires max msgs per subject > 0',
  ],
  [{ subject_delete_marker_ttl: -1 }, '500 10052 subject delete marker TTL must not be negative'],
  [
    { subject_delete_marker_ttl: S - 1 },
    '500 10052 subject delete marker TTL must be at least 1 second',
  ],
  [
    { pedantic: true, subject_delete_marker_ttl: S },
    '500 10052 subject delete marker cannot be set if message TTLs are disabled',
  ],
  [
    { pedantic: true, subject_delete_marker_ttl: S, allow_msg_ttl: true },
    '500 10052 subject delete marker cannot be set if roll-ups are disabled',
  ],
  [{ allow_msg_counter: true, discard: 'new' }, '500 10052 counter stream cannot use discard new'],
  [
    { allow_msg_counter: true, retention: 'interest' },
    '500 10052 counter stream can only use limits retention',
  ],
  [{ allow_msg_counter: true }, '500 10052 message counters are not supported by this server'],
  [
    { allow_msg_schedules: true, discard: 'new' },
    '500 10052 message scheduling cannot use discard new',
  ],
  [{ allow_msg_schedules: true }, '500 10052 message schedules are not supported by this server'],
  [
    { persist_mode: 'async', storage: 'memory' },
    '500 10052 async persist mode is only supported on file storage',
  ],
  [
    { persist_mode: 'async', allow_atomic: true },
    '500 10052 async persist mode is not supported with atomic batch publish',
  ],
  [{ mirror: { name: 'A' }, subjects: ['x'] }, '400 10034 stream mirrors can not contain subjects'],
  [
    { mirror: { name: 'A' }, sources: [{ name: 'B' }] },
    '400 10031 stream mirrors can not also contain other sources',
  ],
  [
    { mirror: { name: 'A' }, first_seq: 5 },
    '400 10143 stream mirrors can not have first sequence configured',
  ],
  [{ sources: [{ name: 'A' }] }, '500 10052 sources are not supported by this server'],
  [{ subjects: ['b..c'] }, '500 10052 invalid subject'],
  [{ subjects: ['b.>.c'] }, '500 10052 invalid subject'],
  [{ subjects: ['b c'] }, '500 10052 invalid subject'],
  [{ subjects: [''] }, '500 10052 invalid subject'],
  [{ subjects: ['b', 'b'] }, '500 10052 subject "b" overlaps with "b"'],
  [{ subjects: ['c', 'b.*', 'd', 'b.c', 'b.d'] }, '500 10052 subject "b.*" overlaps with "b.c"'],
  [{ subjects: ['c', 'b.>', 'b.>.x'] }, '500 10052 subject "b.>" overlaps with "b.>.x"'],
  [{ subjects: ['b', 'b..c', 'b'] }, '500 10052 subject "b" overlaps with "b"'],
  [{ sources: [null] }, '400 10141 sourced stream name is invalid'],
  [{ mirror: {} }, '400 10142 mirrored stream name is invalid'],
  [{ subjects: ['>'] }, '500 10052 capturing all subjects requires no-ack to be true'],
  [{ subjects: ['$JS.x'] }, JS],
  [{ subjects: ['*.b'] }, JS],
  [{ subjects: ['$JSC.x.>'] }, JS],
  [{ subjects: ['$NRG.x'] }, JS],
  [{ subjects: ['$SYS.x'] }, SYS],
  [
    { subjects: Array.from({ length: 501 }, (_, i) => `s.${i}`) },
    '500 10052 stream has too many subjects, maximum allowed is 500',
  ],
  [
    { subject_transform: { src: 'B..x', dest: 'x' } },
    '400 10155 stream transform source: invalid subject B..x',
  ],
  [
    { subject_transform: { src: 'B.*', dest: 'x.*' } },
    '400 10156 stream transform: invalid subject',
  ],
  [{ subject_transform: { src: '', dest: 'x' } }, '400 10156 stream transform: invalid subject'],
  [
    { subject_transform: { src: 'B.*', dest: 'x.{{wildcard(2)}}' } },
    '400 10156 stream transform: invalid mapping destination: wildcard index out of range in {{wildcard(2)}}: [2]',
  ],
  [
    { subject_transform: { src: 'B', dest: 'x.{{foo(1)}}' } },
    '400 10156 stream transform: invalid mapping destination: unknown function in {{foo(1)}}',
  ],
  [
    { republish: { dest: 'B' } },
    '500 10052 stream configuration for republish destination forms a cycle',
  ],
  [
    { republish: { src: '>', dest: '>' } },
    '500 10052 stream configuration for republish destination forms a cycle',
  ],
  [
    { republish: { src: 'B.*', dest: 'x.*' } },
    "500 10052 stream configuration for republish with transform from 'B.*' to 'x.*' not valid",
  ],
  [{ placement: { preferred: 'x' } }, '500 10052 preferred server not permitted in placement'],
  [
    { first_seq: 2 ** 53 },
    '500 10052 first sequence is too large, maximum allowed is 9007199254740990',
  ],
])('a stream %j is refused', (request, words) => {
  expect(refusal(() => checked({ name: 'B', ...request }))).toBe(words);
});

const DEFAULTS = {
  name: 'B',
  subjects: ['B'],
  retention: 'limits',
  max_consumers: -1,
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  max_msgs_per_subject: -1,
  max_msg_size: -1,
  discard: 'old',
  storage: 'file',
  num_replicas: 1,
  duplicate_window: 120 * S,
  compression: 'none',
  allow_direct: false,
  mirror_direct: false,
  sealed: false,
  deny_delete: false,
  deny_purge: false,
  allow_rollup_hdrs: false,
  consumer_limits: {},
  allow_msg_ttl: false,
  metadata: { '_nats.req.level': '0' },
};

test.each<[object, object]>([
  [{}, {}],
  [{ max_msgs: 0, max_bytes: -7, max_msg_size: -5, max_consumers: -3, num_replicas: 1 }, {}],
  [{ max_age: S }, { max_age: S, duplicate_window: S }],
  [{ max_age: 123_456_789 }, { max_age: 123_456_789, duplicate_window: 123_456_789 }],
  [
    { subjects: ['$JS.EVENT.ADVISORY.>', '$SYS.ACCOUNT.x', '$KV.b.>'] },
    { subjects: ['$JS.EVENT.ADVISORY.>', '$SYS.ACCOUNT.x', '$KV.b.>'] },
  ],
  [
    { subjects: ['>'], no_ack: true },
    { subjects: ['>'], no_ack: true },
  ],
  [
    { subject_delete_marker_ttl: S, deny_purge: true },
    {
      subject_delete_marker_ttl: S,
      allow_rollup_hdrs: true,
      allow_msg_ttl: true,
      metadata: { '_nats.req.level': '1' },
    },
  ],
  [{ allow_atomic: true }, { allow_atomic: true, metadata: { '_nats.req.level': '2' } }],
  [
    { allow_atomic: true, allow_batched: true },
    { allow_atomic: true, allow_batched: true, metadata: { '_nats.req.level': '4' } },
  ],
  [{ persist_mode: 'async' }, { persist_mode: 'async', metadata: { '_nats.req.level': '2' } }],
  [{ persist_mode: '' }, {}],
  [
    { compression: 's2', placement: { cluster: 'c', tags: ['t'] } },
    { compression: 's2', placement: { cluster: 'c', tags: ['t'] } },
  ],
  [{ placement: {} }, {}],
  [{ republish: { dest: 'r.>' } }, { republish: { src: '>', dest: 'r.>' } }],
  [
    { subject_transform: { src: 'B', dest: 'x.y' }, republish: { dest: '>' } },
    { subject_transform: { src: 'B', dest: 'x.y' }, republish: { src: 'x.y', dest: 'x.y' } },
  ],
  [{ subject_transform: { src: 'B', dest: '' } }, { subject_transform: { src: 'B', dest: '' } }],
  [
    { metadata: { a: 'b', '_nats.ver': 'z', '_nats.req.level': '9', '_nats.level': '7' } },
    { metadata: { '_nats.req.level': '0', a: 'b' } },
  ],
  [
    { first_seq: 100, description: 'd' },
    { first_seq: 100, description: 'd' },
  ],
])('a stream %j is kept with the defaults of nats-server', (request, shown) => {
  const config = checked({ name: 'B', ...request });
  expect(wireStreamConfig(config)).toEqual({ ...DEFAULTS, ...shown });
  expect(sameStreamConfig(config, checked(wireStreamConfig(config)))).toBe(true);
});

test('an answer says in the metadata who speaks, and a level that is never taken as the client’s', () => {
  const { metadata } = wireStreamConfig(checked({ name: 'B' }), '2.14.0') as { metadata: object };
  expect(metadata).toEqual({ '_nats.level': '4', '_nats.req.level': '0', '_nats.ver': '2.14.0' });
  expect(checked({ name: 'B', metadata }).metadata).toBeUndefined();
});

function randomConfig(random: Random): object {
  const flag = (): boolean => randomInt(random, 2) === 0;
  const pick = <T>(...of: T[]): T => of[randomInt(random, of.length)] as T;
  const all: Record<string, unknown> = {
    description: pick('', 'x'),
    subjects: pick(undefined, ['b.>'], ['b.*', 'c']),
    retention: pick('limits', 'interest', 'workqueue'),
    max_consumers: pick(-1, 0, 5),
    max_msgs: pick(-1, 0, 10),
    max_bytes: pick(-1, 0, 5000, 2 ** 40),
    max_age: pick(0, S, 3600 * S, 100_000_001, 10_000_000_000_000_000),
    max_msgs_per_subject: pick(-1, 0, 64),
    max_msg_size: pick(-1, 0, 1024),
    discard: pick('old', 'new'),
    storage: pick('file', 'memory'),
    no_ack: flag(),
    compression: pick('none', 's2'),
    first_seq: pick(0, 7),
    allow_direct: flag(),
    deny_delete: flag(),
    deny_purge: flag(),
    allow_msg_ttl: flag(),
    allow_atomic: flag(),
    subject_delete_marker_ttl: pick(0, S, 90 * S),
    consumer_limits: pick({}, { inactive_threshold: 5 * S, max_ack_pending: 9 }),
    metadata: pick(undefined, { z: '1', a: '2' }),
    republish: pick(undefined, { dest: 'r.>', headers_only: true }),
    subject_transform: pick(undefined, { src: 'b.*', dest: 'x.{{wildcard(1)}}' }),
  };
  for (const key of Object.keys(all)) if (flag()) delete all[key];
  return { name: 'B', ...all };
}

test('what an answer shows can be given back as it is, whatever the configuration', () => {
  const random = seededRandom(6);
  for (let i = 0; i < 3_000; i++) {
    const request = randomConfig(random);
    const config = checked(request);
    const wire = wireStreamConfig(config, '2.14.0');
    const again = checked(wire);
    expect(again, JSON.stringify(request)).toEqual(config);
    expect(wireStreamConfig(again, '2.14.0')).toEqual(wire);
    expect(updatedStreamConfig(config, again, read(wire))).toEqual(config);
  }
});

test('subjects that are long, or a mapping that is longer than any subject, are refused before they cost time', () => {
  const long = Array.from({ length: 41 }, (_, i) => `*.${'x.'.repeat(200)}${i}`);
  expect(refusal(() => checked({ name: 'B', subjects: long }))).toBe(
    '500 10052 stream has too long subjects, maximum allowed is 16384 bytes',
  );
  const dest = '{{a('.repeat(300);
  expect(refusal(() => checked({ name: 'B', subject_transform: { src: 'b.*', dest } }))).toBe(
    '400 10156 stream transform: invalid subject',
  );
  expect(refusal(() => checked({ name: 'B', republish: { src: 'b.*', dest } }))).toMatch(
    /^500 10052 .* not valid$/,
  );
});
