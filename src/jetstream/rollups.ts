// Roll-ups: a message that replaces all that came before it, on its subject or in the whole stream. The older ones stay
// until it is on the disk, so that nobody finds the subject empty in between; then they go, before anybody is told of it.
// A note in the transaction that stores the message says what is to go: after a crash the start finishes it.

import type { Store } from './store.ts';
import type { Purge } from './purge.ts';
import { TRIM_ROWS, type Retention } from './retention.ts';
import type { Stock } from './stock.ts';
import type { Effect } from './stream-queue.ts';
import type { Subject } from './subjects.ts';

const MAP = 'rollup';

export class Rollups {
  readonly #stock: Stock;
  readonly #retention: Retention;
  readonly #purge: Purge;
  readonly #streamId: number;
  readonly #put;
  readonly #delete;
  readonly #notes;
  /** Notes of what is done; they go with what they are about. */
  #done: string[] = [];

  constructor(
    { store, streamId }: { readonly store: Store; readonly streamId: number },
    stock: Stock,
    retention: Retention,
    purge: Purge,
  ) {
    const { db } = store;
    this.#stock = stock;
    this.#retention = retention;
    this.#purge = purge;
    this.#streamId = streamId;
    this.#put = db.prepare<[string, string, Buffer]>(
      'INSERT OR REPLACE INTO kv (map, key, value) VALUES (?, ?, ?)',
    );
    this.#delete = db.prepare<[string, string]>('DELETE FROM kv WHERE map = ? AND key = ?');
    this.#notes = db.prepare<[string, string, string], { key: string; value: Buffer }>(
      'SELECT key, value FROM kv WHERE map = ? AND key > ? AND key < ? ORDER BY key',
    );
  }

  /** What a message with a roll-up does; undefined where there is nothing older. */
  effect(seq: number, entry: Subject, rollup: 'sub' | 'all'): Effect | undefined {
    const { totals } = this.#stock;
    if ((rollup === 'sub' ? entry.count : totals.messages) <= 1) return undefined;
    const filter = rollup === 'sub' ? entry.subject : '>';
    const key = `${this.#streamId}:${seq}`;
    return {
      seq,
      write: () => void this.#put.run(MAP, key, Buffer.from(filter)),
      show: () => this.#replace(filter, seq, key),
    };
  }

  /** At a start: finishes what a crash cut short. */
  finish(): void {
    const notes = this.#notes.all(MAP, `${this.#streamId}:`, `${this.#streamId};`);
    for (const { key, value } of notes)
      this.#replace(value.toString(), Number(key.slice(key.indexOf(':') + 1)), key);
  }

  #replace(filter: string, seq: number, key: string): void {
    const stock = this.#stock;
    if (filter === '>') {
      if (stock.durableSeq === seq - 1 && !stock.watchers.any) {
        this.#retention.clear('removed');
        return this.#finished(key);
      }
      return this.#slices(undefined, seq, key);
    }
    const entry = stock.subjects.find(filter);
    const older = entry === undefined ? [] : stock.ofSubject(entry, TRIM_ROWS, seq - 1);
    for (const extent of older) stock.take(extent, 'removed', true);
    if (older.length < TRIM_ROWS) this.#finished(key);
    else this.#slices(filter, seq, key);
  }

  #slices(filter: string | undefined, belowSeq: number, key: string): void {
    void this.#purge.run({ filter, belowSeq }).then(() => this.#finished(key));
  }

  #finished(key: string): void {
    this.#done.push(key);
    this.#stock.writeSoon();
  }

  /** Part of a transaction that deletes all removed messages. */
  write(): void {
    for (const key of this.#done) this.#delete.run(MAP, key);
  }

  committed(): void {
    this.#done = [];
  }
}
