// Wakes a paused consumer when its pause is over. The end is wall-clock time, which may be set meanwhile: the timer looks
// again.

import type { Cancel, Clock } from '../../clock.ts';

/** The wall clock is looked at this often. */
const LOOK_MS = 60_000;

export class PauseTimer {
  readonly #clock: Clock;
  readonly #over: () => void;
  #cancel: Cancel | undefined;

  constructor(clock: Clock, over: () => void) {
    this.#clock = clock;
    this.#over = over;
  }

  /** Waits for `untilMs`; undefined, or a time that is past, ends the waiting without a call. */
  begin(untilMs: number | undefined): void {
    this.close();
    const leftMs = (untilMs ?? 0) - this.#clock.wallMs();
    if (untilMs !== undefined && leftMs > 0) this.#arm(untilMs, leftMs);
  }

  #arm(untilMs: number, leftMs: number): void {
    this.#cancel = this.#clock.after(Math.min(leftMs, LOOK_MS), () => {
      const stillMs = untilMs - this.#clock.wallMs();
      if (stillMs > 0) return this.#arm(untilMs, stillMs);
      this.#cancel = undefined;
      this.#over();
    });
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
