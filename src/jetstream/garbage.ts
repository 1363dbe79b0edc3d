// Empties what deleted streams have left behind, a few milliseconds at a time: dropping a large table in one go would hold
// the loop, and with it every client and the watchdog. A crash in between loses nothing; the next start goes on.

import type { Statement } from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import { messageTable } from './schema.ts';
import type { Participant, Store } from './store.ts';

/** Rows deleted in one transaction. */
const SLICE_ROWS = 1_000;
/** Bytes of messages deleted in one transaction, at least one message. */
const SLICE_BYTES = 1024 * 1024;
/** Between two slices, for everybody else. */
const REST_MS = 10;
/** Tables that say something about a stream, and what stands behind `stream_id` in their keys. */
const KEYS = { subject: 'id', gap: 'first_seq', grace: 'ts', expiry: 'ts' } as const;
const TABLES = ['subject', 'gap', 'grace', 'expiry'] as const;

export class Garbage implements Participant {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #next: Statement<[], { stream_id: number }>;
  #running = false;
  #more = false;
  #stopped = false;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#next = store.db.prepare('SELECT stream_id FROM garbage LIMIT 1');
  }

  /** Collects what there is, in the background. */
  collect(): void {
    if (this.#running || this.#stopped) return;
    if (this.#store.guard(undefined, () => this.#next.get()) === undefined) return;
    this.#running = true;
    this.#store.queue(this, 0, 0);
  }

  stop(): void {
    this.#stopped = true;
  }

  write(): void {
    const id = this.#next.get()?.stream_id;
    this.#more = id !== undefined;
    if (id !== undefined) this.#slice(id);
  }

  writeRemovals(): void {
    this.write();
  }

  committed(): () => void {
    return () => this.#again();
  }

  refused(): () => void {
    return () => this.#again();
  }

  #again(): void {
    this.#running = false;
    if (this.#more && !this.#stopped) this.#clock.after(REST_MS, () => this.collect());
  }

  #slice(id: number): void {
    const { db } = this.#store;
    if (this.#deleteMessages(id)) return;
    if (TABLES.some((table) => deleteSome(db, table, id))) return;
    db.prepare(
      'DELETE FROM consumer_seq WHERE consumer_id IN (SELECT id FROM consumer WHERE stream_id = ?)',
    ).run(id);
    db.prepare('DELETE FROM consumer WHERE stream_id = ?').run(id);
    db.exec(`DROP TABLE IF EXISTS ${messageTable(id)}`);
    db.prepare('DELETE FROM garbage WHERE stream_id = ?').run(id);
  }

  /** False when there are none left. */
  #deleteMessages(id: number): boolean {
    const { db } = this.#store;
    const table = messageTable(id);
    if (db.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table) === undefined)
      return false;
    const extents = db
      .prepare<[number], { seq: number; bytes: number }>(
        `SELECT seq, coalesce(octet_length(data), 0) AS bytes FROM ${table} ORDER BY seq LIMIT ?`,
      )
      .all(SLICE_ROWS);
    let bytes = 0;
    const last = extents.find((extent) => (bytes += extent.bytes) >= SLICE_BYTES) ?? extents.at(-1);
    if (last === undefined) return false;
    db.prepare(`DELETE FROM ${table} WHERE seq <= ?`).run(last.seq);
    return true;
  }
}

/** The rows with the lowest keys; true when there may be more. */
function deleteSome(db: Store['db'], table: keyof typeof KEYS, id: number): boolean {
  const key = KEYS[table];
  const { changes } = db
    .prepare(
      `DELETE FROM ${table} WHERE stream_id = ? AND ${key} <= coalesce(
         (SELECT ${key} FROM ${table} WHERE stream_id = ? ORDER BY ${key} LIMIT 1 OFFSET ${SLICE_ROWS - 1}),
         9223372036854775807)`,
    )
    .run(id, id);
  return changes >= SLICE_ROWS;
}
