// The next messages of a filter from a sequence on: one of them, or as many as a batch asks for, with an end that says
// how many there would have been.

import type { StoredMessage } from '../stream-types.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import type { DirectAnswers } from './direct-answers.ts';
import type { LongGet } from './direct-run.ts';
import type { GetSource } from './get-request.ts';

/** What one slice sends at most: well under a millisecond's work. */
const SLICE_MESSAGES_MAX = 256;
const SLICE_BYTES_MAX = 64 * 1024;

export interface NextOrder {
  readonly seq: number;
  /** 0: one message, without an end. */
  readonly batch: number;
  readonly bytesMax: number;
  readonly noHeaders: boolean;
}

export class NextOnes implements LongGet {
  readonly #source: GetSource;
  readonly #filter: SubjectFilter;
  readonly #order: NextOrder;
  readonly #answers: DirectAnswers;
  #next: number;
  #sent = 0;
  #sentBytes = 0;
  #lastSeq = 0;
  #pending = 0;
  /** `#pending` speaks of the stream up to here. */
  #countedSeq = 0;

  constructor(source: GetSource, filter: SubjectFilter, order: NextOrder, answers: DirectAnswers) {
    this.#source = source;
    this.#filter = filter;
    this.#order = order;
    this.#answers = answers;
    this.#next = order.seq;
  }

  get #isBatch(): boolean {
    return this.#order.batch !== 0;
  }

  begin(ready: () => void): void {
    if (!this.#isBatch) return ready();
    this.#source.count(this.#filter, this.#next, (messages) => {
      this.#pending = messages;
      this.#countedSeq = this.#source.durableSeq;
      ready();
    });
  }

  refuse(): void {
    this.#answers.status('429 Too Many Requests');
  }

  slice(): number | undefined {
    const max = this.#isBatch ? this.#order.batch : 1;
    if (this.#sent >= max) return this.#end();
    const { messages, nextSeq } = this.#source.scan(this.#filter, this.#next, {
      messagesMax: Math.min(max - this.#sent, SLICE_MESSAGES_MAX),
      bytesMax: SLICE_BYTES_MAX,
    });
    let bytes = 0;
    for (const message of messages) {
      if (!this.#send(message)) return undefined;
      bytes += size(message);
      if (this.#sentBytes >= this.#order.bytesMax) return this.#end();
    }
    this.#next = nextSeq;
    if (this.#sent >= max) return this.#end();
    if (nextSeq <= this.#source.durableSeq) return bytes;
    if (this.#sent === 0) {
      this.#answers.status('404 Message Not Found');
      return undefined;
    }
    return this.#end();
  }

  /** False where nobody listens any more. */
  #send(message: StoredMessage): boolean {
    const { noHeaders } = this.#order;
    if (this.#isBatch && !noHeaders && this.#pending > 0) this.#pending--;
    const progress = { pending: this.#pending, lastSeq: this.#lastSeq };
    this.#lastSeq = message.seq;
    this.#next = message.seq + 1;
    this.#sent++;
    this.#sentBytes += size(message);
    return this.#answers.message(message, noHeaders, this.#isBatch ? progress : undefined);
  }

  #end(): undefined {
    if (!this.#isBatch) return;
    const end = (pending: number): void => this.#answers.end({ pending, lastSeq: this.#lastSeq });
    // What came meanwhile counts too.
    if (this.#source.durableSeq > this.#countedSeq)
      this.#source.count(this.#filter, this.#next, end);
    else end(this.#pending);
  }
}

/** As nats-server counts towards `max_bytes`. */
export function size({ subject, headers, data }: StoredMessage): number {
  return Buffer.byteLength(subject) + (headers?.length ?? 0) + data.length;
}
