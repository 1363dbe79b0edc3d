// Keeps one stream within its limits. Trimming moves the first sequence in memory, at once and exactly; the rows are
// deleted later and many at a time, which wears the card less. A crash in between brings trimmed messages back, and the
// start trims them again.
//
// What the hub has confirmed goes first, simply because it is the oldest. What it has not may go only by a limit that the
// operator set (discard old, max_age), and leaves a gap behind that the hub is told of.

import type { Gaps } from './gaps.ts';
import type { Removals } from './removals.ts';
import type { Extent, Rows } from './rows.ts';
import type { GapReason, StreamConfig } from './stream-types.ts';
import type { Subjects } from './subjects.ts';
import type { Totals } from './totals.ts';

/** Rows looked at in one step, and deleted in one transaction: a few milliseconds of the loop. */
const TRIM_ROWS = 2_000;
/** Bytes of them: SQLite reads each page of a large record to free it, and notes in the WAL what it has changed. */
const TRIM_BYTES = 1024 * 1024;
/** Records dropped at a call by age, or for room on a full disk; the next call is a second away at most. */
const DROP_ROWS = 20_000;
/**
 * Records dropped at a call because the stream is over its limits: more than one commit can add. Only limits that have
 * become smaller need more calls; the next one is a second away at most.
 */
const KEEP_ROWS = 100_000;
/** Trimmed rows and bytes that may wait to be deleted. */
const LAZY_ROWS = 512;
const LAZY_BYTES = 1024 * 1024;

export interface RetentionParts {
  readonly rows: Rows;
  readonly subjects: Subjects;
  readonly gaps: Gaps;
  readonly totals: Totals;
  /** Records already counted out, whose rows still stand. */
  readonly removals: Removals;
}

/** Where the stream stands when it is trimmed. */
export interface Standing {
  /** Rows up to here are committed. */
  readonly committedSeq: number;
  /** The hub has everything up to here; Infinity when nothing forwards the stream. */
  readonly confirmedSeq: number;
}

export class Retention {
  readonly #parts: RetentionParts;
  #config: StreamConfig;
  /** Asks for a transaction, because there are rows to delete. */
  readonly #deleteSoon: () => void;
  /** Rows up to here are deleted; from it to the first sequence they are trimmed and wait. */
  #deletedTo: number;
  #deletingTo = 0;
  #lazyBytes = 0;

  constructor(parts: RetentionParts, config: StreamConfig, deleteSoon: () => void) {
    this.#parts = parts;
    this.#config = config;
    this.#deleteSoon = deleteSoon;
    this.#deletedTo = (parts.rows.bounds().first ?? parts.totals.lastSeq + 1) - 1;
  }

  /** Other limits, kept from the next call on. */
  set config(config: StreamConfig) {
    this.#config = config;
  }

  /** Whether one more message of `bytes` stays within the limits. */
  fits(bytes: number): boolean {
    const { totals } = this.#parts;
    const { maxBytes, maxMsgs } = this.#config;
    return totals.bytes + bytes <= maxBytes && (maxMsgs === undefined || totals.messages < maxMsgs);
  }

  /** Drops what the hub has, oldest first, until `bytes` more fit (discard new); its grace yields. */
  makeRoom(bytes: number, standing: Standing): void {
    if (standing.confirmedSeq === Infinity) return;
    this.#trim(standing.confirmedSeq, standing, 'max_bytes', () => this.fits(bytes));
  }

  /**
   * Drops the oldest while the stream is over its limits, a bounded number at a call. With discard new that is what had
   * made room and came back with a crash, as far as the hub has it.
   */
  keepLimits(standing: Standing): void {
    const old = this.#config.discard === 'old';
    if (!old && standing.confirmedSeq === Infinity) return;
    const { totals } = this.#parts;
    const { maxBytes, maxMsgs } = this.#config;
    const within = (): boolean =>
      totals.bytes <= maxBytes && (maxMsgs === undefined || totals.messages <= maxMsgs);
    if (within()) return;
    let dropped = 0;
    const reason = totals.bytes > maxBytes ? 'max_bytes' : 'max_msgs';
    const last = old ? Infinity : standing.confirmedSeq;
    this.#trim(last, standing, reason, () => within() || dropped++ >= KEEP_ROWS);
  }

