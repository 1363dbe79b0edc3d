// Reads the messages of a stream that a consumer has not delivered yet, a few ahead, and knows how many there are.
//
// `pending` is exact because the stream counts once, in the turn in which `counted` becomes true, and tells of every
// message that comes or goes from then on; a delivery takes one off. A message that goes after it was read ahead is
// skipped at its turn.

import type { Cancel } from '../../clock.ts';
import type { MessageBatch } from '../message-batch.ts';
import type { StoredMessage } from '../stream-types.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import type { StartPosition } from './start-position.ts';

/** Read at once: a few milliseconds of deliveries. */
const AHEAD_MESSAGES_MAX = 256;
/** And what they may take; `DeliveryTurns` says how many consumers have something read ahead. */
const AHEAD_BYTES_MAX = 128 * 1024;

/** The next message; `end` where there is none, `more` where it takes another look. */
export type Next = StoredMessage | 'end' | 'more';

export class Cursor {
  readonly #stream: ConsumerStream;
  readonly filter: SubjectFilter;
  #ahead: StoredMessage[] = [];
  #at = 0;
  /** Where reading goes on. */
  #scanSeq: number;
  /** Gone since they were read ahead. */
  readonly #gone = new Set<number>();
  #list: readonly number[] | undefined;
  #listAt = 0;
  readonly #resumeSeq: number;
  /** The first sequence that was not delivered or passed over. */
  nextSeq: number;
  /** Messages that are still to be delivered for the first time. */
  pending = 0;
  counted = false;
  /** Messages that went before they were delivered. */
  lost = 0;
  /** Of the list, gone before it was counted. */
  #lostEarly = 0;

  constructor(
    stream: ConsumerStream,
    filter: SubjectFilter,
    { seq, list, resumeSeq = 0 }: StartPosition,
  ) {
    this.#stream = stream;
    this.filter = filter;
    this.nextSeq = seq;
    this.#list = list;
    this.#resumeSeq = resumeSeq;
    this.#scanSeq = Math.max(seq, list === undefined ? 0 : resumeSeq + 1);
  }

  /** One that goes on from here with another filter; it has to count anew. */
  refiltered(filter: SubjectFilter): Cursor {
    const position =
      this.#list === undefined
        ? { seq: this.nextSeq }
        : { seq: this.nextSeq, list: this.#list.slice(this.#listAt), resumeSeq: this.#resumeSeq };
    return new Cursor(this.#stream, filter, position);
  }

  /** Counts what is to be delivered; `done` comes in the turn in which it is known. */
  count(done: () => void): Cancel {
    const fromSeq = this.#list === undefined ? this.nextSeq : this.#resumeSeq + 1;
    return this.#stream.count(this.filter, fromSeq, (messages) => {
      this.pending = messages + this.#listed - this.#lostEarly;
      this.counted = true;
      done();
    });
  }

  /** Of the list, what is left. */
  get #listed(): number {
    if (this.#list === undefined) return 0;
    return this.#list.length - this.#listAt;
  }

  /** The next message, which stays the next until `take`. */
  peek(): Next {
    if (this.#list !== undefined) return this.#peekList(this.#list);
    for (;;) {
      const message = this.#ahead[this.#at];
      if (message === undefined) return this.#read();
      if (this.#gone.size === 0 || !this.#gone.delete(message.seq)) return message;
      this.#at++;
    }
  }

  /** Forgets what was read ahead: it is read again when it is its turn. */
  rest(): void {
    const next = this.#ahead[this.#at];
    if (next === undefined) return;
    this.#scanSeq = next.seq;
    this.#ahead = [];
    this.#at = 0;
    this.#gone.clear();
  }

  /** The message that `peek` gave is delivered. */
  take(message: StoredMessage): void {
    this.pending = Math.max(0, this.pending - 1);
    this.nextSeq = message.seq + 1;
    if (this.#list === undefined) this.#at++;
    else this.#listAt++;
  }

  /** Before `seq` there is nothing any more. */
  skipTo(seq: number): void {
    this.nextSeq = Math.max(this.nextSeq, seq);
    this.#scanSeq = Math.max(this.#scanSeq, seq);
  }

  #peekList(list: readonly number[]): Next {
    const seq = list[this.#listAt];
    if (seq === undefined) {
      this.#list = undefined;
      this.nextSeq = this.#scanSeq;
      return 'more';
    }
    const message = this.#stream.get(seq);
    if (message !== undefined && this.filter.covers(message.subject)) return message;
    // Another filter came in force since the list was made.
    if (message !== undefined) this.#lose();
    this.#listAt++;
    return 'more';
  }

  #read(): Next {
    this.#ahead = [];
    this.#at = 0;
    this.#gone.clear();
    if (this.#scanSeq > this.#stream.durableSeq) {
      this.nextSeq = this.#scanSeq;
      return 'end';
    }
    const { messages, nextSeq } = this.#stream.scan(this.filter, this.#scanSeq, {
      messagesMax: AHEAD_MESSAGES_MAX,
      bytesMax: AHEAD_BYTES_MAX,
    });
    this.#ahead = messages;
    this.#scanSeq = nextSeq;
    const [first] = messages;
    if (first !== undefined) return first;
    this.nextSeq = nextSeq;
    return 'more';
  }

  /** The stream has a message more. */
  stored(seq: number, subjectId: number, subject: string): void {
    if (this.counted && seq >= this.#openSeq && this.filter.coversId(subjectId, subject))
      this.pending++;
  }

  /** The stream has these messages more. */
  storedAll(batch: MessageBatch): void {
    if (!this.counted) return;
    if (batch.firstSeq >= this.#openSeq) this.pending += batch.under(this.filter);
    else batch.each((seq, id, subject) => this.stored(seq, id, subject));
  }

  /** The first sequence that is not decided by the list. */
  get #openSeq(): number {
    return this.#list === undefined ? this.nextSeq : this.#resumeSeq + 1;
  }

  /** The stream has these messages less. */
  removedAll(batch: MessageBatch): void {
    if (this.#list === undefined && batch.lastSeq < this.nextSeq) return;
    if (this.#list === undefined && batch.firstSeq >= this.#scanSeq) {
      if (this.counted) this.#lose(batch.under(this.filter));
    } else batch.each((seq, id, subject) => this.removed(seq, id, subject));
  }

  /** The stream has a message less. */
  removed(seq: number, subjectId: number, subject: string): void {
    if (this.#list !== undefined && seq <= this.#resumeSeq) {
      if (!isListed(this.#list, this.#listAt, seq)) return;
      if (this.counted) this.#lose();
      else this.#lostEarly++;
      return;
    }
    if (seq < this.nextSeq || !this.filter.coversId(subjectId, subject)) return;
    if (this.counted) this.#lose();
    if (seq < this.#scanSeq) this.#gone.add(seq);
  }

  #lose(messages = 1): void {
    this.lost += messages;
    this.pending = Math.max(0, this.pending - messages);
  }
}

function isListed(list: readonly number[], from: number, seq: number): boolean {
  let low = from;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return list[low] === seq;
}
