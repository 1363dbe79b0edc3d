// Lets all consumers deliver in turns of a few milliseconds together, so that whoever else uses the loop waits no longer
// than that, and no consumer waits for another to finish.

import type { Clock } from '../../clock.ts';

/** All deliveries of one turn of the loop. */
const TURN_MS = 4;
/** One consumer's share of it, where others wait. */
const SHARE_MS = 1;

/**
 * Those that delivered last keep what they have read ahead, 128 KiB each: 32 MiB. With more of them at work, each reads
 * again at its turn.
 */
const AHEAD_CONSUMERS_MAX = 256;

/** Delivers until it has nothing more to do now (false) or `untilMs` of the clock is past (true). */
export interface Deliverer {
  deliver(untilMs: number): boolean;
  /** Forgets what it has read ahead. */
  rest(): void;
}

export class DeliveryTurns {
  readonly #clock: Clock;
  #waiting = new Set<Deliverer>();
  /** Those that may have read ahead, the last one last. */
  readonly #ahead = new Set<Deliverer>();
  #scheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `deliverer` has something to do in the next turn. */
  add(deliverer: Deliverer): void {
    this.#waiting.add(deliverer);
    this.#schedule();
  }

  /** It delivers nothing for now. */
  delete(deliverer: Deliverer): void {
    this.#waiting.delete(deliverer);
    if (this.#ahead.delete(deliverer)) deliverer.rest();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  #turn(): void {
    const endMs = this.#clock.monotonicMs() + TURN_MS;
    // Those that are not done go to the end, and the loop comes back to them.
    for (const deliverer of this.#waiting) {
      const nowMs = this.#clock.monotonicMs();
      if (nowMs >= endMs) break;
      this.#waiting.delete(deliverer);
      this.#readsAhead(deliverer);
      if (deliverer.deliver(Math.min(nowMs + SHARE_MS, endMs))) this.#waiting.add(deliverer);
    }
    if (this.#waiting.size > 0) this.#schedule();
  }

  #readsAhead(deliverer: Deliverer): void {
    this.#ahead.delete(deliverer);
    this.#ahead.add(deliverer);
    if (this.#ahead.size <= AHEAD_CONSUMERS_MAX) return;
    const [first] = this.#ahead;
    if (first === undefined) return;
    this.#ahead.delete(first);
    first.rest();
  }
}
