// Counts the messages under a filter from a sequence on, in slices. While it counts, messages come and go; it watches them,
// so that the number is exact in the turn in which it is told, and whoever asked can count on from there.
//
// All counts of a stream share one look at its rows: a thousand consumers that find their place at a start take as long as
// one. The look goes up through the stream and begins anew at the lowest place where somebody waits, so that none waits
// for those who came later.

import type { Cancel, Clock } from '../clock.ts';
import type { Extent } from './rows.ts';
import { inSlices } from './slices.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { SubjectFilter } from './subject-filter.ts';

/** Rows in one slice; fewer where many count, for each looks at their subjects. */
const SLICE_ROWS = 4_000;
const SLICE_ROWS_LEAST = 64;
/** Looks of all counts in one slice: some milliseconds. */
const SLICE_LOOKS = 200_000;

interface Count {
  readonly filter: SubjectFilter;
  /** Counts what is before where the caller wants to begin: that is less to look at. */
  readonly isBefore: boolean;
  readonly first: number;
  /** Up to here; undefined for the end. */
  readonly last: number | undefined;
  next: number;
  counted: number;
  readonly done: (messages: number) => void;
}

export class Tallies {
  readonly #on: { readonly store: Store; readonly clock: Clock; readonly stock: Stock };
  readonly #counts = new Set<Count>();
  #at = 0;
  #unwatch: Cancel = () => {};
  #isRunning = false;

  constructor(on: { readonly store: Store; readonly clock: Clock; readonly stock: Stock }) {
    this.#on = on;
  }

  /** Calls `done` once, perhaps at once. */
  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): Cancel {
    const { stock } = this.#on;
    stock.watchers.flush();
    if (fromSeq > stock.durableSeq || hasNone(stock, filter, fromSeq)) return now(0, done);
    if (fromSeq <= stock.firstSeq) return now(countAll(stock, filter), done);
    const isBefore = fromSeq - stock.firstSeq < stock.durableSeq - fromSeq;
    const first = isBefore ? stock.firstSeq : fromSeq;
    const last = isBefore ? fromSeq - 1 : undefined;
    const count = { filter, isBefore, first, last, next: first, counted: 0, done };
    this.#counts.add(count);
    if (!this.#isRunning) this.#begin();
    return () => void this.#counts.delete(count);
  }

  #begin(): void {
    const { clock, stock } = this.#on;
    this.#isRunning = true;
    this.#unwatch = stock.watchers.add({
      stored: () => {},
      removed: (seq, _id, subject) => {
        for (const count of this.#counts)
          if (seq >= count.first && seq < count.next && count.filter.covers(subject))
            count.counted--;
      },
      settled: () => {},
    });
    inSlices(clock, () => this.#slice());
  }

  /** True when nobody waits any more. */
  #slice(): boolean {
    const { store, stock } = this.#on;
    stock.watchers.flush();
    this.#at = this.#place();
    const rows = Math.floor(SLICE_LOOKS / Math.max(1, this.#counts.size));
    const max = Math.min(SLICE_ROWS, Math.max(SLICE_ROWS_LEAST, rows));
    const { extents, nextSeq } = store.guard({ extents: [], nextSeq: Infinity }, () =>
      stock.extents(this.#at, stock.durableSeq, max),
    );
    const done = this.#look(extents, nextSeq);
    this.#at = nextSeq;
    const isOver = this.#counts.size === 0;
    if (isOver) this.#unwatch();
    this.#isRunning = !isOver;
    for (const count of done) {
      const { filter, isBefore, counted } = count;
      count.done(isBefore ? countAll(stock, filter) - counted : counted);
    }
    return isOver;
  }

  /** Where somebody waits: not before the last look, or anywhere. */
  #place(): number {
    let ahead = Infinity;
    let lowest = Infinity;
    for (const { next } of this.#counts) {
      lowest = Math.min(lowest, next);
      if (next >= this.#at) ahead = Math.min(ahead, next);
    }
    return Math.min(ahead === Infinity ? lowest : ahead, this.#on.stock.durableSeq + 1);
  }

  /** Counts these rows, which reach to `nextSeq`; those that have counted all. */
  #look(extents: readonly Extent[], nextSeq: number): Count[] {
    const { stock } = this.#on;
    const bySubject = new Map<string, number>();
    for (const extent of extents) {
      const subject = stock.subjects.byId(extent.subjectId)?.subject ?? '';
      bySubject.set(subject, (bySubject.get(subject) ?? 0) + 1);
    }
    const done: Count[] = [];
    for (const count of this.#counts) {
      const last = count.last ?? stock.durableSeq;
      if (count.next <= last && (count.next < this.#at || count.next >= nextSeq)) continue;
      const isWhole = count.next === this.#at && nextSeq - 1 <= last;
      count.counted += isWhole
        ? countSubjects(bySubject, count.filter)
        : this.#countRows(extents, count, last);
      count.next = Math.max(count.next, nextSeq);
      if (count.next <= last) continue;
      this.#counts.delete(count);
      done.push(count);
    }
    return done;
  }

  #countRows(extents: readonly Extent[], { filter, next }: Count, last: number): number {
    const { subjects } = this.#on.stock;
    let counted = 0;
    for (const { seq, subjectId } of extents)
      if (seq >= next && seq <= last && filter.covers(subjects.byId(subjectId)?.subject ?? ''))
        counted++;
    return counted;
  }
}

function now(messages: number, done: (messages: number) => void): Cancel {
  done(messages);
  return () => {};
}

/** A filter for one subject that has nothing from there on needs no look. */
function hasNone({ subjects }: Stock, { literal }: SubjectFilter, fromSeq: number): boolean {
  if (literal === undefined) return false;
  const entry = subjects.find(literal);
  if (entry === undefined || entry.count === entry.pending) return true;
  return entry.shownSeq > 0 && entry.shownSeq < fromSeq;
}

/** Everything that stands, as known by subject. */
function countAll({ messages, subjects }: Stock, filter: SubjectFilter): number {
  if (filter.isAll) return messages;
  if (filter.literal !== undefined) {
    const entry = subjects.find(filter.literal);
    return entry === undefined ? 0 : entry.count - entry.pending;
  }
  let counted = 0;
  for (const { subject, count, pending } of subjects.all())
    if (filter.covers(subject)) counted += count - pending;
  return counted;
}

function countSubjects(bySubject: ReadonlyMap<string, number>, filter: SubjectFilter): number {
  if (filter.literal !== undefined) return bySubject.get(filter.literal) ?? 0;
  let counted = 0;
  for (const [subject, messages] of bySubject) if (filter.covers(subject)) counted += messages;
  return counted;
}
