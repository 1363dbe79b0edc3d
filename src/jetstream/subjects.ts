// The subjects of one stream: each is stored once and named by a number in the rows. How many messages a subject has
// is known in memory and written along with deletes, and now and then, so that a start need not scan the stream.

import type { Database, Statement } from 'better-sqlite3';

/** Distinct subjects a stream may hold at a time: bounds memory (some 150 bytes each). More are refused. */
export const SUBJECTS_MAX = 100_000;

export interface Subject {
  readonly id: number;
  readonly subject: string;
  count: number;
  /** Whether the row in the database says so. */
  stored: boolean;
}

export class Subjects {
  readonly #streamId: number;
  readonly #bySubject = new Map<string, Subject>();
  readonly #byId = new Map<number, Subject>();
  readonly #changed = new Set<Subject>();
  readonly #put: Statement<[number, number, string, number]>;
  readonly #delete: Statement<[number, number]>;
  #added: Subject[] = [];
  #nextId = 1;

  constructor(db: Database, streamId: number) {
    this.#streamId = streamId;
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO subject (stream_id, id, subject, count) VALUES (?, ?, ?, ?)',
    );
    this.#delete = db.prepare('DELETE FROM subject WHERE stream_id = ? AND id = ?');
    const rows = db
      .prepare<[number], { id: number; subject: string; count: number }>(
        'SELECT id, subject, count FROM subject WHERE stream_id = ?',
      )
      .all(streamId);
    for (const row of rows) this.#remember({ ...row, stored: true });
  }

  /** Subjects that have messages. */
  get size(): number {
    return this.#bySubject.size;
  }

  byId(id: number): Subject | undefined {
    return this.#byId.get(id);
  }

  /** The entry for `subject`, made if needed; undefined when there are too many already. */
  intern(subject: string): Subject | undefined {
    const known = this.#bySubject.get(subject);
    if (known !== undefined) return known;
    if (this.#bySubject.size >= SUBJECTS_MAX) return undefined;
    const entry = { id: this.#nextId, subject, count: 0, stored: false };
    this.#remember(entry);
    this.#added.push(entry);
    return entry;
  }

  /** Counts `change` more messages (or fewer) on a subject. */
  count(entry: Subject, change: number): void {
    entry.count += change;
    this.#changed.add(entry);
  }

  /** Writes the subjects that are new since the last commit. Their counts are as of now, corrected by `saveCounts`. */
  writeAdded(): void {
    for (const entry of this.#added) this.#put.run(this.#streamId, entry.id, entry.subject, 0);
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
    for (const entry of this.#changed) {
      if (entry.count > 0) {
        this.#put.run(this.#streamId, entry.id, entry.subject, entry.count);
      } else {
        this.#delete.run(this.#streamId, entry.id);
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
