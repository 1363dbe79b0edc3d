// The gaps of one stream: what was removed before the hub had it. Each stays, here and in the database, until the
// forwarder's mark has passed it, so that the hub is told of every message that will never come.

import type { Database, Statement } from 'better-sqlite3';
import type { GapReason } from './stream-types.ts';
import { shared } from './statements.ts';

/** Gaps remembered per stream. Beyond it new ones widen the last one, so that none is forgotten. */
const GAPS_MAX = 10_000;

/** A gap in sequences and store time. */
export interface Hole {
  firstSeq: number;
  lastSeq: number;
  reason: GapReason;
  firstTs: number | null;
  lastTs: number | null;
}

type HoleRow = {
  first_seq: number;
  last_seq: number;
  reason: string;
  first_ts: number | null;
  last_ts: number | null;
};

export class Gaps {
  readonly #streamId: number;
  readonly #put: Statement<[number, number, number, string, number | null, number | null]>;
  readonly #prune: Statement<[number, number]>;
  #holes: Hole[];
  #changed = new Set<Hole>();

  constructor(db: Database, streamId: number) {
    this.#streamId = streamId;
    this.#put = shared(
      db,
      'INSERT OR REPLACE INTO gap (stream_id, first_seq, last_seq, reason, first_ts, last_ts) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#prune = shared(db, 'DELETE FROM gap WHERE stream_id = ? AND last_seq <= ?');
    this.#holes = shared<[number], HoleRow>(
      db,
      'SELECT * FROM gap WHERE stream_id = ? ORDER BY first_seq',
    )
      .all(streamId)
      .map((row) => ({
        firstSeq: row.first_seq,
        lastSeq: row.last_seq,
        reason: row.reason as GapReason,
        firstTs: row.first_ts,
        lastTs: row.last_ts,
      }));
  }

  /** Notes that `seq` is gone. Neighbours with the same reason become one gap. */
  add(seq: number, reason: GapReason, ts: number | null): void {
    const at = this.#lastAtOrBefore(seq);
    const before = this.#holes[at];
    if (before !== undefined && before.lastSeq >= seq) return;
    const adjoins = before !== undefined && before.lastSeq === seq - 1 && before.reason === reason;
    if (before !== undefined && (adjoins || this.#holes.length >= GAPS_MAX)) {
      before.lastSeq = seq;
      before.lastTs = ts ?? before.lastTs;
      this.#changed.add(before);
      return;
    }
    const hole = { firstSeq: seq, lastSeq: seq, reason, firstTs: ts, lastTs: ts };
    this.#holes.splice(at + 1, 0, hole);
    this.#changed.add(hole);
  }

  /** Notes that everything from `first` to `last` is gone; what is known of parts of it stays. */
  addRange(first: number, last: number, reason: GapReason): void {
    for (const { firstSeq, lastSeq, reason: known } of this.between(first, last)) {
      if (known !== 'lost') continue;
      this.add(firstSeq, reason, null);
      const hole = this.#holes[this.#lastAtOrBefore(firstSeq)];
      if (hole === undefined) continue;
      hole.lastSeq = Math.max(hole.lastSeq, lastSeq);
      this.#changed.add(hole);
    }
  }

  /** The index of the last gap that begins at or before `seq`; -1 for none. */
  #lastAtOrBefore(seq: number): number {
    let low = 0;
    let high = this.#holes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#holes[middle]?.firstSeq ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The gaps that make up first..last, none of which exist; unknown parts have the reason `lost`. */
  between(first: number, last: number): Hole[] {
    const found: Hole[] = [];
    let next = first;
    for (let i = Math.max(0, this.#lastAtOrBefore(first)); ; i++) {
      const hole = this.#holes[i];
      if (hole === undefined || hole.firstSeq > last) break;
      if (hole.lastSeq < next) continue;
      if (hole.firstSeq > next) found.push(unknown(next, hole.firstSeq - 1));
      const upTo = Math.min(hole.lastSeq, last);
      found.push({ ...hole, firstSeq: Math.max(hole.firstSeq, next), lastSeq: upTo });
      next = upTo + 1;
    }
    if (next <= last) found.push(unknown(next, last));
    return found;
  }

  /** Writes what changed, and drops what the hub has been told, up to `confirmedSeq`; part of a transaction. */
  save(confirmedSeq: number): void {
    for (const { firstSeq, lastSeq, reason, firstTs, lastTs } of this.#changed) {
      if (lastSeq <= confirmedSeq) continue;
      this.#put.run(this.#streamId, firstSeq, lastSeq, reason, firstTs, lastTs);
    }
    this.#prune.run(this.#streamId, confirmedSeq);
  }

  saved(confirmedSeq: number): void {
    this.#changed.clear();
    this.#holes = this.#holes.filter((hole) => hole.lastSeq > confirmedSeq);
  }
}

function unknown(firstSeq: number, lastSeq: number): Hole {
  return { firstSeq, lastSeq, reason: 'lost', firstTs: null, lastTs: null };
}
