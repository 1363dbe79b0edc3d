// What a stream has in stock: the messages that stand, counted and bounded, and what is known of those that are gone.
//
// A message goes through three stages: accepted (numbered, and queued for a transaction), committed (its row stands), and
// shown (a sync covers it: from here on it exists for others). Counts in memory cover all three and are exact at every
// moment; `pending` parts of them tell what is not shown yet. A removal counts at once; its row follows. Rows may be
// deleted late where a start would find out anew that they must go (limits, ages); they are deleted with the next
// transaction where somebody was told, or will be (`due`). Either way the transaction that writes the totals deletes
// every row that the totals do not count, so that after a crash the two agree.

import { assert } from '../assert.ts';
import { hasWildcard, matches } from '../subject.ts';
import { Gaps } from './gaps.ts';
import { Removals } from './removals.ts';
import { Rows, type Extent } from './rows.ts';
import type { Store } from './store.ts';
import { StreamQueue } from './stream-queue.ts';
import type { GapReason } from './stream-types.ts';
import { Subjects, type Subject } from './subjects.ts';
import { readTotals, type Totals } from './totals.ts';
import { Watchers } from './watchers.ts';

/** Removed rows, and their bytes, that may wait to be deleted: each transaction that deletes some writes whole pages. */
export const LAZY_ROWS = 512;
export const LAZY_BYTES = 1024 * 1024;

/** Subjects whose counts may wait to be written: one transaction writes them all. */
const UNSAVED_SUBJECTS_MAX = 8_192;

/** Rows looked at in one step, from the end of the stream down. */
const DOWN_ROWS = 500;

export class Stock {
  readonly rows: Rows;
  readonly subjects: Subjects;
  readonly gaps: Gaps;
  readonly totals: Totals;
  readonly removals: Removals;
  readonly queue: StreamQueue;
  readonly watchers: Watchers;
  /** Where its numbers begin is said, by its configuration or by a purge, although none was given out. */
  begun = false;
  /** The last sequence that is on the disk. */
  durableSeq: number;
  /** The hub has everything up to here; Infinity when nothing forwards the stream. */
  confirmedSeq: () => number = () => Infinity;
  /** Asks for a transaction. */
  readonly #writeSoon: () => void;
  readonly #store: Store;
  #lazyBytes = 0;
  /** The first message is gone, and the one behind it not looked for yet. */
  #firstMoved = false;

  /** Reads what the database knows of the stream. */
  constructor(store: Store, id: number, name: string, writeSoon: () => void) {
    const { db } = store;
    this.#store = store;
    this.#writeSoon = writeSoon;
    this.rows = new Rows(db, id);
    this.subjects = new Subjects(db, id);
    this.gaps = new Gaps(db, id);
    this.totals = readTotals(db, id, name, this.rows, this.subjects);
    this.removals = new Removals(db, name, this.rows, this.subjects);
    this.queue = new StreamQueue();
    this.durableSeq = this.totals.lastSeq;
    this.watchers = new Watchers(this.durableSeq);
  }

  /** A stream that never had a message begins its numbers at `firstSeq`; part of a transaction. */
  begin(firstSeq = 0): void {
    this.begun = firstSeq > 0;
    const { totals } = this;
    if (totals.lastSeq > 0 || firstSeq <= 1) return;
    totals.lastSeq = this.durableSeq = firstSeq - 1;
    totals.firstSeq = firstSeq;
    totals.save();
    totals.saved();
    this.watchers.told(this.durableSeq);
  }

