// How much goes to the hub at once. A batch is as large as the link moves in about a second: larger would hold up the
// keep-alive and lose more with a cut, smaller would wait for round trips. Failures halve it, down to one message.

import { BATCH_MESSAGES_MAX } from './hub.ts';

/** The first batch, and the first after each reconnect: the link may be another one. */
export const START_BYTES = 64 * 1024;
/** No batch is larger: it is in memory twice, as records and as bytes to send. */
export const BATCH_BYTES_MAX = 2 * 1024 * 1024;
/** No limit goes below this: a few small messages even on the worst line. */
const BYTES_MIN = 1024;
/** Faster acknowledgements let batches grow, slower ones shrink them to what passes in one second. */
const QUICK_MS = 1_000;
const SLOW_MS = 2_000;
/** The slowest line that one large message shall still cross (64 kbit/s). */
const SLOWEST_BYTES_PER_MS = 8;
/** Silence borne for one message, at most. */
const PATIENCE_MAX_MS = 10 * 60 * 1000;

export class BatchSize {
  #bytes = START_BYTES;
  #messages = BATCH_MESSAGES_MAX;
  #slowFailures = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get messages(): number {
    return this.#messages;
  }

  /** The hub acknowledged `bytes` after `elapsedMs`. */
  acknowledged(bytes: number, elapsedMs: number): void {
    this.#slowFailures = 0;
    this.#messages = Math.min(BATCH_MESSAGES_MAX, this.#messages * 2);
    if (elapsedMs < QUICK_MS) {
      // Only what was filled has shown that it fits.
      if (bytes >= this.#bytes / 2) this.#bytes = Math.min(BATCH_BYTES_MAX, this.#bytes * 2);
    } else if (elapsedMs > SLOW_MS) {
      this.#bytes = Math.max(BYTES_MIN, Math.floor((bytes * QUICK_MS) / elapsedMs));
    }
  }

  /** The hub refused a batch of `messages`: one of them may be why. */
  refused(messages: number): void {
    this.#messages = Math.max(1, Math.ceil(messages / 2));
  }

  /** The next batch is one message. */
  alone(): void {
    this.#messages = 1;
  }

  /** No answer, or the link was lost while a batch was under way: it may have been too much for the line. */
  unanswered(messages: number): void {
    this.#bytes = Math.max(BYTES_MIN, Math.floor(this.#bytes / 2));
    if (messages === 1) this.#slowFailures++;
  }

  /** A new link. */
  reconnected(): void {
    this.#bytes = Math.min(this.#bytes, START_BYTES);
  }

  /** How much more silence than the keep-alive to bear for a publish of these: nothing, but for one large message. */
  patienceMs(messages: number, bytes: number): number {
    if (messages > 1 || (bytes <= START_BYTES && this.#slowFailures === 0)) return 0;
    const growth = 2 ** Math.min(this.#slowFailures, 10);
    return Math.min(PATIENCE_MAX_MS, (bytes / SLOWEST_BYTES_PER_MS) * growth);
  }
}
