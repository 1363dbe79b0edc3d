// The ordered fast batches of one stream (ADR-50): messages come one by one, numbered from 1 under the batch's ID, and each
// is stored by itself; the batch is what makes a gap in them known. Its publisher hears from time to time how far the
// disk is, and sends on by that.
//
// Where a gap ends the batch (`fail`), what is stored of it is a beginning of what was sent, without gaps: a message is taken
// in only as the next one of a batch that is not ending; one that is refused, at once or because the disk was full, ends
// the batch in the same turn, before anything else is taken in; and the disk refuses all that it has not committed yet.
// What is said of the batch, that messages up to some number are stored or how it ended, waits for the sync that covers
// them: `stored` moves only by receipts.

import type { Cancel, Clock } from '../../clock.ts';
import { PublishError, type Message, type PubAck, type Receipt } from '../../message.ts';
import { isPublishSubject } from '../../subject.ts';
import { asksTooMuch, levelError } from '../api/api-level.ts';
import type { StreamConfig } from '../stream-types.ts';
import type { BatchRoom } from './batch-room.ts';
import { sealed, tooLarge } from './checks.ts';
import { readControl, type Control } from './control.ts';
import { readStep, type FastBatchStep } from './fast-batch-step.ts';
import { withoutHeader } from './header-block.ts';

/** Open fast batches of one stream, as in nats-server. They hold no messages. */
export const FAST_BATCHES_PER_STREAM_MAX = 1_000;
/** Messages between two acknowledgements; all batches of a stream share it. As in nats-server. */
export const FLOW_MAX = 500;
export const FAST_BATCH_ID_BYTES_MAX = 64;
const IDLE_MS = 10_000;

/** The stream, as a fast batch needs it. */
export interface FastBatchTarget {
  /**
   * Takes a message in, or says at once why not. The receipt hears when the disk has it, or what it is a duplicate of, or
   * that there was no room for it.
   */
  takeNext(message: Message, control: Control | undefined, receipt: Receipt): PublishError | null;
  /** Calls `tell` when everything that `error` says of the stream is on the disk. */
  whenKnown(error: PublishError, tell: () => void): void;
}

/** What the fast batches of all streams share. */
export interface FastBatchShared {
  readonly room: BatchRoom;
  readonly clock: Clock;
  /** Sends what is said while a batch goes on. */
  readonly answer: (message: Message) => void;
}

interface Batch {
  readonly id: string;
  readonly gapOk: boolean;
  readonly flowMax: number;
  /** Messages between two acknowledgements just now. */
  flow: number;
  /** Numbers of messages: the last one taken in, the last one on the disk, the last one acknowledged. */
  taken: number;
  stored: number;
  told: number;
  /** Messages that the disk has not answered for. */
  pending: number;
  /** Sequence in the stream of the last one on the disk. */
  seq: number;
  /** It consists of a duplicate alone. */
  isDuplicate: boolean;
  /** No more messages are taken in: `end` hears of it when the disk has the others. */
  isEnding: boolean;
  end: Receipt | undefined;
  isOver: boolean;
  activeMs: number;
  cancel: Cancel;
}

/** A message of a batch on its way. */
interface Sent {
  readonly batch: Batch;
  readonly step: FastBatchStep;
  readonly reply: string;
  readonly receipt: Receipt | undefined;
}

export class FastBatches {
  readonly #stream: { readonly name: string; readonly config: StreamConfig };
  readonly #target: FastBatchTarget;
  readonly #shared: FastBatchShared;
  readonly #batches = new Map<string, Batch>();

  constructor(
    stream: { readonly name: string; readonly config: StreamConfig },
    target: FastBatchTarget,
    shared: FastBatchShared,
  ) {
    this.#stream = stream;
    this.#target = target;
    this.#shared = shared;
  }

  /** Batches that are open. */
  get size(): number {
    return this.#batches.size;
  }

