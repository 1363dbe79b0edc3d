// Messages that go by their age: by `max_age`, or by a time to live of their own (ADR-43). Both count store time. A time
// to live is a row of the table `expiry`, written with its message and deleted with it or after it, so that a crash
// forgets none.
//
// Where the stream marks subjects whose last message has gone, the marker comes first: an empty message on the subject
// that replaces what is there (a roll-up), so that nobody ever sees the subject empty and unmarked. A marker, and what a
// key-value store writes as its own marker, goes without another one.

import type { Cancel, Clock } from '../clock.ts';
import { headerValue } from '../headers.ts';
import type { Admitted } from './publish/admission.ts';
import { TRIM_ROWS, type Retention } from './retention.ts';
import type { Extent } from './rows.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { Effect } from './stream-queue.ts';
import type { StreamConfig } from './stream-types.ts';
import type { Subject } from './subjects.ts';
import type { StreamTime } from './timeline.ts';
import { shared } from './statements.ts';

/** The store time of messages that never go by age. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** Rows of `expiry` whose messages are gone, that wait for a transaction. */
const HANDLED_MAX = 512;
/** Messages looked at by age in one call; the next one is not far. */
const AGE_ROWS = 4_000;
/** Between two calls, for everybody else. */
const REST_MS = 10;
/** A timer is set no farther ahead: what comes later is looked at then. */
const AHEAD_MS = 3_600_000;

interface Due {
  readonly ts: number;
  readonly seq: number;
}

export interface ExpiryParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly timeline: StreamTime;
  readonly streamId: number;
  /** Stores a marker; the receipt says whether it was. */
  readonly mark: (marker: Admitted, done: (stored: boolean) => void) => void;
}

export class Expiry {
  readonly #parts: ExpiryParts;
  readonly #stock: Stock;
  readonly #retention: Retention;
  #config: StreamConfig;
  readonly #insert;
  readonly #delete;
  readonly #due;
  readonly #isNever;
  /** There may be rows in `expiry`. */
  #hasRows: boolean;
  /** Messages that never go by age exist: age is looked at message by message. */
  #hasNever: boolean;
  /** What comes before has been looked at. */
  #cursor: Due = { ts: -1, seq: 0 };
  #agedTo = 0;
  #handled: Due[] = [];
  /** A marker found no room: all that is due is looked at again with the next tick. */
  #refused = false;
  /** Messages whose marker is on its way. */
  readonly #marked = new Set<number>();
  #armedTs = Infinity;
  #cancel: Cancel = () => {};

