// The store: one SQLite database for everything durable, committed in groups. What a turn of the event loop has queued
// goes into one transaction; then one fdatasync of the WAL, off the loop and at most one at a time, makes it durable.
//
// Why a callback of `whenDurable` never comes too early: a batch is numbered when its transaction has committed, that
// is, when SQLite has written its frames to the WAL. A sync covers the batches committed before it started, and only
// its return moves the watermark. While a sync runs, queued work waits (unless much of it does), so a slow disk makes
// the batches bigger, not the throughput smaller. A failed sync or I/O error is fatal: what is on the disk is then
// unknown, nothing is acknowledged any more, and the process must end and read the disk again.

import type { Database } from 'better-sqlite3';
import { assert } from '../assert.ts';
import type { Cancel, Clock } from '../clock.ts';
import { PublishError } from '../message.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { Disk } from './disk.ts';
import { FullDisk } from './full-disk.ts';
import { Room } from './room.ts';
import { isDamage, isGone } from './salvage.ts';
import { STORE_LIMITS, type StoreLimits } from './store-limits.ts';
import type { StoreOptions, StoreParts } from './store-parts.ts';

/** Something that writes into the store's transactions. It keeps what it has queued until it is told the outcome. */
export interface Participant {
  /** Writes everything queued; runs inside a transaction that may still be rolled back. */
  write(): void;
  /** Writes only what frees room (deletes, marks), after a transaction has failed for lack of it. */
  writeRemovals(): void;
  /** The transaction is in: forget what was queued. Returns what to do once it is on the disk. */
  committed(): (() => void) | undefined;
  /** Nothing queued fits on the disk: forget the additions; removals stay queued. Returns how to tell whoever waits. */
  refused(error: PublishError): (() => void) | undefined;
}

/** How long to wait for another program that holds the write lock. */
const BUSY_RETRY_MS = 20;

/** How long one turn tells what is on the disk. */
const TELL_MS = 3;

type Waiter = (error: PublishError | null) => void;

interface Batch {
  readonly number: number;
  readonly messages: number;
  readonly bytes: number;
  readonly done: Waiter[];
}

export class Store {
  readonly db: Database;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #checkpointer: Checkpointer;
  readonly #options: StoreOptions;
  readonly #limits: StoreLimits;
  readonly #room: Room;
  readonly #fullDisk: FullDisk;

  #dirty = new Set<Participant>();
  #waiters: Waiter[] = [];
  #queuedMessages = 0;
  #queuedBytes = 0;
  #scheduled = false;
  /** A turn has come for what is queued; it waits only for the disk. */
  #due = false;
  /** What is queued at this moment belongs into one transaction. */
  #together = false;
  #cancelInterval: Cancel | undefined;
  /** When the last transaction was begun. */
  #committedMs = Number.NEGATIVE_INFINITY;

  #batches: Batch[] = [];
  #committed = 0;
  #durable = 0;
  #undurableMessages = 0;
  #undurableBytes = 0;
  #syncing = false;
  /** What is on the disk is being told, in several turns. */
  #telling = false;
  #syncStartedMs = 0;
  #resting = false;
  #wantCheckpoint = false;
  #afterCheckpoint: (() => void)[] = [];
  /** For the next checkpoint to do first. */
  readonly #besides: { readonly sql: string; readonly done: (error: Error | null) => void }[] = [];
  /** What the last checkpoint could not take over, because another program was reading. */
  #walBytesStuck = 0;
  #stopped = false;
  #failed: Error | undefined;

  /** For /varz: what the store did since the start. */
  readonly counters = { commits: 0, syncs: 0, checkpoints: 0, refused: 0, checkpointErrors: 0 };

  constructor(parts: StoreParts, options: StoreOptions) {
    this.db = parts.db;
    this.#disk = parts.disk;
    this.#clock = parts.clock;
    this.#checkpointer = parts.checkpointer;
    this.#options = options;
    this.#limits = { ...STORE_LIMITS, ...options.limits };
    this.#room = new Room(parts.db, parts.disk);
    this.#fullDisk = this.#wayBack();
  }