  /** The stream is no more, or takes no fast batches any more. */
  close(): void {
    for (const batch of this.#batches.values()) this.#over(batch)?.(null, null, true);
  }

  /**
   * Takes one message whose reply subject is that of a fast batch. The receipt hears an error that the message has as any
   * other, how the batch ended for the one that ends it, and else no more than that the message is done with: what is said
   * while the batch goes on is sent to the reply subject.
   */
  take(message: Message, receipt: Receipt | undefined): void {
    const { name, config } = this.#stream;
    const reply = message.reply ?? '';
    const sent = this.#open(message, reply, receipt);
    if (sent instanceof PublishError)
      receipt?.(sent, { stream: name, seq: 0 }, config.noAck === true);
    else if (sent.step.op === 'ping') this.#ping(sent);
    else if (sent.batch.isEnding) this.#done(sent);
    else this.#step(message, sent);
  }

  #open(message: Message, reply: string, receipt: Receipt | undefined): Sent | PublishError {
    const step = this.#read(message, reply);
    if (step instanceof PublishError) return step;
    const batch = this.#batches.get(step.id) ?? this.#begin(step);
    if (batch instanceof PublishError) return batch;
    if (asksTooMuch(message.headers)) {
      this.#over(batch)?.(null, null, true);
      const { code, errCode, message: text } = levelError();
      return new PublishError(code, errCode, text);
    }
    batch.activeMs = this.#shared.clock.monotonicMs();
    return { batch, step, reply, receipt };
  }

