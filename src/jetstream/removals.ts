// Records taken out of the middle of a stream: damaged ones, kept in quarantine for the operator, and ones that moved
// to the dead-letter stream. They are read over from the moment they are named, and deleted with the next commit.

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
  readonly #removed = new Map<number, { row: Row; quarantine: boolean }>();
  #written = false;

  constructor(db: Database, stream: string, rows: Rows, subjects: Subjects) {
    this.#db = db;
    this.#stream = stream;
    this.#rows = rows;
    this.#subjects = subjects;
  }

  /** Whether `seq` has been taken out, and its row still waits for the commit. */
  has(seq: number): boolean {
    return this.#removed.has(seq);
  }

  /** Names a record for removal; false when it is named already. */
  add(row: Row, quarantine: boolean): boolean {
    if (this.#removed.has(row.seq)) return false;
    this.#removed.set(row.seq, { row, quarantine });
    return true;
  }

  /** Deletes the named records; part of a transaction. Returns whether there were any. */
  write(): boolean {
    this.#written = true;
    for (const { row, quarantine } of this.#removed.values()) {
      this.#rows.delete(row.seq, row.seq);
      if (quarantine) this.#quarantine(row);
    }
    return this.#removed.size > 0;
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
    if (this.#written) this.#removed.clear();
    this.#written = false;
  }

  /** The transaction was rolled back: they wait for one that has room for the quarantine. */
  refused(): void {
    this.#written = false;
  }
}

/** The stored headers, with where the message came from and why the hub refused it before them. */
export function deadLetterHeaders(
  headers: Buffer | null,
  stream: string,
  seq: number,
  reason: string,
): Buffer {
  const own =
    `NATS/1.0\r\nMangrove-Stream: ${stream}\r\nMangrove-Sequence: ${seq}\r\n` +
    `Mangrove-Reason: ${reason.replace(/[\r\n]/g, ' ')}\r\n`;
  const rest =
    headers === null ? Buffer.from('\r\n') : headers.subarray(headers.indexOf('\r\n') + 2);
  return Buffer.concat([Buffer.from(own), rest]);
}
