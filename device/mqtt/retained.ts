// The retained messages [3.3.1.3]: one per topic, in a table; in memory only an index by subject. A SUBSCRIBE finds the
// matching ones by walking the index level by level, as the broker finds subscriptions.
//
// A retained message is shown only when the disk has it: while a newer one is on its way, `read` says so, because the
// table may already show it. One that has expired is not shown; it is removed by and by.

import type { Message } from '../../src/message.ts';
import type { Base } from './base.ts';
import { Budget } from './limits.ts';
import { toForm } from './message.ts';
import { RetainedIndex, type Entry } from './retained-index.ts';
import { decodeRetained, encodeRetained, expiryOf, type RetainedMessage } from './retained-row.ts';
import { scan, type Table } from './tables.ts';
import type { QoS } from './wire/types.ts';

const SCAN_ROWS = 64;
/** How soon after its end an expired message is removed, about. */
const SWEEP_MS = 60_000;
/** Removals of one turn. */
const SWEPT_PER_TURN = 256;
/** The index has a node for each level of a topic. Those of most topics are few, and shared; more are charged to the bytes. */
const LEVELS_FREE = 8;
const LEVEL_BYTES = 256;
/** Messages of our own that live in memory ($SYS); there are some dozens. */
const RETAINED_VOLATILE_MAX = 256;

/**
 * All retained messages of a listener. What `walk` and `read` show is what the disk holds: `pending` counts the writes of
 * a subject that are on their way, and a refused write makes the table's row the truth again.
 */
export class Retained {
  readonly #base: Base;
  readonly #table: Table;
  readonly #budget: Budget;
  readonly #index = new RetainedIndex();
  #count = 0;
  #volatile = 0;
  /** No message expires before it; store time. */
  #expiringMs = Infinity;
  #sweepArmed = false;

  constructor(base: Base) {
    this.#base = base;
    this.#table = base.store.retained;
    this.#budget = new Budget(base.limits.retainedBytesMax);
  }

  /** Messages, those in memory included. */
  get count(): number {
    return this.#count + this.#volatile;
  }

  /** Those in the table. */
  get stored(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#budget.used;
  }

