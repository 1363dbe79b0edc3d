// How many messages of a fast batch may be on their way: as many as the line and the hub work through without a queue
// that holds up a ping. Grown while acknowledgements come as soon as the line allows, shrunk when they begin to wait
// behind one another (the idea of TCP Vegas), so that a slow line holds half a second of data and a long one is filled.

/** The first window, and the least: a hub that shares its flow with many grants a few messages at a time. */
const START_MESSAGES = 128;
const MESSAGES_MIN = 2;
/** Never more: some 70,000 msg/s over 500 ms. What is in flight is not kept in memory, but for what the socket holds. */
export const FLOW_MESSAGES_MAX = 40_000;
/** A queue below both lets the window grow, one above either shrinks it. nats-server drops what is behind 10,000. */
const QUEUE = { growMs: 100, shrinkMs: 300, growMessages: 3_500, shrinkMessages: 6_000 } as const;

export class FlowWindow {
  #messages = START_MESSAGES;
  #fastestMs = Number.POSITIVE_INFINITY;
  /** Doubles per round trip until the first queue. */
  #starting = true;

  get messages(): number {
    return this.#messages;
  }

  /** The shortest time an acknowledgement took. */
  get roundTripMs(): number {
    return Number.isFinite(this.#fastestMs) ? this.#fastestMs : 0;
  }

  /**
   * `count` more messages were acknowledged, the last of them `elapsedMs` after it was sent; `full` says whether the
   * window was what held us up.
   */
  acknowledged(count: number, elapsedMs: number, full: boolean): void {
    const tookMs = Math.max(elapsedMs, 0.05);
    this.#fastestMs = Math.min(this.#fastestMs, tookMs);
    const queueMs = tookMs - this.#fastestMs;
    const queued = (this.#messages * queueMs) / tookMs;
    if (queueMs > QUEUE.shrinkMs || queued > QUEUE.shrinkMessages) {
      this.#starting = false;
      const excess = Math.max(
        (queueMs - QUEUE.growMs) / tookMs,
        (queued - QUEUE.growMessages) / this.#messages,
      );
      const keep = Math.max(1 - excess, 0.5);
      // Once per window, not per acknowledgement of it.
      const share = Math.min(1, count / this.#messages);
      this.#set(this.#messages * (1 - (1 - keep) * share));
    } else if (full && queueMs < QUEUE.growMs && queued < QUEUE.growMessages) {
      this.#set(this.#messages + (this.#starting ? count : count / 8));
    }
  }

  /** A batch failed: what was in flight may have been too much. */
  failed(): void {
    this.#starting = false;
    this.#set(this.#messages / 2);
  }

  /** A batch is open, after a round trip with nothing else on the line. */
  opened(roundTripMs: number): void {
    this.#fastestMs = Math.max(roundTripMs, 0.05);
  }

  /** A new link, perhaps another line. */
  restart(): void {
    this.#messages = Math.min(this.#messages, START_MESSAGES);
    this.#starting = true;
  }

  #set(messages: number): void {
    this.#messages = Math.min(FLOW_MESSAGES_MAX, Math.max(MESSAGES_MIN, messages));
  }
}