  /** Drops what was stored before store time `oldestTs`, a bounded number at a call. */
  expire(oldestTs: number, standing: Standing): void {
    let dropped = 0;
    this.#trim(Infinity, standing, 'max_age', (ts) => ts >= oldestTs || dropped++ >= DROP_ROWS);
  }

  /** The disk is full: drops what the hub has, a bounded number at a call, and deletes without waiting. */
  reclaim(standing: Standing): void {
    if (standing.confirmedSeq === Infinity) return;
    let dropped = 0;
    this.#trim(standing.confirmedSeq, standing, 'lost', () => dropped++ >= DROP_ROWS);
    this.#deleteLater();
  }

  /** Moves the first sequence on, record by record, until `enough` says so or `last` is gone. */
  #trim(
    last: number,
    standing: Standing,
    reason: GapReason,
    enough: (ts: number) => boolean,
  ): void {
    const { rows, totals, removals } = this.#parts;
    const end = Math.min(last, standing.committedSeq);
    for (;;) {
      const extents = rows.extents(totals.firstSeq, end, TRIM_ROWS);
      for (const extent of extents) {
        if (enough(extent.ts)) return this.#trimmed(extent.seq);
        if (!removals.has(extent.seq)) this.drop(extent, reason, standing);
        totals.firstSeq = extent.seq + 1;
      }
      if (extents.length < TRIM_ROWS) return this.#trimmed(end + 1);
    }
  }

  #trimmed(firstSeq: number): void {
    const { totals } = this.#parts;
    totals.firstSeq = Math.max(totals.firstSeq, firstSeq);
    if (totals.firstSeq - 1 - this.#deletedTo >= LAZY_ROWS || this.#lazyBytes >= LAZY_BYTES) {
      this.#deleteLater();
    }
  }

  /** Takes one record out of the totals; the caller sees to its row. */
  drop(extent: Extent, reason: GapReason, standing: Standing): void {
    const { subjects, totals, gaps } = this.#parts;
    const subject = subjects.byId(extent.subjectId);
    const bytes = extent.bytes + (subject?.subject.length ?? 0);
    totals.remove(bytes);
    if (subject !== undefined) subjects.count(subject, -1);
    if (extent.seq > standing.confirmedSeq) gaps.add(extent.seq, reason, extent.ts);
    this.#lazyBytes += bytes;
  }

  #deleteLater(): void {
    const { totals } = this.#parts;
    if (totals.firstSeq - 1 <= this.#deletedTo) return;
    totals.changed = true;
    this.#deleteSoon();
  }

  /** Deletes rows and writes the totals, when it is time; part of a transaction, the same when it is repeated. */
  write(confirmedSeq: number): void {
    const { rows, subjects, gaps, totals } = this.#parts;
    if (totals.due) totals.changed = true;
    if (!totals.changed) return;
    this.#deletingTo = this.#deletable();
    if (this.#deletingTo > this.#deletedTo) rows.delete(this.#deletedTo + 1, this.#deletingTo);
    totals.save();
    subjects.saveCounts();
    gaps.save(confirmedSeq);
  }

  /** Up to where one transaction deletes of what is trimmed. */
  #deletable(): number {
    const { rows, totals } = this.#parts;
    const last = Math.min(totals.firstSeq - 1, this.#deletedTo + TRIM_ROWS);
    if (this.#lazyBytes <= TRIM_BYTES) return last;
    let bytes = 0;
    for (const extent of rows.extents(this.#deletedTo + 1, last, TRIM_ROWS)) {
      bytes += extent.bytes;
      if (bytes >= TRIM_BYTES) return extent.seq;
    }
    return last;
  }

  committed(confirmedSeq: number): void {
    const { subjects, gaps, totals } = this.#parts;
    if (!totals.changed) return;
    totals.changed = false;
    totals.saved();
    subjects.countsSaved();
    gaps.saved(confirmedSeq);
    this.#deletedTo = Math.max(this.#deletedTo, this.#deletingTo);
    if (this.#deletedTo >= totals.firstSeq - 1) this.#lazyBytes = 0;
    this.#deleteLater();
  }
}