  /** The first sequence that exists; one past the last when the stream is empty. */
  get firstSeq(): number {
    if (this.#firstMoved) this.#store.guard(undefined, () => this.#findFirst());
    return this.totals.firstSeq;
  }

  /**
   * The numbers up to `seq` go to no message. False, and nothing is done, while something is accepted that is not on the
   * disk.
   */
  skipTo(seq: number): boolean {
    const { totals, queue, durableSeq } = this;
    if (queue.length > 0 || totals.lastSeq > durableSeq) return false;
    if (seq <= totals.lastSeq) return true;
    totals.lastSeq = seq;
    if (totals.messages === 0) totals.firstSeq = seq + 1;
    this.durableSeq = seq;
    this.watchers.told(seq);
    this.writeSoon();
    return true;
  }

  /** The first sequence may be a hole. */
  lookForFirst(): void {
    this.#firstMoved = true;
  }

  /** Rows up to here are committed. */
  get committedSeq(): number {
    return this.totals.lastSeq - this.queue.length;
  }

  /** Messages on the disk. */
  get messages(): number {
    return this.totals.messages - this.totals.pendingMessages;
  }

  get bytes(): number {
    return this.totals.bytes - this.totals.pendingBytes;
  }

  /** Whether so much has changed that it is written down, also where nothing was removed. */
  get due(): boolean {
    return this.totals.due || this.subjects.unsaved >= UNSAVED_SUBJECTS_MAX;
  }

  /** Whether the row of `seq`, if there is one, is still a message. */
  stands(seq: number): boolean {
    return seq >= this.totals.firstSeq && !this.removals.has(seq);
  }

  /** The extents of messages that stand, among at most `max` rows; `nextSeq` is where to go on. */
  extents(first: number, last: number, max: number): { extents: Extent[]; nextSeq: number } {
    const rows = this.rows.extents(Math.max(first, this.firstSeq), last, max);
    const nextSeq = rows.length < max ? last + 1 : (rows.at(-1)?.seq ?? last) + 1;
    return {
      extents: this.removals.size === 0 ? rows : rows.filter(({ seq }) => !this.removals.has(seq)),
      nextSeq,
    };
  }

  /** The oldest `max` messages of a subject that are on the disk. */
  ofSubject(entry: Subject, max: number, upToSeq = this.durableSeq): Extent[] {
    const found: Extent[] = [];
    for (let next = this.firstSeq; found.length < max;) {
      const wanted = max - found.length;
      const rows = this.rows.ofSubject(entry.id, next, upToSeq, wanted);
      for (const row of rows) if (!this.removals.has(row.seq)) found.push(row);
      if (rows.length < wanted) break;
      next = (rows.at(-1)?.seq ?? upToSeq) + 1;
    }
    return found;
  }

  extent(seq: number): Extent | undefined {
    return this.stands(seq) ? this.rows.extents(seq, seq, 1)[0] : undefined;
  }

  /** Makes the messages of one subject quick to find; beside the loop, for it takes about a second a million messages. */
  async index(): Promise<void> {
    try {
      await this.#store.beside(this.rows.indexSql);
      this.rows.indexed = true;
    } catch {
      // Without room for it everything still works, slowly; the next start tries again.
    }
  }

  /** The extents of those of `seqs` that stand, by sequence. */
  extentsOf(seqs: readonly number[]): Map<number, Extent> {
    const extents = this.rows.pickExtents(seqs.filter((seq) => this.stands(seq)));
    return new Map(extents.map((extent) => [extent.seq, extent]));
  }

  /** The bytes that a message counts: `bytes` of an extent are without the subject. */
  bytesOf({ subjectId, bytes }: Extent): number {
    return bytes + (this.subjects.byId(subjectId)?.subject.length ?? 0);
  }

  /** The last message of a subject up to `upToSeq` (on the disk, when absent), or 0. */
  lastShown(entry: Subject, upToSeq = this.durableSeq): number {
    if (entry.count === entry.pending) return 0;
    if (entry.shownSeq > 0 && entry.shownSeq <= upToSeq) return entry.shownSeq;
    const found = this.#store.guard(0, () => this.#lookUp(entry, upToSeq));
    if (upToSeq === this.durableSeq) entry.shownSeq = found;
    return found;
  }

  /** The last accepted message of a subject, or 0. */
  lastAccepted(entry: Subject): number {
    return entry.pending > 0 ? entry.lastSeq : this.lastShown(entry);
  }

  /** The last accepted message under `filter`, or 0. */
  lastAcceptedOf(filter: string): number {
    if (!hasWildcard(filter)) {
      const entry = this.subjects.find(filter);
      return entry === undefined ? 0 : this.lastAccepted(entry);
    }
    let last = 0;
    const shown: Subject[] = [];
    for (const entry of this.subjects.all()) {
      if (entry.count === 0 || !matches(filter, entry.subject)) continue;
      if (entry.pending > 0) last = Math.max(last, entry.lastSeq);
      else shown.push(entry);
    }
    return last > 0 ? last : this.lastShownOf(shown);
  }

  /** The last message on the disk that any of these subjects has, or 0. */
  lastShownOf(entries: Iterable<Subject>): number {
    let last = 0;
    const unknown = new Set<number>();
    for (const { id, count, pending, shownSeq } of entries) {
      last = Math.max(last, shownSeq);
      if (shownSeq === 0 && count > pending) unknown.add(id);
    }
    if (unknown.size === 0) return last;
    return this.#store.guard(last, () => this.#lookDown(unknown, last));
  }

  /** From the end down to `floor`, for one of the subjects `ids`. */
  #lookDown(ids: ReadonlySet<number>, floor: number): number {
    for (let next = this.durableSeq; next > floor;) {
      const rows = this.rows.backward(next, floor + 1, DOWN_ROWS);
      for (const [seq, id] of rows) if (ids.has(id) && this.stands(seq)) return seq;
      if (rows.length < DOWN_ROWS) break;
      next = (rows.at(-1)?.[0] ?? 0) - 1;
    }
    return floor;
  }

