// What the store asks of the disk beside SQLite: the sync behind every acknowledgement, and how much room there is.
// Only SQLite opens the database file and its -shm: closing another descriptor of them in this process would drop
// SQLite's POSIX locks. The -wal carries no locks, so we may hold it.

import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  openSync,
  rmSync,
  statSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { PublishError } from '../message.ts';

export interface Disk {
  /** Makes the WAL durable as it is now. `done` gets an error when that cannot be known. */
  syncWal(done: (error: Error | null) => void): void;
  /** Bytes that this process may still write to the file system, and its size. */
  room(): { availableBytes: number; totalBytes: number };
  /** Sets `bytes` of disk aside in a file, or gives them back with 0. Returns false when there is no room. */
  setAside(bytes: number): boolean;
  /** Why nothing more is taken where this is no disk. */
  full?(): PublishError;
  close(): void;
}

/** The WAL file was unlinked under us: what we sync is no longer what a restart reads. */
export class WalGoneError extends Error {
  override name = 'WalGoneError';
  readonly hint =
    'another program opened the database with an old SQLite and removed its write-ahead log; use `sqlite3` 3.51.3 or later, or a copy';
}

export class FileDisk implements Disk {
  readonly #walPath: string;
  readonly #asidePath: string;
  readonly #walFd: number;

  /** `databasePath` must be open in WAL mode already, so that its -wal exists. */
  constructor(databasePath: string) {
    this.#walPath = `${databasePath}-wal`;
    this.#asidePath = asidePath(dirname(databasePath));
    this.#walFd = openSync(this.#walPath, 'r+');
    // The WAL's directory entry must outlive a power cut as well as its bytes.
    const directoryFd = openSync(dirname(databasePath), 'r');
    fsyncSync(directoryFd);
    closeSync(directoryFd);
  }

  syncWal(done: (error: Error | null) => void): void {
    fdatasync(this.#walFd, (error) => {
      if (error === null && fstatSync(this.#walFd).nlink === 0) {
        return done(new WalGoneError(`${this.#walPath} was removed while in use`));
      }
      done(error);
    });
  }

  room(): { availableBytes: number; totalBytes: number } {
    const stat = statfsSync(dirname(this.#walPath));
    return { availableBytes: stat.bavail * stat.bsize, totalBytes: stat.blocks * stat.bsize };
  }

  setAside(bytes: number): boolean {
    if (bytes === 0) {
      rmSync(this.#asidePath, { force: true });
      return true;
    }
    if (sizeOf(this.#asidePath) === bytes) return true;
    try {
      this.#writeAside(bytes);
      return true;
    } catch {
      rmSync(this.#asidePath, { force: true });
      return false;
    }
  }

  #writeAside(bytes: number): void {
    const fd = openSync(this.#asidePath, 'w', 0o600);
    try {
      // Written, not truncated to size: a sparse file sets nothing aside.
      const zeros = Buffer.alloc(64 * 1024);
      for (let at = 0; at < bytes;)
        at += writeSync(fd, zeros, 0, Math.min(zeros.length, bytes - at));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    closeSync(this.#walFd);
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? -1;
}

function asidePath(dataDir: string): string {
  return `${dataDir}/room-set-aside`;
}

/** Gives the room that an earlier start set aside back to the file system; false when there was none. */
export function giveBackRoom(dataDir: string): boolean {
  if (sizeOf(asidePath(dataDir)) <= 0) return false;
  rmSync(asidePath(dataDir));
  return true;
}
