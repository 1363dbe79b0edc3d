// Takes messages out of a stream because somebody said so. What is asked for is gone for good when the promise resolves;
// a crash before that may leave a part of it. A million messages go in slices, so that nobody waits for them.

import type { Clock } from '../clock.ts';
import { ApiError } from './api/api-error.ts';
import { TRIM_BYTES, TRIM_ROWS, type Retention } from './retention.ts';
import type { Extent } from './rows.ts';
import { durable, nextTurn } from './slices.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { GapReason } from './stream-types.ts';
import { SubjectFilter } from './subject-filter.ts';

/** What goes: everything, or what is under `filter`, below `belowSeq`, all but the newest `keep`. */
export interface PurgeOptions {
  readonly filter?: string | undefined;
  readonly belowSeq?: number | undefined;
  readonly keep?: number | undefined;
}

/** Where there are more, it goes in slices: the counts of all subjects are written in one transaction. */
const CLEAR_SUBJECTS_MAX = 5_000;
/** And it waits for that where so many have changed. */
const UNSAVED_SUBJECTS = 2_000;

export class Purge {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #stock: Stock;
  readonly #retention: Retention;
  #closed = false;

  constructor(store: Store, clock: Clock, stock: Stock, retention: Retention) {
    this.#store = store;
    this.#clock = clock;
    this.#stock = stock;
    this.#retention = retention;
  }

