// The queue of a session that ends with its connection: memory is enough. Bounded by a count of its own and by the bytes
// that all queues in memory share.

import { Fifo } from './fifo.ts';
import type { Budget } from '../limits.ts';
import {
  MARKER,
  type Delivery,
  type DeliveryQueue,
  type Loss,
  type QueuedMessage,
} from './queue.ts';

export interface MemoryLimits {
  readonly messagesMax: number;
  /** Messages of all queues. */
  readonly total: Budget;
  /** Bytes of all queues in memory. */
  readonly memory: Budget;
  /** At the limit the newest goes, or the oldest that was not sent. */
  readonly discard: 'new' | 'old';
  lost(loss: Loss, messages: number): void;
}

export class MemoryQueue implements DeliveryQueue {
  readonly durable = false;
  readonly doubtfulSeq = 0;
  readonly #limits: MemoryLimits;
  readonly #taken = new Map<number, Delivery | undefined>();
  readonly #waiting = new Fifo<QueuedMessage>();
  #lastSeq = 0;
  #durableSeq = 0;
  #bytes = 0;
  /** No waiting message expires before. */
  #expiresMs = Number.POSITIVE_INFINITY;

  constructor(limits: MemoryLimits) {
    this.#limits = limits;
  }

  get messages(): number {
    return this.#waiting.length + this.#taken.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  push(delivery: Delivery, nowMs: number, mayDrop: boolean): number {
    const { bytes } = delivery;
    const { total, memory, discard } = this.#limits;
    if (!this.#fits(bytes) && nowMs >= this.#expiresMs) this.#dropExpired(nowMs);
    if (mayDrop && discard === 'old' && bytes <= memory.max)
      while (!this.#fits(bytes) && this.#dropOldest());
    if (!this.#fits(bytes)) return 0;
    total.force(1);
    memory.force(bytes);
    this.#bytes += bytes;
    this.#expiresMs = Math.min(this.#expiresMs, delivery.expiresMs);
    this.#waiting.push({ seq: ++this.#lastSeq, delivery });
    return this.#lastSeq;
  }

  /** It needs no disk itself, only the answer: nothing of it is refused. */
  settle(seq: number): void {
    this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  peek(): QueuedMessage | undefined {
    const first = this.#waiting.peek();
    return first === undefined || first.seq > this.#durableSeq ? undefined : first;
  }

  take(): void {
    const first = this.#waiting.shift();
    if (first !== undefined) this.#taken.set(first.seq, first.delivery);
  }

  read(seq: number): Delivery | undefined {
    return this.#taken.get(seq);
  }

  mark(seq: number): void {
    this.#taken.set(seq, undefined);
  }

  marked(_seq: number, bytes: number): number {
    this.#release(bytes - MARKER.length);
    return MARKER.length;
  }

  remove(seq: number, bytes: number): void {
    if (this.#taken.delete(seq)) this.#forget(bytes);
  }

  *waiting(): Iterable<Delivery> {
    for (const { delivery } of this.#waiting.items()) yield delivery;
  }

  rest(): void {
    // The session ends with its connection.
  }

  clear(): void {
    this.#limits.total.give(this.messages);
    this.#release(this.#bytes);
    this.#waiting.clear();
    this.#taken.clear();
  }

  #fits(bytes: number): boolean {
    const { messagesMax, total, memory } = this.#limits;
    const { messages } = this;
    if (messages >= messagesMax || !total.allows(messages, 1)) return false;
    return memory.allows(this.#bytes, bytes);
  }

  #dropExpired(nowMs: number): void {
    const expired = this.#waiting.extract(({ delivery }) => delivery.expiresMs <= nowMs);
    this.#expiresMs = Number.POSITIVE_INFINITY;
    for (const { delivery } of this.#waiting.items())
      this.#expiresMs = Math.min(this.#expiresMs, delivery.expiresMs);
    for (const { delivery } of expired) this.#forget(delivery.bytes);
    if (expired.length > 0) this.#limits.lost('expired', expired.length);
  }

  #dropOldest(): boolean {
    const oldest = this.#waiting.shift();
    if (oldest === undefined) return false;
    this.#forget(oldest.delivery.bytes);
    this.#limits.lost('full', 1);
    return true;
  }

  #forget(bytes: number): void {
    this.#limits.total.give(1);
    this.#release(bytes);
  }

  #release(bytes: number): void {
    this.#bytes -= bytes;
    this.#limits.memory.give(bytes);
  }
}
