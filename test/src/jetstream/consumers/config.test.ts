// What a consumer may be configured to be, by the rules, numbers and texts of nats-server 2.15.1: the verdicts below were
// given by one.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import type { StreamRules } from '../../../../src/jetstream/consumers/config-rules.ts';
import {
  configToWire,
  readConfig,
  sameConfig,
} from '../../../../src/jetstream/consumers/config.ts';
import { decodeCreateRequest } from '../../../../src/jetstream/consumers/wire.ts';

const STREAM: StreamRules = { retention: 'limits', subjects: ['a.>', 'b'] };
const WORKQUEUE: StreamRules = { ...STREAM, retention: 'workqueue' };
const LIMITED: StreamRules = {
  ...STREAM,
  consumerLimits: { maxAckPending: 10, inactiveThresholdMs: 2_000 },
};

type Json = Record<string, unknown>;

function read(config: Json, stream = STREAM, pedantic = false) {
  const data = Buffer.from(JSON.stringify({ stream_name: 'S', config, pedantic }));
  const request = decodeCreateRequest(data);
  return readConfig(request.config, stream, { name: 'x', pedantic: request.pedantic });
}

/** `<err_code> <text>`, with the code before it where it is not 400. */
function verdict(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return `${error.code === 400 ? '' : `${error.code} `}${error.errCode} ${error.message}`;
  }
  return 'fine';
}

const START = 'consumer delivery policy is deliver';
const TIME = '2026-01-01T00:00:00Z';
const LETTERS = "can not contain '.', '*', '>', '\\', '/'";
const PUSH = { deliver_subject: 'q' };

