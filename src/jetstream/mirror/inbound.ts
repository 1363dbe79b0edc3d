// Takes what one consumer of the origin delivers into the mirror, in order.
//
// Why the mirror has exactly the origin's sequences: a consumer counts its deliveries without a hole, so a message is
// stored only where it is the next by one of the two counts. Next in the stream: nothing is missing. A jump in the stream
// that is no jump of the consumer: the origin has nothing in between, and neither will the mirror. Anything else means
// that something was lost on the way, and the feed asks anew from behind what the mirror has accepted. That is not always
// on the disk yet; but where the disk refuses it, its numbers are given back, and the feed asks from there.
//
// A request for flow control is answered when the disk has all that came before it: what is under way between origin and
// disk is bounded by the window of the origin, and a durable consumer of the origin, which takes the answer for an
// acknowledgement, lets go of nothing that a power cut could take from us.

import type { Message, PublishError } from '../../message.ts';
import { transformOf } from '../publish/subject-transform.ts';
import type { Stream } from '../stream.ts';
import type { StoredMessage } from '../stream-types.ts';
import { WALL_TIME_MS } from '../timeline.ts';
import { isControl, readDelivery, readHeartbeat, type Delivery } from './delivery.ts';

/** Numbers without a message that are given out one by one; beyond it they are leapt over, once the disk has the rest. */
const STEPS_MAX = 1_024;
/** Bytes that wait while the disk is waited for: more than the window of any consumer, so who exceeds it asks anew. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** What no mirror can store, whatever room it has. */
const TOO_LARGE: ReadonlySet<number> = new Set([10054, 10097]);
/** The code of a refusal that is over when the disk has caught up. */
const TOO_MANY = 429;

/** Why nothing more comes this way. */
export type Trouble =
  | { readonly kind: 'lost' }
  | { readonly kind: 'refused'; readonly error: PublishError };

export interface InboundParts {
  /** As the consumer is named in its deliveries. */
  readonly consumer: string;
  readonly stream: Stream;
  /** Answers a request for flow control: the last numbers of consumer and stream that the disk has. */
  readonly answer: (subject: string, consumerSeq: number, seq: number) => void;
  /** The consumer lives; `pending` is told where it is known. */
  readonly heard: (pending: number | undefined) => void;
  /** A message is larger than the mirror may store: its number goes to nothing. */
  readonly tooLarge: (seq: number, error: PublishError) => void;
  /** What the mirror has last, where the consumer begins with it. */
  readonly last: StoredMessage | undefined;
  /** The origin has another message there: it is no more what it was. */
  readonly differs: (seq: number) => void;
  /** It is over: the feed asks anew. */
  readonly failed: (trouble: Trouble) => void;
}

export class Inbound {
  readonly #parts: InboundParts;
  /** The consumer's number of the last message. */
  #consumerSeq = 0;
  /** The last sequence that was seen; behind it may be one that could not be stored. */
  #seenSeq: number;
  #waiting: Message[] | undefined;
  #waitingBytes = 0;
  #isOver = false;

  constructor(parts: InboundParts) {
    this.#parts = parts;
    this.#seenSeq = parts.stream.acceptedSeq;
  }

  /** What comes later is none of its business. */
  close(): void {
    this.#isOver = true;
    this.#waiting = undefined;
  }

  take(message: Message): void {
    if (this.#isOver) return;
    if (this.#waiting === undefined) return this.#process(message);
    this.#waitingBytes += message.data.length + (message.headers?.length ?? 0);
    if (this.#waitingBytes > WAITING_BYTES_MAX) this.#fail({ kind: 'lost' });
    else this.#waiting.push(message);
  }

  #process(message: Message): void {
    if (isControl(message)) return this.#control(message);
    const delivery = readDelivery(message.reply);
    if (delivery?.consumer !== this.#parts.consumer || delivery.deliveries > 1) return;
    const { seq, consumerSeq, pending } = delivery;
    this.#parts.heard(pending);
    const isNext = consumerSeq === this.#consumerSeq + 1;
    if (seq <= this.#seenSeq) {
      if (isNext) this.#consumerSeq++;
      return this.#compare(message, delivery);
    }
    if (!isNext && seq !== this.#seenSeq + 1) return this.#fail({ kind: 'lost' });
    this.#consumerSeq = consumerSeq;
    this.#seenSeq = seq;
    this.#store(message, delivery);
  }

  #compare({ data }: Message, { seq, timeMs }: Delivery): void {
    const { last, differs } = this.#parts;
    if (last?.seq !== seq || (last.timeMs === clamped(timeMs) && last.data.equals(data))) return;
    this.close();
    differs(seq);
  }

  #control(message: Message): void {
    this.#parts.heard(undefined);
    const { reply } = message;
    if (reply !== undefined) return this.#answer(reply);
    const { consumerSeq, stalledOn } = readHeartbeat(message);
    if (consumerSeq > 0 && consumerSeq !== this.#consumerSeq) this.#fail({ kind: 'lost' });
    else if (stalledOn !== undefined) this.#answer(stalledOn);
  }

  #answer(subject: string): void {
    const consumerSeq = this.#consumerSeq;
    const seq = this.#seenSeq;
    this.#parts.stream.home.whenDurable((error) => {
      if (error === null && !this.#isOver) this.#parts.answer(subject, consumerSeq, seq);
    });
  }

  #store(message: Message, delivery: Delivery): void {
    const { stream } = this.#parts;
    const { seq } = delivery;
    const isFar = seq - 1 - stream.acceptedSeq > STEPS_MAX;
    if (isFar && !stream.skipTo(seq - 1)) return this.#storeLater(message, delivery);
    const error = stream.mirrored(
      {
        seq,
        timeMs: clamped(delivery.timeMs),
        subject: this.#subjectOf(message),
        headers: message.headers ?? null,
        data: message.data,
      },
      this.#stored,
    );
    if (error === null) return;
    if (error.code === TOO_MANY) this.#storeLater(message, delivery);
    else if (TOO_LARGE.has(error.errCode)) this.#parts.tooLarge(seq, error);
    else this.#fail({ kind: 'refused', error });
  }

  /** Nobody waits for good news. */
  readonly #stored = (error: PublishError | null): void => {
    if (error !== null) this.#fail({ kind: 'refused', error });
  };

  /** Once the disk has all that came before. */
  #storeLater(message: Message, delivery: Delivery): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#parts.stream.home.whenDurable((error) => {
      if (this.#isOver) return;
      if (error !== null) return this.#fail({ kind: 'refused', error });
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      this.#store(message, delivery);
      for (const one of waiting) this.take(one);
    });
  }

  #subjectOf({ subject }: Message): string {
    for (const mapping of this.#parts.stream.config.mirror?.subjectTransforms ?? []) {
      const mapped = mapping.dest === '' ? undefined : transformOf(mapping)?.apply(subject);
      if (mapped !== undefined) return mapped;
    }
    return subject;
  }

  #fail(trouble: Trouble): void {
    if (this.#isOver) return;
    this.close();
    this.#parts.failed(trouble);
  }
}

/** A server whose clock was never set stores messages of 1970, which would be taken for store time. */
function clamped(timeMs: number): number {
  return Math.max(WALL_TIME_MS, timeMs);
}
