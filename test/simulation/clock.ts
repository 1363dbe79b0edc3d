// The time of one simulated process: it stops for good when the process is killed, so that nothing of a dead process
// ever happens again, and it starts anywhere, as monotonic time does after a boot.

import type { Cancel, Clock } from '../../src/clock.ts';
import type { FakeClock } from '../support/fake-clock.ts';

export class ProcessClock implements Clock {
  readonly #world: FakeClock;
  readonly #offsetMs: number;
  #dead = false;

  constructor(world: FakeClock, startMs: number) {
    this.#world = world;
    this.#offsetMs = startMs - world.monotonicMs();
  }

  kill(): void {
    this.#dead = true;
  }

  monotonicMs(): number {
    return this.#world.monotonicMs() + this.#offsetMs;
  }

  wallMs(): number {
    return this.#world.wallMs();
  }

  after(ms: number, fn: () => void): Cancel {
    return this.#world.after(ms, () => {
      if (!this.#dead) fn();
    });
  }

  soon(fn: () => void): void {
    this.#world.soon(() => {
      if (!this.#dead) fn();
    });
  }
}

/** Lets every promise and stream event that needs no time happen. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
