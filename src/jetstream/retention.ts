// Keeps one stream within its limits. Trimming moves the first sequence in memory, at once and exactly; the rows are
// deleted later and many at a time, which wears the card less. A crash in between brings trimmed messages back, and the
// start trims them again.
//
// What the hub has confirmed goes first, simply because it is the oldest. What it has not may go only by a limit that the
// operator set (discard old, max_age), and leaves a gap behind that the hub is told of.

import type { Extent } from './rows.ts';
import { LAZY_BYTES, LAZY_ROWS, type Stock } from './stock.ts';
import type { GapReason, StreamConfig } from './stream-types.ts';
import type { Subject } from './subjects.ts';

/** Rows looked at in one step, and deleted in one transaction: a few milliseconds of the loop. */
export const TRIM_ROWS = 2_000;
/** Bytes of them: SQLite reads each page of a large record to free it, and notes in the WAL what it has changed. */
export const TRIM_BYTES = 1024 * 1024;
/** Records dropped at a call for room on a full disk; the next call is a second away at most. */
export const DROP_ROWS = 20_000;
/**
 * Records dropped at a call because the stream is over its limits: more than one commit can add, and a few milliseconds.
 * A limit that became smaller takes many calls.
 */
const KEEP_ROWS = 4_000;

export class Retention {
  readonly #stock: Stock;
  #config: StreamConfig;
  /** Rows up to here are deleted; from it to the first sequence they are trimmed and wait. */
  #deletedTo: number;
  #deletingTo = 0;
  #lazyBytes = 0;
  /** Subjects may have more messages than they may: after a start, or a limit that became smaller. */
  #mayExceed = true;
  /** Up to here it was looked for them. */
  #lookedTo = 0;
  /** Behind that, more may have come to be too many. */
  #lookAgain = false;
  /** Called when there is more to drop than one call may: asks for another. */
  again: () => void = () => {};

  constructor(stock: Stock, config: StreamConfig) {
    this.#stock = stock;
    this.#config = config;
    this.#deletedTo = (stock.rows.bounds().first ?? stock.totals.lastSeq + 1) - 1;
  }

  /** Other limits, kept from the next call on. */
  set config(config: StreamConfig) {
    this.#config = config;
    this.#mayExceed = true;
    this.#lookedTo = 0;
  }

  /** Which limit one more message of `bytes` would break, if any. */
  exceeded(bytes: number): 'messages' | 'bytes' | undefined {
    const { totals } = this.#stock;
    const { maxBytes, maxMsgs } = this.#config;
    if (maxMsgs !== undefined && totals.messages >= maxMsgs) return 'messages';
    return totals.bytes + bytes > maxBytes ? 'bytes' : undefined;
  }

