// Room on the disk: how large the database may grow, what is set aside, and when a full disk has room again.
//
// SQLite is stopped by `max_page_count` before the disk is full, so that deletes and checkpoints, which need room in
// the WAL and in the file, still work. If another program fills the disk all the same, the room set aside is given
// back to make them work.

import type { Database, Statement } from 'better-sqlite3';
import { PublishError } from '../message.ts';
import type { Disk } from './disk.ts';

const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;
/** Free pages inside the database, or bytes on the disk, at which a full store takes messages again. */
const RESUME_BYTES_MAX = MIB;

export class Room {
  readonly #db: Database;
  readonly #disk: Disk;
  readonly #walFrames: Statement<[], { log: number; checkpointed: number }>;
  /** Left to the WAL and the checkpoint when the database is as large as it may become. */
  readonly #reserveBytes: number;
  /** Held in a file of its own against other programs. */
  readonly #asideBytes: number;
  readonly #resumeBytes: number;
  full: PublishError | null = null;

  constructor(db: Database, disk: Disk) {
    this.#db = db;
    this.#disk = disk;
    this.#walFrames = db.prepare('PRAGMA wal_checkpoint = NOOP');
    // Shares of the disk, so that a tiny one (a test's, an old card's) keeps most of itself for messages.
    const { totalBytes } = disk.room();
    this.#reserveBytes = Math.min(16 * MIB, Math.floor(totalBytes / 8));
    this.#asideBytes = pages(Math.min(8 * MIB, Math.floor(totalBytes / 16))) * PAGE_BYTES;
    this.#resumeBytes = Math.min(RESUME_BYTES_MAX, Math.floor(totalBytes / 32));
    this.refresh();
  }

  usage(): { databaseBytes: number; availableBytes: number } {
    const { availableBytes } = this.#disk.room();
    return { databaseBytes: this.#pragma('page_count') * PAGE_BYTES, availableBytes };
  }

  /** Bytes of WAL that no checkpoint has taken over yet. */
  walBytes(): number {
    const frames = this.#walFrames.get();
    return frames === undefined ? 0 : (frames.log - frames.checkpointed) * (PAGE_BYTES + 24);
  }

  /** Fits the size limit of the database to the disk as it is now, and sets room aside when it can be had. */
  refresh(): void {
    const { availableBytes } = this.#disk.room();
    if (this.full === null && availableBytes > this.#asideBytes + this.#reserveBytes) {
      this.#disk.setAside(this.#asideBytes);
    }
    const spare = Math.max(0, this.#disk.room().availableBytes - this.#reserveBytes);
    this.#db.pragma(`max_page_count = ${this.#pragma('page_count') + pages(spare)}`);
  }

  becameFull(): PublishError {
    const { availableBytes } = this.#disk.room();
    this.full ??=
      this.#disk.full?.() ??
      new PublishError(
        503,
        10047,
        `insufficient storage resources available: the disk is full (${availableBytes} bytes free)`,
      );
    return this.full;
  }

  /** Gives the room set aside back to the file system, for the checkpoint and the deletes. */
  giveBack(): void {
    this.#disk.setAside(0);
    this.refresh();
  }

  /** Whether messages can be taken again; if so the store is no longer full. */
  tryResume(): boolean {
    const { availableBytes } = this.#disk.room();
    const inside = this.#pragma('freelist_count') * PAGE_BYTES;
    const outside = availableBytes - this.#asideBytes - this.#reserveBytes;
    if (inside < this.#resumeBytes && outside < this.#resumeBytes) return false;
    if (!this.#probe()) return false;
    this.full = null;
    this.refresh();
    return true;
  }

  /** Writes and removes a record, so that a disk that only looks free is not believed. */
  #probe(): boolean {
    try {
      this.#db.exec(`BEGIN IMMEDIATE;
        INSERT OR REPLACE INTO kv VALUES ('probe', '', zeroblob(${Math.floor(this.#resumeBytes / 2)}));
        DELETE FROM kv WHERE map = 'probe';
        COMMIT;`);
      return true;
    } catch {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      return false;
    }
  }

  #pragma(name: string): number {
    return Number(this.#db.pragma(name, { simple: true }));
  }
}

function pages(bytes: number): number {
  return Math.floor(bytes / PAGE_BYTES);
}
