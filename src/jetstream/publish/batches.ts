// The batches of one stream, of both kinds: finds out which a message belongs to, if any.

import type { Message, Receipt } from '../../message.ts';
import { AtomicBatches, type BatchShared, type BatchTarget } from './atomic-batches.ts';
import { said, type Control } from './control.ts';
import { isOfFastBatch } from './fast-batch-step.ts';
import { FastBatches, type FastBatchShared, type FastBatchTarget } from './fast-batches.ts';

export class Batches {
  readonly #stream: BatchTarget;
  readonly #atomic: AtomicBatches;
  readonly #fast: FastBatches;

  constructor(stream: BatchTarget, intake: FastBatchTarget, shared: BatchShared & FastBatchShared) {
    this.#stream = stream;
    this.#atomic = new AtomicBatches(stream, shared);
    this.#fast = new FastBatches(stream, intake, shared);
  }

  /** Takes a message of an atomic batch; `control` is what its headers say. False: it belongs to none. */
  take(message: Message, control: Control | undefined, receipt: Receipt | undefined): boolean {
    if (control === undefined || said(control['Nats-Batch-Id']) === undefined) return false;
    this.#atomic.take(message, control, receipt);
    return true;
  }

  /** Takes a message of a fast batch, as its reply subject says. False: it belongs to none. */
  takeFast(message: Message, receipt: Receipt | undefined): boolean {
    if (!isOfFastBatch(message.reply)) return false;
    this.#fast.take(message, receipt);
    return true;
  }

  /** The stream has another configuration: what it does not allow any more ends without a word. */
  configured(): void {
    const { allowAtomic, allowBatched } = this.#stream.config;
    if (allowAtomic !== true) this.#atomic.close();
    if (allowBatched !== true) this.#fast.close();
  }

  /** The stream is no more: so are its batches. */
  close(): void {
    this.#atomic.close();
    this.#fast.close();
  }
}
