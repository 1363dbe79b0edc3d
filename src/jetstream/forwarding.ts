// What a stream knows of its forwarding: the mark that the hub has confirmed, and where the mark stood one grace ago.
// The mark may be written late: a start that finds an old one asks the hub.

import type { Database, Statement } from 'better-sqlite3';
import type { ForwardMark } from './stream-types.ts';
import { shared } from './statements.ts';

/** A late mark is written with the messages that come this long after the one before: each costs two pages of the disk. */
const SAVE_MS = 5_000;
/** And by itself where none come. */
const SAVE_ALONE_MS = 10_000;
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
  /** How long what the hub has confirmed can be sent again. */
  graceMs: number;
  readonly #saveMark: Statement<[number, string, number, string, number]>;
  readonly #addSample: Statement<[number, number, number]>;
  readonly #pruneSamples: Statement<[number, number]>;
  readonly #forgetSamples: Statement<[number]>;
  #samples: { ts: number; seq: number }[];
  #changed = false;
  /** The mark must not be late. */
  #urgent = false;
  /** The transaction that is being written has the mark. */
  #written = false;
  /** Store time at which the mark was written last. */
  #savedTs = Number.NEGATIVE_INFINITY;
  /** The mark moved back: the samples in the database are of a hub stream that is lost. */
  #wentBack = false;
  mark: ForwardMark | null;

  constructor(db: Database, streamId: number, graceMs: number) {
    this.#streamId = streamId;
    this.graceMs = graceMs;
    this.#saveMark = shared(
      db,
      'UPDATE stream SET mark_seq = ?, mark_id = ?, mark_hub_seq = ?, mark_hub_created = ? WHERE id = ?',
    );
    this.#addSample = shared(
      db,
      'INSERT OR REPLACE INTO grace (stream_id, ts, seq) VALUES (?, ?, ?)',
    );
    this.#pruneSamples = shared(db, 'DELETE FROM grace WHERE stream_id = ? AND ts < ?');
    this.#forgetSamples = shared(db, 'DELETE FROM grace WHERE stream_id = ?');
    this.mark = readMark(db, streamId);
    this.#samples = shared<[number], { ts: number; seq: number }>(
      db,
      'SELECT ts, seq FROM grace WHERE stream_id = ? ORDER BY ts',
    ).all(streamId);
  }

  /** The sequence up to which the hub had confirmed one grace before store time `ts`; 0 if it had nothing then. */
  graceSeq(ts: number): number {
    let seq = 0;
    for (const sample of this.#samples) if (sample.ts <= ts - this.graceMs) seq = sample.seq;
    // After a refill the mark may stand before an old sample.
    return Math.min(seq, this.mark?.seq ?? 0);
  }

  /** Moves the mark at store time `ts`. A `late` one may be written some seconds later: the hub tells where it was. */
  confirm(mark: ForwardMark, ts: number, late = false): void {
    this.#urgent ||= !late;
    // A stream made anew that holds something already was filled by a process that could not write it down.
    if (this.mark !== null && mark.hubCreated !== this.mark.hubCreated)
      this.#goBack(mark.id === '' ? mark.seq : 0);
    else if (mark.seq < (this.mark?.seq ?? 0)) this.#goBack(mark.seq);
    this.mark = mark;
    this.#changed = true;
    const last = this.#samples.at(-1);
    if (last === undefined || ts - last.ts >= this.graceMs / SAMPLES) {
      this.#samples.push({ ts, seq: mark.seq });
      const keep = this.#samples.findLastIndex((sample) => sample.ts <= ts - this.graceMs);
      if (keep > 0) this.#samples.splice(0, keep);
    } else {
      last.seq = mark.seq;
    }
  }

  /** The hub lost what lies behind `seq`: that it once had it counts no more when it loses its stream again. */
  #goBack(seq: number): void {
    const oldest = this.#samples[0];
    this.#samples = this.#samples.filter((sample) => sample.seq <= seq);
    if (this.#samples.length === 0 && oldest !== undefined)
      this.#samples.push({ ts: oldest.ts, seq });
    this.#wentBack = true;
  }

  /** Whether a transaction at store time `ts` shall write the mark. */
  due(ts: number): boolean {
    return this.#isDue(ts, SAVE_MS);
  }

  /** Whether it has waited too long for a transaction of others. */
  overdue(ts: number): boolean {
    return this.#isDue(ts, SAVE_ALONE_MS);
  }

  #isDue(ts: number, afterMs: number): boolean {
    // Where it moved back, what the database says is wrong.
    const urgent = this.#urgent || this.#wentBack;
    return this.#changed && (urgent || ts - this.#savedTs >= afterMs);
  }

  /** Writes the mark, if it moved; part of a transaction. */
  save(): void {
    if (!this.#changed || this.mark === null) return;
    this.#written = true;
    const { seq, id, hubSeq, hubCreated } = this.mark;
    this.#saveMark.run(seq, id, hubSeq, hubCreated, this.#streamId);
    if (this.#wentBack) this.#forgetSamples.run(this.#streamId);
    for (const sample of this.#wentBack ? this.#samples : this.#samples.slice(-1))
      this.#addSample.run(this.#streamId, sample.ts, sample.seq);
    this.#pruneSamples.run(this.#streamId, this.#samples[0]?.ts ?? 0);
  }

  /** The transaction of store time `ts` is in. */
  saved(ts: number): void {
    if (!this.#written) return;
    this.#written = false;
    this.#savedTs = ts;
    this.#urgent = false;
    this.#changed = false;
    this.#wentBack = false;
  }
}

function readMark(db: Database, streamId: number): ForwardMark | null {
  const row = shared<[number], MarkRow>(
    db,
    'SELECT mark_seq, mark_id, mark_hub_seq, mark_hub_created FROM stream WHERE id = ?',
  ).get(streamId);
  if (row === undefined || row.mark_seq === null) return null;
  return {
    seq: row.mark_seq,
    id: row.mark_id ?? '',
    hubSeq: row.mark_hub_seq ?? 0,
    hubCreated: row.mark_hub_created ?? '',
  };
}
