// What the disk has of one consumer. Acks that somebody waits for are written with this turn's commit; others a moment
// later, so that half a million of them are not as many commits; deliveries alone later still: a start that finds an old
// mark delivers again, in order, what it does not know of.

import type { Cancel, Clock } from '../../clock.ts';
import type { Participant, Store } from '../store.ts';
import type { AckState } from './ack-state.ts';
import type { ConsumerHead, ConsumerRows } from './consumer-rows.ts';

/** Acks that nobody waits for are written this much later at most: what a crash delivers again. */
const ACKS_LATE_MS = 250;
/** Deliveries are written by themselves this much later. */
const DELIVERIES_LATE_MS = 5_000;

/** Rows that wait for that: one transaction writes them all, in a few milliseconds. */
const UNWRITTEN_MAX = 4_096;

export class ConsumerRecord implements Participant {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #rows: ConsumerRows;
  readonly #state: AckState;
  #changed = false;
  #queued = false;
  /** Transactions with something of it that the disk has not confirmed. */
  #unsynced = 0;
  #cancel: Cancel | undefined;
  /** How late the write that is planned may be; Infinity for none. */
  #lateMs = Infinity;
  #over = false;

  constructor(store: Store, clock: Clock, rows: ConsumerRows, state: AckState) {
    this.#store = store;
    this.#clock = clock;
    this.#rows = rows;
    this.#state = state;
  }

  /** Something was delivered. */
  delivered(): void {
    this.#late(DELIVERIES_LATE_MS);
  }

  /** Something was acknowledged, and nobody waits for it. */
  acked(): void {
    this.#late(ACKS_LATE_MS);
  }

  /** The same, where the stream drops the message for it: in one transaction with that. */
  ackedAtOnce(): void {
    this.#changed = true;
    this.save();
  }

  /** Writes with this turn's commit whatever is not written. */
  save(): void {
    if (!this.#changed || this.#queued || this.#over) return;
    this.#queued = true;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#lateMs = Infinity;
    this.#store.queue(this, 0, 0);
  }

  /** The same now; resolves when it is on the disk, and rejects with a PublishError where that is full. */
  saved(): Promise<void> {
    this.#changed = true;
    this.save();
    return new Promise((resolve, reject) =>
      this.#store.whenDurable((error) => (error === null ? resolve() : reject(error))),
    );
  }

  /** Resolves when all of it that there is now is on the disk; on a full disk, when it is known that it is not. */
  async settled(): Promise<void> {
    if (this.#changed || this.#queued || this.#unsynced > 0)
      await this.saved().catch(() => undefined);
  }

  #late(ms: number): void {
    this.#changed = true;
    if (this.#queued || this.#over) return;
    if (this.#state.rows.unwritten >= UNWRITTEN_MAX) return this.save();
    if (this.#lateMs <= ms) return;
    this.#cancel?.();
    this.#lateMs = ms;
    this.#cancel = this.#clock.after(ms, () => this.save());
  }

  /** Puts another configuration on the disk. */
  saveHead(head: ConsumerHead): Promise<void> {
    return this.#store.alone(() => this.#rows.saveHead(head));
  }

  /** Deletes the consumer from the disk. */
  delete(): Promise<void> {
    return this.#store.alone(() => this.#rows.delete());
  }

  /** Writes nothing more. */
  close(): void {
    this.#over = true;
    this.#cancel?.();
  }

  write(): void {
    this.#write(true);
  }

  writeRemovals(): void {
    this.#write(false);
  }

  #write(all: boolean): void {
    if (this.#over) return;
    const { delivered, floor, rows } = this.#state;
    this.#rows.saveProgress(delivered, floor);
    rows.write(this.#rows, floor.streamSeq, all);
  }

  committed(): () => void {
    this.#queued = false;
    this.#changed = false;
    if (!this.#over && this.#state.rows.committed()) this.#late(DELIVERIES_LATE_MS);
    this.#unsynced++;
    return () => this.#unsynced--;
  }

  refused(): undefined {
    // What was delivered and acknowledged is so nevertheless; it is written when there is room.
  }
}
