// The epochs of one stream name. A card that loses committed records, or is put back from an image, makes the sequence
// run a second time with other messages; so every start begins a new epoch, durable before anything is acknowledged,
// and a message is named by (stream, epoch, seq).

import type { Database } from 'better-sqlite3';
import type { Epoch } from './stream-types.ts';
import { shared } from './statements.ts';

/** Epochs kept per stream name. Only ones that gave out a number are kept, so it takes as many starts with data. */
const EPOCHS_MAX = 10_000;

interface EpochRow {
  readonly stream_id: number;
  readonly first_seq: number;
  readonly epoch: string;
}

export class Epochs {
  readonly #streamId: number;
  readonly #rows: EpochRow[];
  readonly #current: EpochRow;

  /** Begins a new epoch at `firstSeq`; part of the transaction that opens the stream. */
  constructor(db: Database, name: string, streamId: number, firstSeq: number, epoch: string) {
    this.#streamId = streamId;
    // An epoch that never gave out a number has the same first sequence: it is replaced. One that did and then
    // lost all of it (so that firstSeq lies before it) stays known; it no longer owns any sequence of ours.
    shared(
      db,
      'INSERT OR REPLACE INTO epoch (stream, stream_id, first_seq, epoch) VALUES (?, ?, ?, ?)',
    ).run(name, streamId, firstSeq, epoch);
    shared(
      db,
      `DELETE FROM epoch WHERE stream = ? AND (stream_id, first_seq) NOT IN
         (SELECT stream_id, first_seq FROM epoch WHERE stream = ? ORDER BY stream_id DESC, first_seq DESC LIMIT ?)`,
    ).run(name, name, EPOCHS_MAX);
    this.#rows = shared<[string], EpochRow>(
      db,
      'SELECT stream_id, first_seq, epoch FROM epoch WHERE stream = ? ORDER BY stream_id, first_seq',
    ).all(name);
    this.#current = { stream_id: streamId, first_seq: firstSeq, epoch };
  }

  get current(): string {
    return this.#current.epoch;
  }

  /** The epoch that numbered `seq` of the present stream. */
  of(seq: number): string {
    if (seq >= this.#current.first_seq) return this.#current.epoch;
    const own = this.#rows.findLast(
      (row) => row.stream_id === this.#streamId && row.first_seq <= seq,
    );
    return own?.epoch ?? this.#current.epoch;
  }

  /** All epochs, oldest first; `durableSeq` ends the current one. */
  list(durableSeq: number): Epoch[] {
    return this.#rows.map((row, i) => {
      const next = this.#rows[i + 1];
      const retired = row.stream_id !== this.#streamId;
      const current = row.epoch === this.#current.epoch;
      const end = next?.stream_id === row.stream_id ? next.first_seq - 1 : durableSeq;
      return {
        epoch: row.epoch,
        firstSeq: row.first_seq,
        lastSeq: retired ? row.first_seq - 1 : end,
        current,
        retired,
      };
    });
  }
}
