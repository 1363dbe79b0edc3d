// What happens when a sync covers a transaction: its messages are shown one by one, in their order. What a message replaces
// goes first, then it exists, then the limits of its subject are kept; then watchers, publishers and the forwarder hear of
// it. So nobody sees a subject empty between a message and the one that takes its place.

import type { Cancel } from '../clock.ts';
import { MessageBatch } from './message-batch.ts';
import { TRIM_ROWS, replacesMessages, type Retention } from './retention.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { AcceptedBatch } from './stream-queue.ts';
import type { StreamConfig } from './stream-types.ts';

export class Showing {
  readonly #store: Store;
  readonly #stock: Stock;
  readonly #retention: Retention;
  config: StreamConfig;
  readonly #listeners = new Set<() => void>();
  /** Committed and not on the disk yet, oldest first. */
  readonly #underway: AcceptedBatch[] = [];
  /** The messages that were the last of their subjects before those that are being shown. */
  #replaced: number[] = [];
  /** Store time of the last message, also when it is gone or nobody wanted it. */
  lastTs: number | undefined;

  constructor(store: Store, stock: Stock, retention: Retention, config: StreamConfig) {
    this.#store = store;
    this.#stock = stock;
    this.#retention = retention;
    this.config = config;
    this.lastTs = stock.rows.extents(stock.durableSeq, stock.durableSeq, 1)[0]?.ts;
  }

  /** Calls `fn` whenever durableSeq has moved. */
  listen(fn: () => void): Cancel {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  committed(batch: AcceptedBatch): void {
    this.#underway.push(batch);
  }

  /** What was accepted behind these is refused: their last messages are the last of their subjects again. */
  refused(): void {
    for (const { firstSeq, subjects } of this.#underway)
      for (const [i, entry] of subjects.entries()) if (entry) entry.lastSeq = firstSeq + i;
  }

  /** The oldest of the committed ones is on the disk. */
  show(batch: AcceptedBatch): void {
    this.#underway.shift();
    this.#store.guard(undefined, () => {
      this.#showMessages(batch);
      this.#keepLimits(batch);
    });
    this.#stock.durableSeq = batch.lastSeq;
    this.lastTs = batch.lastTs ?? this.lastTs;
    this.#tellWatchers(batch);
    this.#acknowledge(batch);
    for (const effect of batch.effects) effect.tell?.();
    this.#stock.watchers.settle();
    for (const listener of this.#listeners) listener();
  }

  #showMessages({ firstSeq, subjects, bytes, effects }: AcceptedBatch): void {
    const stock = this.#stock;
    const { totals } = stock;
    let effect = 0;
    for (let i = 0; i < subjects.length; i++) {
      const seq = firstSeq + i;
      if (effects.length > effect) {
        stock.durableSeq = seq - 1;
        while (effects[effect]?.seq === seq) effects[effect++]?.show?.();
      }
      const entry = subjects[i];
      // What a limit has dropped before it was on the disk is out of the counts already.
      if (entry === undefined || seq < totals.firstSeq) continue;
      entry.pending--;
      if (entry.shownSeq > 0) this.#replaced.push(entry.shownSeq);
      entry.shownSeq = seq;
      totals.shown(bytes[i] ?? 0);
    }
    stock.durableSeq = firstSeq + subjects.length - 1;
  }

  #keepLimits({ subjects }: AcceptedBatch): void {
    if (!replacesMessages(this.config)) {
      this.#replaced = [];
      return;
    }
    const { maxMsgsPerSubject: max } = this.config;
    const replaced = this.#replaced;
    this.#replaced = [];
    if (max === 1) this.#evict(replaced);
    if (max !== undefined)
      for (const entry of new Set(subjects))
        if (entry !== undefined) this.#retention.evict(entry, max, TRIM_ROWS);
    this.#retention.keepLimits();
  }

  /** Where a subject has one message, what goes is known; to look for each took ten times as long. */
  #evict(replaced: readonly number[]): void {
    const stock = this.#stock;
    for (const extent of stock.extentsOf(replaced).values()) {
      const entry = stock.subjects.byId(extent.subjectId);
      if (entry !== undefined && entry.count - entry.pending > 1)
        stock.take(extent, 'max_msgs_per_subject', false);
    }
  }

  #tellWatchers({ firstSeq, lastSeq, subjects }: AcceptedBatch): void {
    const { watchers } = this.#stock;
    if (watchers.any) {
      const batch = new MessageBatch();
      for (const [i, entry] of subjects.entries())
        if (entry !== undefined && this.#stock.stands(firstSeq + i))
          batch.add(firstSeq + i, entry.id, entry.subject);
      watchers.stored(batch);
    }
    watchers.told(lastSeq);
  }

  #acknowledge({ firstSeq, receipts }: AcceptedBatch): void {
    const { name: stream, noAck } = this.config;
    for (let i = 0; i < receipts.length; i++) {
      const receipt = receipts[i];
      if (receipt === undefined) continue;
      if (noAck === true) receipt(null, { stream, seq: firstSeq + i }, true);
      else receipt(null, { stream, seq: firstSeq + i });
    }
  }
}
