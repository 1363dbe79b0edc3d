// The rows that a consumer has besides its own: what is acknowledged above its ack floor, and how often what is not was
// delivered. Here they are as they should be; `write` makes the table so.
//
// A consumer whose first message is never acknowledged acknowledges others above it without end. So the rows have a
// second meaning below a watermark: up to it everything is acknowledged but what has a row. When much is acknowledged
// above the floor, the watermark moves up, and rows stand for what waits, which is bounded, instead of what does not.
//
//   (seq, 0)           acknowledged; above the watermark
//   (seq, n), n > 0    waits for its ack, delivered n times
//   (seq, -1 - n)      was delivered n times, as often as it may be
//   (-seq, -1)         the watermark

import type { ConsumerRows } from './consumer-rows.ts';

/** Acknowledged sequences above the floor that have rows of their own; one more, and the watermark moves. */
export const ACKED_ROWS_MAX = 4096;

const ACKED = 0;

export class SeqRows {
  readonly #rows: Map<number, number>;
  /** On the disk, with whatever value. */
  readonly #stored: Set<number>;
  readonly #dirty = new Set<number>();
  #watermark: number;
  #acked = 0;
  /** Rows at or below the floor are to go. */
  #sweep = false;
  /** All rows are to be written anew. */
  #rewrite = false;
  #writesAll = false;

  constructor(rows: ReadonlyMap<number, number> = new Map(), watermark = 0) {
    this.#rows = new Map(rows);
    this.#stored = new Set(rows.keys());
    this.#watermark = watermark;
    for (const value of rows.values()) if (value === ACKED) this.#acked++;
  }

  /** Whether a delivered `seq` above the floor waits for its ack, as far as rows tell. */
  waits(seq: number): boolean {
    const value = this.#rows.get(seq);
    return value === undefined ? seq > this.#watermark : value > ACKED;
  }

  /** `seq`, above the floor, is acknowledged. `waiting` are those that are not. */
  acked(
    seq: number,
    upTo: number,
    waiting: () => Iterable<{ seq: number; deliveries: number }>,
  ): void {
    if (seq <= this.#watermark) return this.forget(seq);
    this.#set(seq, ACKED);
    if (this.#acked > ACKED_ROWS_MAX) this.#raise(upTo, waiting());
  }

  #raise(upTo: number, waiting: Iterable<{ seq: number; deliveries: number }>): void {
    this.#watermark = upTo;
    this.#rewrite = true;
    for (const [seq, value] of this.#rows) if (value >= ACKED) this.#rows.delete(seq);
    this.#acked = 0;
    this.#dirty.clear();
    for (const { seq, deliveries } of waiting) this.#rows.set(seq, deliveries);
  }

  /** `seq` waits for its ack, delivered `deliveries` times. */
  redelivered(seq: number, deliveries: number): void {
    this.#set(seq, deliveries);
  }

  /** `seq` was delivered as often as it may be. */
  exceeded(seq: number, deliveries: number): void {
    this.#set(seq, -1 - deliveries);
  }

  /** Nothing is to be said of `seq`. */
  forget(seq: number): void {
    const value = this.#rows.get(seq);
    if (value === undefined) return;
    if (value === ACKED) this.#acked--;
    this.#rows.delete(seq);
    if (this.#stored.has(seq)) this.#dirty.add(seq);
    else this.#dirty.delete(seq);
  }

  #set(seq: number, value: number): void {
    const before = this.#rows.get(seq);
    if (before === value) return;
    if (before === ACKED) this.#acked--;
    if (value === ACKED) this.#acked++;
    this.#rows.set(seq, value);
    this.#dirty.add(seq);
  }

  /** The floor moved from `from` to `to`: rows up to it say nothing any more, but those of exceeded messages. */
  floorMoved(from: number, to: number): void {
    if (this.#rows.size === 0) return;
    if (to - from < this.#rows.size) for (let seq = from + 1; seq <= to; seq++) this.#sink(seq);
    else for (const seq of this.#rows.keys()) if (seq <= to) this.#sink(seq);
  }

  #sink(seq: number): void {
    const value = this.#rows.get(seq);
    if (value === undefined || value < ACKED) return;
    if (value === ACKED) this.#acked--;
    this.#rows.delete(seq);
    this.#dirty.delete(seq);
    if (this.#stored.has(seq)) this.#sweep = true;
  }

  /** Everything starts anew: nothing is acknowledged out of order. */
  clear(): void {
    this.#rows.clear();
    this.#dirty.clear();
    this.#acked = 0;
    this.#watermark = 0;
    this.#rewrite = true;
  }

  /** Part of a transaction: additions too (`all`), or only what frees room. */
  write(table: ConsumerRows, floor: number, all: boolean): void {
    this.#writesAll = all;
    if (this.#rewrite) {
      if (!all) return;
      table.deleteSeqs();
      for (const [seq, value] of this.#rows) table.putSeq(seq, value);
      if (this.#watermark > floor) table.putSeq(-this.#watermark, -1);
      return;
    }
    if (this.#sweep) table.deleteSeqsUpTo(floor);
    for (const seq of this.#dirty) {
      const value = this.#rows.get(seq);
      if (value === undefined) table.deleteSeq(seq);
      else if (all) table.putSeq(seq, value);
    }
  }

  /** What `write` has written is in. Returns whether something is left to write. */
  committed(floor: number): boolean {
    if (this.#rewrite) {
      if (!this.#writesAll) return true;
      this.#rewrite = false;
      this.#stored.clear();
      for (const seq of this.#rows.keys()) this.#stored.add(seq);
      this.#dirty.clear();
      this.#sweep = false;
      return false;
    }
    if (this.#sweep)
      for (const seq of this.#stored)
        if (seq <= floor && !this.#rows.has(seq)) this.#stored.delete(seq);
    this.#sweep = false;
    for (const seq of this.#dirty) {
      const value = this.#rows.get(seq);
      if (value !== undefined && !this.#writesAll) continue;
      if (value === undefined) this.#stored.delete(seq);
      else this.#stored.add(seq);
      this.#dirty.delete(seq);
    }
    return this.#dirty.size > 0;
  }
}
