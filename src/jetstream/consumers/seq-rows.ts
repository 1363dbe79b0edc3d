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

/** Waiting messages that the watermark passes in one transaction: each gets a row. */
const RAISE_ROWS = 4096;

const ACKED = 0;

export class SeqRows {
  readonly #rows: Map<number, number>;
  /** On the disk, with whatever value. */
  readonly #stored: Set<number>;
  readonly #dirty = new Set<number>();
  #watermark: number;
  #storedWatermark: number;
  #acked = 0;
  /** On the disk, at or below the floor: they are to go. */
  #sunk: number[] = [];
  /** All rows are to be written anew. */
  #rewrite = false;
  #writesAll = false;

  constructor(rows: ReadonlyMap<number, number> = new Map(), watermark = 0) {
    this.#rows = new Map(rows);
    this.#stored = new Set(rows.keys());
    this.#watermark = watermark;
    this.#storedWatermark = watermark;
    for (const value of rows.values()) if (value === ACKED) this.#acked++;
  }

  /** Rows that differ from the disk. */
  get unwritten(): number {
    return this.#dirty.size;
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
    if (this.#acked > ACKED_ROWS_MAX && this.#watermark === this.#storedWatermark)
      this.#raise(upTo, waiting());
  }

  /** A part of the way where many wait, once in a transaction; `waiting` in ascending order. */
  #raise(upTo: number, waiting: Iterable<{ seq: number; deliveries: number }>): void {
    let to = upTo;
    let left = RAISE_ROWS;
    for (const { seq, deliveries } of waiting) {
      if (seq <= this.#watermark) continue;
      if (left-- === 0) {
        to = seq - 1;
        break;
      }
      this.#set(seq, deliveries);
    }
    this.#watermark = to;
    for (const [seq, value] of this.#rows) if (value === ACKED && seq <= to) this.forget(seq);
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
    if (this.#stored.has(seq)) this.#sunk.push(seq);
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
    const isRaised = this.#watermark !== this.#storedWatermark;
    // What is acknowledged below a new watermark must not go without it.
    if (isRaised && !all) return;
    if (this.#sunk.length > 0) table.deleteSeqsUpTo(floor);
    for (const seq of this.#dirty) {
      const value = this.#rows.get(seq);
      if (value === undefined) table.deleteSeq(seq);
      else if (all) table.putSeq(seq, value);
    }
    if (!isRaised) return;
    table.deleteSeq(-this.#storedWatermark);
    table.putSeq(-this.#watermark, -1);
  }

  /** What `write` has written is in. Returns whether something is left to write. */
  committed(): boolean {
    const isRaised = this.#watermark !== this.#storedWatermark;
    if ((this.#rewrite || isRaised) && !this.#writesAll) return true;
    this.#storedWatermark = this.#watermark;
    if (this.#rewrite) {
      this.#rewrite = false;
      this.#stored.clear();
      for (const seq of this.#rows.keys()) this.#stored.add(seq);
      this.#dirty.clear();
      this.#sunk = [];
      return false;
    }
    for (const seq of this.#sunk) if (!this.#rows.has(seq)) this.#stored.delete(seq);
    this.#sunk = [];
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