  /** What the hub has up to here may go for room; 0: nothing. What consumers keep they may still need. */
  get #spareSeq(): number {
    const confirmedSeq = this.#stock.confirmedSeq();
    return confirmedSeq === Infinity || this.#config.retention !== 'limits' ? 0 : confirmedSeq;
  }

  /** Drops what the hub has, oldest first, until `bytes` more fit (discard new); its grace yields. */
  makeRoom(bytes: number): void {
    const spareSeq = this.#spareSeq;
    if (spareSeq > 0) this.trim(spareSeq, 'max_bytes', () => this.exceeded(bytes) === undefined);
  }

  /**
   * Drops the oldest while the stream is over its limits, a bounded number at a call. With discard new that is what had
   * made room and came back with a crash, as far as the hub has it.
   */
  keepLimits(): void {
    const stock = this.#stock;
    const spareSeq = this.#spareSeq;
    const old = this.#config.discard === 'old';
    if (!old && spareSeq === 0) return;
    const { maxBytes, maxMsgs } = this.#config;
    // What is accepted may yet make room by taking the place of older messages: it counts when it is shown.
    const counted = replacesMessages(this.#config) ? stock : stock.totals;
    // What is queued may yet be refused: it drops nothing until it is committed.
    if (counted !== stock && stock.queue.length > 0) return;
    const within = (): boolean =>
      counted.bytes <= maxBytes && (maxMsgs === undefined || counted.messages <= maxMsgs);
    if (within()) return;
    let dropped = 0;
    const reason = counted.bytes > maxBytes ? 'max_bytes' : 'max_msgs';
    const end = counted === stock ? stock.durableSeq : Infinity;
    const last = old ? end : Math.min(end, spareSeq);
    this.trim(last, reason, () => within() || dropped++ >= KEEP_ROWS);
    if (dropped > KEEP_ROWS) this.again();
  }

  /** Drops the oldest of each subject that has more messages than it may, a bounded number at a call. */
  keepSubjects(): void {
    const max = this.#config.maxMsgsPerSubject;
    if (!this.#mayExceed || max === undefined) return;
    const stock = this.#stock;
    this.#mayExceed = this.#lookedTo > 0 || stock.subjects.exceed(max);
    if (!this.#mayExceed) return;
    const { extents, nextSeq } = stock.extents(this.#lookedTo, stock.durableSeq, TRIM_ROWS);
    for (const extent of extents) {
      const entry = stock.subjects.byId(extent.subjectId);
      if (entry !== undefined && entry.count - entry.pending > max)
        stock.take(extent, 'max_msgs_per_subject', false);
    }
    this.#mayExceed = nextSeq <= stock.durableSeq;
    this.#lookedTo = this.#mayExceed ? nextSeq : 0;
    if (this.#lookedTo === 0) {
      this.#mayExceed = this.#lookAgain;
      this.#lookAgain = false;
    }
    if (this.#mayExceed) this.again();
  }

  /** Drops the oldest messages of a subject beyond `max`, at most `atMost`; how many it dropped. */
  evict(entry: Subject, max: number, atMost: number): number {
    const stock = this.#stock;
    const excess = Math.min(atMost, entry.count - entry.pending - max);
    if (excess <= 0) return 0;
    if (!stock.rows.indexed) {
      // The index is being made: to look for each would take a scan of all.
      this.#lookAgain = true;
      this.#mayExceed = true;
      this.again();
      return 0;
    }
    const gone = stock.ofSubject(entry, excess);
    for (const extent of gone) stock.take(extent, 'max_msgs_per_subject', false);
    return gone.length;
  }

  /** The disk is full: drops what the hub has, a bounded number at a call, and deletes without waiting. */
  reclaim(): void {
    const spareSeq = this.#spareSeq;
    if (spareSeq === 0) return;
    let dropped = 0;
    this.trim(spareSeq, 'lost', () => dropped++ >= DROP_ROWS);
    this.#deleteLater();
  }

  /** Moves the first sequence on, record by record, until `enough` says so or `last` is gone. */
  trim(last: number, reason: GapReason, enough: (extent: Extent) => boolean): void {
    const { rows, totals, removals } = this.#stock;
    const end = Math.min(last, this.#stock.committedSeq);
    for (let next = this.#stock.firstSeq; ;) {
      const extents = rows.extents(next, end, TRIM_ROWS);
      for (const extent of extents) {
        const gone = removals.has(extent.seq);
        if (!gone && enough(extent)) return this.#trimmed(extent.seq);
        if (!gone) this.#drop(extent, reason);
        totals.firstSeq = next = extent.seq + 1;
      }
      if (extents.length < TRIM_ROWS) {
        this.#trimmed(end + 1);
        // Behind it there may be a hole.
        return this.#stock.lookForFirst();
      }
    }
  }

  /** Drops everything that is on the disk, in one move. */
  clear(reason: GapReason): void {
    this.#lazyBytes += this.#stock.bytes;
    this.#stock.takeShown(reason);
  }

  #drop(extent: Extent, reason: GapReason): void {
    this.#stock.drop(extent, reason);
    this.#lazyBytes += extent.bytes;
  }

  #trimmed(firstSeq: number): void {
    const { totals } = this.#stock;
    totals.firstSeq = Math.max(totals.firstSeq, firstSeq);
    if (totals.firstSeq - 1 - this.#deletedTo >= LAZY_ROWS || this.#lazyBytes >= LAZY_BYTES) {
      this.#deleteLater();
    }
  }

  /** Asks for a transaction where trimmed rows still stand. */
  #deleteLater(): void {
    const { totals, rows } = this.#stock;
    if (totals.firstSeq - 1 <= this.#deletedTo) return;
    const next = rows.next(this.#deletedTo + 1);
    if (next !== null && next < totals.firstSeq) this.#stock.writeSoon();
    else this.#deletedTo = totals.firstSeq - 1;
  }

  /** Deletes rows and writes the totals, when it is time; part of a transaction, the same when it is repeated. */
  write(confirmedSeq: number): void {
    const { rows, subjects, gaps, totals } = this.#stock;
    if (this.#stock.due) totals.changed = true;
    if (!totals.changed) return;
    this.#stock.write();
    this.#deletingTo = this.#deletable();
    if (this.#deletingTo > this.#deletedTo) rows.delete(this.#deletedTo + 1, this.#deletingTo);
    totals.save();
    subjects.saveCounts();
    gaps.save(confirmedSeq);
  }

  /** Up to where one transaction deletes of what is trimmed. */
  #deletable(): number {
    const { rows, totals } = this.#stock;
    const first = this.#deletedTo + 1;
    const last = totals.firstSeq - 1;
    if (last < first || (rows.next(first) ?? Infinity) > last) return last;
    const end = Math.min(last, (rows.skip(first, TRIM_ROWS) ?? totals.firstSeq) - 1);
    if (this.#lazyBytes <= TRIM_BYTES) return end;
    let bytes = 0;
    for (const extent of rows.extents(first, end, TRIM_ROWS)) {
      bytes += extent.bytes;
      if (bytes >= TRIM_BYTES) return extent.seq;
    }
    return end;
  }

  committed(confirmedSeq: number): void {
    const { subjects, gaps, totals } = this.#stock;
    if (!totals.changed) return;
    totals.changed = false;
    totals.saved();
    subjects.countsSaved();
    gaps.saved(confirmedSeq);
    this.#stock.committed();
    this.#deletedTo = Math.max(this.#deletedTo, this.#deletingTo);
    if (this.#deletedTo >= totals.firstSeq - 1) this.#lazyBytes = 0;
    this.#deleteLater();
  }
}

/** Whether messages may take the place of older ones, which are then looked for by subject all the time. */
export function replacesMessages({ maxMsgsPerSubject, allowRollup }: StreamConfig): boolean {
  return maxMsgsPerSubject !== undefined || allowRollup === true;
}
