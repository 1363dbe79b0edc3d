// The store of memory streams: the same code on a database in memory. What is in it is as durable
// as it can be at once, and gone with the process.

import type { Clock } from '../clock.ts';
import { PublishError } from '../message.ts';
import { InlineCheckpointer } from './checkpointer.ts';
import { openMemoryDatabase } from './database.ts';
import type { Disk } from './disk.ts';
import { migrate } from './schema.ts';
import { Store } from './store.ts';
import { STORE_LIMITS } from './store-limits.ts';

const PAGE_BYTES = 4096;

export interface MemoryStoreOptions {
  readonly bytesMax: number;
  readonly onFatal: (error: Error) => void;
  /** It became full (with the reason) or has room again (null). */
  readonly onFull: (error: PublishError | null) => void;
}

/** Opens an empty store of at most `bytesMax` bytes. */
export function openMemoryStore(clock: Clock, options: MemoryStoreOptions): Store {
  const { bytesMax, onFatal, onFull } = options;
  const db = openMemoryDatabase();
  migrate(db);
  const pages = (): number => Number(db.pragma('page_count', { simple: true }));
  const disk: Disk = {
    // In a turn of its own, as from a disk: whoever is told may publish.
    syncWal: (done) => clock.soon(() => done(null)),
    room: () => ({
      availableBytes: Math.max(0, bytesMax - pages() * PAGE_BYTES),
      totalBytes: bytesMax,
    }),
    setAside: () => true,
    full: () => new PublishError(503, 10028, 'insufficient memory resources available'),
    close: () => {},
  };
  return new Store(
    { db, disk, clock, checkpointer: new InlineCheckpointer(db) },
    { commitIntervalMs: 0, limits: STORE_LIMITS, onFatal, onFull },
  );
}
