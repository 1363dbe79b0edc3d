// What a consumer has delivered and not heard of: by sequence, in the order of the sequences, and by when it is due again.

import { Deadlines, type Timed } from './deadlines.ts';

/** One message that was delivered and is not acknowledged. */
export interface PendingMessage extends Timed {
  readonly seq: number;
  /** The consumer sequence of its first delivery. */
  readonly consumerSeq: number;
  deliveries: number;
  /** Monotonic time of the last delivery. */
  sentMs: number;
  before: PendingMessage | undefined;
  behind: PendingMessage | undefined;
}

export class Pending {
  readonly #bySeq = new Map<number, PendingMessage>();
  readonly deadlines = new Deadlines<PendingMessage>();
  #first: PendingMessage | undefined;
  #last: PendingMessage | undefined;

  get size(): number {
    return this.#bySeq.size;
  }

  /** The one with the lowest sequence. */
  get first(): PendingMessage | undefined {
    return this.#first;
  }

  get(seq: number): PendingMessage | undefined {
    return this.#bySeq.get(seq);
  }

  has(seq: number): boolean {
    return this.#bySeq.has(seq);
  }

  all(): Iterable<PendingMessage> {
    return this.#bySeq.values();
  }

  /** Adds a message, with a sequence above all others: first deliveries go in order. */
  add(seq: number, consumerSeq: number, deliveries: number, sentMs: number): PendingMessage {
    const message: PendingMessage = {
      seq,
      consumerSeq,
      deliveries,
      sentMs,
      before: this.#last,
      behind: undefined,
      slot: -1,
      sooner: undefined,
      later: undefined,
    };
    if (this.#last === undefined) this.#first = message;
    else this.#last.behind = message;
    this.#last = message;
    this.#bySeq.set(seq, message);
    return message;
  }

  clear(): void {
    for (const message of this.#bySeq.values()) this.deadlines.clear(message);
    this.#bySeq.clear();
    this.#first = undefined;
    this.#last = undefined;
  }

  delete(message: PendingMessage): void {
    this.#bySeq.delete(message.seq);
    this.deadlines.clear(message);
    const { before, behind } = message;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
  }
}
