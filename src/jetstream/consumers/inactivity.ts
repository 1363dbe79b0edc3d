// Ends a consumer that nobody has used for as long as its inactive threshold says (ADR-8); one timer, which looks again
// when it runs.

import type { Cancel, Clock } from '../../clock.ts';

/** An ephemeral consumer without a threshold of its own. */
export const EPHEMERAL_MS = 5_000;
/** A pull consumer lives this much longer: its next request may be on the way. */
const PULL_GRACE_MS = 500;

export interface InactivityHost {
  readonly isPull: boolean;
  /** Somebody waits for messages at this moment. */
  readonly inUse: boolean;
  /** It is needed even while nobody waits. */
  readonly isKept: boolean;
  /** When the last ack is expected, in monotonic time. */
  readonly lastDueMs: number | undefined;
  expired(): void;
}

export class Inactivity {
  readonly #host: InactivityHost;
  readonly #clock: Clock;
  #thresholdMs: number | undefined;
  #usedMs: number;
  #cancel: Cancel | undefined;

  constructor(host: InactivityHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
    this.#usedMs = clock.monotonicMs();
  }

  /** It is in use now. */
  used(): void {
    this.#usedMs = this.#clock.monotonicMs();
  }

  /** Puts a threshold in force; undefined for none. The time begins anew. */
  begin(thresholdMs: number | undefined): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.used();
    if (thresholdMs === undefined) return;
    this.#thresholdMs = thresholdMs + (this.#host.isPull ? PULL_GRACE_MS : 0);
    this.#arm(this.#thresholdMs);
  }

  #arm(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => this.#look());
  }

  #look(): void {
    const thresholdMs = this.#thresholdMs ?? 0;
    const nowMs = this.#clock.monotonicMs();
    if (this.#host.inUse || this.#host.isKept) this.#usedMs = nowMs;
    let leftMs = this.#usedMs + thresholdMs - nowMs;
    // It may be at work on what it got: an ack may come that late.
    if (leftMs <= 0 && this.#host.isPull)
      leftMs = (this.#host.lastDueMs ?? -Infinity) + thresholdMs - nowMs;
    // Once more where it cannot be deleted, as on a full disk; being closed ends that.
    this.#arm(leftMs > 0 ? leftMs : thresholdMs);
    if (leftMs <= 0) this.#host.expired();
  }

  close(): void {
    this.#cancel?.();
  }
}
