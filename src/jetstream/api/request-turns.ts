// Spreads requests over the turns of the event loop: one that comes when this turn has spent its time waits for the next,
// behind those that wait already. A megabyte of small requests in one read, or one that takes long, so holds up nobody
// else for longer than a turn and one request. How many may wait is bounded by who calls (Lanes).

import type { Clock } from '../../clock.ts';

/** Of one turn, for all requests together. */
const TURN_MS = 4;

export class RequestTurns {
  readonly #clock: Clock;
  #waiting: (() => void)[] = [];
  #usedMs = 0;
  #scheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `body` now or in a later turn; what it returns or throws is what the caller gets. */
  run<T>(body: () => T | Promise<T>): T | Promise<T> {
    if (this.#waiting.length === 0 && this.#usedMs < TURN_MS) return this.#timed(body);
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(this.#timed(body));
        } catch (error) {
          reject(error);
        }
      });
      this.#schedule();
    });
  }

  #timed<T>(body: () => T): T {
    const beganMs = this.#clock.monotonicMs();
    try {
      return body();
    } finally {
      this.#usedMs += this.#clock.monotonicMs() - beganMs;
      if (this.#usedMs > 0) this.#schedule();
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    this.#usedMs = 0;
    let at = 0;
    while (at < this.#waiting.length && this.#usedMs < TURN_MS) this.#waiting[at++]?.();
    if (at > 0) this.#waiting = this.#waiting.slice(at);
    if (this.#waiting.length > 0) this.#schedule();
  }
}