  #wayBack(): FullDisk {
    const over = (): boolean => this.#failed !== undefined || this.#stopped;
    const store = {
      get over() {
        return over();
      },
      checkpoint: (then: () => void) => this.#checkpoint(then),
      refuseQueued: () => {
        if (this.#dirty.size > 0) this.#refuse([...this.#dirty]);
        this.#sync();
      },
      resume: () => this.#turn(),
    };
    return new FullDisk(this.#room, this.#clock, store, this.#options.onFull);
  }

  /** Why additions are refused just now, or null. */
  get full(): PublishError | null {
    return this.#room.full;
  }

  get failed(): Error | undefined {
    return this.#failed;
  }

  get undurableMessages(): number {
    return this.#undurableMessages + this.#queuedMessages;
  }

  /** For how long the disk has not answered the sync that is running; 0 when none is. */
  get stalledMs(): number {
    return this.#syncing ? this.#clock.monotonicMs() - this.#syncStartedMs : 0;
  }

  /** Whether something waits for the disk. An idle store waits for nothing. */
  get busy(): boolean {
    return this.#dirty.size > 0 || this.#batches.length > 0 || this.#syncing || this.#resting;
  }

  /** Changes whenever the disk has done something: a sync or a checkpoint has come back. */
  get steps(): number {
    const { syncs, checkpoints, checkpointErrors } = this.counters;
    return syncs + checkpoints + checkpointErrors;
  }

  /** Bytes of the database file, and of the file system that are still free. */
  usage(): { databaseBytes: number; availableBytes: number } {
    return this.#room.usage();
  }

  /** Asks whether a message of `bytes` may be queued now; the error says why not. */
  admit(bytes: number): PublishError | null {
    const { commitRows, commitRowsIdle, undurableMessagesMax, undurableBytesMax } = this.#limits;
    // Enough for a transaction: the disk gets it while the rest of the turn is read. It may turn out to be full.
    const gathering = this.#syncing || this.#options.commitIntervalMs > 0;
    if (!this.#together && this.#queuedMessages >= (gathering ? commitRows : commitRowsIdle))
      this.#turn();
    if (this.#failed !== undefined) return new PublishError(503, 10077, 'the store has failed');
    if (this.#room.full !== null) {
      this.counters.refused++;
      return this.#room.full;
    }
    if (
      this.#undurableMessages + this.#queuedMessages >= undurableMessagesMax ||
      this.#undurableBytes + this.#queuedBytes + bytes > undurableBytesMax
    ) {
      this.counters.refused++;
      return new PublishError(429, 10167, 'too many requests: the disk has not caught up');
    }
    return null;
  }

  /** Runs `body`, and puts everything that it queues into one transaction: after a crash all of it is there, or nothing. */
  together<T>(body: () => T): T {
    const outer = this.#together;
    this.#together = true;
    try {
      return body();
    } finally {
      this.#together = outer;
    }
  }

  /** Queues `participant` for the next transaction, with so many more messages and bytes. */
  queue(participant: Participant, messages: number, bytes: number): void {
    this.#dirty.add(participant);
    this.#queuedMessages += messages;
    this.#queuedBytes += bytes;
    this.#schedule();
  }

  /**
   * Calls `done(null)` once everything queued up to now is on the disk, or `done(error)` if it was refused. Callbacks
   * run in order; at once when nothing is pending. After a fatal error never.
   */
  whenDurable(done: Waiter): void {
    if (this.#failed !== undefined) return;
    if (this.#dirty.size > 0) {
      this.#waiters.push(done);
    } else {
      const last = this.#batches.at(-1);
      if (last === undefined) done(null);
      else last.done.push(done);
    }
  }

  #schedule(): void {
    if (!this.#scheduled && this.#failed === undefined) this.#scheduleTurn();
  }

  // Apart: a closure costs each call of the function that makes it, also where it is not made.
  #scheduleTurn(): void {
    this.#scheduled = true;
    const turn = (): void => {
      this.#scheduled = false;
      this.#cancelInterval = undefined;
      this.#turn();
    };
    // Counted from the last commit: who comes alone does not wait.
    const sinceMs = this.#clock.monotonicMs() - this.#committedMs;
    const waitMs = this.#options.commitIntervalMs - sinceMs;
    if (waitMs <= 0) this.#clock.soon(turn);
    else this.#cancelInterval = this.#clock.after(waitMs, turn);
  }

  #turn(): void {
    if (this.#failed !== undefined || this.#resting || this.#dirty.size === 0) return;
    this.#due = true;
    // A running sync is worth waiting for: the next one then covers more.
    if ((this.#syncing || this.#wantCheckpoint) && this.#queuedMessages < this.#limits.commitRows)
      return;
    if (this.#wantCheckpoint && this.#batches.length > 0) return;
    this.#commit();
    this.#sync();
  }

  #commit(): void {
    this.#due = false;
    this.#committedMs = this.#clock.monotonicMs();
    const participants = [...this.#dirty];
    try {
      this.#transaction(() => participants.forEach((participant) => participant.write()));
    } catch (error) {
      if (codeOf(error).startsWith('SQLITE_BUSY')) {
        this.#scheduled = true;
        this.#clock.after(BUSY_RETRY_MS, () => {
          this.#scheduled = false;
          this.#turn();
        });
        return;
      }
      if (codeOf(error) !== 'SQLITE_FULL') return this.fail(error);
      return this.#refuse(participants);
    }
    this.#close(participants, this.#waiters);
    this.#waiters = [];
  }

  /** Ends a transaction that committed: what it wrote becomes a batch that waits for the disk. */
  #close(participants: Participant[], done: Waiter[]): void {
    for (const participant of participants) {
      this.#dirty.delete(participant);
      const after = participant.committed();
      if (after !== undefined) done.unshift(after);
    }
    this.#batches.push({
      number: ++this.#committed,
      messages: this.#queuedMessages,
      bytes: this.#queuedBytes,
      done,
    });
    this.counters.commits++;
    this.#undurableMessages += this.#queuedMessages;
    this.#undurableBytes += this.#queuedBytes;
    this.#queuedMessages = 0;
    this.#queuedBytes = 0;
    this.#watchWal();
  }

  /** Asked of SQLite, which takes 5 us: what a transaction has written cannot be told from what was added, let alone removed. */
  #watchWal(): void {
    const { walBytesMax } = this.#limits;
    const walBytes = this.#room.walBytes() - this.#walBytesStuck;
    if (walBytes > walBytesMax / 2) this.#checkpointer.prepare();
    if (walBytes > walBytesMax) this.#wantCheckpoint = true;
  }

