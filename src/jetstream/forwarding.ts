// What a stream knows of its forwarding: the mark that the hub has confirmed, and where the mark stood one grace ago.
// The mark may be written late: a start that finds an old one asks the hub.

import type { Database, Statement } from 'better-sqlite3';
import type { ForwardMark } from './stream-types.ts';

/** Marks noted per grace: the grace is exact to a twentieth. */
const SAMPLES = 20;

type MarkRow = {
  mark_seq: number | null;
  mark_id: string | null;
  mark_hub_seq: number | null;
  mark_hub_created: string | null;
};

export class Forwarding {
  readonly #streamId: number;
  readonly #graceMs: number;
  readonly #saveMark: Statement<[number, string, number, string, number]>;
  readonly #addSample: Statement<[number, number, number]>;
  readonly #pruneSamples: Statement<[number, number]>;
  #samples: { ts: number; seq: number }[];
  #changed = false;
  mark: ForwardMark | null;

  constructor(db: Database, streamId: number, graceMs: number) {
    this.#streamId = streamId;
    this.#graceMs = graceMs;
    this.#saveMark = db.prepare(
      'UPDATE stream SET mark_seq = ?, mark_id = ?, mark_hub_seq = ?, mark_hub_created = ? WHERE id = ?',
    );
    this.#addSample = db.prepare(
      'INSERT OR REPLACE INTO grace (stream_id, ts, seq) VALUES (?, ?, ?)',
    );
    this.#pruneSamples = db.prepare('DELETE FROM grace WHERE stream_id = ? AND ts < ?');
    this.mark = readMark(db, streamId);
    this.#samples = db
      .prepare<[number], { ts: number; seq: number }>(
        'SELECT ts, seq FROM grace WHERE stream_id = ? ORDER BY ts',
      )
      .all(streamId);
  }

  /** The sequence up to which the hub had confirmed one grace before store time `ts`; 0 if it had nothing then. */
  graceSeq(ts: number): number {
    let seq = 0;
    for (const sample of this.#samples) if (sample.ts <= ts - this.#graceMs) seq = sample.seq;
    // After a refill the mark may stand before an old sample.
    return Math.min(seq, this.mark?.seq ?? 0);
  }

  /** Moves the mark at store time `ts`. */
  confirm(mark: ForwardMark, ts: number): void {
    this.mark = mark;
    this.#changed = true;
    const last = this.#samples.at(-1);
    if (last === undefined || ts - last.ts >= this.#graceMs / SAMPLES) {
      this.#samples.push({ ts, seq: mark.seq });
      const keep = this.#samples.findLastIndex((sample) => sample.ts <= ts - this.#graceMs);
      if (keep > 0) this.#samples.splice(0, keep);
    } else {
      last.seq = mark.seq;
    }
  }

  /** Writes the mark, if it moved; part of a transaction. */
  save(): void {
    if (!this.#changed || this.mark === null) return;
    const { seq, id, hubSeq, hubCreated } = this.mark;
    this.#saveMark.run(seq, id, hubSeq, hubCreated, this.#streamId);
    const last = this.#samples.at(-1);
    if (last !== undefined) this.#addSample.run(this.#streamId, last.ts, last.seq);
    this.#pruneSamples.run(this.#streamId, this.#samples[0]?.ts ?? 0);
  }

  saved(): void {
    this.#changed = false;
  }
}

function readMark(db: Database, streamId: number): ForwardMark | null {
  const row = db
    .prepare<[number], MarkRow>(
      'SELECT mark_seq, mark_id, mark_hub_seq, mark_hub_created FROM stream WHERE id = ?',
    )
    .get(streamId);
  if (row === undefined || row.mark_seq === null) return null;
  return {
    seq: row.mark_seq,
    id: row.mark_id ?? '',
    hubSeq: row.mark_hub_seq ?? 0,
    hubCreated: row.mark_hub_created ?? '',
  };
}
