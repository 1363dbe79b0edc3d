// The tables of the consumers: one row a consumer, and rows by sequence (seq-rows.ts says what they mean).

import type { Database, Statement } from 'better-sqlite3';
import { shared } from '../statements.ts';
import type { ConsumerConfig, SequencePair } from './types.ts';

/** What is kept of a consumer besides how far it is. */
export interface ConsumerHead {
  readonly config: ConsumerConfig;
  /** The last sequence that was looked at for `last_per_subject`; later ones are delivered as they come. */
  readonly resumeSeq?: number | undefined;
}

/** A consumer as the disk has it. */
export interface StoredConsumer extends ConsumerHead {
  readonly id: number;
  readonly createdMs: number;
  readonly delivered: SequencePair;
  readonly floor: SequencePair;
  readonly rows: ReadonlyMap<number, number>;
  readonly watermark: number;
}

interface ConsumerRow {
  readonly id: number;
  readonly config: string;
  readonly created_ms: number;
  readonly delivered_consumer_seq: number;
  readonly delivered_stream_seq: number;
  readonly floor_consumer_seq: number;
  readonly floor_stream_seq: number;
}

/** Adds a consumer's row, part of a transaction; returns its id. */
export function insertConsumer(
  db: Database,
  streamId: number,
  head: ConsumerHead,
  createdMs: number,
): number {
  const { lastInsertRowid } = db
    .prepare('INSERT INTO consumer (stream_id, name, config, created_ms) VALUES (?, ?, ?, ?)')
    .run(streamId, head.config.name, JSON.stringify(head), Math.floor(createdMs));
  return Number(lastInsertRowid);
}

/** The consumers of a stream, oldest first. */
export function readConsumers(db: Database, streamId: number): StoredConsumer[] {
  const rows = db
    .prepare<[number], ConsumerRow>('SELECT * FROM consumer WHERE stream_id = ? ORDER BY id')
    .all(streamId);
  return rows.map((row) => {
    const seqs = new Map(
      db
        .prepare<[number], [number, number]>(
          'SELECT seq, deliveries FROM consumer_seq WHERE consumer_id = ? ORDER BY seq',
        )
        .raw()
        .all(row.id),
    );
    let watermark = 0;
    for (const seq of seqs.keys()) {
      if (seq >= 0) break;
      watermark = Math.max(watermark, -seq);
      seqs.delete(seq);
    }
    return {
      ...(JSON.parse(row.config) as ConsumerHead),
      id: row.id,
      createdMs: row.created_ms,
      delivered: {
        consumerSeq: row.delivered_consumer_seq,
        streamSeq: row.delivered_stream_seq,
      },
      floor: { consumerSeq: row.floor_consumer_seq, streamSeq: row.floor_stream_seq },
      rows: seqs,
      watermark,
    };
  });
}

/** The rows of one consumer; all of it is part of transactions. */
export class ConsumerRows {
  readonly #db: Database;
  readonly #id: number;
  readonly #update: Statement<[number, number, number, number, number]>;
  readonly #put: Statement<[number, number, number]>;
  readonly #deleteUpTo: Statement<[number, number]>;
  readonly #deleteOne: Statement<[number, number]>;
  readonly #deleteAll: Statement<[number]>;

  constructor(db: Database, id: number) {
    this.#db = db;
    this.#id = id;
    this.#update = shared(
      db,
      `UPDATE consumer SET delivered_consumer_seq = ?, delivered_stream_seq = ?,
        floor_consumer_seq = ?, floor_stream_seq = ? WHERE id = ?`,
    );
    this.#put = shared(
      db,
      'INSERT OR REPLACE INTO consumer_seq (consumer_id, seq, deliveries) VALUES (?, ?, ?)',
    );
    this.#deleteUpTo = shared(
      db,
      'DELETE FROM consumer_seq WHERE consumer_id = ? AND seq BETWEEN 1 AND ? AND deliveries >= 0',
    );
    this.#deleteOne = shared(db, 'DELETE FROM consumer_seq WHERE consumer_id = ? AND seq = ?');
    this.#deleteAll = shared(db, 'DELETE FROM consumer_seq WHERE consumer_id = ?');
  }

  saveHead(head: ConsumerHead): void {
    this.#db
      .prepare('UPDATE consumer SET config = ? WHERE id = ?')
      .run(JSON.stringify(head), this.#id);
  }

  saveProgress(delivered: SequencePair, floor: SequencePair): void {
    this.#update.run(
      delivered.consumerSeq,
      delivered.streamSeq,
      floor.consumerSeq,
      floor.streamSeq,
      this.#id,
    );
  }

  putSeq(seq: number, value: number): void {
    this.#put.run(this.#id, seq, value);
  }

  deleteSeq(seq: number): void {
    this.#deleteOne.run(this.#id, seq);
  }

  deleteSeqsUpTo(seq: number): void {
    this.#deleteUpTo.run(this.#id, seq);
  }

  deleteSeqs(): void {
    this.#deleteAll.run(this.#id);
  }

  /** Deletes the consumer. */
  delete(): void {
    this.deleteSeqs();
    this.#db.prepare('DELETE FROM consumer WHERE id = ?').run(this.#id);
  }
}
