// Answers about the subjects of a stream, from what is known of each: its count and its last message.

import type { Cancel, Clock } from '../clock.ts';
import { lastPerSubject } from './last-messages.ts';
import { TRIM_ROWS } from './retention.ts';
import { nextTurn } from './slices.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { StreamReader } from './stream-reader.ts';
import type { StoredMessage } from './stream-types.ts';
import type { SubjectFilter } from './subject-filter.ts';
import type { Subject } from './subjects.ts';
import { Tallies } from './tallies.ts';

export class Lookups {
  readonly #on: { readonly store: Store; readonly clock: Clock; readonly stock: Stock };
  readonly #reader: StreamReader;
  readonly #tallies: Tallies;

  constructor(
    on: { readonly store: Store; readonly clock: Clock; readonly stock: Stock },
    reader: StreamReader,
  ) {
    this.#on = on;
    this.#reader = reader;
    this.#tallies = new Tallies(on);
  }

  lastOf(filter: SubjectFilter): StoredMessage | undefined {
    const { stock } = this.#on;
    for (;;) {
      const seq = stock.lastShownOf(this.#covered(filter));
      const message = seq === 0 ? undefined : this.#reader.get(seq);
      // A damaged one is taken out by the look at it.
      if (seq === 0 || message !== undefined || stock.stands(seq)) return message;
    }
  }

  *subjects(filter: SubjectFilter): Iterable<[subject: string, count: number]> {
    for (const { subject, count, pending } of this.#covered(filter))
      yield [subject, count - pending];
  }

  /** Subjects under `filter` that have messages on the disk. */
  *#covered(filter: SubjectFilter): Iterable<Subject> {
    const { subjects } = this.#on.stock;
    const { literal } = filter;
    const entry = literal === undefined ? undefined : subjects.find(literal);
    if (literal !== undefined && (entry === undefined || entry.count === entry.pending)) return;
    if (entry !== undefined) return yield entry;
    for (const each of subjects.all())
      if (each.count > each.pending && filter.coversId(each.id, each.subject)) yield each;
  }

  lastPerSubject(
    filter: SubjectFilter,
    options: { readonly upToSeq?: number | undefined; readonly max: number },
  ): Promise<number[]> {
    return lastPerSubject(this.#on, filter, options);
  }

  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): Cancel {
    return this.#tallies.count(filter, fromSeq, done);
  }

  async deletedSeqs(max: number): Promise<number[]> {
    const { store, clock, stock } = this.#on;
    const deleted: number[] = [];
    let next = stock.firstSeq;
    while (next <= stock.durableSeq && deleted.length < max) {
      const from = next;
      const seqs = store.guard([], () => stock.rows.seqs(from, stock.durableSeq, TRIM_ROWS));
      const last = seqs.length < TRIM_ROWS ? stock.durableSeq : (seqs.at(-1) ?? from);
      for (const seq of [...seqs.filter((each) => stock.stands(each)), last + 1]) {
        for (; next < seq && deleted.length < max; next++) deleted.push(next);
        next = seq + 1;
      }
      next = last + 1;
      await nextTurn(clock);
    }
    return deleted;
  }
}
