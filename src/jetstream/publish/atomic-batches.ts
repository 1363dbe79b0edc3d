// The atomic batches of one stream (ADR-50): messages come one by one, numbered from 1 under the batch's ID, wait in
// memory, and are stored all together by the one that says commit, or not at all. A batch that is idle, has a gap or
// grows too large is abandoned, and an advisory says so. Nothing of a batch outlives the process.

import type { Cancel, Clock } from '../../clock.ts';
import { PublishError, type Message, type Receipt } from '../../message.ts';
import type { Advisories } from '../advisories.ts';
import { asksTooMuch, levelError } from '../api/api-level.ts';
import type { StreamConfig } from '../stream-types.ts';
import type { BatchRoom } from './batch-room.ts';
import { sealed, tooLarge } from './checks.ts';
import type { Control } from './control.ts';
import { withLines, withoutHeader } from './header-block.ts';

/** Open batches of one stream, and messages of one batch, as in nats-server. */
export const BATCHES_PER_STREAM_MAX = 50;
export const BATCH_MESSAGES_MAX = 1_000;
/** Bytes of one batch: it becomes one transaction, and half of what the store may have under way. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const BATCH_IDLE_MS = 10_000;
const BATCH_ID_BYTES_MAX = 64;

/** The stream, as a batch needs it. */
export interface BatchTarget {
  readonly name: string;
  readonly config: StreamConfig;
  /** Stores all of them or none, in one transaction; the receipt acknowledges the last. */
  storeAll(messages: readonly Message[], receipt: Receipt | undefined): void;
}

/** What the batches of all streams share. */
export interface BatchShared {
  readonly room: BatchRoom;
  readonly clock: Clock;
  readonly advisories: Advisories;
}

type Reason = 'timeout' | 'large' | 'incomplete' | 'unsupported';

interface Batch {
  readonly id: string;
  readonly messages: Message[];
  bytes: number;
  activeMs: number;
  cancel: Cancel;
}

export class AtomicBatches {
  readonly #stream: BatchTarget;
  readonly #shared: BatchShared;
  readonly #batches = new Map<string, Batch>();

  constructor(stream: BatchTarget, shared: BatchShared) {
    this.#stream = stream;
    this.#shared = shared;
  }

  /** Batches that are open. */
  get size(): number {
    return this.#batches.size;
  }

  /** The stream is no more: so are its batches. */
  close(): void {
    for (const batch of this.#batches.values()) this.#end(batch);
  }

  /**
   * Takes one message with a `Nats-Batch-Id`, which `control` holds. The receipt hears an error, nothing yet (both null),
   * or, for the one that commits, how the batch ended.
   */
  take(message: Message, control: Control, receipt: Receipt | undefined): void {
    const error = this.#take(message, control, receipt);
    const { name, config } = this.#stream;
    if (error !== null) receipt?.(error, { stream: name, seq: 0 }, config.noAck === true);
  }

  #take(message: Message, control: Control, receipt: Receipt | undefined): PublishError | null {
    const id = control['Nats-Batch-Id'] ?? '';
    const error = this.#check(message, id);
    if (error !== null) return error;
    const seq = Number(/^\d+$/.exec(control['Nats-Batch-Sequence'] ?? '')?.[0]);
    if (Number.isNaN(seq)) return refusal(10175, 'atomic publish sequence is missing');
    const word = control['Nats-Batch-Commit'];
    // The end that is only an end is no message of the batch.
    // nats-server counts below 0 as far above.
    const count = word !== 'eob' ? seq : seq === 0 ? Infinity : seq - 1;
    const batch = this.#batches.get(id) ?? this.#open(id, seq, count);
    if (batch instanceof PublishError) return batch;
    if (word !== undefined && word !== 'eob' && word !== '1') {
      this.#end(batch);
      return refusal(10200, 'atomic publish batch commit is invalid');
    }
    if (asksTooMuch(message.headers)) {
      this.#abandon(batch, 'unsupported');
      const { code, errCode, message: text } = levelError();
      return new PublishError(code, errCode, text);
    }
    if (seq !== batch.messages.length + 1 || (seq === 1 && word === 'eob')) {
      this.#abandon(batch, 'incomplete');
      return incomplete();
    }
    if (count > BATCH_MESSAGES_MAX) {
      this.#abandon(batch, 'large');
      return tooManyMessages();
    }
    batch.activeMs = this.#shared.clock.monotonicMs();
    const noRoom = word === 'eob' ? null : this.#stage(batch, message, control);
    if (noRoom !== null) return noRoom;
    if (word === undefined) receipt?.(null, null, this.#stream.config.noAck === true);
    else this.#commit(batch, word === 'eob', receipt);
    return null;
  }

  #check({ headers, data }: Message, id: string): PublishError | null {
    const { sealed: isSealed, maxMsgBytes, allowAtomic } = this.#stream.config;
    if (isSealed === true) return sealed();
    if (maxMsgBytes !== undefined && (headers?.length ?? 0) + data.length > maxMsgBytes)
      return tooLarge();
    if (allowAtomic !== true) return refusal(10174, 'atomic publish is disabled');
    if (Buffer.byteLength(id) > BATCH_ID_BYTES_MAX)
      return refusal(10179, 'atomic publish batch ID is invalid');
    return null;
  }

