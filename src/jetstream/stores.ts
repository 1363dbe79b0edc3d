// Where streams lie: the store on the disk, and the one in memory, which is opened when the first stream or consumer
// asks for it.

import type { Database } from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { PublishError } from '../message.ts';
import { WorkerCheckpointer, type Checkpointer } from './checkpointer.ts';
import { FileDisk, type Disk } from './disk.ts';
import { openMemoryStore } from './memory-store.ts';
import { Quota } from './quota.ts';
import { Store } from './store.ts';
import { STORE_LIMITS, type StoreLimits } from './store-limits.ts';

/** What streams of clients may take of the disk where nothing else is said. */
const FILE_SHARE = 0.25;
/** What all streams and consumers in memory take at most where nothing else is said; bytes. */
const MEMORY_BYTES_DEFAULT = 64 * 1024 * 1024;

export interface StoresOptions {
  readonly commitIntervalMs: number;
  readonly limits?: Partial<StoreLimits> | undefined;
  /** What streams of clients may take of the disk; undefined: a quarter of what is free. */
  readonly fileBytesMax?: number | undefined;
  readonly memoryBytesMax?: number | undefined;
  /** For simulations: other ways to sync and to checkpoint. */
  readonly parts?:
    | { disk(databasePath: string): Disk; checkpointer(db: Database): Checkpointer }
    | undefined;
}

export interface StoresDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly onFatal: (error: Error) => void;
  /** The disk became full (with the reason) or has room again (null). */
  readonly onFull: (error: PublishError | null) => void;
}

export class Stores {
  readonly file: Store;
  /** Of streams that clients made. */
  readonly quota: Quota;
  readonly memoryBytesMax: number;
  /** The size of the disk. */
  readonly diskBytes: number;
  readonly #deps: StoresDeps;
  #memory: Store | undefined;
  #memoryFull = false;

  /** `db` is open at `path` and migrated. */
  constructor(db: Database, path: string, options: StoresOptions, deps: StoresDeps) {
    const { parts, limits, commitIntervalMs } = options;
    const disk = parts?.disk(path) ?? new FileDisk(path);
    this.#deps = deps;
    this.diskBytes = disk.room().totalBytes;
    // On a small disk the WAL takes no more than a share of it.
    const walBytesMax = Math.min(STORE_LIMITS.walBytesMax, Math.floor(this.diskBytes / 16));
    const checkpointer = parts?.checkpointer(db) ?? new WorkerCheckpointer(path);
    const { clock, onFatal, onFull } = deps;
    this.file = new Store(
      { db, disk, clock, checkpointer },
      { commitIntervalMs, limits: { walBytesMax, ...limits }, onFatal, onFull },
    );
    const { databaseBytes, availableBytes } = this.file.usage();
    this.quota = new Quota(
      options.fileBytesMax ?? Math.floor((databaseBytes + availableBytes) * FILE_SHARE),
    );
    this.memoryBytesMax = options.memoryBytesMax ?? MEMORY_BYTES_DEFAULT;
  }

  get memory(): Store {
    const { clock, log, onFatal } = this.#deps;
    this.#memory ??= openMemoryStore(clock, {
      bytesMax: this.memoryBytesMax,
      onFatal,
      onFull: (error) => {
        // It says so again at every look while it is full.
        const wasFull = this.#memoryFull;
        this.#memoryFull = error !== null;
        if (error === null) return log.info('there is memory for streams again');
        if (wasFull) return;
        const hint = 'give memory streams smaller limits, or raise jetstream.max_memory';
        log.warn(
          { error: error.message, hint },
          'the memory for streams is used up: publishes are refused',
        );
      },
    });
    return this.#memory;
  }

  of(storage: 'file' | 'memory'): Store {
    return storage === 'file' ? this.file : this.memory;
  }

  refreshRoom(): void {
    this.file.refreshRoom();
    this.#memory?.refreshRoom();
  }

  /** Makes durable what is queued, and closes. */
  async stop(): Promise<void> {
    for (const store of [this.#memory, this.file]) {
      await store?.stop();
      await store?.close();
    }
  }
}
