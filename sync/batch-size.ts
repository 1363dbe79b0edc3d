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
/** What an atomic batch costs the hub before its first message: it makes a store for it (bench/latency.ts). */
const BATCH_COST_MS = 2;
/** So few are sent one by one to learn how long one takes. */
const PROBE_MESSAGES = 8;
/** So many go one by one after the hub had too many batches of others: each try costs two pauses. */
const SOLOS = 100;
/** The weight of what was just seen, and how fast it is forgotten while nothing new is seen. */
const WEIGHT = 0.2;
const FORGET = 0.98;
/** The slowest line that one large message shall still cross (64 kbit/s). */
const SLOWEST_BYTES_PER_MS = 8;
/** Silence borne for one message, at most. */
const PATIENCE_MAX_MS = 10 * 60 * 1000;

export class BatchSize {
  #bytes = START_BYTES;
  #messages = BATCH_MESSAGES_MAX;
  /** What the hub takes in one batch. */
  #most = BATCH_MESSAGES_MAX;
  #solosLeft = 0;
  #slowFailures = 0;
  /** How long a message alone takes to be acknowledged; undefined: not known on this link. */
  #aloneMs: number | undefined;

  get bytes(): number {
    return this.#bytes;
  }

  get messages(): number {
    return this.#messages;
  }

  /** How many of `waiting` messages to send at once: a few on a short line arrive sooner one by one. */
  messagesOf(waiting: number): number {
    const alone =
      this.#solosLeft > 0 ||
      (this.#aloneMs === undefined
        ? waiting <= PROBE_MESSAGES
        : (waiting - 1) * this.#aloneMs < BATCH_COST_MS);
    return alone ? 1 : this.#messages;
  }

  /** A publish of `messages` was acknowledged after `elapsedMs`: tells what messagesOf() has to know. */
  timed(messages: number, elapsedMs: number): void {
    if (this.#solosLeft > 0) this.#solosLeft--;
    if (messages > 1)
      this.#aloneMs = this.#aloneMs === undefined ? undefined : this.#aloneMs * FORGET;
    else this.#aloneMs = elapsedMs * WEIGHT + (this.#aloneMs ?? elapsedMs) * (1 - WEIGHT);
  }

  /** The hub acknowledged `bytes` after `elapsedMs`. */
  acknowledged(bytes: number, elapsedMs: number): void {
    this.#slowFailures = 0;
    this.#messages = Math.min(this.#most, this.#messages * 2);
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

  /** The hub takes `messages` in one batch, a checkpoint included. */
  limit(messages: number): void {
    this.#most = Math.max(1, Math.min(this.#most, messages - 1));
    this.#messages = Math.min(this.#messages, this.#most);
  }

  /** The hub has too many batches of others: for a while the messages go one by one. */
  crowded(): void {
    this.#solosLeft = SOLOS;
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
    this.#aloneMs = undefined;
    this.#most = BATCH_MESSAGES_MAX;
    this.#solosLeft = 0;
  }

  /** How much more silence than the keep-alive to bear for a publish of these: nothing, but for one large message. */
  patienceMs(messages: number, bytes: number): number {
    if (messages > 1 || (bytes <= START_BYTES && this.#slowFailures === 0)) return 0;
    const growth = 2 ** Math.min(this.#slowFailures, 10);
    return Math.min(PATIENCE_MAX_MS, (bytes / SLOWEST_BYTES_PER_MS) * growth);
  }
}