const REFUSED: readonly (readonly [Json, string])[] = [
  [{ name: 'a.b' }, `500 10052 consumer name ${LETTERS}`],
  [{ name: 'a b' }, `500 10052 consumer name ${LETTERS}`],
  [{ durable_name: 'a>b' }, `500 10052 consumer durable name ${LETTERS}`],
  [{ name: 'n'.repeat(256) }, '10102 consumer name is too long, maximum allowed is 255'],
  [
    { name: 'a', durable_name: 'b' },
    '10132 Consumer Durable and Name have to be equal if both are provided',
  ],
  [{ num_replicas: 2 }, '10126 consumer config replica count exceeds parent stream'],
  [{ num_replicas: -1 }, '10133 replicas count cannot be negative'],
  [{ ack_wait: -1 }, '10183 consumer ack wait needs to be positive'],
  [{ backoff: [-1] }, '10184 consumer backoff needs to be positive'],
  [
    { backoff: [1e9, 2e9], max_deliver: 1 },
    '10116 max deliver is required to be > length of backoff values',
  ],
  [
    { description: 'ä'.repeat(2049) },
    '10107 consumer description is too long, maximum allowed is 4096',
  ],
  [{ deliver_subject: 'x.*' }, '10079 consumer deliver subject has wildcards'],
  [{ deliver_subject: 'x..y' }, '10112 invalid push consumer deliver subject'],
  [{ deliver_subject: 'a.b' }, '10081 consumer deliver subject forms a cycle'],
  [{ ...PUSH, max_waiting: 4 }, '10080 consumer in push mode can not set max waiting'],
  [{ ...PUSH, max_ack_pending: 4 }, '10082 consumer requires ack policy for max ack pending'],
  [{ ...PUSH, idle_heartbeat: 99_999_999 }, '10083 consumer idle heartbeat needs to be >= 100ms'],
  [{ ...PUSH, flow_control: true }, '10108 consumer with flow control also needs heartbeats'],
  [{ rate_limit_bps: 5 }, '10086 consumer in pull mode can not have rate limit set'],
  [{ idle_heartbeat: 5e9 }, '10088 consumer idle heartbeat requires a push based consumer'],
  [{ flow_control: true }, '10089 consumer flow control requires a push based consumer'],
  [{ max_expires: 5 }, '10115 consumer max request expires needs to be >= 1ms'],
  [{ direct: true }, '10090 consumer direct requires a push based consumer'],
  [
    { ...PUSH, direct: true, durable_name: 'd' },
    '10091 consumer direct requires an ephemeral consumer',
  ],
  [
    { filter_subject: 'a', filter_subjects: ['b'] },
    '10136 consumer cannot have both FilterSubject and FilterSubjects specified',
  ],
  [{ filter_subject: 'a..b' }, '500 10052 invalid subject'],
  [{ filter_subjects: ['a..b'] }, '500 10052 invalid subject'],
  [{ filter_subjects: [''] }, '10139 consumer filter in FilterSubjects cannot be empty'],
  [{ filter_subjects: ['a.*', 'a.b'] }, '10138 consumer subject filters cannot overlap'],
  [{ filter_subjects: ['b', 'b'] }, '10138 consumer subject filters cannot overlap'],
  [{ opt_start_seq: 1 }, `10094 ${START} all, but optional start sequence is also set`],
  [{ opt_start_time: TIME }, `10094 ${START} all, but optional start time is also set`],
  [
    { deliver_policy: 'last', opt_start_seq: 1 },
    `10094 ${START} last, but optional start sequence is also set`,
  ],
  [
    { deliver_policy: 'last_per_subject' },
    `10094 ${START} last per subject, but optional filter subject is not set`,
  ],
  [
    { deliver_policy: 'new', opt_start_time: TIME },
    `10094 ${START} new, but optional start time is also set`,
  ],
  [
    { deliver_policy: 'by_start_sequence' },
    `10094 ${START} by start sequence, but optional start sequence is not set`,
  ],
  [
    { deliver_policy: 'by_start_sequence', opt_start_seq: 1, opt_start_time: TIME },
    `10094 ${START} by start sequence, but optional start time is also set`,
  ],
  [
    { deliver_policy: 'by_start_time' },
    `10094 ${START} by start time, but optional start time is not set`,
  ],
  [
    { deliver_policy: 'by_start_time', opt_start_seq: 1, opt_start_time: TIME },
    `10094 ${START} by start time, but optional start start sequence is also set`,
  ],
  [
    { sample_freq: 'x%' },
    '10095 failed to parse consumer sampling configuration: strconv.Atoi: parsing "x": invalid syntax',
  ],
  [{ sample_freq: '-5' }, '10095 failed to parse consumer sampling configuration: <nil>'],
  [
    { sample_freq: '99999999999999999999' },
    '10095 failed to parse consumer sampling configuration: strconv.Atoi: parsing "99999999999999999999": value out of range',
  ],
  [
    { metadata: { a: 'x'.repeat(131_072) } },
    '10135 consumer metadata exceeds maximum size of 128KB',
  ],
  [{ priority_groups: ['a'] }, '10196 consumer can not have priority groups when policy is none'],
  [{ priority_timeout: 5e9 }, '10197 PinnedTTL cannot be set when PriorityPolicy is none'],
  [
    { priority_policy: 'overflow' },
    '10159 Setting PriorityPolicy requires at least one PriorityGroup to be set',
  ],
  [
    { priority_policy: 'overflow', priority_groups: [''] },
    '10161 Group name cannot be an empty string',
  ],
  [
    { priority_policy: 'overflow', priority_groups: ['a b'] },
    '10162 Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters',
  ],
  [
    { ...PUSH, priority_policy: 'overflow', priority_groups: ['a'] },
    '10178 priority groups can not be used with push consumers',
  ],
  [{ ack_policy: 'flow_control' }, '10218 flow control ack policy requires a push based consumer'],
  [
    { ...PUSH, ack_policy: 'flow_control', ack_wait: 1e9 },
    '10221 flow control ack policy requires unset ack wait',
  ],
  [
    { ...PUSH, ack_policy: 'flow_control', max_deliver: 3 },
    '10222 flow control ack policy requires unset max deliver',
  ],
  [
    { ...PUSH, ack_policy: 'flow_control', max_ack_pending: -1 },
    '10220 flow control ack policy requires max ack pending',
  ],
];

test.each(REFUSED)('a consumer that is %j is refused', (config, expected) => {
  expect(verdict(() => read(config))).toBe(expected);
});

test('acknowledging by flow control is taken, with its heartbeats', () => {
  const config = { ...PUSH, ack_policy: 'flow_control' };
  expect(verdict(() => read(config))).toBe('fine');
  expect(read(config).push).toMatchObject({ flowControl: true, idleHeartbeatMs: 1_000 });
});

