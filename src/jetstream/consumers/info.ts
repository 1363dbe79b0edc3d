// How a consumer is shown in an answer; and the forwarder's mark of a stream, shown as a consumer that nobody made.

import { msToTime, ZERO_TIME } from '../api/rfc3339.ts';
import type { ForwardMark } from '../stream-types.ts';
import { configToWire } from './config.ts';
import type { ConsumerConfig, ConsumerState, Outlet, SequencePair } from './types.ts';

/** The consumer as which a stream's forwarder is shown. */
export const HUB_CONSUMER = 'hub';

/** What an answer needs of a consumer. */
export interface ShownConsumer {
  readonly streamName: string;
  readonly config: ConsumerConfig;
  readonly createdMs: number;
  readonly pauseRemainingMs: number;
  state(): ConsumerState;
  readonly outlet: Pick<Outlet, 'pin'>;
}

/** What an answer needs of a stream that is forwarded. */
export interface ForwardedStream {
  readonly name: string;
  readonly createdMs: number;
  readonly mark: ForwardMark | null;
  readonly firstSeq: number;
  readonly durableSeq: number;
}

export interface ConsumerInfoOptions {
  /** Wall clock. */
  readonly nowMs: number;
  /** As which server we answer, in the metadata; undefined where the answer is about many consumers. */
  readonly version: string | undefined;
}

/** nats-server's ConsumerInfo. */
export function consumerInfo(consumer: ShownConsumer, options: ConsumerInfoOptions): object {
  const { config, pauseRemainingMs } = consumer;
  const state = consumer.state();
  const [group] = config.pull?.priority?.groups ?? [];
  return {
    stream_name: consumer.streamName,
    name: config.name,
    created: msToTime(consumer.createdMs),
    config: configToWire(config, options.version),
    ...wireState(state),
    ...(state.pushBound ? { push_bound: true } : {}),
    ...(pauseRemainingMs > 0
      ? { paused: true, pause_remaining: Math.round(pauseRemainingMs * 1e6) }
      : {}),
    ts: msToTime(options.nowMs),
    ...(group === undefined
      ? {}
      : { priority_groups: [priorityGroup(group, consumer.outlet.pin)] }),
  };
}

function priorityGroup(group: string, pin: Outlet['pin']): object {
  if (pin === undefined || pin.id === '') return { group, pinned_ts: ZERO_TIME };
  const since = pin.sinceMs === undefined ? ZERO_TIME : msToTime(pin.sinceMs);
  return { group, pinned_client_id: pin.id, pinned_ts: since };
}

function wireState(state: Omit<ConsumerState, 'pushBound'>): object {
  return {
    delivered: wirePair(state.delivered),
    ack_floor: wirePair(state.ackFloor),
    num_ack_pending: state.ackPending,
    num_redelivered: state.redelivered,
    num_waiting: state.waiting,
    num_pending: state.pending,
  };
}

function wirePair({ consumerSeq, streamSeq, lastActiveMs }: SequencePair): object {
  return {
    consumer_seq: consumerSeq,
    stream_seq: streamSeq,
    ...(lastActiveMs === undefined ? {} : { last_active: msToTime(lastActiveMs) }),
  };
}

const HUB_CONFIG: ConsumerConfig = {
  name: HUB_CONSUMER,
  durable: true,
  description:
    'What the hub has confirmed. It belongs to the gateway: it can be read, not changed.',
  deliverPolicy: 'all',
  ackPolicy: 'all',
  ackWaitMs: 30_000,
  maxDeliver: -1,
  filterSubjects: [],
  replayPolicy: 'instant',
  maxAckPending: -1,
  pull: { maxWaiting: 1 },
};

/** What a stream's forwarder has brought to the hub, as a ConsumerInfo. */
export function hubConsumerInfo(stream: ForwardedStream, options: ConsumerInfoOptions): object {
  const seq = stream.mark?.seq ?? 0;
  const pair = { consumerSeq: seq, streamSeq: seq };
  return {
    stream_name: stream.name,
    name: HUB_CONSUMER,
    created: msToTime(stream.createdMs),
    config: configToWire(HUB_CONFIG, options.version),
    ...wireState({
      delivered: pair,
      ackFloor: pair,
      ackPending: 0,
      redelivered: 0,
      waiting: 0,
      pending: Math.max(0, stream.durableSeq - Math.max(seq, stream.firstSeq - 1)),
    }),
    ts: msToTime(options.nowMs),
  };
}