  /** Indexes what the table holds. */
  load(): void {
    for (const { key, value } of scan(this.#table, SCAN_ROWS))
      this.#describe(this.#index.make(key), costOf(key, value), expiryOf(value));
    this.#arm();
  }

  /** Keeps `message` as the one of its subject; empty data removes it [MQTT-3.3.1-6]. */
  set(message: Message, qos: QoS): void {
    const { subject, data } = message;
    const known = this.#index.find(subject);
    if (data.length === 0) {
      if (known?.present === true) this.#remove(subject, known);
      return;
    }
    const form = toForm(message, this.#base.store.nowMs());
    if (form === undefined) return; // No PUBLISH can carry it.
    const row = encodeRetained({ qos, form });
    const bytes = costOf(subject, row);
    if (!this.#hasRoom(known, bytes)) {
      this.#base.counters.retainedRefused++;
      this.#base.warn('no room for another retained message: it was routed only', { subject });
      // A stale message is worse than none: the device has said something newer.
      if (known?.present === true) this.#remove(subject, known);
      return;
    }
    const entry = known ?? this.#index.make(subject);
    this.#describe(entry, bytes, form.expiresMs);
    this.#arm();
    this.#table.put(subject, row);
    this.#follow(subject, entry);
  }

  /** Keeps a message of our own until the process ends: nothing is written, nothing waits for the disk. */
  setVolatile(message: Message): void {
    const form = toForm(message, this.#base.store.nowMs());
    if (form === undefined) return;
    const entry = this.#index.make(message.subject);
    if (entry.volatile === undefined) {
      if (this.#volatile >= RETAINED_VOLATILE_MAX) return this.#index.prune(message.subject);
      this.#volatile++;
    }
    entry.volatile = { qos: 0, form };
  }

  /**
   * The subjects of the messages under the filter of a subscription, as they are found: the index may change between two
   * of them. A leading wildcard finds none of the system's [MQTT-4.7.2-1].
   */
  walk(filter: string): Generator<string, void> {
    return this.#index.walk(filter);
  }

  /** The message of `subject`; undefined when there is none, 'pending' while the disk has not answered about it. */
  read(subject: string): RetainedMessage | 'pending' | undefined {
    const entry = this.#index.find(subject);
    if (entry === undefined) return undefined;
    if (entry.volatile !== undefined) return entry.volatile;
    if (entry.pending > 0) return 'pending';
    if (!entry.present || entry.expiresMs <= this.#base.store.nowMs()) return undefined;
    const row = this.#table.get(subject);
    return row && decodeRetained(subject, row);
  }

  #hasRoom(known: Entry | undefined, bytes: number): boolean {
    const { retainedMax } = this.#base.limits;
    const fits = (): boolean =>
      this.#count + (known?.present === true ? 0 : 1) <= retainedMax &&
      this.#budget.used - (known?.bytes ?? 0) + bytes <= this.#budget.max;
    if (fits()) return true;
    if (this.#expiringMs <= this.#base.store.nowMs()) this.#sweep();
    return fits();
  }

  #remove(subject: string, entry: Entry): void {
    this.#describe(entry, 0, Infinity);
    this.#table.delete(subject);
    this.#follow(subject, entry);
  }

  /** Waits for the disk's answer to the write that was just made. */
  #follow(subject: string, entry: Entry): void {
    const held = this.#base.routing.hold();
    entry.pending++;
    this.#base.store.whenDurable((error) => {
      held?.(error);
      entry.pending--;
      if (error !== null) {
        entry.doubtful = true;
        this.#base.counters.retainedRefused++;
      }
      if (entry.pending > 0) return;
      if (entry.doubtful) {
        const row = this.#table.get(subject);
        if (row === undefined) this.#describe(entry, 0, Infinity);
        else this.#describe(entry, costOf(subject, row), expiryOf(row));
        entry.doubtful = false;
      }
      if (!entry.present && entry.volatile === undefined) this.#index.prune(subject);
    });
  }

  #describe(entry: Entry, bytes: number, expiresMs: number): void {
    const present = bytes > 0;
    if (present !== entry.present) this.#count += present ? 1 : -1;
    this.#budget.give(entry.bytes);
    this.#budget.force(bytes);
    entry.present = present;
    entry.bytes = bytes;
    entry.expiresMs = expiresMs;
    if (expiresMs < this.#expiringMs) this.#expiringMs = expiresMs;
  }

  /** Sees to it that what expires is removed. */
  #arm(): void {
    if (this.#expiringMs === Infinity || this.#sweepArmed) return;
    this.#sweepArmed = true;
    this.#base.clock.after(SWEEP_MS, () => {
      this.#sweepArmed = false;
      this.#sweep();
      this.#arm();
    });
  }

  /** Removes what has expired, some of it; the index is small, the disk is what takes the time. */
  #sweep(): void {
    const nowMs = this.#base.store.nowMs();
    if (this.#expiringMs > nowMs) return;
    let room = SWEPT_PER_TURN;
    let nextMs = Infinity;
    for (const [subject, entry] of this.#index.all()) {
      if (!entry.present) continue;
      if (entry.expiresMs <= nowMs && room > 0) {
        room--;
        this.#remove(subject, entry);
      } else if (entry.expiresMs < nextMs) nextMs = entry.expiresMs;
    }
    this.#expiringMs = nextMs;
    if (nextMs <= nowMs) this.#base.clock.soon(() => this.#sweep());
  }
}

/** What a retained message takes: its row, its subject, and the levels that hardly another one shares. */
function costOf(subject: string, row: Buffer): number {
  const levels = subject.split('.').length;
  return subject.length + row.length + Math.max(0, levels - LEVELS_FREE) * LEVEL_BYTES;
}
