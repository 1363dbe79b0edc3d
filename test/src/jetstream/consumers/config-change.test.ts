// What depends on the consumers that a stream has already.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { checkAgainst, checkUpdate } from '../../../../src/jetstream/consumers/config-change.ts';
import type { StreamRules } from '../../../../src/jetstream/consumers/config-rules.ts';
import { readConfig } from '../../../../src/jetstream/consumers/config.ts';
import type { ConsumerConfig } from '../../../../src/jetstream/consumers/types.ts';
import { wireConsumer, type WireConsumer } from '../../../../src/jetstream/consumers/wire.ts';

const STREAM: StreamRules = { retention: 'limits', subjects: ['a.>'] };
const WORKQUEUE: StreamRules = { ...STREAM, retention: 'workqueue' };

function consumer(given: Partial<WireConsumer> = {}): ConsumerConfig {
  return readConfig(wireConsumer(given), STREAM, { name: 'c', pedantic: false });
}

function verdict(body: () => void): string {
  try {
    body();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return `${error.code} ${error.errCode} ${error.message}`;
  }
  return 'fine';
}

const explicit = (...filters: string[]): ConsumerConfig =>
  consumer({ ack_policy: 'explicit', filter_subjects: filters });

test('consumers of a workqueue acknowledge one by one, begin at the start, and share nothing', () => {
  const against = (others: ConsumerConfig[], config: ConsumerConfig): string =>
    verdict(() => checkAgainst(WORKQUEUE, others, config));
  expect(against([], consumer({ ack_policy: 'all' }))).toBe(
    '400 10098 workqueue stream requires explicit ack',
  );
  expect(against([], consumer({ ack_policy: 'explicit', deliver_policy: 'new' }))).toBe(
    '400 10101 consumer must be deliver all on workqueue stream',
  );
  expect(against([], explicit())).toBe('fine');
  expect(against([explicit('a.b')], explicit())).toBe(
    '400 10099 multiple non-filtered consumers not allowed on workqueue stream',
  );
  const notUnique = '400 10100 filtered consumer not unique on workqueue stream';
  expect(against([explicit('a.b')], explicit('a.*'))).toBe(notUnique);
  expect(against([explicit()], explicit('a.b'))).toBe(notUnique);
  expect(against([explicit('a.c', 'a.b')], explicit('a.d', 'a.b'))).toBe(notUnique);
  expect(against([explicit('a.b')], explicit('a.c', 'a.d'))).toBe('fine');
});

test('what another stream reads with takes no part in a workqueue', () => {
  const source = consumer({ deliver_subject: 'q', direct: true });
  expect(verdict(() => checkAgainst(WORKQUEUE, [explicit()], source))).toBe('fine');
  expect(verdict(() => checkAgainst(WORKQUEUE, [source], explicit('a.b')))).toBe('fine');
});

test('a consumer that changes is held against the filters of the others alone', () => {
  const change = (config: ConsumerConfig): string =>
    verdict(() =>
      checkAgainst({ ...WORKQUEUE, maxConsumers: 1 }, [explicit('a.b')], config, false),
    );
  expect(change(explicit('a.b'))).toMatch('10100');
  expect(change(explicit('a.c'))).toBe('fine');
  expect(change(explicit())).toBe('fine');
});

test('a stream has as many consumers as it says; those that source it do not count', () => {
  const limited = { ...STREAM, maxConsumers: 1 };
  expect(verdict(() => checkAgainst(limited, [consumer()], consumer()))).toBe(
    '400 10026 maximum consumers limit reached',
  );
  expect(verdict(() => checkAgainst(limited, [consumer({ sourcing: true })], consumer()))).toBe(
    'fine',
  );
  expect(
    verdict(() => checkAgainst({ ...STREAM, maxConsumers: -1 }, [consumer()], consumer())),
  ).toBe('fine');
});

const PUSH = { deliver_subject: 'q', idle_heartbeat: 1000, flow_control: true };

test.each<[Partial<WireConsumer>, Partial<WireConsumer>, string]>([
  [{}, { deliver_policy: 'last' }, 'deliver policy can not be updated'],
  [{}, { mem_storage: true }, 'storage type can not be updated'],
  [PUSH, { ...PUSH, direct: true }, 'direct can not be updated'],
  [{}, { sourcing: true }, 'sourcing can not be updated'],
  [
    { deliver_policy: 'by_start_sequence', opt_start_seq: 1 },
    { deliver_policy: 'by_start_sequence', opt_start_seq: 2 },
    'start sequence can not be updated',
  ],
  [
    { deliver_policy: 'by_start_time', opt_start_time: '2026-01-01T00:00:00Z' },
    { deliver_policy: 'by_start_time', opt_start_time: '2026-01-01T00:00:01Z' },
    'start time can not be updated',
  ],
  [{}, { ack_policy: 'all' }, 'ack policy can not be updated'],
  [{}, { replay_policy: 'original' }, 'replay policy can not be updated'],
  [PUSH, { ...PUSH, idle_heartbeat: 2000 }, 'heart beats can not be updated'],
  [PUSH, { ...PUSH, flow_control: false }, 'flow control can not be updated'],
  [{}, { deliver_subject: 'q' }, 'can not update pull consumer to push based'],
  [{ deliver_subject: 'q' }, {}, 'can not update push consumer to pull based'],
  [{}, { max_waiting: 3 }, 'max waiting can not be updated'],
])('%j cannot become %j', (before, after, why) => {
  expect(verdict(() => checkUpdate(consumer(before), consumer(after)))).toBe(`500 10012 ${why}`);
});

test('the rest may change; a deliver subject only while nobody listens on it', () => {
  const durable = consumer({ durable_name: 'd', ack_policy: 'explicit' });
  const other = consumer({
    durable_name: 'd',
    ack_policy: 'explicit',
    description: 'x',
    ack_wait: 5000,
    max_deliver: 5,
    backoff: [1, 2],
    filter_subject: 'a.b',
    sample_freq: '5%',
    max_ack_pending: 5,
    headers_only: true,
    max_batch: 4,
    max_expires: 5000,
    max_bytes: 6,
    inactive_threshold: 7000,
    num_replicas: 1,
    metadata: { a: 'b' },
  });
  expect(verdict(() => checkUpdate(durable, other))).toBe('fine');
  const same = { deliver_policy: 'by_start_time', opt_start_time: '2026-01-01T00:00:00Z' } as const;
  const zoned = { ...same, opt_start_time: '2026-01-01T02:00:00+02:00' };
  expect(verdict(() => checkUpdate(consumer(same), consumer(zoned)))).toBe('fine');
  const moved = consumer({ ...PUSH, deliver_subject: 'r', deliver_group: 'g', rate_limit_bps: 5 });
  expect(verdict(() => checkUpdate(consumer(PUSH), moved))).toBe('fine');
  expect(verdict(() => checkUpdate(consumer(PUSH), moved, true))).toBe(
    '400 10013 consumer name already in use',
  );
});
