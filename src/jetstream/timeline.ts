// Store time: milliseconds that this store has been running, over all its starts. It never steps, so ages are counted
// in it; the hours that the power was off do not count. Each start has a row that maps its store time to the wall
// clock, and a step of the wall clock moves that row: what was stored before NTP answered gets the right date.

import type { Database } from 'better-sqlite3';
import { WALL_FLOOR_MS, type Clock } from '../clock.ts';

/** A change of the wall clock against monotonic time that is a step, not drift. */
const STEP_MS = 1_000;
/** Rows of `boot` kept: store times older than these starts read as of the oldest. */
const BOOTS_MAX = 10_000;

interface Boot {
  readonly baseTs: number;
  wallOffsetMs: number;
  synced: boolean;
}

export class Timeline {
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
