// Who watches a stream. A watcher hears of a message only when it is on the disk, and of its end only when it has heard
// of its beginning. Nobody watching costs nothing.

import type { Cancel } from '../clock.ts';
import { MessageBatch } from './message-batch.ts';
import type { Purged, StreamWatcher } from './stream-types.ts';

/** What went is told of at the end of a round of changes, or when it is so much. */
const GONE_MAX = 2_000;

export class Watchers {
  readonly #watchers = new Set<StreamWatcher>();
  /** Messages up to this one have been told of. */
  #toldSeq: number;
  #unsettled = false;
  /** Gone, and nobody has been told yet. */
  #gone = new MessageBatch();

  constructor(durableSeq: number) {
    this.#toldSeq = durableSeq;
  }

  get any(): boolean {
    return this.#watchers.size > 0;
  }

  add(watcher: StreamWatcher): Cancel {
    this.flush();
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  stored(batch: MessageBatch): void {
    this.flush();
    if (batch.size === 0) return;
    this.#unsettled = true;
    for (const watcher of this.#watchers)
      if (watcher.storedAll !== undefined) watcher.storedAll(batch);
      else batch.each((seq, id, subject) => watcher.stored(seq, id, subject));
  }

  /** All messages up to `seq` that stand have been told of. */
  told(seq: number): void {
    this.#toldSeq = seq;
  }

  removed(seq: number, subjectId: number, subject: string): void {
    if (seq > this.#toldSeq || this.#watchers.size === 0) return;
    this.#unsettled = true;
    this.#gone.add(seq, subjectId, subject);
    if (this.#gone.size >= GONE_MAX) this.flush();
  }

  /** Tells of what went: whoever counts must have heard of it before. */
  flush(): void {
    if (this.#gone.size === 0) return;
    const gone = this.#gone;
    this.#gone = new MessageBatch();
    for (const watcher of this.#watchers)
      if (watcher.removedAll !== undefined) watcher.removedAll(gone);
      else gone.each((seq, id, subject) => watcher.removed(seq, id, subject));
  }

  purged(purge: Purged): void {
    this.flush();
    for (const watcher of this.#watchers) watcher.purged?.(purge);
  }

  /** Ends a round of changes; see StreamWatcher. */
  settle(quietly = false): void {
    if (!this.#unsettled) return;
    this.flush();
    this.#unsettled = false;
    for (const watcher of this.#watchers) watcher.settled(quietly);
  }
}
