// A damaged database never stops the gateway. Every record that can still be read is copied into a new one, and what
// cannot becomes a gap that the hub is told of. The damaged files stay for a closer look.
//
// It may be killed at any point and goes on at the next start: the marker stands until the end, the copy gets its final
// name only when it is complete and on the disk, and the damaged files are moved only after that.

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import type { Logger } from '../log.ts';
import { openDatabase } from './database.ts';
import { createMessageTable, messageTable, migrate } from './schema.ts';

/** Damaged databases kept in the data directory; the oldest goes when another comes. */
const KEPT_MAX = 2;
/** Rows copied in one transaction. */
const COPY_ROWS = 500;
const DATABASE = 'mangrove.db';
const MARKER = 'damaged';
/** The copy while it is being made, and when it is complete. */
const COPY = 'salvage.partial';
const COPIED = 'salvage.complete';
const SUFFIXES = ['', '-wal', '-shm'];
/** Besides the streams. */
const COPIED_TABLES = [
  'epoch',
  'gap',
  'grace',
  'boot',
  'subject',
  'expiry',
  'consumer',
  'consumer_seq',
  'quarantine',
  'kv',
];

/** Of these what deleted streams have left is not wanted. */
const OF_STREAMS = ['gap', 'grace', 'subject', 'expiry', 'consumer'];

/** Whether `error` says that the database file itself is damaged. */
export function isDamage(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB';
}

/** Whether `error` says that the messages of a stream are gone for good: who reads it in many turns may outlive it. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && /^no such table: m_\d+$/.test(error.message);
}

/** Notes that the next start has to salvage the database. */
export function markDamaged(dataDir: string): void {
  writeFileSync(
    join(dataDir, MARKER),
    'the database is damaged: the next start copies what can be read\n',
  );
}

export function isMarkedDamaged(dataDir: string): boolean {
  return existsSync(join(dataDir, MARKER));
}

/** What a salvage brought over. */
export interface Salvaged {
  readonly directory: string;
  readonly messages: number;
  readonly missing: number;
}

/** Replaces the database in `dataDir` by a new one with everything that can be read from it. */
export function salvage(dataDir: string, log: Logger): Salvaged {
  if (!isMarkedDamaged(dataDir)) markDamaged(dataDir);
  const result = existsSync(join(dataDir, COPIED)) ? undefined : copy(dataDir);
  const directory = moveAside(dataDir);
  renameSync(join(dataDir, COPIED), join(dataDir, DATABASE));
  syncDirectory(dataDir);
  rmSync(join(dataDir, MARKER), { force: true });
  log.error(
    { ...result, directory, hint: 'check or replace the card; the damaged files can be deleted' },
    'the database was damaged: what could be read has been copied into a new one',
  );
  return { messages: 0, missing: 0, ...result, directory };
}

/** Makes the copy and, when it is complete and on the disk, gives it its name. */
function copy(dataDir: string): { messages: number; missing: number } {
  const path = join(dataDir, COPY);
  for (const suffix of SUFFIXES) rmSync(path + suffix, { force: true });
  const to = openDatabase(path);
  let result: { messages: number; missing: number };
  try {
    migrate(to);
    result = copyReadable(join(dataDir, DATABASE), to);
    to.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    to.close();
  }
  renameSync(path, join(dataDir, COPIED));
  syncDirectory(dataDir);
  return result;
}

/** Moves the damaged files into a directory of their own; one that a killed salvage has begun is taken up again. */
function moveAside(dataDir: string): string {
  const numbers = readdirSync(dataDir)
    .map((name) => Number(/^damaged-(\d+)$/.exec(name)?.[1]))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);
  const begun = numbers.at(-1);
  const moved = begun !== undefined && !existsSync(join(dataDir, DATABASE));
  const directory = join(dataDir, `damaged-${moved ? begun : (begun ?? 0) + 1}`);
  if (!moved) {
    for (const number of numbers.slice(0, Math.max(0, numbers.length + 1 - KEPT_MAX))) {
      rmSync(join(dataDir, `damaged-${number}`), { recursive: true, force: true });
    }
    mkdirSync(directory, { mode: 0o700 });
  }
  for (const suffix of SUFFIXES) {
    const path = join(dataDir, DATABASE + suffix);
    if (existsSync(path)) renameSync(path, join(directory, DATABASE + suffix));
  }
  return directory;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

