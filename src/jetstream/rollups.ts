// Roll-ups: a message that replaces all that came before it, on its subject or in the whole stream. The older ones stay
// until it is on the disk, so that nobody finds the subject empty in between; then they go, before anybody is told of it.
// A note in the transaction that stores the message says what is to go: after a crash the start finishes it.

import type { Store } from './store.ts';
import type { Purge } from './purge.ts';
import { TRIM_ROWS, type Retention } from './retention.ts';
import type { Stock } from './stock.ts';
import type { Effect } from './stream-queue.ts';
import type { Subject } from './subjects.ts';
import { shared } from './statements.ts';

const MAP = 'rollup';

export class Rollups {
  readonly #stock: Stock;
  readonly #retention: Retention;
  readonly #purge: Purge;
  readonly #streamId: number;
  /** See Purge. */
  readonly #isQuiet: boolean;
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
    this.#isQuiet = !db.memory;
    this.#put = shared<[string, string, Buffer]>(
      db,
      'INSERT OR REPLACE INTO kv (map, key, value) VALUES (?, ?, ?)',
    );
    this.#delete = shared<[string, string]>(db, 'DELETE FROM kv WHERE map = ? AND key = ?');
    this.#notes = shared<[string, string, string], { key: string; value: Buffer }>(
      db,
      'SELECT key, value FROM kv WHERE map = ? AND key > ? AND key < ? ORDER BY key',
    );
  }

  /** What a message with a roll-up does. */
  effect(seq: number, entry: Subject, rollup: 'sub' | 'all'): Effect {
    const { totals } = this.#stock;
    const filter = rollup === 'sub' ? entry.subject : '>';
    const tell = (): void => this.#tell(filter, seq);
    // Nothing is older.
    if ((rollup === 'sub' ? entry.count : totals.messages) <= 1) return { seq, tell };
    const key = `${this.#streamId}:${seq}`;
    // What goes in slices is told of when it has gone.
    let isDone = false;
    return {
      seq,
      write: () => void this.#put.run(MAP, key, Buffer.from(filter)),
      show: () => void (isDone = this.#replace(filter, seq, key)),
      tell: () => {
        if (isDone) tell();
      },
    };
  }

  /** Consumers take it for the purge that it is. */
  #tell(filter: string, seq: number): void {
    const { watchers, firstSeq } = this.#stock;
    if (!watchers.any) return;
    watchers.purged({ filter: filter === '>' ? undefined : filter, firstSeq, leftSeq: seq });
  }

  /** At a start: finishes what a crash cut short. */
  finish(): void {
    const notes = this.#notes.all(MAP, `${this.#streamId}:`, `${this.#streamId};`);
    for (const { key, value } of notes)
      this.#replace(value.toString(), Number(key.slice(key.indexOf(':') + 1)), key);
  }

  /** Takes away what came before `seq`; false: it goes on doing so. */
  #replace(filter: string, seq: number, key: string): boolean {
    const stock = this.#stock;
    if (filter === '>') {
      if (stock.durableSeq === seq - 1 && !stock.watchers.any) {
        this.#retention.clear('removed');
        this.#finished(key);
        return true;
      }
      this.#slices(undefined, seq, key);
      return false;
    }
    const entry = stock.subjects.find(filter);
    const older = entry === undefined ? [] : stock.ofSubject(entry, TRIM_ROWS, seq - 1);
    for (const extent of older) stock.take(extent, 'removed', true);
    stock.watchers.settle(this.#isQuiet);
    const isDone = older.length < TRIM_ROWS;
    if (isDone) this.#finished(key);
    else this.#slices(filter, seq, key);
    return isDone;
  }

  #slices(filter: string | undefined, belowSeq: number, key: string): void {
    // Where the stream is closed meanwhile the note stays, and the next start finishes it.
    void this.#purge.run({ filter, belowSeq }).then(
      () => this.#finished(key),
      () => undefined,
    );
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