  /** No room: refuses the additions, and commits the removals alone, or nothing would ever be freed. */
  #refuse(participants: Participant[]): void {
    const { error, began } = this.#fullDisk.found();
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#queuedMessages = 0;
    this.#queuedBytes = 0;
    this.counters.refused++;
    const told = participants.map((participant) => participant.refused(error));
    this.#commitRemovals(participants);
    // Last, because whoever is told may write again: that belongs to the next transaction.
    for (const tell of told) tell?.();
    for (const waiter of waiters) waiter(error);
    began();
  }

  #commitRemovals(participants: Participant[]): void {
    try {
      this.#transaction(() => participants.forEach((participant) => participant.writeRemovals()));
      this.#close(participants, []);
    } catch (error) {
      // Not even removals fit: they stay queued; checkpointing makes the room for them.
      if (codeOf(error) !== 'SQLITE_FULL') this.fail(error);
    }
  }

  /** Tells the room how much disk there is; call it every few seconds. */
  refreshRoom(): void {
    if (this.#failed === undefined && !this.#resting) this.#room.refresh();
  }

  #transaction(body: () => void): void {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      body();
      this.db.exec('COMMIT');
    } catch (error) {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
      throw error;
    }
  }

  #sync(): void {
    if (this.#syncing || this.#failed !== undefined) return;
    if (this.#committed === this.#durable) return this.#synced();
    const covers = this.#committed;
    this.#syncing = true;
    this.#syncStartedMs = this.#clock.monotonicMs();
    this.#disk.syncWal((error) => {
      this.#syncing = false;
      if (error !== null) return this.fail(error);
      if (this.#failed !== undefined) return;
      this.counters.syncs++;
      this.#advance(covers);
      this.#synced();
    });
  }

  #advance(covers: number): void {
    assert(covers >= this.#durable, 'the durable watermark never moves back');
    this.#durable = covers;
    if (!this.#telling) this.#tell();
  }

  /** Tells those whose batches are on the disk, in their order: a slow disk covers hundreds of batches with one sync. */
  #tell(): void {
    const endMs = this.#clock.monotonicMs() + TELL_MS;
    this.#telling = false;
    for (;;) {
      const batch = this.#batches[0];
      if (batch === undefined || batch.number > this.#durable) return;
      this.#batches.shift();
      this.#undurableMessages -= batch.messages;
      this.#undurableBytes -= batch.bytes;
      for (const done of batch.done) done(null);
      if (this.#clock.monotonicMs() >= endMs) break;
    }
    this.#telling = true;
    this.#clock.soon(() => this.#tell());
  }

  /** Nothing is being synced: go on with what has queued meanwhile, or rest for a checkpoint. */
  #synced(): void {
    if (this.#committed > this.#durable) return this.#sync();
    if (this.#wantCheckpoint && !this.#resting) return this.#checkpoint(() => {});
    if (this.#due) this.#turn();
  }

  /** Commits rest while the checkpointer copies the WAL into the database; then they go on. */
  #checkpoint(then: () => void): void {
    this.#afterCheckpoint.push(then);
    if (this.#resting) return;
    this.#wantCheckpoint = false;
    this.#resting = true;
    const besides = this.#besides.splice(0);
    const first = besides.map(({ sql }) => sql).join(';\n');
    this.#checkpointer.run((error) => {
      this.#resting = false;
      for (const { done } of besides) done(error);
      this.#walBytesStuck = error === null ? 0 : this.#room.walBytes();
      if (error !== null) this.counters.checkpointErrors++;
      else this.counters.checkpoints++;
      if (error !== null && codeOf(error).startsWith('SQLITE_IOERR')) return this.fail(error);
      const after = this.#afterCheckpoint;
      this.#afterCheckpoint = [];
      for (const fn of after) fn();
      this.#turn();
    }, first);
  }

  /**
   * Runs one long statement beside the loop; nothing is committed meanwhile. Rejects where it did not come to be, or its
   * checkpoint did not: it may be there nevertheless.
   */
  beside(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#besides.push({ sql, done: (error) => (error === null ? resolve() : reject(error)) });
      this.#wantCheckpoint = true;
      if (!this.#syncing && !this.#resting) this.#sync();
    });
  }

  /** Runs a read; damage that it finds is fatal and reads as `fallback`, as do a deleted stream and a closed store. */
  guard<T>(fallback: T, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!this.db.open || isGone(error)) return fallback;
      if (!isDamage(error)) throw error;
      this.fail(error);
      return fallback;
    }
  }

  /** Something found the disk untrustworthy; see `onFatal`. */
  fail(cause: unknown): void {
    if (this.#failed !== undefined) return;
    this.#failed = cause instanceof Error ? cause : new Error(String(cause));
    this.#batches = [];
    this.#waiters = [];
    this.#cancelInterval?.();
    this.#options.onFatal(this.#failed);
  }

  /**
   * Runs `body` in a transaction of its own and resolves with its result when the disk has it. Rejects, with nothing
   * written, when `body` throws or the disk is full.
   */
  alone<T>(body: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (): void => {
        if (this.#failed !== undefined) return reject(this.#failed);
        let result: { value: T } | undefined;
        try {
          this.#transaction(() => {
            result = { value: body() };
          });
        } catch (error) {
          if (/^SQLITE_(?!FULL|BUSY)/.test(codeOf(error))) this.fail(error);
          return reject(error instanceof Error ? error : new Error(String(error)));
        }
        assert(result !== undefined, 'the body of a transaction has run');
        const { value } = result;
        void this.begin().then(() => resolve(value));
      };
      // A checkpoint holds the write lock.
      if (this.#resting) this.#afterCheckpoint.push(run);
      else run();
    });
  }

  /** Syncs what was written before or beside the store's own transactions: new epochs, above all. */
  begin(): Promise<void> {
    return new Promise((resolve) => {
      this.#batches.push({
        number: ++this.#committed,
        messages: 0,
        bytes: 0,
        done: [() => resolve()],
      });
      this.#sync();
    });
  }

  /** Makes everything queued durable, then resolves. The database stays open; `close` follows. */
  stop(): Promise<void> {
    this.#stopped = true;
    return new Promise((resolve) => {
      if (this.#failed !== undefined) return resolve();
      const finish = (): void => this.whenDurable(() => resolve());
      if (this.#resting) this.#afterCheckpoint.push(finish);
      else finish();
      this.#turn();
    });
  }

  /** Closes the database; SQLite checkpoints it. Nothing may be queued any more. */
  async close(): Promise<void> {
    this.#stopped = true;
    this.#failed ??= new Error('the store is closed');
    await this.#checkpointer.close();
    this.#disk.close();
    this.db.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
