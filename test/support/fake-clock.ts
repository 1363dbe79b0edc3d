// A clock that moves only when told to. Timers run in order of their due time, then of their creation.

import type { Cancel, Clock } from '../../src/clock.ts';

interface Timer {
  dueMs: number;
  order: number;
  fn: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  #timers: Timer[] = [];
  #soon: (() => void)[] = [];

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = wallMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  /** Sets the wall clock, as NTP or an operator would; monotonic time does not move. */
  stepWall(wallMs: number): void {
    this.#wallOffsetMs = wallMs - this.#nowMs;
  }

  after(ms: number, fn: () => void): Cancel {
    const timer = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  /** Runs what is due at the end of this turn, until nothing is left. */
  turn(): void {
    while (this.#soon.length > 0) {
      const due = this.#soon;
      this.#soon = [];
      for (const fn of due) fn();
    }
  }

  /** When the next timer is due, or undefined. */
  nextDueMs(): number | undefined {
    return this.#timers.reduce<number | undefined>(
      (least, timer) => (least === undefined || timer.dueMs < least ? timer.dueMs : least),
      undefined,
    );
  }

  /** Moves time forward and runs the timers that fall due on the way, each in a turn of its own. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    this.turn();
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.dueMs <= endMs)
        .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fn();
      this.turn();
    }
    this.#nowMs = endMs;
  }

  /** Like `advance`, but lets promises settle after each timer. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      this.turn();
      await settle();
      this.turn();
      const due = this.nextDueMs();
      if (due === undefined || due > endMs) break;
      this.advance(Math.max(0, due - this.#nowMs));
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** Lets pending promise callbacks run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
