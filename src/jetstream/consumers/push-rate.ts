// The rate limit of a push consumer: a bucket that fills with the bits per second that are allowed, and holds one large
// message. A message larger than the bucket waits until it is full.

export class PushRate {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  #bytes: number;
  #filledMs: number;

  constructor(bitsPerSecond: number, burstBytes: number, nowMs: number) {
    this.#bytesPerMs = bitsPerSecond / 8 / 1000;
    this.#burstBytes = burstBytes;
    this.#bytes = burstBytes;
    this.#filledMs = nowMs;
  }

  /** Milliseconds until a message of `bytes` may go; 0 for now. */
  delayMs(bytes: number, nowMs: number): number {
    this.#fill(nowMs);
    const missing = Math.min(bytes, this.#burstBytes) - this.#bytes;
    return missing <= 0 ? 0 : missing / this.#bytesPerMs;
  }

  /** A message of `bytes` went. */
  spend(bytes: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#bytes -= bytes;
  }

  #fill(nowMs: number): void {
    const filled = this.#bytes + (nowMs - this.#filledMs) * this.#bytesPerMs;
    this.#bytes = Math.min(this.#burstBytes, filled);
    this.#filledMs = nowMs;
  }
}
