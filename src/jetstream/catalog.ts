// The rows of the table `stream`: which streams there are, what they are to be, and who said so. A stream of the
// configuration file (`file`) follows the file; one that a client made (`api`) lives by what stands here.

import type { Database } from 'better-sqlite3';
import { createMessageTable, messageTable } from './schema.ts';
import type { Origin, StreamConfig } from './stream-types.ts';
import { WALL_TIME_MS } from './timeline.ts';

export interface StreamRow {
  readonly id: number;
  readonly name: string;
  readonly config: string;
  readonly created_ms: number;
  readonly origin: Origin;
}

const COLUMNS = 'id, name, config, created_ms, origin';

export class Catalog {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** All streams, in the order in which they were made. */
  rows(): StreamRow[] {
    return this.#db.prepare<[], StreamRow>(`SELECT ${COLUMNS} FROM stream ORDER BY id`).all();
  }

  find(name: string): StreamRow | undefined {
    return this.#db
      .prepare<[string], StreamRow>(`SELECT ${COLUMNS} FROM stream WHERE name = ?`)
      .get(name);
  }

  /** Makes a stream with an empty table for its messages; part of a transaction. */
  create(config: StreamConfig, origin: Origin, wallMs: number): StreamRow {
    const created_ms = Math.floor(wallMs);
    const text = encodeConfig(config);
    const { lastInsertRowid } = this.#db
      .prepare('INSERT INTO stream (name, config, created_ms, origin) VALUES (?, ?, ?, ?)')
      .run(config.name, text, created_ms, origin);
    const id = Number(lastInsertRowid);
    createMessageTable(this.#db, id);
    return { id, name: config.name, config: text, created_ms, origin };
  }

  save(id: number, config: StreamConfig, origin: Origin): void {
    this.#db
      .prepare('UPDATE stream SET config = ?, origin = ? WHERE id = ?')
      .run(encodeConfig(config), origin, id);
  }

  /**
   * Takes a stream out; part of a transaction. What it leaves behind is garbage, collected bit by bit. The epochs of a
   * configured one stay known, as the hub may hold messages of them.
   */
  remove({ id, name, origin }: Pick<StreamRow, 'id' | 'name' | 'origin'>): void {
    this.#db.prepare('DELETE FROM stream WHERE id = ?').run(id);
    this.#db.prepare('INSERT INTO garbage (stream_id) VALUES (?)').run(id);
    if (origin === 'api') this.#db.prepare('DELETE FROM epoch WHERE stream = ?').run(name);
  }

  /** Gives a stream the name of `config`, and its origin; part of a transaction. The old name's epochs are forgotten. */
  rename({ id, name }: Pick<StreamRow, 'id' | 'name'>, config: StreamConfig, origin: Origin): void {
    this.#db.prepare('UPDATE stream SET name = ? WHERE id = ?').run(config.name, id);
    this.#db.prepare('DELETE FROM epoch WHERE stream = ?').run(name);
    this.save(id, config, origin);
  }

  /** The newest store time in any stream; those that keep the time of another server have none. */
  newestTs(): number {
    return this.rows().reduce((newest, { id }) => {
      const row = this.#db
        .prepare<[], { ts: number }>(`SELECT ts FROM ${messageTable(id)} ORDER BY seq DESC LIMIT 1`)
        .get();
      const ts = row?.ts ?? 0;
      return ts >= WALL_TIME_MS ? newest : Math.max(newest, ts);
    }, 0);
  }
}

function encodeConfig(config: StreamConfig): string {
  return JSON.stringify(config);
}

/** The configuration of a stream that a client made. JSON has no Infinity: `maxBytes` null is none. */
export function decodeConfig({ config }: Pick<StreamRow, 'config'>): StreamConfig {
  const parsed = JSON.parse(config) as StreamConfig & { maxBytes: number | null };
  return { ...parsed, maxBytes: parsed.maxBytes ?? Infinity };
}