  #lookUp(entry: Subject, upToSeq: number): number {
    for (let last = upToSeq; ;) {
      const seq = this.rows.lastOf(entry.id, this.firstSeq, last);
      if (seq === null || !this.removals.has(seq)) return seq ?? 0;
      last = seq - 1;
    }
  }

  /** Takes one message out of the counts, and tells whoever watches; the caller sees to its row. */
  drop(extent: Extent, reason: GapReason): void {
    const { seq, subjectId, ts } = extent;
    const pending = seq > this.durableSeq;
    this.totals.remove(this.bytesOf(extent), pending);
    if (seq > this.confirmedSeq()) this.gaps.add(seq, reason, ts);
    const entry = this.subjects.byId(subjectId);
    if (entry === undefined) return;
    this.subjects.remove(entry, seq, pending);
    this.watchers.removed(seq, subjectId, entry.subject);
  }

  /** Takes one message out, wherever it stands; `due` says that the next transaction must delete it. */
  take(extent: Extent, reason: GapReason, due: boolean): void {
    if (!this.removals.add(extent.seq)) return;
    this.drop(extent, reason);
    this.#firstMoved ||= extent.seq === this.totals.firstSeq;
    this.#lazyBytes += extent.bytes;
    if (due || this.removals.size >= LAZY_ROWS || this.#lazyBytes >= LAZY_BYTES) this.writeSoon();
  }

  /** Takes out everything that is on the disk, in one go; whoever watches must have been told before. */
  takeShown(reason: GapReason): void {
    const { durableSeq, totals } = this;
    const first = Math.max(this.firstSeq, this.confirmedSeq() + 1);
    if (first <= durableSeq) this.gaps.addRange(first, durableSeq, reason);
    this.subjects.removeShown();
    totals.removeShown(Math.max(totals.firstSeq, durableSeq + 1));
    this.#firstMoved = false;
    this.writeSoon();
  }

  /** The next transaction writes the totals, and deletes what is named for removal. */
  writeSoon(): void {
    this.totals.changed = true;
    this.#writeSoon();
  }

  /** Deletes the rows of what was taken out; part of a transaction that writes the totals. */
  write(): void {
    this.#findFirst();
    this.removals.write();
  }

  committed(): void {
    this.removals.committed();
    this.#lazyBytes = 0;
  }

  #findFirst(): void {
    if (!this.#firstMoved) return;
    const { totals, rows, removals } = this;
    if (totals.messages === 0) {
      // Behind numbers that went to no message too.
      totals.firstSeq = totals.lastSeq + 1;
      this.#firstMoved = false;
      return;
    }
    let seq = totals.firstSeq;
    for (;;) {
      while (removals.has(seq)) seq++;
      const next = rows.next(seq);
      if (next === null || next > this.committedSeq) {
        // What is accepted and not committed follows; a number of it may have gone to no message.
        seq = Math.max(seq, this.committedSeq + 1);
        break;
      }
      seq = next;
      if (!removals.has(seq)) break;
    }
    assert(seq >= totals.firstSeq, 'the first sequence never moves back');
    totals.firstSeq = seq;
    this.#firstMoved = totals.messages > 0 && seq > this.committedSeq;
  }
}
