// One ordered fast batch on the wire (ADR-50, gap mode "fail"): every message has a reply subject that carries the
// batch's ID, the message's number and what it is for. Of what was sent the hub stores a prefix without gaps; whatever goes
// wrong ends the batch. What its fence promises ends when it is open: until then only the first message is sent.

import { HubError, localError } from './hub-error.ts';
import type { FastBatch, FastBatchOptions, HubMessage } from './hub.ts';
import { apiError, parseReply, type ApiError } from './jetstream-api.ts';
import type { Reply } from './nats-connection.ts';
import { noResponders, type Line, type NatsLink } from './nats-link.ts';
import { encodePublishes } from './publish-encoder.ts';

/** What a message of a batch is for: the last token but one of its reply subject. */
const OP = { start: 0, append: 1, commitWithoutStoring: 3, ping: 4 } as const;
/** No hub stream has this name: where fast batches are unknown, an order is refused and not stored. */
export const ORDER_HEADERS = Buffer.from('NATS/1.0\r\nNats-Expected-Stream: _\r\n\r\n');

/** All that a hub answers to a message of a batch. */
export interface BatchAnswer {
  readonly type?: 'ack' | 'gap' | 'err';
  /** Of an ack: number of a message; of a PubAck: hub sequence. */
  readonly seq?: number;
  /** Of an ack: the flow granted. */
  readonly msgs?: number;
  readonly error?: ApiError;
  readonly batch?: string;
  readonly count?: number;
}

/** A promise that many events may settle. */
type Waiter<T> = PromiseWithResolvers<T> | undefined;

export class NatsFastBatch implements FastBatch {
  readonly #options: FastBatchOptions;
  readonly #line: Line;
  sent = 0;
  acked = 0;
  flow: number;
  #opening: Waiter<void>;
  #news: Waiter<void>;
  #commit: Waiter<{ seq: number; count: number }>;
  #failure: HubError | undefined;

  private constructor(link: NatsLink, subject: string, options: FastBatchOptions) {
    this.#options = options;
    this.flow = options.flow;
    this.#line = link.converse({
      id: options.id,
      covers: (denied) => denied === subject,
      receive: (reply) => this.#receive(reply),
      fail: (error) => this.#fail(error),
    });
  }

  /** Opens a batch with its first message. Rejects with a HubError, also after `timeoutMs` without an answer. */
  static async open(
    link: NatsLink,
    first: HubMessage,
    options: FastBatchOptions,
    patience: (fail: (error: HubError) => void) => () => void,
  ): Promise<NatsFastBatch> {
    const batch = new NatsFastBatch(link, first.subject, options);
    batch.#opening = Promise.withResolvers();
    const cancel = patience((error) => batch.#fail(error));
    try {
      batch.#write([first], OP.start);
      await batch.#opening.promise;
      return batch;
    } finally {
      cancel();
    }
  }

  get unsentBytes(): number {
    return this.#line.connection.wire.unsentBytes();
  }

  send(messages: readonly HubMessage[]): void {
    if (this.#failure === undefined) this.#write(messages, OP.append);
  }

  news(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#news ??= Promise.withResolvers();
    return this.#news.promise;
  }

  ping(): void {
    this.#order(OP.ping, this.sent);
  }

  commit(): Promise<{ seq: number; count: number }> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#commit ??= Promise.withResolvers();
    const { promise } = this.#commit;
    this.#order(OP.commitWithoutStoring, this.sent + 1);
    return promise;
  }

  abandon(): void {
    this.#line.end();
    this.#failure ??= localError('linkDown', 'the batch was abandoned');
  }

  #write(messages: readonly HubMessage[], op: number): void {
    const { fence, stream } = this.#options;
    const from = this.sent + 1;
    const extra =
      op === OP.start
        ? `Nats-Expected-Stream: ${stream}\r\nNats-Expected-Last-Subject-Sequence: ${fence.seq}\r\nNats-Expected-Last-Subject-Sequence-Subject: ${fence.filter}\r\n`
        : '';
    const wire = encodePublishes(messages, (i) => this.#reply(op, from + i), extra);
    this.sent += messages.length;
    this.#hand((connection) => connection.write(wire));
  }

  /** A connection that has just ended throws before it tells. */
  #hand(give: (connection: Line['connection']) => void): void {
    try {
      give(this.#line.connection);
    } catch (error) {
      this.#fail(localError('linkDown', String(error), { cause: error }));
    }
  }

  /** A message that is not stored. */
  #order(op: number, n: number): void {
    const { filter } = this.#options.fence;
    if (this.#failure !== undefined) return;
    const subject = filter.replace(/>$/, '_batch');
    this.#hand((connection) =>
      connection.publish(subject, Buffer.alloc(0), ORDER_HEADERS, this.#reply(op, n)),
    );
  }

  #reply(op: number, n: number): string {
    return `${this.#line.inbox}.${this.#options.flow}.fail.${n}.${op}.$FI`;
  }

  #receive(reply: Reply): void {
    try {
      if (reply.status === 503) throw noResponders('the stream');
      this.#answer(parseReply<BatchAnswer>(reply));
    } catch (error) {
      this.#fail(error instanceof HubError ? error : localError('badAnswer', String(error)));
    }
  }

  #answer({ type, seq = 0, msgs, error, batch, count }: BatchAnswer): void {
    if (error !== undefined) throw apiError(error);
    if (type === 'gap') throw localError('gap', 'the hub missed messages of a fast batch');
    if (type === 'ack') {
      this.acked = Math.max(this.acked, seq);
      if (msgs !== undefined && msgs > 0) this.flow = msgs;
      this.#opening?.resolve();
    } else if (batch !== undefined && count !== undefined) {
      if (this.#commit === undefined)
        throw localError('gap', `the hub ended a fast batch after ${count} messages`);
      this.acked = Math.max(this.acked, count);
      this.#line.end();
      this.#commit.resolve({ seq, count });
    } else {
      throw localError('badAnswer', 'the hub answered a fast batch with something else');
    }
    this.#tell()?.resolve();
  }

  #tell(): Waiter<void> {
    const waiter = this.#news;
    this.#news = undefined;
    return waiter;
  }

  #fail(error: HubError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#line.end();
    for (const waiter of [this.#opening, this.#commit, this.#tell()]) {
      // Not all of them have somebody who listens.
      waiter?.promise.catch(() => undefined);
      waiter?.reject(error);
    }
  }
}
