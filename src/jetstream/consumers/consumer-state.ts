// How far a consumer is, for an answer.

import type { AckState } from './ack-state.ts';
import type { ConsumerConfig, ConsumerState, Outlet } from './types.ts';

/** The consumer that is spoken of. */
export interface StateHost {
  readonly config: ConsumerConfig;
  readonly progress: AckState;
  readonly outlet: Outlet;
  readonly isPull: boolean;
  readonly pending: number;
  readonly nextSeq: number;
}

/** Its state; `lastActiveMs` of the wall clock, undefined for never. */
export function consumerState(
  { config, progress, outlet, isPull, pending, nextSeq }: StateHost,
  lastActiveMs: { readonly delivery: number | undefined; readonly ack: number | undefined },
): ConsumerState {
  const { delivered, floor, redelivered } = progress;
  // With several filters, and nothing delivered yet, it says how far it has looked, as in nats-server.
  const hasLooked = delivered.streamSeq === 0 && config.filterSubjects.length > 1;
  const streamSeq = hasLooked ? nextSeq - 1 : delivered.streamSeq;
  return {
    delivered: { ...delivered, streamSeq, lastActiveMs: lastActiveMs.delivery },
    ackFloor: { ...floor, lastActiveMs: lastActiveMs.ack },
    ackPending: progress.pending.size,
    redelivered: config.maxDeliver === 1 ? 0 : redelivered,
    waiting: isPull ? outlet.waiting : 0,
    pending,
    pushBound: outlet.bound,
  };
}
