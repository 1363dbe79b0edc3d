// A fast batch of the scripted hub as its sender sees it, the killing of one and its sealing: what sync/fast-batch.ts,
// sync/kill-batch.ts and sealAnswer() do on the wire, without a wire.

import { every, type Clock } from '../../src/clock.ts';
import { localError, type HubError } from '../../sync/hub-error.ts';
import type { FastBatch, FastBatchOptions, HubAck, HubMessage } from '../../sync/hub.ts';
import type { Answer, FastAnswer, FastBatchModel, FastMessage } from './fast-batch-model.ts';
import type { Write } from './hub-model.ts';

const FAR_AHEAD = 1_000_000_000_000;
const REPEAT_MS = 100;

/** Sends messages of a batch over the link as it is now; answers come back over the same. */
export type Post = (messages: readonly FastMessage[], answer: Answer) => void;

type Waiter<T> = PromiseWithResolvers<T> | undefined;

export class ScriptedBatch implements FastBatch {
  readonly #options: FastBatchOptions;
  readonly #post: Post;
  sent = 0;
  acked = 0;
  flow: number;
  readonly unsentBytes = 0;
  #failure: HubError | undefined;
  readonly #opening = Promise.withResolvers<void>();
  #news: Waiter<void>;
  #commit: Waiter<{ seq: number; count: number }>;

  constructor(options: FastBatchOptions, post: Post) {
    this.#options = options;
    this.#post = post;
    this.flow = options.flow;
  }

  async open(first: HubMessage, clock: Clock, timeoutMs: number): Promise<this> {
    const cancel = clock.after(timeoutMs, () => this.fail(localError('timeout', 'not opened')));
    this.#write([first]);
    return this.#opening.promise.then(() => this).finally(cancel);
  }

  send(messages: readonly HubMessage[]): void {
    if (this.#failure === undefined) this.#write(messages);
  }

  news(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#news ??= Promise.withResolvers();
    return this.#news.promise;
  }

  ping(): void {
    this.#order('ping', this.sent);
  }

  commit(): Promise<{ seq: number; count: number }> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#commit ??= Promise.withResolvers();
    this.#order('end', this.sent + 1);
    return this.#commit.promise;
  }

  abandon(): void {
    this.#failure ??= localError('linkDown', 'abandoned');
  }

  fail(error: HubError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const waiter of [this.#opening, this.#commit, this.#news]) {
      waiter?.promise.catch(() => undefined);
      waiter?.reject(error);
    }
  }

  #write(messages: readonly HubMessage[]): void {
    const { id, flow, fence, stream } = this.#options;
    const all = messages.map((message): FastMessage => {
      const n = ++this.sent;
      const expectations = {
        expected: { kind: 'filter', ...fence },
        expectedStream: stream,
      } as const;
      const write = n === 1 ? { message, ...expectations } : { message };
      return { id, n, op: n === 1 ? 'start' : 'append', flow, write };
    });
    this.#post(all, (answer) => this.#receive(answer));
  }

  #order(op: 'ping' | 'end', n: number): void {
    const { id, flow } = this.#options;
    if (this.#failure === undefined)
      this.#post([{ id, n, op, flow }], (answer) => this.#receive(answer));
  }

  #receive(answer: FastAnswer): void {
    if (this.#failure !== undefined) return;
    switch (answer.kind) {
      case 'error':
        return this.fail(answer.error);
      case 'gap':
        return this.fail(localError('gap', 'a gap'));
      case 'ack':
        this.acked = Math.max(this.acked, answer.seq);
        this.flow = answer.msgs;
        this.#opening.resolve();
        break;
      case 'end':
        if (this.#commit === undefined) return this.fail(localError('gap', 'ended by the hub'));
        this.acked = Math.max(this.acked, answer.count);
        this.#failure = localError('linkDown', 'over');
        this.#commit.resolve(answer);
    }
    this.#news?.resolve();
    this.#news = undefined;
  }
}

/** Ends the batch at the leader. `onDrop` tells when the link is lost. */
export function killScripted(
  id: string,
  { post, clock, timeoutMs }: { post: Post; clock: Clock; timeoutMs: number },
  onDrop: (fail: (error: HubError) => void) => () => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const order = (): void =>
    post([{ id, n: FAR_AHEAD, op: 'end', flow: 1 }], (answer) => {
      if (answer.kind === 'end') resolve();
      if (answer.kind !== 'error') return;
      if (answer.error.errCode === 10208 || answer.error.errCode === 10205) resolve();
      else reject(answer.error);
    });
  const cancels = [
    every(clock, REPEAT_MS, order),
    clock.after(timeoutMs, () => reject(localError('timeout', 'not killed'))),
    onDrop(reject),
  ];
  order();
  return promise.finally(() => {
    for (const cancel of cancels) cancel();
  });
}

/** Stores a message as the first and last of the batch `id`, and reads the answer as sync/hub-publish.ts does. */
export function sealScripted(
  batches: FastBatchModel,
  { id, write, nowMs }: { id: string; write: Write; nowMs: number },
  done: (result: HubAck | HubError) => void,
): void {
  const fenceSeq = write.expected?.seq ?? 0;
  batches.receive({ id, n: 1, op: 'only', flow: 1, write }, nowMs, (answer) => {
    if (answer.kind === 'error') return done(answer.error);
    if (answer.kind !== 'end') return;
    const { seq, count, duplicate } = answer;
    const stored = count === 1 && (duplicate || seq > fenceSeq);
    done(stored ? { seq, duplicate } : localError('gap', 'the batch was open again'));
  });
}
