// Opens the database the one way that the store's promises rest on, and reads the settings back. The only file that
// imports better-sqlite3.

import SqliteDatabase from 'better-sqlite3';
import type { Database } from 'better-sqlite3';
import { assert } from '../assert.ts';

/** A second agent, or anything else, holds the data directory. */
export class DataDirInUseError extends Error {
  override name = 'DataDirInUseError';
  readonly hint =
    'another agent runs on this data directory: stop it, or give this one a directory of its own';
}

/**
 * Opens `path` (creating it) in WAL mode at synchronous NORMAL without automatic checkpoints: the store syncs the WAL
 * itself before it acknowledges.
 */
export function openDatabase(path: string): Database {
  const db = new SqliteDatabase(path, { timeout: 100 });
  try {
    db.pragma('page_size = 4096');
    db.pragma('journal_mode = WAL');
    db.pragma('wal_autocheckpoint = 0');
    db.pragma('journal_size_limit = -1');
    db.pragma('synchronous = NORMAL');
    // 2 MiB of page cache: the working set is the right edge of a few tables.
    db.pragma('cache_size = -2000');
    db.pragma('temp_store = MEMORY');
    db.pragma('mmap_size = 0');
    db.pragma('trusted_schema = OFF');
    db.pragma('cell_size_check = ON');
    // The first read may re-open the WAL and set the compiled-in default again, so look afterwards.
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    assert(db.pragma('journal_mode', { simple: true }) === 'wal', 'the database is in WAL mode');
    assert(db.pragma('synchronous', { simple: true }) === 1, 'synchronous is NORMAL');
    assert(db.pragma('wal_autocheckpoint', { simple: true }) === 0, 'no automatic checkpoints');
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/** An empty database that lives in memory, of pages that are given back at once. */
export function openMemoryDatabase(): Database {
  const db = new SqliteDatabase(':memory:');
  db.pragma('page_size = 4096');
  db.pragma('temp_store = MEMORY');
  db.pragma('trusted_schema = OFF');
  return db;
}

/** Holds `path` until it is closed or the process ends, however it ends. Throws DataDirInUseError. */
export function lockFile(path: string): { close(): void } {
  const db = new SqliteDatabase(path, { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (error instanceof Error && 'code' in error && error.code === 'SQLITE_BUSY') {
      throw new DataDirInUseError(`${path} is held by another process`);
    }
    throw error;
  }
  return { close: () => void db.close() };
}
