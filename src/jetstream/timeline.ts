// Store time: milliseconds that this store has been running, over all its starts. It never steps, so ages are counted
// in it; the hours that the power was off do not count. Each start has a row that maps its store time to the wall
// clock, and a step of the wall clock moves that row: what was stored before NTP answered gets the right date.

import type { Database } from 'better-sqlite3';
import { WALL_FLOOR_MS, type Clock } from '../clock.ts';

/** A change of the wall clock against monotonic time that is a step, not drift. */
const STEP_MS = 1_000;
/** Rows of `boot` kept: store times older than these starts read as of the oldest. */
const BOOTS_MAX = 10_000;

/** What is beyond is no store time, which counts from the first start of this store, but wall-clock time; in 2001. */
export const WALL_TIME_MS = 1_000_000_000_000;

/** How a stream tells the time of its messages. */
export interface StreamTime {
  /** The time now, as messages have it. */
  now(): number;
  /** The same at that moment of the clock, in this start. */
  at(monotonicMs: number): number;
  /** The wall-clock time of `ts`, to the best of what is known now. */
  wall(ts: number): { timeMs: number; synced: boolean };
}

/** Of a stream whose messages keep the wall-clock time of another server: what is stored beside them has ours. */
export class WallTime implements StreamTime {
  readonly #timeline: StreamTime;

  constructor(timeline: StreamTime) {
    this.#timeline = timeline;
  }

  now(): number {
    return Math.floor(this.#timeline.wall(this.#timeline.now()).timeMs);
  }

  at(monotonicMs: number): number {
    return Math.floor(this.#timeline.wall(this.#timeline.at(monotonicMs)).timeMs);
  }

  wall(ts: number): { timeMs: number; synced: boolean } {
    return { timeMs: ts, synced: true };
  }
}

interface Boot {
  readonly baseTs: number;
  wallOffsetMs: number;
  synced: boolean;
}

export class Timeline implements StreamTime {
  readonly #clock: Clock;
  readonly #db: Database;
  readonly #startedMs: number;
  readonly #boots: Boot[];
  readonly #boot: Boot;
  /** The latest wall time that an earlier start has seen: a clock behind it has lost time. */
  readonly #wallFloorMs: number;

  /** Begins this start's row. `lastTs` is the newest store time found in any stream. Call inside a transaction. */
  constructor(db: Database, clock: Clock, lastTs: number) {
    this.#db = db;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    const rows = db
      .prepare<
        [number],
        { base_ts: number; last_ts: number; wall_offset_ms: number; synced: number }
      >('SELECT base_ts, last_ts, wall_offset_ms, synced FROM boot ORDER BY base_ts DESC LIMIT ?')
      .all(BOOTS_MAX)
      .reverse();
    this.#boots = rows.map((row) => ({
      baseTs: row.base_ts,
      wallOffsetMs: row.wall_offset_ms,
      synced: row.synced === 1,
    }));
    this.#wallFloorMs = rows
      .filter((row) => row.synced === 1)
      .reduce((floor, row) => Math.max(floor, row.last_ts + row.wall_offset_ms), WALL_FLOOR_MS);
    const baseTs = rows.reduce((last, row) => Math.max(last, row.last_ts), lastTs) + 1;
    const wallMs = clock.wallMs();
    this.#boot = { baseTs, wallOffsetMs: wallMs - baseTs, synced: wallMs >= this.#wallFloorMs };
    this.#boots.push(this.#boot);
    db.prepare('DELETE FROM boot WHERE base_ts < ?').run(this.#boots[0]?.baseTs ?? 0);
    this.save();
  }

  /** The store time now. */
  now(): number {
    return this.at(this.#clock.monotonicMs());
  }

  /** The store time at that moment of the clock, in this start. */
  at(monotonicMs: number): number {
    return Math.floor(this.#boot.baseTs + monotonicMs - this.#startedMs);
  }

  /** Whether the wall clock is believable now. */
  get synced(): boolean {
    return this.#boot.synced;
  }

  /** The wall-clock time of store time `ts`, to the best of what is known now. */
  wall(ts: number): { timeMs: number; synced: boolean } {
    if (ts >= WALL_TIME_MS) return { timeMs: ts, synced: true };
    for (let i = this.#boots.length - 1; i >= 0; i--) {
      const boot = this.#boots[i];
      if (boot !== undefined && (boot.baseTs <= ts || i === 0)) {
        return { timeMs: ts + boot.wallOffsetMs, synced: boot.synced };
      }
    }
    return { timeMs: ts, synced: false };
  }

  /** Compares the wall clock with store time; returns by how much it stepped since, in milliseconds, or 0. */
  observe(): number {
    const wallMs = this.#clock.wallMs();
    const stepMs = wallMs - this.now() - this.#boot.wallOffsetMs;
    if (Math.abs(stepMs) < STEP_MS) return 0;
    this.#boot.wallOffsetMs += stepMs;
    this.#boot.synced = wallMs >= this.#wallFloorMs;
    return stepMs;
  }

  /** Writes this start's row; part of a transaction. */
  save(): void {
    this.#db
      .prepare(
        'INSERT OR REPLACE INTO boot (base_ts, last_ts, wall_offset_ms, synced) VALUES (?, ?, ?, ?)',
      )
      .run(
        this.#boot.baseTs,
        this.now(),
        Math.round(this.#boot.wallOffsetMs),
        this.#boot.synced ? 1 : 0,
      );
  }
}