  #read({ headers, data }: Message, reply: string): FastBatchStep | PublishError {
    const { sealed: isSealed, maxMsgBytes, allowBatched } = this.#stream.config;
    if (isSealed === true) return sealed();
    if (maxMsgBytes !== undefined && (headers?.length ?? 0) + data.length > maxMsgBytes)
      return tooLarge();
    if (allowBatched !== true) return new PublishError(400, 10205, 'batch publish is disabled');
    const step = readStep(reply);
    if (step === undefined) return new PublishError(400, 10206, 'batch publish pattern is invalid');
    if (Buffer.byteLength(step.id) > FAST_BATCH_ID_BYTES_MAX)
      return new PublishError(400, 10207, 'batch publish ID is invalid');
    return step;
  }

  #begin({ id, gapOk, flow, n, op }: FastBatchStep): Batch | PublishError {
    if (n !== 1 || op === 'ping') return new PublishError(400, 10208, 'batch publish ID unknown');
    const { clock, room } = this.#shared;
    if (this.#batches.size >= FAST_BATCHES_PER_STREAM_MAX || !room.openFast())
      return new PublishError(429, 10211, 'batch publish too many inflight');
    const batch: Batch = {
      id,
      gapOk,
      flowMax: flow,
      // One that is not alone begins slowly.
      flow: this.#batches.size > 0 ? 1 : Math.min(FLOW_MAX, flow),
      taken: 0,
      stored: 0,
      told: 0,
      pending: 0,
      seq: 0,
      isDuplicate: false,
      isEnding: false,
      end: undefined,
      isOver: false,
      activeMs: clock.monotonicMs(),
      cancel: () => undefined,
    };
    this.#batches.set(id, batch);
    this.#watch(batch, IDLE_MS);
    return batch;
  }

  /** One timer a batch, set anew only when it fires too early. */
  #watch(batch: Batch, ms: number): void {
    const { clock } = this.#shared;
    batch.cancel = clock.after(ms, () => {
      const leftMs = batch.activeMs + IDLE_MS - clock.monotonicMs();
      if (leftMs > 0) this.#watch(batch, leftMs);
      else this.#over(batch);
    });
  }

  #ping(sent: Sent): void {
    const { batch, step, reply } = sent;
    let isTold = false;
    if (step.n > batch.taken) {
      this.#say(reply, { type: 'gap', last_seq: batch.taken + 1, seq: step.n + 1 });
      if (!batch.isEnding) {
        if (!batch.gapOk) return this.#end(sent);
        batch.taken = step.n;
        if (batch.pending === 0) batch.stored = batch.taken;
        isTold = this.#acknowledge(batch, reply);
      }
    }
    if (!isTold) this.#say(reply, { type: 'ack', seq: batch.told, msgs: batch.flow });
    this.#done(sent);
  }

  /** The next message of a batch, or its end, if nothing is missing before it. */
  #step(message: Message, sent: Sent): void {
    const { batch, step, reply } = sent;
    const next = batch.taken + 1;
    if (step.n !== next) this.#say(reply, { type: 'gap', last_seq: next, seq: step.n });
    if (step.n < next || (step.n > next && !batch.gapOk)) return this.#end(sent);
    if (step.op === 'end') {
      batch.taken = step.n - 1;
      if (batch.pending === 0) batch.stored = batch.taken;
      return this.#end(sent);
    }
    batch.taken = step.n;
    if (step.op === 'commit') this.#seal(sent);
    else if (step.n === 1 && this.#stream.config.noAck !== true)
      this.#say(reply, { type: 'ack', seq: 0, msgs: batch.flow });
    this.#store(message, sent);
  }

  #store(message: Message, sent: Sent): void {
    const { batch } = sent;
    const control = readControl(message.headers);
    batch.pending++;
    const error = this.#target.takeNext(withoutLevel(message, control), control, (refusal, ack) => {
      if (refusal === null) this.#stored(sent, ack);
      else this.#refused(sent, refusal);
    });
    if (error !== null) this.#refused(sent, error);
  }

  /** The disk has the message. It hears of messages in their order, but for duplicates: one says nothing of those before it. */
  #stored(sent: Sent, ack: PubAck | null): void {
    const { batch, step, reply } = sent;
    batch.pending--;
    if (batch.isOver) return this.#done(sent);
    const isDuplicate = ack?.duplicate === true;
    if (!isDuplicate) {
      batch.stored = step.n;
      batch.seq = ack?.seq ?? 0;
    } else if (step.op === 'commit' && step.n === 1 && !step.gapOk) {
      batch.isDuplicate = true;
      batch.seq = ack?.seq ?? 0;
    }
    if (batch.pending === 0) batch.stored = batch.taken;
    // The end is word enough of the last one.
    if (isDuplicate || step.op !== 'commit') this.#acknowledge(batch, reply);
    this.#done(sent);
    this.#settle(batch);
  }

  /**
   * The message was not stored: where it does not allow a gap in its place, and where it was to be the last one, the batch
   * ends before it.
   */
  #refused(sent: Sent, error: PublishError): void {
    const { batch, step, reply } = sent;
    if ((!step.gapOk || step.op === 'commit') && !batch.isOver) {
      batch.taken = Math.min(batch.taken, step.n - 1);
      this.#seal(sent);
    }
    this.#target.whenKnown(error, () => {
      batch.pending--;
      if (batch.isOver) return this.#done(sent);
      if (step.n === 1 && !step.gapOk) {
        // Nothing of the batch is there: it is answered as any publish.
        this.#over(batch)?.(error, { stream: this.#stream.name, seq: 0 });
      } else {
        const { code, errCode, message: description } = error;
        const why = { code, err_code: errCode, description };
        this.#say(reply, { type: 'err', seq: step.n, error: why });
      }
      this.#done(sent);
      this.#settle(batch);
    });
  }

  #end(sent: Sent): void {
    this.#seal(sent);
    this.#settle(sent.batch);
  }

  /** From now on the batch takes nothing in. The first one that ends it hears of it. */
  #seal({ batch, receipt }: Sent): void {
    if (batch.isEnding) return;
    batch.isEnding = true;
    batch.end = receipt;
    batch.cancel();
  }

  #settle(batch: Batch): void {
    if (!batch.isEnding || batch.pending > 0 || batch.isOver) return;
    const { id, seq, taken: count, isDuplicate } = batch;
    const duplicate = isDuplicate ? { duplicate: true } : {};
    this.#over(batch)?.(null, { stream: this.#stream.name, seq, ...duplicate, batch: id, count });
  }

  /** Closes the batch; returns who has to hear of it. */
  #over(batch: Batch): Receipt | undefined {
    batch.cancel();
    batch.isOver = true;
    this.#batches.delete(batch.id);
    this.#shared.room.closeFast();
    return batch.end;
  }

  /** Nothing more is said of the message; the one that ended the batch hears of that. */
  #done({ batch, receipt }: Sent): void {
    if (receipt !== batch.end) receipt?.(null, null, true);
  }

  /** Tells the publisher how far the disk is, where that is due; it may go faster when fewer share the stream. */
  #acknowledge(batch: Batch, reply: string): boolean {
    if (batch.stored < batch.told + batch.flow) return false;
    batch.told += Math.floor((batch.stored - batch.told) / batch.flow) * batch.flow;
    const share = Math.max(1, Math.floor(FLOW_MAX / this.#batches.size));
    const most = Math.min(share, batch.flowMax);
    if (batch.flow < most) batch.flow = Math.min(most, batch.flow * 2);
    else if (batch.flow > most) batch.flow = Math.max(most, Math.floor(batch.flow / 2));
    this.#say(reply, { type: 'ack', seq: batch.told, msgs: batch.flow });
    return true;
  }

  #say(reply: string, news: object): void {
    if (!isPublishSubject(reply)) return;
    this.#shared.answer({ subject: reply, data: Buffer.from(JSON.stringify(news), 'utf8') });
  }
}

/** What was asked of the server is not stored. */
function withoutLevel(message: Message, control: Control | undefined): Message {
  const { subject, headers, data } = message;
  if (headers === undefined || control?.['Nats-Required-Api-Level'] === undefined) return message;
  const rest = withoutHeader(headers, 'Nats-Required-Api-Level');
  return rest === null ? { subject, data } : { subject, headers: rest, data };
}
