// Reads the next batch from the stream while the hub works on the one before: on a gateway with two cores the disk
// and the hub then work at the same time. What was read ahead is used for exactly the position it was read for, or not at
// all; it only saves time.

import type { Clock } from '../src/clock.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';
import { takeBatch, type Batch, type BatchLimits, type TooLarge } from './batch.ts';
import { positionOf, type Origin } from './hub-message.ts';

/** The stream, as far as it is read. */
export interface Readable {
  readonly durableSeq: number;
  read(afterSeq: number, max: number, bytesMax: number): Entry[];
}

type Taken = Batch | { readonly tooLarge: TooLarge };

export class ReadAhead {
  readonly #origin: Origin;
  readonly #stream: Readable;
  readonly #clock: Clock;
  #ready: { readonly afterSeq: number; readonly batch: Batch } | undefined;
  /** Counts what makes a reading under way void. */
  #turn = 0;

  constructor(origin: Origin, stream: Readable, clock: Clock) {
    this.#origin = origin;
    this.#stream = stream;
    this.#clock = clock;
  }

  /** The batch behind `afterSeq`; undefined when nothing is there. */
  take(afterSeq: number, limits: BatchLimits): Taken | undefined {
    const ready = this.#ready;
    this.drop();
    return ready?.afterSeq === afterSeq ? ready.batch : this.#read(afterSeq, limits);
  }

  /** Reads the batch behind `afterSeq` when this turn's bytes are on their way. Kept only if it is full: more may come. */
  prepare(afterSeq: number, limits: BatchLimits): void {
    this.drop();
    const turn = this.#turn;
    this.#clock.soon(() => {
      if (turn !== this.#turn) return;
      const batch = this.#read(afterSeq, limits);
      if (batch === undefined || 'tooLarge' in batch) return;
      const last = batch.entries.at(-1);
      if (last !== undefined && positionOf(last).seq < this.#stream.durableSeq)
        this.#ready = { afterSeq, batch };
    });
  }

  /** Forgets what was read, and what is about to be. */
  drop(): void {
    this.#turn++;
    this.#ready = undefined;
  }

  #read(afterSeq: number, limits: BatchLimits): Taken | undefined {
    // A stream may yield a gap beside each message.
    const entries = this.#stream
      .read(afterSeq, limits.messages, limits.bytes)
      .slice(0, limits.messages);
    return entries.length === 0 ? undefined : takeBatch(this.#origin, entries, limits);
  }
}
