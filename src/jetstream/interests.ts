// What the consumers of an interest or work-queue stream still need, and with it what may go. A consumer says when it is
// done with a message (`released`); in the transaction that writes that down, what nobody needs any more is deleted. So
// after a crash both hold or neither does; only where a consumer was deleted, or so many messages were released at once
// that they take several transactions, the start looks through what stands.
//
// The forwarder of a forwarded stream is one of those who need: a message stays until the hub has it.

import type { Cancel, Clock } from '../clock.ts';
import type { Extent } from './rows.ts';
import { durable, nextTurn } from './slices.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { Interest, StreamConfig } from './stream-types.ts';

/** Released messages looked at in one transaction, and rows in one slice: a few milliseconds of the loop. */
const SLICE_ROWS = 4_000;

export class Interests {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #stock: Stock;
  readonly #queue: () => void;
  readonly #interests = new Set<Interest>();
  #released: number[] = [];
  #retention: StreamConfig['retention'];
  #reviewing = false;
  /** Where the next review begins; Infinity for none. */
  #reviewFrom = Infinity;
  #confirmedTo = 0;
  #closed = false;

  /** `queue` asks for a transaction, which calls `write`. */
  constructor(
    { store, clock }: { readonly store: Store; readonly clock: Clock },
    stock: Stock,
    retention: StreamConfig['retention'],
    queue: () => void,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#stock = stock;
    this.#retention = retention;
    this.#queue = queue;
  }

  set retention(retention: StreamConfig['retention']) {
    if (retention === this.#retention) return;
    this.#retention = retention;
    this.review();
  }

  close(): void {
    this.#closed = true;
  }

  /** The returned function says that the consumer is gone, and with it what it needed. */
  add(interest: Interest): Cancel {
    this.#interests.add(interest);
    return () => {
      if (this.#interests.delete(interest) && this.#retention === 'interest') this.review();
    };
  }

  /** Whether anybody is there for a message on this subject. */
  wanted(subjectId: number, subject: string): boolean {
    if (this.#stock.confirmedSeq() !== Infinity) return true;
    for (const interest of this.#interests) if (interest.covers(subjectId, subject)) return true;
    return false;
  }

  /** A consumer needs `seq` no more; what follows from it is in the next transaction. */
  released(seq: number): void {
    if (this.#retention === 'limits') return;
    this.#released.push(seq);
    this.#queue();
  }

  /** Takes out what was released and nobody else needs; part of a transaction. */
  write(): void {
    if (this.#released.length === 0) return;
    const seqs = this.#released
      .splice(0, SLICE_ROWS)
      .filter((seq) => seq <= this.#stock.durableSeq);
    for (const extent of this.#stock.extentsOf(seqs).values())
      if (this.#mayGo(extent, true)) this.#stock.take(extent, 'consumed', true);
  }

  committed(): void {
    if (this.#released.length > 0) this.#queue();
  }

  /** `released`: its consumer has said so, which on a work-queue is enough. */
  #mayGo({ seq, subjectId }: Extent, released: boolean): boolean {
    const confirmedSeq = this.#stock.confirmedSeq();
    if (seq > confirmedSeq) return false;
    const subject = this.#stock.subjects.byId(subjectId)?.subject ?? '';
    let covered = released || confirmedSeq !== Infinity;
    for (const interest of this.#interests) {
      if (!interest.covers(subjectId, subject)) continue;
      covered = true;
      if (interest.needs(seq)) return false;
    }
    // On a work-queue a message without a consumer waits for one.
    return covered || this.#retention === 'interest';
  }

  /** The hub has everything up to `seq`. */
  confirmed(seq: number): void {
    if (seq > this.#confirmedTo) this.review(this.#confirmedTo + 1);
    this.#confirmedTo = seq;
  }

  /** Looks through what stands from `fromSeq` on, in slices, and takes out what nobody needs. */
  review(fromSeq = 1): void {
    if (this.#retention === 'limits' || this.#closed) return;
    this.#reviewFrom = Math.min(this.#reviewFrom, fromSeq);
    if (this.#reviewing) return;
    this.#reviewing = true;
    void this.#review();
  }

  async #review(): Promise<void> {
    // A consumer that changes its filter leaves and comes back within a turn.
    await nextTurn(this.#clock);
    while (this.#reviewFrom !== Infinity && !this.#closed) {
      const upTo = Math.min(this.#stock.durableSeq, this.#stock.confirmedSeq());
      let next = this.#reviewFrom;
      this.#reviewFrom = Infinity;
      while (next <= upTo && !this.#closed) {
        const slice = this.#store.guard({ gone: 0, nextSeq: Infinity }, () =>
          this.#slice(next, upTo),
        );
        next = slice.nextSeq;
        this.#stock.watchers.settle();
        if (slice.gone > 0) await durable(this.#store, this.#clock);
        else await nextTurn(this.#clock);
      }
    }
    this.#reviewing = false;
  }

  #slice(next: number, upTo: number): { gone: number; nextSeq: number } {
    const { extents, nextSeq } = this.#stock.extents(next, upTo, SLICE_ROWS);
    let gone = 0;
    for (const extent of extents) {
      if (!this.#mayGo(extent, false)) continue;
      this.#stock.take(extent, 'consumed', true);
      gone++;
    }
    return { gone, nextSeq };
  }
}