  /** The stream is no more; what is under way ends. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves with the number of messages that went, when the disk knows it. Rejects when the stream is closed meanwhile. */
  async run(options: PurgeOptions, reason: GapReason = 'removed'): Promise<number> {
    // What was published before goes too.
    await durable(this.#store, this.#clock);
    const { filter, belowSeq, keep = 0 } = options;
    const upTo = Math.min(this.#stock.durableSeq, (belowSeq ?? Infinity) - 1);
    const subjects = new SubjectFilter(filter === undefined ? [] : [filter]);
    if (subjects.isAll && keep === 0) this.#stock.begun = true;
    const purged = subjects.isAll
      ? await this.#oldest(upTo, this.#stock.messages - keep, reason)
      : await this.#filtered(subjects, upTo, keep, reason);
    // Half of it is no answer.
    if (this.#closed) throw new ApiError(404, 10059, 'stream not found');
    // Where it goes beyond the last message, the numbers in between are used up, as in nats-server.
    if (subjects.isAll && belowSeq !== undefined) this.#stock.skipTo(belowSeq - 1);
    const { firstSeq } = this.#stock;
    const leftSeq = subjects.isAll ? firstSeq : await this.#firstUnder(subjects);
    await durable(this.#store, this.#clock);
    this.#stock.watchers.purged({ filter, firstSeq, leftSeq });
    return purged;
  }

  /** The first sequence that is left under `filter`; one past the last message where there is none. */
  async #firstUnder(filter: SubjectFilter): Promise<number> {
    const { subjects, durableSeq, watchers } = this.#stock;
    let left = 0;
    for (const { id, subject, count, pending } of subjects.all())
      if (count > pending && filter.coversId(id, subject)) left += count - pending;
    if (!watchers.any || left === 0) return durableSeq + 1;
    for (let next = this.#stock.firstSeq; next <= durableSeq && !this.#closed;) {
      const { extents, nextSeq } = this.#store.guard({ extents: [], nextSeq: Infinity }, () =>
        this.#stock.extents(next, durableSeq, TRIM_ROWS),
      );
      for (const { seq, subjectId } of extents) {
        const entry = subjects.byId(subjectId);
        if (entry !== undefined && filter.coversId(entry.id, entry.subject)) return seq;
      }
      next = nextSeq;
      if (next <= durableSeq) await nextTurn(this.#clock);
    }
    return durableSeq + 1;
  }

  /** Takes one message out; false where there is none. Durable when it resolves. */
  async remove(seq: number, erase: boolean): Promise<boolean> {
    await durable(this.#store, this.#clock);
    const { durableSeq, removals } = this.#stock;
    const extent =
      seq > durableSeq ? undefined : this.#store.guard(undefined, () => this.#stock.extent(seq));
    if (extent !== undefined) {
      if (erase) removals.erase();
      this.#stock.take(extent, 'removed', true);
      this.#stock.watchers.settle();
    }
    await durable(this.#store, this.#clock);
    return extent !== undefined;
  }

  async #oldest(upTo: number, atMost: number, reason: GapReason): Promise<number> {
    const { messages, durableSeq, watchers } = this.#stock;
    if (atMost <= 0) return 0;
    const few = this.#stock.subjects.size <= CLEAR_SUBJECTS_MAX;
    if (atMost === messages && upTo === durableSeq && few && !watchers.any) {
      this.#retention.clear(reason);
      return messages;
    }
    let purged = 0;
    for (let more = true; more && !this.#closed;) {
      let left = Math.min(few ? TRIM_ROWS : TRIM_ROWS / 2, atMost - purged);
      const max = left;
      this.#store.guard(undefined, () =>
        this.#retention.trim(upTo, reason, () => left === 0 || left-- < 0),
      );
      purged += max - left;
      more = left === 0 && purged < atMost;
      watchers.settle(true);
      if (this.#stock.subjects.unsaved >= UNSAVED_SUBJECTS) await durable(this.#store, this.#clock);
      if (more) await nextTurn(this.#clock);
    }
    if (purged > 0) this.#stock.writeSoon();
    return purged;
  }

  async #filtered(
    filter: SubjectFilter,
    upTo: number,
    keep: number,
    reason: GapReason,
  ): Promise<number> {
    let left = -keep;
    for (const { id, subject, count, pending } of this.#stock.subjects.all())
      if (filter.coversId(id, subject)) left += count - pending;
    let purged = 0;
    for (let next = 0; left > 0 && next <= upTo && !this.#closed;) {
      const slice = this.#store.guard({ gone: 0, nextSeq: Infinity }, () =>
        this.#slice(filter, { next, upTo, atMost: left, reason }),
      );
      next = slice.nextSeq;
      purged += slice.gone;
      left -= slice.gone;
      // As in nats-server, whose streams in memory tell of each one.
      this.#stock.watchers.settle(!this.#store.db.memory);
      if (slice.gone > 0) await durable(this.#store, this.#clock);
      else await nextTurn(this.#clock);
    }
    return purged;
  }

  #slice(
    filter: SubjectFilter,
    {
      next,
      upTo,
      atMost,
      reason,
    }: { next: number; upTo: number; atMost: number; reason: GapReason },
  ): { gone: number; nextSeq: number } {
    const { extents, nextSeq } = this.#candidates(filter, next, upTo);
    let gone = 0;
    let bytes = 0;
    for (const extent of extents) {
      const entry = this.#stock.subjects.byId(extent.subjectId);
      if (entry === undefined || !filter.coversId(entry.id, entry.subject)) continue;
      if (gone === atMost || bytes >= TRIM_BYTES) return { gone, nextSeq: extent.seq };
      this.#stock.take(extent, reason, true);
      gone++;
      bytes += extent.bytes;
    }
    return { gone, nextSeq };
  }

  #candidates(
    filter: SubjectFilter,
    next: number,
    upTo: number,
  ): { extents: Extent[]; nextSeq: number } {
    const { literal } = filter;
    if (literal === undefined || !this.#stock.rows.indexed)
      return this.#stock.extents(next, upTo, TRIM_ROWS);
    const entry = this.#stock.subjects.find(literal);
    const extents = entry === undefined ? [] : this.#stock.ofSubject(entry, TRIM_ROWS, upTo);
    return { extents, nextSeq: extents.length < TRIM_ROWS ? Infinity : 0 };
  }
}
