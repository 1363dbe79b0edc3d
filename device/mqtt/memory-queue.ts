// The queue of a clean session: it ends with its connection, so memory is enough. Bounded by a count of its own and by
// the bytes that all queues in memory share.

import { Fifo } from './fifo.ts';
import type { Budget } from './limits.ts';
import type { DeliveryQueue, QueuedMessage } from './queue.ts';

export class MemoryQueue implements DeliveryQueue {
  readonly #messagesMax: number;
  readonly #budget: Budget;
  readonly #taken = new Map<number, Buffer>();
  readonly #waiting = new Fifo<QueuedMessage>();
  #lastSeq = 0;
  #durableSeq = 0;
  #bytes = 0;

  constructor(messagesMax: number, budget: Budget) {
    this.#messagesMax = messagesMax;
    this.#budget = budget;
  }

  get messages(): number {
    return this.#waiting.length + this.#taken.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(value: Buffer): boolean {
    if (this.messages >= this.#messagesMax || !this.#budget.take(value.length)) return false;
    this.#bytes += value.length;
    this.#waiting.push({ seq: ++this.#lastSeq, value });
    return true;
  }

  /** It needs no disk itself, only the answer: nothing is refused. */
  seal(): () => number {
    const to = this.#lastSeq;
    return () => {
      this.#durableSeq = Math.max(this.#durableSeq, to);
      return 0;
    };
  }

  next(): QueuedMessage | undefined {
    const first = this.#waiting.peek();
    if (first === undefined || first.seq > this.#durableSeq) return undefined;
    this.#taken.set(first.seq, first.value);
    return this.#waiting.shift();
  }

  read(seq: number): Buffer | undefined {
    return this.#taken.get(seq);
  }

  remove({ seq, bytes }: { seq: number; bytes: number }): void {
    if (this.#taken.delete(seq)) this.#release(bytes);
  }

  rest(): void {
    // The session ends with its connection.
  }

  clear(): void {
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
    this.#waiting.clear();
    this.#taken.clear();
  }

  #release(bytes: number): void {
    this.#bytes -= bytes;
    this.#budget.give(bytes);
  }
}
