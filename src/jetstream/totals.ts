// The totals of one stream: how many messages and bytes, from which sequence to which. They are right in memory at
// every moment, and written when they were last changed by a removal, or after many inserts, together with the sequence
// they count up to; a start adds the few rows behind that one.

import type { Database, Statement } from 'better-sqlite3';
import type { Rows } from './rows.ts';
import type { Subjects } from './subjects.ts';
import { shared } from './statements.ts';

/** Inserts after which the totals are written: what a start has to count, some 50 ms. */
const COUNT_ROWS = 50_000;
const SCAN_ROWS = 5_000;

interface TotalsRow {
  first_seq: number;
  counted_seq: number;
  messages: number;
  bytes: number;
  last_seq: number;
}

export class Totals {
  readonly #save: Statement<[number, number, number, number, number, number]>;
  readonly #streamId: number;
  #countedSeq: number;
  firstSeq: number;
  lastSeq: number;
  messages: number;
  bytes: number;
  /** Of these, what is accepted and not on the disk yet. */
  pendingMessages = 0;
  pendingBytes = 0;
  /** Whether a removal waits to be written. */
  changed = false;

  constructor(db: Database, streamId: number, row: TotalsRow) {
    this.#streamId = streamId;
    this.#save = shared(
      db,
      'UPDATE stream SET first_seq = ?, counted_seq = ?, messages = ?, bytes = ?, last_seq = ? WHERE id = ?',
    );
    this.#countedSeq = row.counted_seq;
    this.firstSeq = row.first_seq;
    this.lastSeq = row.last_seq;
    this.messages = row.messages;
    this.bytes = row.bytes;
  }

  /** Whether enough was added to be written down. */
  get due(): boolean {
    return this.lastSeq - this.#countedSeq >= COUNT_ROWS;
  }

  /** Numbers one more message. */
  add(bytes: number): number {
    this.messages++;
    this.bytes += bytes;
    this.pendingMessages++;
    this.pendingBytes += bytes;
    return ++this.lastSeq;
  }

  /** Gives out a number that no message gets. It has no row: only what is written here keeps it from being used again. */
  skip(): number {
    const seq = ++this.lastSeq;
    if (this.messages === 0) this.firstSeq = seq + 1;
    this.changed = true;
    return seq;
  }

  /** The last `count` numbers were refused after all; their messages are removed one by one. */
  takeBack(count: number): void {
    this.lastSeq -= count;
    this.firstSeq = Math.min(this.firstSeq, this.lastSeq + 1);
  }

  /** `pending` says that the message was not on the disk yet. */
  remove(bytes: number, pending: boolean): void {
    this.messages--;
    this.bytes -= bytes;
    if (pending) this.shown(bytes);
  }

  /** A message is on the disk, or gone before it was. */
  shown(bytes: number): void {
    this.pendingMessages--;
    this.pendingBytes -= bytes;
  }

  /** All messages that are on the disk are gone; `firstSeq` is the first number behind them. */
  removeShown(firstSeq: number): void {
    this.messages = this.pendingMessages;
    this.bytes = this.pendingBytes;
    this.firstSeq = firstSeq;
  }

  /** Part of a transaction that writes everything counted. */
  save(): void {
    this.#save.run(
      this.firstSeq,
      this.lastSeq,
      this.messages,
      this.bytes,
      this.lastSeq,
      this.#streamId,
    );
  }

  saved(): void {
    this.#countedSeq = this.lastSeq;
  }
}

/** Reads the totals and counts the rows stored since they were written, subjects included. */
export function readTotals(
  db: Database,
  streamId: number,
  name: string,
  rows: Rows,
  subjects: Subjects,
): Totals {
  const row = shared<[number], TotalsRow>(
    db,
    'SELECT first_seq, counted_seq, messages, bytes, last_seq FROM stream WHERE id = ?',
  ).get(streamId);
  if (row === undefined) throw new Error(`stream ${name} has no row`);
  const totals = new Totals(db, streamId, row);
  const bounds = rows.bounds();
  totals.lastSeq = Math.max(
    row.last_seq,
    bounds.last ?? 0,
    numberedBefore(db, name, streamId, row, bounds.last),
  );
  // What lies before the first was trimmed and is not deleted yet.
  for (let next = Math.max(row.counted_seq + 1, row.first_seq); ;) {
    const extents = rows.extents(next, totals.lastSeq, SCAN_ROWS);
    for (const extent of extents) {
      const subject = subjects.byId(extent.subjectId);
      if (subject !== undefined) subjects.recount(subject, extent.seq);
      totals.messages++;
      totals.bytes += extent.bytes + (subject?.subject.length ?? 0);
    }
    const last = extents.at(-1);
    if (last === undefined) break;
    next = last.seq + 1;
  }
  // The first row may lie behind what was written down: a salvaged or trimmed stream begins at its first record.
  const first = rows.next(totals.firstSeq);
  totals.firstSeq = first ?? totals.lastSeq + 1;
  return totals;
}

/**
 * The last sequence that may have been given out although its row is lost: an epoch that began beyond all rows was
 * durable before its first number was used, so its numbers are not used again.
 */
function numberedBefore(
  db: Database,
  name: string,
  streamId: number,
  row: TotalsRow,
  lastRow: number | null,
): number {
  const epoch = shared<[string, number], { first: number | null }>(
    db,
    'SELECT max(first_seq) AS first FROM epoch WHERE stream = ? AND stream_id = ?',
  ).get(name, streamId);
  const first = epoch?.first ?? 0;
  return first > Math.max(row.last_seq, lastRow ?? 0) + 1 ? first : 0;
}
