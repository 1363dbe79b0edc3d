// How long to wait before the next attempt: exponential with full jitter, so that a fleet that lost its hub in the
// same second does not come back in the same second. The one place that may ask for real randomness.

import { randomInt } from 'node:crypto';

/** The most that randomInt takes. */
const RANGE = 2 ** 48 - 1;

/** A source of numbers in [0, 1). Tests pass a seeded one. */
export type Random = () => number;

/** Nobody can guess what comes next: inboxes and batches are named by it. */
export const systemRandom: Random = () => randomInt(RANGE) / RANGE;

export interface BackoffOptions {
  /** Upper bound of the first delay. */
  readonly baseMs: number;
  /** Upper bound of every delay. */
  readonly capMs: number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempts = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** Attempts since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /** The next delay in ms, drawn evenly from [0, min(cap, base * 2^attempts)]. */
  nextMs(): number {
    const { baseMs, capMs } = this.#options;
    // The exponent is bounded: 2^attempts would be Infinity after a month of attempts.
    const bound = Math.min(capMs, baseMs * 2 ** Math.min(this.#attempts, 40));
    this.#attempts++;
    return Math.floor(this.#random() * (bound + 1));
  }

  /** Begins anew after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