  #open(id: string, seq: number, count: number): Batch | PublishError {
    if (seq !== 1) return count > BATCH_MESSAGES_MAX ? tooManyMessages() : incomplete();
    if (this.#batches.size >= BATCHES_PER_STREAM_MAX || !this.#shared.room.open()) return crowded();
    const { clock } = this.#shared;
    const batch: Batch = {
      id,
      messages: [],
      bytes: 0,
      activeMs: clock.monotonicMs(),
      cancel: () => undefined,
    };
    this.#batches.set(id, batch);
    this.#watch(batch, BATCH_IDLE_MS);
    return batch;
  }

  /** One timer a batch, set anew only when it fires too early: a batch of a thousand costs a few. */
  #watch(batch: Batch, ms: number): void {
    const { clock } = this.#shared;
    batch.cancel = clock.after(ms, () => {
      const leftMs = batch.activeMs + BATCH_IDLE_MS - clock.monotonicMs();
      if (leftMs > 0) this.#watch(batch, leftMs);
      else this.#abandon(batch, 'timeout');
    });
  }

  #stage(batch: Batch, message: Message, control: Control): PublishError | null {
    const { subject, data } = message;
    const headers =
      control['Nats-Required-Api-Level'] === undefined || message.headers === undefined
        ? message.headers
        : (withoutHeader(message.headers, 'Nats-Required-Api-Level') ?? undefined);
    const bytes = subject.length + (headers?.length ?? 0) + data.length;
    if (batch.bytes + bytes > BATCH_BYTES_MAX) {
      this.#abandon(batch, 'large');
      const text = `atomic publish batch is too large: ${BATCH_BYTES_MAX} bytes`;
      return refusal(10199, text);
    }
    if (!this.#shared.room.take(bytes)) {
      this.#abandon(batch, 'large');
      return crowded();
    }
    batch.bytes += bytes;
    // Copies: what came from a socket is a small part of a large buffer, which would wait as long.
    const copy = { subject, data: Buffer.from(data) };
    batch.messages.push(headers === undefined ? copy : { ...copy, headers: Buffer.from(headers) });
    return null;
  }

  #commit(batch: Batch, isEndOnly: boolean, receipt: Receipt | undefined): void {
    const { id, messages } = batch;
    this.#end(batch);
    const last = messages.at(-1);
    if (isEndOnly && last !== undefined) {
      // Readers of the stream find the end of a batch by it.
      messages[messages.length - 1] = {
        ...last,
        headers: withLines(last.headers, ['Nats-Batch-Commit: 1']),
      };
    }
    const told: Receipt | undefined =
      receipt &&
      ((error, ack, quiet) => {
        const isStored = error === null && ack !== null;
        receipt(error, isStored ? { ...ack, batch: id, count: messages.length } : ack, quiet);
      });
    this.#stream.storeAll(messages, told);
  }

  #abandon(batch: Batch, reason: Reason): void {
    this.#end(batch);
    const { name } = this.#stream;
    this.#shared.advisories.emit(
      `ADVISORY.STREAM.BATCH_ABANDONED.${name}`,
      'advisory.v1.stream_batch_abandoned',
      () => ({ stream: name, batch: batch.id, reason }),
    );
  }

  #end(batch: Batch): void {
    batch.cancel();
    this.#batches.delete(batch.id);
    this.#shared.room.close(batch.bytes);
  }
}

function refusal(errCode: number, text: string): PublishError {
  return new PublishError(400, errCode, text);
}

function incomplete(): PublishError {
  return refusal(10176, 'atomic publish batch is incomplete');
}

function tooManyMessages(): PublishError {
  return refusal(10199, `atomic publish batch is too large: ${BATCH_MESSAGES_MAX}`);
}

function crowded(): PublishError {
  return new PublishError(429, 10210, 'atomic publish too many inflight');
}
