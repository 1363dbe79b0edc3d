// Notices that a hub cannot be reached any more by the absence of progress: nothing came in, and nothing of ours crossed. A
// megabyte on a narrow line is progress, in either direction, and so is a hub's kernel that takes it; a hub that took a PING
// and stays silent is not. A stall of our own process is not silence.

import { every, type Cancel, type Clock } from '../../src/clock.ts';
import type { Crossing } from './crossing.ts';

/** What is watched; see PacedOutbound. */
export interface Watched {
  readonly crossing: Pick<
    Crossing,
    'ackedMs' | 'movedMs' | 'patienceMs' | 'unackedBytes' | 'unansweredPings'
  >;
  ping(): void;
  look(): Promise<void>;
}

/** Looks per keep-alive. */
const TICKS = 15;
/** Given up so many ticks early: one for the tick itself, and two for a busy machine. */
const SPARE_TICKS = 3;
/** Ticks of silence before the kernel is asked what has crossed. */
const QUIET_TICKS = 2;
/** Ticks between PINGs while bytes come in. */
const BUSY_TICKS = 3;

/**
 * PINGs go out after a third of the keep-alive in silence, and while the hub sends. The latter are for the hub: behind
 * megabytes of its own data neither its PING nor our PONG passes in time, and it gives up who does not answer, unless it
 * hears something of us once in its own interval (which may be as short as 2 s; it is usually 2 minutes).
 */
export class LeafLiveness {
  readonly #clock: Clock;
  readonly #outbound: Watched;
  readonly #received: () => number;
  readonly #dead: (error: Error) => void;
  readonly #keepAliveMs: number;
  readonly #tickMs: number;
  readonly #cancel: Cancel;
  #bytes = 0;
  #heardMs: number;
  #lookedMs: number;
  #pingedMs: number;

  /** `received` counts the bytes that came. Calls `dead` once, within `keepAliveMs` of the last progress. */
  constructor(
    clock: Clock,
    wire: { readonly outbound: Watched; readonly received: () => number },
    keepAliveMs: number,
    dead: (error: Error) => void,
  ) {
    this.#clock = clock;
    this.#outbound = wire.outbound;
    this.#received = wire.received;
    this.#dead = dead;
    this.#keepAliveMs = keepAliveMs;
    this.#tickMs = keepAliveMs / TICKS;
    this.#heardMs = this.#lookedMs = this.#pingedMs = clock.monotonicMs();
    this.#cancel = every(clock, this.#tickMs, () => this.#look());
  }

  stop(): void {
    this.#cancel();
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    const bytes = this.#received();
    const heard = bytes !== this.#bytes;
    // Stopped, suspended or busy: what the network said meanwhile is still unread.
    if (heard || nowMs - this.#lookedMs > 3 * this.#tickMs) this.#heardMs = nowMs;
    this.#bytes = bytes;
    this.#lookedMs = nowMs;
    const { ackedMs, movedMs, patienceMs, unackedBytes } = this.#outbound.crossing;
    const quietMs = nowMs - this.#heardMs;
    // The network takes nothing, or it takes all and the hub does not answer.
    const stuckMs = Math.min(quietMs, nowMs - ackedMs);
    const silentMs = Math.min(quietMs, nowMs - movedMs) - patienceMs;
    if (Math.max(stuckMs, silentMs) >= this.#keepAliveMs - SPARE_TICKS * this.#tickMs) {
      this.#cancel();
      this.#dead(new Error(`nothing crossed for ${Math.round(quietMs / 1000)} s`));
      return;
    }
    if (unackedBytes > 0 && quietMs >= QUIET_TICKS * this.#tickMs) void this.#outbound.look();
    if (nowMs - this.#pingedMs < this.#pauseMs(heard)) return;
    this.#pingedMs = nowMs;
    this.#outbound.ping();
  }

  /** How long after the last PING another one is due. */
  #pauseMs(heard: boolean): number {
    if (!heard) return this.#keepAliveMs / 3;
    const ticks = this.#outbound.crossing.unansweredPings > 0 ? 1 : BUSY_TICKS;
    return ticks * this.#tickMs * 0.9;
  }
}
