// Long work on a stream, a few milliseconds at a time: everybody else has their turn in between. All who have such work
// share the slices: a thousand consumers that count what they have missed hold the loop no longer than one.

import type { Cancel, Clock } from '../clock.ts';
import type { Store } from './store.ts';

/** How long to wait for room on the disk before work goes on. */
const RETRY_MS = 100;

/**
 * Those who wait for their next slice, in the order in which they came: however many there are, one has it in each turn,
 * for a slice is as much as a turn can bear. Each is bounded where it begins: streams, consumers, requests under way.
 */
class Waiting {
  readonly #clock: Clock;
  #first: (() => void)[] = [];
  #others: (() => void)[] = [];
  #isArmed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(run: () => void): void {
    this.#others.push(run);
    this.#arm();
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#clock.soon(() => {
      this.#isArmed = false;
      if (this.#first.length === 0) {
        this.#first = this.#others.reverse();
        this.#others = [];
      }
      const run = this.#first.pop();
      if (this.#first.length + this.#others.length > 0) this.#arm();
      run?.();
    });
  }
}

const waiting = new WeakMap<Clock, Waiting>();

/** Runs `fn` in a turn in which no other slice runs. */
export function nextSlice(clock: Clock, fn: () => void): void {
  let all = waiting.get(clock);
  if (all === undefined) waiting.set(clock, (all = new Waiting(clock)));
  all.add(fn);
}

/** Runs `step` now, and again slice after slice until it returns true. */
export function inSlices(clock: Clock, step: () => boolean): Cancel {
  let cancelled = false;
  const run = (): void => {
    if (!cancelled && !step()) nextSlice(clock, run);
  };
  run();
  return () => {
    cancelled = true;
  };
}

/**
 * Resolves when the disk has everything that is queued now. Removals stay queued when the disk is full, and are
 * waited for.
 */
export function durable(store: Store, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const wait = (): void =>
      store.whenDurable((error) => {
        if (error === null) resolve();
        else clock.after(RETRY_MS, wait);
      });
    wait();
  });
}

/** Resolves when the next slice may be taken, in a turn to come. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => nextSlice(clock, resolve));
}
