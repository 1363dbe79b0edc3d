// When a request to the hub is late. Not while it is still being sent or its answer still comes in: a large one on a slow
// line takes its time.

import type { Cancel, Clock } from '../src/clock.ts';
import { localError, type HubError } from './hub-error.ts';
import type { Wire } from './keep-alive.ts';

/** A request is not late while this much still comes in per timeout. */
const SLOW_ANSWER_BYTES = 512;
/** Times that a deadline may be put off, so that no request lives for ever. */
const EXTENSIONS_MAX = 60;

export interface DeadlineOptions {
  readonly timeoutMs: number;
  /** Called at each look, also while the deadline is put off. */
  readonly looked: () => void;
  readonly expired: (error: HubError) => void;
}

/** Calls `expired` after `timeoutMs`, or as much later as the wire was moving. Returns how to cancel it. */
export function deadline(
  clock: Clock,
  wire: Wire,
  { timeoutMs, looked, expired }: DeadlineOptions,
): Cancel {
  let extensions = 0;
  let received = wire.receivedBytes();
  let unsent = wire.unsentBytes();
  const look = (): void => {
    const nowReceived = wire.receivedBytes();
    const nowUnsent = wire.unsentBytes();
    const moving =
      nowReceived - received >= SLOW_ANSWER_BYTES || (nowUnsent > 0 && nowUnsent < unsent);
    received = nowReceived;
    unsent = nowUnsent;
    looked();
    if (moving && extensions++ < EXTENSIONS_MAX) cancel = clock.after(timeoutMs, look);
    else expired(localError('timeout', `no answer from the hub within ${timeoutMs} ms`));
  };
  let cancel = clock.after(timeoutMs, look);
  return () => cancel();
}
