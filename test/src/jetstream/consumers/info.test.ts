// How a consumer is shown, in nats-server's words.

import { expect, test } from 'vitest';
import { readConfig } from '../../../../src/jetstream/consumers/config.ts';
import {
  consumerInfo,
  hubConsumerInfo,
  type ShownConsumer,
} from '../../../../src/jetstream/consumers/info.ts';
import { wireConsumer, type WireConsumer } from '../../../../src/jetstream/consumers/wire.ts';

const NOW_MS = Date.parse('2026-01-02T03:04:05.500Z');
const CREATED_MS = Date.parse('2026-01-01T00:00:00.000Z');

function shown(given: Partial<WireConsumer>, more: Partial<ShownConsumer> = {}): ShownConsumer {
  const stream = { retention: 'limits', subjects: ['a'] } as const;
  return {
    streamName: 'S',
    config: readConfig(wireConsumer({ name: 'c', ...given }), stream, {
      name: '',
      pedantic: false,
    }),
    createdMs: CREATED_MS,
    pauseRemainingMs: 0,
    outlet: {},
    state: () => ({
      delivered: { consumerSeq: 3, streamSeq: 5, lastActiveMs: CREATED_MS + 1 },
      ackFloor: { consumerSeq: 1, streamSeq: 2 },
      ackPending: 2,
      redelivered: 1,
      waiting: 4,
      pending: 6,
      pushBound: false,
    }),
    ...more,
  };
}

const options = { nowMs: NOW_MS, version: undefined };

test('a consumer is shown with its configuration, where it stands, and when', () => {
  expect(consumerInfo(shown({}), options)).toEqual({
    stream_name: 'S',
    name: 'c',
    created: '2026-01-01T00:00:00Z',
    config: {
      name: 'c',
      deliver_policy: 'all',
      ack_policy: 'none',
      max_deliver: -1,
      replay_policy: 'instant',
      max_waiting: 512,
      inactive_threshold: 5e9,
      num_replicas: 0,
      metadata: { '_nats.req.level': '0' },
    },
    delivered: { consumer_seq: 3, stream_seq: 5, last_active: '2026-01-01T00:00:00.001Z' },
    ack_floor: { consumer_seq: 1, stream_seq: 2 },
    num_ack_pending: 2,
    num_redelivered: 1,
    num_waiting: 4,
    num_pending: 6,
    ts: '2026-01-02T03:04:05.5Z',
  });
});

test('what is off is left out; what is on is said', () => {
  const state = { ...shown({}).state(), pushBound: true };
  const bound = shown({ deliver_subject: 'q' }, { state: () => state, pauseRemainingMs: 1500 });
  expect(consumerInfo(bound, options)).toMatchObject({
    push_bound: true,
    paused: true,
    pause_remaining: 1_500_000_000,
  });
});

test('who holds the pin is shown, and nobody as nobody', () => {
  const pinned = { priority_policy: 'pinned_client', priority_groups: ['g'] } as const;
  const none = { group: 'g', pinned_ts: '0001-01-01T00:00:00Z' };
  expect(consumerInfo(shown(pinned), options)).toMatchObject({ priority_groups: [none] });
  const pin = { id: '', sinceMs: undefined, takeAway: () => true };
  const empty = consumerInfo(shown(pinned, { outlet: { pin } }), options);
  expect(Object.entries(empty)).toContainEqual(['priority_groups', [none]]);
  const held = { ...pin, id: 'x', sinceMs: CREATED_MS };
  const info = consumerInfo(shown(pinned, { outlet: { pin: held } }), options);
  expect(info).toMatchObject({
    priority_groups: [{ group: 'g', pinned_client_id: 'x', pinned_ts: '2026-01-01T00:00:00Z' }],
  });
});

test('the forwarder is a durable pull consumer that acknowledges all up to its mark', () => {
  const stream = { name: 'S', createdMs: CREATED_MS, firstSeq: 4, durableSeq: 20 };
  const mark = { seq: 12, id: '', hubSeq: 0, hubCreated: '' };
  expect(hubConsumerInfo({ ...stream, mark }, options)).toMatchObject({
    stream_name: 'S',
    name: 'hub',
    config: { durable_name: 'hub', ack_policy: 'all', deliver_policy: 'all' },
    delivered: { consumer_seq: 12, stream_seq: 12 },
    ack_floor: { consumer_seq: 12, stream_seq: 12 },
    num_pending: 8,
  });
  expect(
    hubConsumerInfo({ ...stream, mark: null }, options),
    'what is gone is not pending',
  ).toMatchObject({ num_pending: 17, delivered: { consumer_seq: 0, stream_seq: 0 } });
});
