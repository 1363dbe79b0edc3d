// The last message of each subject that falls under some filters, in the order of the stream, up to a sequence or a time:
// a picture of many keys at once. It is sent in slices, and a message may be replaced by a newer one of its subject before
// its turn comes: then what came meanwhile is looked through, too, so that no key is missing that was there all the time.

import type { StoredMessage } from '../stream-types.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import type { DirectAnswers } from './direct-answers.ts';
import { size } from './direct-next.ts';
import type { LongGet } from './direct-run.ts';
import type { GetSource } from './get-request.ts';

/** Subjects in one answer, as in nats-server. */
const RESULTS_MAX = 1_024;
/** How often what came meanwhile is looked through. */
const ROUNDS_MAX = 10;
/** What one slice sends at most: each message is looked for. */
const SLICE_MESSAGES_MAX = 64;
const SLICE_BYTES_MAX = 64 * 1024;

export interface MultiOrder {
  /** What is before it is left out. */
  readonly seq: number;
  readonly batch: number;
  readonly bytesMax: number;
  readonly upToSeq: number;
  readonly upToMs: number | undefined;
}

export class LastOfMany implements LongGet {
  readonly #source: GetSource;
  readonly #filter: SubjectFilter;
  readonly #order: MultiOrder;
  readonly #answers: DirectAnswers;
  #upToSeq = 0;
  #seqs: readonly number[] = [];
  #at = 0;
  #sent = 0;
  #sentBytes = 0;
  #lastSeq = 0;
  /** The answer was one status. */
  #isOver = false;
  #round = 0;
  readonly #subjects = new Set<string>();
  /** A message was gone when its turn came. */
  #hasMissed = false;

  constructor(source: GetSource, filter: SubjectFilter, order: MultiOrder, answers: DirectAnswers) {
    this.#source = source;
    this.#filter = filter;
    this.#order = order;
    this.#answers = answers;
  }

  begin(ready: () => void): void {
    const isFirst = this.#round++ === 0;
    const upToSeq = isFirst ? this.#ceiling() : this.#source.durableSeq;
    if (upToSeq === undefined) return this.#over('404 No Results', ready);
    const seenSeq = this.#upToSeq;
    this.#upToSeq = upToSeq;
    this.#source.lastPerSubject(this.#filter, { upToSeq, max: RESULTS_MAX }).then(
      (seqs) => {
        if (isFirst && seqs.length === 0) return this.#over('404 No Results', ready);
        this.#seqs = isFirst ? seqs : seqs.filter((seq) => seq > seenSeq);
        this.#at = 0;
        this.#hasMissed = false;
        ready();
      },
      (error: unknown) => {
        if (!(error instanceof RangeError)) throw error;
        this.#over('413 Too Many Results', ready);
      },
    );
  }

  refuse(): void {
    this.#answers.status('429 Too Many Requests');
  }

  slice(): number | 'again' | undefined {
    if (this.#isOver) return undefined;
    let bytes = 0;
    for (let i = 0; i < SLICE_MESSAGES_MAX && bytes < SLICE_BYTES_MAX; i++) {
      const seq = this.#seqs[this.#at];
      if (seq === undefined) return this.#isWhole ? this.#end() : 'again';
      this.#at++;
      const message = seq < this.#order.seq ? undefined : this.#next(seq);
      if (message === undefined) continue;
      const progress = { pending: this.#pending, lastSeq: this.#lastSeq };
      if (!this.#answers.message(message, false, progress)) return undefined;
      this.#lastSeq = seq;
      bytes += size(message);
      this.#sentBytes += size(message);
      if (this.#sentBytes >= this.#order.bytesMax) return this.#end();
      this.#sent++;
      if (this.#order.batch > 0 && this.#sent >= this.#order.batch) return this.#end();
    }
    return bytes;
  }

  #next(seq: number): StoredMessage | undefined {
    const message = this.#source.get(seq);
    if (message === undefined) this.#hasMissed = true;
    else if (this.#subjects.has(message.subject)) return undefined;
    else this.#subjects.add(message.subject);
    return message;
  }

  /** Nothing was missed, or it is not to be had: what the request leaves out does not take its place. */
  get #isWhole(): boolean {
    const { upToSeq, upToMs } = this.#order;
    const hasCeiling = upToSeq > 0 || upToMs !== undefined;
    return !this.#hasMissed || hasCeiling || this.#round >= ROUNDS_MAX;
  }

  get #pending(): number {
    return this.#seqs.length - this.#at;
  }

  /** The last sequence that counts; undefined where the time lies before the stream. */
  #ceiling(): number | undefined {
    const { upToSeq, upToMs } = this.#order;
    if (upToMs === undefined) return upToSeq === 0 ? this.#source.durableSeq : upToSeq;
    const after = this.#source.seqAtTime(upToMs);
    return after <= this.#source.firstSeq ? undefined : after - 1;
  }

  #over(status: string, ready: () => void): void {
    this.#isOver = true;
    this.#answers.status(status);
    ready();
  }

  #end(): undefined {
    this.#answers.end({ pending: this.#pending, lastSeq: this.#lastSeq }, this.#upToSeq);
  }
}
