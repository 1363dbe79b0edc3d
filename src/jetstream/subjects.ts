// The subjects of one stream: each is stored once and named by a number in the rows. How many messages a subject has,
// and which is the last, is known in memory and written along with deletes, and now and then, so that a start need not
// scan the stream.

import type { Database, Statement } from 'better-sqlite3';
import { shared } from './statements.ts';

/** Distinct subjects a stream may hold at a time: bounds memory (some 200 bytes each). More are refused. */
export const SUBJECTS_MAX = 131_072;

export interface Subject {
  readonly id: number;
  readonly subject: string;
  /** Messages, those that are not on the disk yet included. */
  count: number;
  /** Of these, how many are not on the disk yet. */
  pending: number;
  /** The last one accepted; it holds while there are pending ones. */
  lastSeq: number;
  /** The last one on the disk; 0: to be looked up. */
  shownSeq: number;
  /** Whether the row in the database says so. */
  stored: boolean;
}

interface SubjectRow {
  readonly id: number;
  readonly subject: string;
  readonly count: number;
  readonly last_seq: number;
}

export class Subjects {
  readonly #streamId: number;
  readonly #bySubject = new Map<string, Subject>();
  readonly #byId = new Map<number, Subject>();
  readonly #changed = new Set<Subject>();
  readonly #put: Statement<[number, number, string, number, number]>;
  readonly #delete: Statement<[number, number]>;
  #added: Subject[] = [];
  #nextId = 1;

  constructor(db: Database, streamId: number) {
    this.#streamId = streamId;
    this.#put = shared(
      db,
      'INSERT OR REPLACE INTO subject (stream_id, id, subject, count, last_seq) VALUES (?, ?, ?, ?, ?)',
    );
    this.#delete = shared(db, 'DELETE FROM subject WHERE stream_id = ? AND id = ?');
    const rows = shared<[number], SubjectRow>(
      db,
      'SELECT id, subject, count, last_seq FROM subject WHERE stream_id = ?',
    ).all(streamId);
    for (const { id, subject, count, last_seq: shownSeq } of rows)
      this.#remember({ id, subject, count, pending: 0, lastSeq: 0, shownSeq, stored: true });
  }

  /** Subjects that have messages, also such as are not on the disk yet. */
  get size(): number {
    return this.#bySubject.size;
  }

  /** Subjects that have messages on the disk. */
  get shown(): number {
    let shown = 0;
    for (const { count, pending } of this.#bySubject.values()) if (count > pending) shown++;
    return shown;
  }

  /** Subjects whose count differs from what the database says. */
  get unsaved(): number {
    return this.#changed.size;
  }

  /** Whether any has more than `max` messages on the disk. */
  exceed(max: number): boolean {
    for (const { count, pending } of this.#bySubject.values())
      if (count - pending > max) return true;
    return false;
  }

  byId(id: number): Subject | undefined {
    return this.#byId.get(id);
  }

  find(subject: string): Subject | undefined {
    return this.#bySubject.get(subject);
  }

  all(): Iterable<Subject> {
    return this.#bySubject.values();
  }

  /** The entry for `subject`, made if needed; undefined when there are too many already. */
  intern(subject: string): Subject | undefined {
    const known = this.#bySubject.get(subject);
    if (known !== undefined) return known;
    if (this.#bySubject.size >= SUBJECTS_MAX) return undefined;
    const id = this.#nextId;
    const entry = { id, subject, count: 0, pending: 0, lastSeq: 0, shownSeq: 0, stored: false };
    this.#remember(entry);
    this.#added.push(entry);
    return entry;
  }

  /** Forgets an entry that was made for a message which did not come. */
  release(entry: Subject): void {
    if (entry.count > 0 || entry.stored) return;
    this.#forget(entry);
    this.#added = this.#added.filter((added) => added !== entry);
  }

  /** A message is accepted. */
  accept(entry: Subject, seq: number): void {
    entry.count++;
    entry.pending++;
    entry.lastSeq = seq;
    this.#changed.add(entry);
  }

  /** A row is found at a start, in the order of sequences. */
  recount(entry: Subject, seq: number): void {
    entry.count++;
    entry.shownSeq = seq;
    this.#changed.add(entry);
  }

  /** The message `seq` is gone; `pending` says that it was not on the disk yet. */
  remove(entry: Subject, seq: number, pending: boolean): void {
    entry.count--;
    if (pending) entry.pending--;
    else if (entry.shownSeq === seq) entry.shownSeq = 0;
    this.#changed.add(entry);
  }

  /** All messages that are on the disk are gone. */
  removeShown(): void {
    for (const entry of this.#bySubject.values()) {
      if (entry.count === entry.pending) continue;
      entry.count = entry.pending;
      entry.shownSeq = 0;
      this.#changed.add(entry);
    }
  }

  /** Writes the subjects that are new since the last commit. Their counts are as of now, corrected by `saveCounts`. */
  writeAdded(): void {
    for (const entry of this.#added) this.#put.run(this.#streamId, entry.id, entry.subject, 0, 0);
  }

  committed(): void {
    for (const entry of this.#added) entry.stored = true;
    this.#added = [];
  }

  /** Forgets the subjects that only refused messages had. */
  refused(): void {
    for (const entry of this.#added) if (entry.count === 0) this.#forget(entry);
    this.#added = this.#added.filter((entry) => entry.count > 0);
  }

  /**
   * Writes the counts that changed, in the transaction that also writes the sequence they are counted up to. Subjects
   * without messages go. Call only when nothing is queued besides what this transaction writes.
   */
  saveCounts(): void {
    for (const { id, subject, count, pending, lastSeq, shownSeq } of this.#changed) {
      if (count > 0) {
        this.#put.run(this.#streamId, id, subject, count, pending > 0 ? lastSeq : shownSeq);
      } else {
        this.#delete.run(this.#streamId, id);
      }
    }
  }

  countsSaved(): void {
    for (const entry of this.#changed) if (entry.count <= 0) this.#forget(entry);
    this.#changed.clear();
  }

  #remember(entry: Subject): void {
    this.#bySubject.set(entry.subject, entry);
    this.#byId.set(entry.id, entry);
    this.#nextId = Math.max(this.#nextId, entry.id + 1);
  }

  #forget(entry: Subject): void {
    this.#bySubject.delete(entry.subject);
    this.#byId.delete(entry.id);
    this.#changed.delete(entry);
  }
}