test('the stream says what its consumers may be', () => {
  expect(verdict(() => read({}, WORKQUEUE))).toBe(
    '10084 consumer in pull mode requires explicit ack policy on workqueue stream',
  );
  expect(verdict(() => read({ ack_policy: 'all', max_ack_pending: 11 }, LIMITED))).toBe(
    '10121 consumer max ack pending exceeds system limit of 10',
  );
  expect(verdict(() => read({ inactive_threshold: 3e9 }, LIMITED))).toBe(
    '10153 consumer inactive threshold exceeds system limit of 2s',
  );
  expect(configToWire(read({ ack_policy: 'all' }, LIMITED))).toMatchObject({
    max_ack_pending: 10,
    inactive_threshold: 2e9,
  });
});

test.each([
  [{ max_deliver: -2 }, 'max_deliver must be set to -1'],
  [{ max_waiting: -1 }, 'max_waiting must not be negative'],
  [{ max_ack_pending: -2 }, 'max_ack_pending must be set to -1'],
  [{ max_batch: -1 }, 'max_batch must not be negative'],
  [{ max_expires: -1 }, 'max_expires must not be negative'],
  [{ max_bytes: -1 }, 'max_bytes must not be negative'],
  [{ idle_heartbeat: -1 }, 'idle_heartbeat must not be negative'],
  [{ inactive_threshold: -1 }, 'inactive_threshold must not be negative'],
  [{ priority_timeout: -1 }, 'priority_timeout must not be negative'],
  [{ backoff: [1e9], ack_wait: 2e9 }, 'first backoff value has to equal batch AckWait'],
])('%j is corrected, or refused with pedantic', (config, why) => {
  expect(verdict(() => read(config, STREAM, true))).toBe(`10157 pedantic mode: ${why}`);
  expect(verdict(() => read(config))).toBe('fine');
});

test('what the stream limits must be said with pedantic', () => {
  const pending = "max_ack_pending must be set if it's configured in stream limits";
  expect(verdict(() => read({}, LIMITED, true))).toBe(`10157 pedantic mode: ${pending}`);
  const inactive = "inactive_threshold must be set if it's configured in stream limits";
  expect(verdict(() => read({ max_ack_pending: 5 }, LIMITED, true))).toBe(
    `10157 pedantic mode: ${inactive}`,
  );
});

const METADATA = { '_nats.req.level': '0' };

test('an empty configuration is an ephemeral pull consumer without acks', () => {
  const config = read({});
  expect(config).toMatchObject({ name: 'x', durable: false, ackPolicy: 'none', maxAckPending: -1 });
  expect(configToWire(config)).toEqual({
    deliver_policy: 'all',
    ack_policy: 'none',
    max_deliver: -1,
    replay_policy: 'instant',
    max_waiting: 512,
    inactive_threshold: 5_000_000_000,
    num_replicas: 0,
    metadata: METADATA,
  });
});

test('an empty durable with acks has their defaults, and no threshold', () => {
  expect(configToWire(read({ durable_name: 'd', ack_policy: 'explicit' }))).toEqual({
    durable_name: 'd',
    name: 'd',
    deliver_policy: 'all',
    ack_policy: 'explicit',
    ack_wait: 30_000_000_000,
    max_deliver: -1,
    replay_policy: 'instant',
    max_waiting: 512,
    max_ack_pending: 1000,
    num_replicas: 0,
    metadata: METADATA,
  });
});

const WHOLE_PULL = {
  durable_name: 'd',
  name: 'd',
  description: '<&>é',
  deliver_policy: 'by_start_time',
  opt_start_time: '2026-01-01T00:00:00.123456789+02:00',
  ack_policy: 'explicit',
  ack_wait: 1_000_000_001,
  max_deliver: 3,
  backoff: [1_000_000_001, 2e9],
  filter_subjects: ['a.b'],
  replay_policy: 'original',
  sample_freq: '50%',
  max_waiting: 7,
  max_ack_pending: -1,
  headers_only: true,
  max_batch: 5,
  max_expires: 2e9,
  max_bytes: 77,
  inactive_threshold: 3_600e9,
  num_replicas: 1,
  mem_storage: true,
  pause_until: '2099-01-01T00:00:00.123456789Z',
  priority_groups: ['a', 'b'],
  priority_policy: 'pinned_client',
  priority_timeout: 1e9,
};