  constructor(parts: ExpiryParts, stock: Stock, retention: Retention, config: StreamConfig) {
    const { db } = parts.store;
    this.#parts = parts;
    this.#stock = stock;
    this.#retention = retention;
    this.#config = config;
    this.#insert = shared<[number, number, number]>(
      db,
      'INSERT OR REPLACE INTO expiry (stream_id, ts, seq) VALUES (?, ?, ?)',
    );
    this.#delete = shared<[number, number, number]>(
      db,
      'DELETE FROM expiry WHERE stream_id = ? AND ts = ? AND seq = ?',
    );
    this.#due = shared<[number, number, number, number, number], Due>(
      db,
      `SELECT ts, seq FROM expiry WHERE stream_id = ? AND (ts, seq) > (?, ?) AND ts <= ?
       ORDER BY ts, seq LIMIT ?`,
    );
    this.#isNever = shared<[number, number, number]>(
      db,
      'SELECT 1 FROM expiry WHERE stream_id = ? AND ts = ? AND seq = ?',
    );
    this.#hasRows = this.#due.get(parts.streamId, -1, 0, NEVER, 1) !== undefined;
    this.#hasNever =
      shared(db, 'SELECT 1 FROM expiry WHERE stream_id = ? AND ts = ? LIMIT 1').get(
        parts.streamId,
        NEVER,
      ) !== undefined;
  }

  set config(config: StreamConfig) {
    this.#config = config;
    this.#agedTo = 0;
    this.arm();
  }

  close(): void {
    this.#cancel();
    this.#armedTs = -Infinity;
  }

  /** What a message with a time to live does besides being stored. */
  effect(seq: number, ts: number, ttlMs: number): Effect {
    const goneTs = ttlMs === Infinity ? NEVER : ts + ttlMs;
    this.#hasRows = true;
    this.#hasNever ||= goneTs === NEVER;
    return {
      seq,
      write: () => void this.#insert.run(this.#parts.streamId, goneTs, seq),
      tell: () => this.#armAt(goneTs),
    };
  }

  /** Sets the timer for the message that goes next. */
  arm(): void {
    if (this.#armedTs !== Infinity || this.#refused) return;
    if (!this.#hasRows && this.#config.maxAgeMs === undefined) return;
    const nextTs = this.#parts.store.guard(Infinity, () => this.#nextTs());
    if (nextTs !== Infinity) this.#armAt(nextTs);
  }

  #nextTs(): number {
    const { maxAgeMs } = this.#config;
    const { ts, seq } = this.#cursor;
    const due = this.#due.get(this.#parts.streamId, ts, seq, NEVER - 1, 1)?.ts ?? Infinity;
    if (maxAgeMs === undefined) return due;
    const from = Math.max(this.#agedTo, this.#stock.firstSeq);
    const first = this.#stock.rows.extents(from, this.#stock.durableSeq, 1)[0];
    return first === undefined ? due : Math.min(due, first.ts + maxAgeMs);
  }

  #armAt(ts: number): void {
    if (ts >= this.#armedTs || ts === NEVER) return;
    this.#cancel();
    this.#armedTs = ts;
    const { clock, timeline } = this.#parts;
    const nowTs = timeline.now();
    const waitMs = ts > nowTs ? Math.min(AHEAD_MS, ts - nowTs) : REST_MS;
    this.#cancel = clock.after(waitMs, () => {
      this.#armedTs = Infinity;
      this.run();
    });
  }

  /** Takes out what is over its time, a bounded number at a call; the rest goes with the next. */
  run(): void {
    if (this.#config.sealed === true) return;
    const { store, timeline } = this.#parts;
    const nowTs = timeline.now();
    if (this.#refused) this.#beginAnew();
    if (this.#hasRows) store.guard(undefined, () => this.#expire(nowTs));
    const { maxAgeMs } = this.#config;
    if (maxAgeMs !== undefined) store.guard(undefined, () => this.#age(nowTs - maxAgeMs));
    this.#stock.watchers.settle();
    this.arm();
  }

  /** Those with a time to live. */
  #expire(nowTs: number): void {
    const { ts, seq } = this.#cursor;
    const due = this.#due.all(this.#parts.streamId, ts, seq, nowTs, TRIM_ROWS);
    const extents = this.#stock.extentsOf(due.map((entry) => entry.seq));
    for (const entry of due) {
      // What is not on the disk yet is looked at again.
      if (entry.seq > this.#stock.durableSeq) break;
      this.#cursor = entry;
      const extent = extents.get(entry.seq);
      if (extent === undefined || this.#go(extent, entry)) this.#handled.push(entry);
    }
    if (this.#handled.length >= HANDLED_MAX) this.#stock.writeSoon();
  }

  /** Those stored at `oldestTs` or before. */
  #age(oldestTs: number): void {
    let dropped = 0;
    if (this.#config.markerTtlMs === undefined && !this.#hasNever) {
      this.#retention.trim(Infinity, 'max_age', ({ ts }) => ts > oldestTs || dropped++ >= AGE_ROWS);
      return;
    }
    const { durableSeq } = this.#stock;
    for (let steps = 0; steps < AGE_ROWS / TRIM_ROWS; steps++) {
      const { extents, nextSeq } = this.#stock.extents(this.#agedTo, durableSeq, TRIM_ROWS);
      for (const extent of extents) {
        if (extent.ts > oldestTs) return;
        if (!this.#neverGoes(extent.seq)) this.#go(extent);
        this.#agedTo = extent.seq + 1;
      }
      this.#agedTo = Math.max(this.#agedTo, nextSeq);
      if (nextSeq > durableSeq) return;
    }
  }

  #neverGoes(seq: number): boolean {
    return this.#hasNever && this.#isNever.get(this.#parts.streamId, NEVER, seq) !== undefined;
  }

  /** Takes a message out, or marks its subject first; true when it is gone. */
  #go(extent: Extent, due?: Due): boolean {
    if (this.#marked.has(extent.seq)) return false;
    const entry = this.#stock.subjects.byId(extent.subjectId);
    if (entry !== undefined && this.#leavesMarker(extent, entry)) {
      this.#mark(extent.seq, entry, due);
      return false;
    }
    this.#stock.take(extent, 'max_age', false);
    return true;
  }

  #leavesMarker({ seq }: Extent, { count }: Subject): boolean {
    if (this.#config.markerTtlMs === undefined || count !== 1) return false;
    const headers = this.#stock.rows.read(seq, seq, 1, 1)[0]?.headers ?? undefined;
    return (
      !headerValue(headers, 'Nats-Marker-Reason') &&
      headerValue(headers, 'KV-Operation') !== 'PURGE'
    );
  }

  #mark(seq: number, { subject }: Subject, due: Due | undefined): void {
    const seconds = Math.floor((this.#config.markerTtlMs ?? 0) / 1_000);
    this.#marked.add(seq);
    const headers = Buffer.from(
      `NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: ${goSeconds(seconds)}\r\n` +
        'Nats-Rollup: sub\r\n\r\n',
    );
    this.#parts.mark({ subject, headers, rollup: 'sub', ttlMs: seconds * 1_000 }, (stored) => {
      this.#marked.delete(seq);
      if (stored && due !== undefined) this.#handled.push(due);
      this.#refused ||= !stored;
    });
  }

  #beginAnew(): void {
    this.#refused = false;
    this.#agedTo = 0;
    this.#cursor = { ts: -1, seq: 0 };
  }

  /** Deletes what is done; part of a transaction that deletes all removed messages. */
  write(): void {
    for (const { ts, seq } of this.#handled) this.#delete.run(this.#parts.streamId, ts, seq);
  }

  committed(): void {
    this.#handled = [];
  }
}

/** Seconds as Go writes a duration: `1h0m5s`. */
function goSeconds(seconds: number): string {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = `${seconds % 60}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}
