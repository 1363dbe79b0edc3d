// What a consumer makes of what its stream tells: messages that come and go change what is still to be delivered, and what
// goes unacknowledged is done with.

import type { MessageBatch } from '../message-batch.ts';
import type { Purged, StreamWatcher } from '../stream-types.ts';
import type { AckState } from './ack-state.ts';
import type { Acknowledging } from './acknowledging.ts';
import type { ConsumerRecord } from './consumer-record.ts';
import type { Cursor } from './cursor.ts';
import { firstAfterPurge } from './purge-span.ts';
import type { ConsumerConfig, Outlet } from './types.ts';

/** The consumer for which it watches. */
export interface WatcherHost {
  readonly config: ConsumerConfig;
  /** Another one after a change of filters, or a reset. */
  readonly cursor: Cursor;
  readonly progress: AckState;
  /** Undefined where nothing of it outlives this process. */
  readonly record: ConsumerRecord | undefined;
  readonly outlet: Outlet;
  wake(): void;
}

export class ConsumerWatcher implements StreamWatcher {
  readonly #host: WatcherHost;
  readonly #acks: Acknowledging;
  /** Gone while they were pending. */
  #lost: number[] = [];

  constructor(host: WatcherHost, acks: Acknowledging) {
    this.#host = host;
    this.#acks = acks;
  }

  stored(seq: number, subjectId: number, subject: string): void {
    this.#host.cursor.stored(seq, subjectId, subject);
  }

  storedAll(batch: MessageBatch): void {
    this.#host.cursor.storedAll(batch);
  }

  removed(seq: number, subjectId: number, subject: string): void {
    const { progress, record, cursor } = this.#host;
    cursor.removed(seq, subjectId, subject);
    // To be told of when the stream has settled: an advisory may be stored in it.
    if (progress.pending.has(seq)) this.#lost.push(seq);
    else if (progress.exceeded.has(seq)) {
      progress.ack(seq);
      record?.acked();
    }
  }

  removedAll(batch: MessageBatch): void {
    const { pending, exceeded, floor } = this.#host.progress;
    const isDone = pending.size === 0 || batch.lastSeq <= floor.streamSeq;
    if (isDone && exceeded.size === 0) this.#host.cursor.removedAll(batch);
    else batch.each((seq, id, subject) => this.removed(seq, id, subject));
  }

  /** What a purge took out counts as delivered and acknowledged, as in nats-server. */
  purged(purge: Purged): void {
    const { progress, cursor, config } = this.#host;
    const fromSeq = firstAfterPurge(purge, config.filterSubjects);
    if (fromSeq === undefined || !progress.isRestored || !cursor.counted) return;
    cursor.skipTo(fromSeq);
    progress.looked(cursor.nextSeq - 1);
    this.#acks.purged(fromSeq);
  }

  settled(quietly = false): void {
    if (this.#lost.length > 0) {
      const lost = this.#lost;
      this.#lost = [];
      for (const seq of lost) this.#acks.gone(seq, quietly);
    }
    if (this.#host.cursor.pending > 0 && this.#host.outlet.ready) this.#host.wake();
  }

  /** The consumer begins anew: nothing is pending. */
  reset(): void {
    this.#lost = [];
  }
}