const WHOLE_PUSH = {
  name: 'p',
  deliver_policy: 'by_start_sequence',
  opt_start_seq: 42,
  ack_policy: 'none',
  max_deliver: -1,
  filter_subject: 'a.b',
  replay_policy: 'instant',
  rate_limit_bps: 8_000_000,
  sample_freq: '100',
  max_ack_pending: -1,
  flow_control: true,
  deliver_subject: 'q',
  deliver_group: 'g',
  idle_heartbeat: 1e8,
  inactive_threshold: 1e9,
  num_replicas: 0,
  direct: true,
  sourcing: true,
};

test('every field comes out as it went in', () => {
  const metadata = { x: 'y', '_nats.foo': 'z', '_nats.ver': '9', __proto__x: '1' };
  expect(configToWire(read({ ...WHOLE_PULL, metadata }), '2.14.0')).toEqual({
    ...WHOLE_PULL,
    metadata: {
      x: 'y',
      '_nats.foo': 'z',
      __proto__x: '1',
      '_nats.level': '4',
      '_nats.req.level': '1',
      '_nats.ver': '2.14.0',
    },
  });
  expect(configToWire(read(WHOLE_PUSH))).toEqual({ ...WHOLE_PUSH, metadata: METADATA });
});

test('what is read again from what was shown is the same', () => {
  for (const config of [WHOLE_PULL, WHOLE_PUSH, {}, { ack_policy: 'all', filter_subject: '>' }]) {
    const first = read({ name: 'n', ...config });
    const again = read(configToWire(first));
    expect(configToWire(again)).toEqual(configToWire(first));
    expect(sameConfig(first, again)).toBe(true);
  }
});

test('a configuration that went through the disk as JSON shows the same', () => {
  const config = read(WHOLE_PULL);
  const stored = JSON.parse(JSON.stringify(config)) as typeof config;
  expect(configToWire(stored)).toEqual(configToWire(config));
  expect(sameConfig(stored, config)).toBe(true);
});

test('the engine gets what was asked for, in milliseconds', () => {
  expect(read(WHOLE_PULL)).toMatchObject({
    optStartTimeMs: Date.parse('2025-12-31T22:00:00Z') + 123.456789,
    ackWaitMs: 1000.000001,
    backoffMs: [1000.000001, 2000],
    filterSubjects: ['a.b'],
    samplePercent: 50,
    inactiveThresholdMs: 3_600_000,
    memoryStorage: true,
    push: undefined,
    pull: {
      maxWaiting: 7,
      maxBatch: 5,
      maxExpiresMs: 2000,
      maxBytes: 77,
      priority: { policy: 'pinned_client', groups: ['a', 'b'], timeoutMs: 1000 },
    },
  });
  expect(read(WHOLE_PUSH)).toMatchObject({
    pull: undefined,
    push: { deliverSubject: 'q', deliverGroup: 'g', flowControl: true, idleHeartbeatMs: 100 },
    rateLimitBps: 8_000_000,
    optStartSeq: 42,
  });
  expect(read({ pause_until: '0001-01-01T00:00:00Z' }).pauseUntilMs).toBeUndefined();
  expect(read({ sample_freq: '500%' }).samplePercent).toBe(100);
});

test('what a server must speak to have the consumer is said in its metadata', () => {
  const level = (config: Json): unknown => configToWire(read(config))['metadata'];
  expect(level({})).toEqual({ '_nats.req.level': '0' });
  expect(level({ pause_until: TIME })).toEqual({ '_nats.req.level': '1' });
  expect(level({ priority_policy: 'overflow', priority_groups: ['a'] })).toEqual({
    '_nats.req.level': '1',
  });
});

test('a pinned client has two minutes, and backoff replaces the ack wait', () => {
  const pinned = { priority_policy: 'pinned_client', priority_groups: ['a'] };
  expect(configToWire(read(pinned))).toMatchObject({ priority_timeout: 120e9 });
  expect(read({ backoff: [1e9], ack_wait: 2e9, ack_policy: 'explicit' }).ackWaitMs).toBe(1000);
});

