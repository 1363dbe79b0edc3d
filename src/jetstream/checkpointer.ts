// Moves the WAL into the database while commits rest. In production a worker thread does it on a connection of its
// own, so that its syncs (three a time) never hold the event loop.

import { Worker } from 'node:worker_threads';
import type { Database } from 'better-sqlite3';

export interface Checkpointer {
  /** A run is near: get ready, so that commits need not rest for it. */
  prepare(): void;
  /** Runs the statements of `first`, and checkpoints; the store does not commit until `done`. One run at a time. */
  run(done: (error: Error | null) => void, first?: string): void;
  close(): Promise<void>;
}

/**
 * The statements of a checkpoint. RESTART makes the next write begin the WAL anew, and the row is that write: a WAL
 * that has been checkpointed but is still valid turns one flipped bit into a malformed database.
 */
export function checkpoint(db: Database): void {
  const [result] = db.pragma('wal_checkpoint(RESTART)') as [{ busy: number }];
  if (result.busy !== 0) throw new Error('the checkpoint was kept waiting by another reader');
  db.exec('UPDATE beat SET n = n + 1');
}

/** What the worker is told. */
export type CheckpointOrder = { readonly first: string } | 'close';

/** What the worker answers. */
export type CheckpointReply = { error: null } | { error: { message: string; code: string } };

export class WorkerCheckpointer implements Checkpointer {
  readonly #path: string;
  #worker: Worker | undefined;
  #done: ((error: Error | null) => void) | undefined;

  constructor(databasePath: string) {
    this.#path = databasePath;
  }

  prepare(): void {
    this.#start();
  }

  run(done: (error: Error | null) => void, first = ''): void {
    this.#done = done;
    const worker = this.#start();
    worker.ref();
    worker.postMessage({ first } satisfies CheckpointOrder);
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./checkpoint-worker.${extension}`, import.meta.url), {
      workerData: this.#path,
      // It runs two statements; without limits V8 would give it as much memory as the agent.
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
      stdout: false,
      stderr: false,
    });
    worker.on('message', (reply: CheckpointReply) => {
      this.#finish(
        reply.error === null
          ? null
          : Object.assign(new Error(reply.error.message), { code: reply.error.code }),
      );
    });
    worker.on('error', (error: Error) => {
      this.#worker = undefined;
      this.#finish(error);
    });
    worker.unref();
    this.#worker = worker;
    return worker;
  }

  #finish(error: Error | null): void {
    const done = this.#done;
    this.#done = undefined;
    this.#worker?.unref();
    done?.(error);
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      worker.ref();
      worker.once('exit', () => resolve());
      worker.postMessage('close' satisfies CheckpointOrder);
    });
  }
}

/** Checkpoints on the store's own connection: for tests and simulations, where nothing else may run beside. */
export class InlineCheckpointer implements Checkpointer {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  prepare(): void {}

  run(done: (error: Error | null) => void, first = ''): void {
    try {
      this.#db.exec(first);
      checkpoint(this.#db);
    } catch (error) {
      return done(error instanceof Error ? error : new Error(String(error)));
    }
    done(null);
  }

  async close(): Promise<void> {}
}
