// What comes while a consumer cannot take it: acks, while it finds out what it has delivered; acks and requests in the
// middle of a delivery, from somebody within this process who answers before it has returned.

/** So many wait; what comes beyond it goes unanswered, and its client asks again. */
const EARLY_MAX = 10_000;

export class Early {
  #waiting: (() => void)[] = [];

  add(fn: () => void): void {
    if (this.#waiting.length < EARLY_MAX) this.#waiting.push(fn);
  }

  /** They are taken now, in the order in which they came. */
  take(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) each();
  }
}
