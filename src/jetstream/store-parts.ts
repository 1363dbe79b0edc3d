// What a store is made of, and how it is to behave.

import type { Database } from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import type { PublishError } from '../message.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { Disk } from './disk.ts';
import type { StoreLimits } from './store-limits.ts';

export interface StoreParts {
  readonly db: Database;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly checkpointer: Checkpointer;
}

export interface StoreOptions {
  /** Wait this long for more before a commit; 0 commits at the end of the turn. */
  readonly commitIntervalMs: number;
  readonly limits?: Partial<StoreLimits>;
  /** The disk can no longer be trusted. Called once; afterwards nothing is ever acknowledged. */
  readonly onFatal: (error: Error) => void;
  /** The disk became full (with the reason) or has room again (null). */
  readonly onFull: (error: PublishError | null) => void;
}