test('who asks to create a consumer that is there gets it if it is the same to the letter', () => {
  const durable = { durable_name: 'd', filter_subject: 'a.b' };
  expect(sameConfig(read(durable), read({ ...durable, metadata: { '_nats.ver': '1' } }))).toBe(
    true,
  );
  const others = [{ description: 'x' }, { metadata: { a: 'b' } }, { num_replicas: 1 }];
  for (const more of others)
    expect(sameConfig(read(durable), read({ ...durable, ...more })), JSON.stringify(more)).toBe(
      false,
    );
  expect(
    sameConfig(read(durable), read({ durable_name: 'd', filter_subjects: ['a.b'] })),
    'a list is not a single filter',
  ).toBe(false);
  expect(
    sameConfig(read({ name: 'e' }), read({ name: 'e' })),
    'an ephemeral consumer whose threshold is left open',
  ).toBe(false);
  const said = { name: 'e', inactive_threshold: 5e9 };
  expect(sameConfig(read({ name: 'e' }), read(said))).toBe(true);
});

test.each([
  ['{"config":{"bogus":1}}', 'json: unknown field "bogus"'],
  [
    '{"config":{"ack_wait":"30s"}}',
    'json: cannot unmarshal string into Go struct field CreateConsumerRequest.config.ack_wait of type time.Duration',
  ],
  ['{"config":{"ack_policy":"x"}}', 'can not unmarshal "\\"x\\""'],
  ['{"config":{"deliver_policy":null}}', 'can not unmarshal "null"'],
  ['{"config":{"priority_policy":"x"}}', 'unknown priority policy: "x"'],
  ['{"action":5}', 'unknown consumer action: 5'],
  ['{"action":"drop"}', 'unknown consumer action: "drop"'],
  [
    '{"config":{"filter_subjects":[1]}}',
    'json: cannot unmarshal number into CreateConsumerRequest.config.filter_subjects.0 of type string',
  ],
  [
    '{"config":{"pause_until":5}}',
    'json: cannot unmarshal number into Go struct field CreateConsumerRequest.config.pause_until of type time.Time',
  ],
  [
    '{"config":{"opt_start_time":"x"}}',
    'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
  ],
  ['{"config":', 'unexpected EOF'],
])('the JSON %s is refused with its mistake', (json, why) => {
  expect(verdict(() => decodeCreateRequest(Buffer.from(json)))).toBe(`10025 invalid JSON: ${why}`);
});

test('names of fields are found in any case, and absent ones have their zeros', () => {
  const { config, action, pedantic, stream } = decodeCreateRequest(
    Buffer.from('{"Stream_Name":"S","CONFIG":{"NAME":"c","Deliver_Policy":"undefined"}}'),
  );
  expect({ action, pedantic, stream }).toEqual({ action: '', pedantic: false, stream: 'S' });
  expect(config).toMatchObject({ name: 'c', deliver_policy: 'all', metadata: {}, backoff: [] });
});

test('a thousand filters are enough, and are held against each other in no time', () => {
  const filters = Array.from({ length: 1000 }, (_, i) => `a.${i}.*`);
  expect(verdict(() => read({ filter_subjects: filters }))).toBe('fine');
  expect(verdict(() => read({ filter_subjects: [...filters.slice(1), 'a.999.x'] }))).toMatch(
    /^10138 /,
  );
  expect(verdict(() => read({ filter_subjects: [...filters, 'b'] }))).toBe(
    '500 10052 consumer can not have more than 1000 filter subjects',
  );
});

test('durations that no double can hold stay within an int64', () => {
  const json = '{"config":{"ack_policy":"all","ack_wait":9223372036854775807}}';
  const { config } = decodeCreateRequest(Buffer.from(json));
  const wire = configToWire(readConfig(config, STREAM, { name: 'x', pedantic: false }));
  expect(BigInt(wire['ack_wait'] as number)).toBeLessThan(2n ** 63n);
  expect(BigInt(JSON.stringify(wire['ack_wait']))).toBeLessThan(2n ** 63n);
});
