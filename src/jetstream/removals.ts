// Records that are taken out of a stream and whose rows still stand: they are read over from the moment they are named,
// and deleted with the next transaction that writes the totals. Damaged ones go to quarantine, for the operator.

import type { Database } from 'better-sqlite3';
import type { Row, Rows } from './rows.ts';
import type { Subjects } from './subjects.ts';

/** Damaged records kept, over all streams; beyond it the oldest go. */
const QUARANTINE_MAX = 1_000;

export class Removals {
  readonly #db: Database;
  readonly #stream: string;
  readonly #rows: Rows;
  readonly #subjects: Subjects;
  readonly #removed = new Set<number>();
  readonly #quarantined = new Map<number, Row>();
  #erases = false;
  #written = false;

  constructor(db: Database, stream: string, rows: Rows, subjects: Subjects) {
    this.#db = db;
    this.#stream = stream;
    this.#rows = rows;
    this.#subjects = subjects;
  }

  /** Records that wait to be deleted. */
  get size(): number {
    return this.#removed.size;
  }

  /** Whether `seq` has been taken out, and its row still waits for the commit. */
  has(seq: number): boolean {
    return this.#removed.has(seq);
  }

  /** Names a record for removal; false when it is named already. */
  add(seq: number): boolean {
    if (this.#removed.has(seq)) return false;
    this.#removed.add(seq);
    return true;
  }

  /** A record that was named is damaged: it is kept for the operator. */
  quarantine(row: Row): void {
    this.#quarantined.set(row.seq, row);
  }

  /** What is named shall leave no trace in the database. */
  erase(): void {
    this.#erases = true;
  }

  /** Deletes the named records, contiguous ones at once; part of a transaction. */
  write(): void {
    this.#written = true;
    if (this.#removed.size === 0) return;
    for (const row of this.#quarantined.values()) this.#quarantine(row);
    if (this.#erases) this.#db.pragma('secure_delete = ON');
    try {
      this.#delete();
    } finally {
      if (this.#erases) this.#db.pragma('secure_delete = OFF');
    }
  }

  #delete(): void {
    const seqs = Float64Array.from(this.#removed).sort();
    let first = seqs[0] ?? 0;
    let last = first;
    for (const seq of seqs) {
      if (seq > last + 1) {
        this.#rows.delete(first, last);
        first = seq;
      }
      last = seq;
    }
    this.#rows.delete(first, last);
  }

  #quarantine(row: Row): void {
    const subject = this.#subjects.byId(row.subjectId)?.subject ?? null;
    this.#db
      .prepare(
        'INSERT INTO quarantine (stream, seq, subject, ts, headers, data, crc) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(this.#stream, row.seq, subject, row.ts, row.headers, row.data, row.crc);
    this.#db
      .prepare('DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?')
      .run(QUARANTINE_MAX);
  }

  committed(): void {
    if (!this.#written) return;
    this.#written = false;
    this.#erases = false;
    this.#removed.clear();
    this.#quarantined.clear();
  }

  /** The transaction was rolled back: they wait for the next one. */
  refused(): void {
    this.#written = false;
  }
}