function copyReadable(path: string, to: Database): { messages: number; missing: number } {
  const total = { messages: 0, missing: 0 };
  let from: Database;
  try {
    from = openDatabase(path);
  } catch (error) {
    if (isDamage(error)) return total;
    throw error;
  }
  try {
    for (const table of COPIED_TABLES) copyTable(from, to, table);
    // Totals are counted anew from the rows that made it.
    for (const row of readable(from, 'SELECT * FROM stream')) {
      insert(to, 'stream', { ...row, counted_seq: 0, messages: 0, bytes: 0 });
      const copied = copyMessages(from, to, Number(row['id']));
      total.messages += copied.messages;
      total.missing += copied.missing;
    }
    to.exec('UPDATE subject SET count = 0, last_seq = 0');
    for (const table of OF_STREAMS)
      to.exec(`DELETE FROM ${table} WHERE stream_id NOT IN (SELECT id FROM stream)`);
    copyNumbers(from, to);
  } finally {
    from.close();
  }
  return total;
}

type Row = Record<string, unknown>;

/** The number of a stream that was deleted is not given to another: what speaks of it is not about that one. */
function copyNumbers(from: Database, to: Database): void {
  const update = to.prepare('UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?');
  const add = to.prepare('INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)');
  for (const { name, seq } of readable(from, 'SELECT name, seq FROM sqlite_sequence'))
    if (update.run(seq, name).changes === 0) add.run(seq, name);
}

/** The rows of a query up to the first damage. */
function readable(db: Database, sql: string, ...parameters: unknown[]): Row[] {
  const rows: Row[] = [];
  try {
    for (const row of db.prepare<unknown[], Row>(sql).iterate(...parameters)) rows.push(row);
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  return rows;
}

function insert(to: Database, table: string, row: Row): void {
  const columns = Object.keys(row);
  to.prepare(
    `INSERT OR REPLACE INTO ${table} (${columns.join(',')}) VALUES (${columns.map(() => '?').join(',')})`,
  ).run(...Object.values(row));
}

function copyTable(from: Database, to: Database, table: string): void {
  // The damaged one may be of an older version.
  if (readable(from, 'SELECT 1 FROM sqlite_schema WHERE name = ?', table).length === 0) return;
  to.transaction(() => {
    for (const row of readable(from, `SELECT * FROM ${table}`)) insert(to, table, row);
  })();
}

function copyMessages(
  from: Database,
  to: Database,
  streamId: number,
): { messages: number; missing: number } {
  createMessageTable(to, streamId);
  const table = messageTable(streamId);
  const last = lastSequence(from, table);
  let messages = 0;
  let missing = 0;
  for (let next = 1; next <= last;) {
    const rows = readable(
      from,
      `SELECT * FROM ${table} WHERE seq >= ? ORDER BY seq LIMIT ?`,
      next,
      COPY_ROWS,
    );
    to.transaction(() => rows.forEach((row) => insert(to, table, row)))();
    messages += rows.length;
    const seq = Number(rows.at(-1)?.['seq'] ?? next - 1);
    if (rows.length === COPY_ROWS) {
      next = seq + 1;
      continue;
    }
    const behind = nextReadable(from, table, seq + 1, last);
    if (behind === null || behind <= seq) break;
    if (behind > seq + 1) {
      missing += behind - seq - 1;
      insert(to, 'gap', {
        stream_id: streamId,
        first_seq: seq + 1,
        last_seq: behind - 1,
        reason: 'corrupt',
      });
    }
    next = behind;
  }
  return { messages, missing };
}

/** The highest sequence that can be found, whatever is unreadable before it. */
function lastSequence(from: Database, table: string): number {
  return Number(
    readable(from, `SELECT seq FROM ${table} ORDER BY seq DESC LIMIT 1`)[0]?.['seq'] ?? 2 ** 40,
  );
}

/** The first sequence from `seq` on that can be read; steps over a damaged page by doubling, then halves back. */
function nextReadable(from: Database, table: string, seq: number, last: number): number | null {
  const at = (probe: number): number | null => {
    const rows = readable(
      from,
      `SELECT seq FROM ${table} WHERE seq >= ? ORDER BY seq LIMIT 1`,
      probe,
    );
    return rows[0] === undefined ? null : Number(rows[0]['seq']);
  };
  let low = seq;
  let found = at(seq);
  for (let step = 1; found === null && seq + step <= last * 2; step *= 2) {
    low = seq + Math.floor(step / 2);
    found = at(seq + step);
    if (found !== null) {
      let high = seq + step;
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        const hit = at(middle);
        if (hit === null) low = middle;
        else [high, found] = [middle, hit];
      }
    }
  }
  return found;
}

/** A disk that reads as damaged may be gone: then it takes no note either, and the next start sees for itself. */
export function noteDamage(dataDir: string): void {
  try {
    markDamaged(dataDir);
  } catch {
    // What is fatal is told all the same.
  }
}
