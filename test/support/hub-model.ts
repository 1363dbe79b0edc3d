// A JetStream stream as a model in memory: what nats-server 2.15 answers to the publishes and reads that forwarding makes,
// in the same order of checks, for one replica (R1) and three (R3). It has no time of its own and no network; what it
// answers is compared with a real server's in test/sync/scripted-hub.test.ts.

import { jetStreamError, type HubError } from '../../sync/hub-error.ts';
import {
  BATCH_MESSAGES_MAX,
  type Fence,
  type HubMessage,
  type HubStored,
  type HubStream,
  type PublishOptions,
} from '../../sync/hub.ts';
import { matches } from '../../src/subject.ts';

export interface ModelConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly replicas: 1 | 3;
  readonly duplicateWindowMs: number;
  readonly atomic: boolean;
  /** Takes fast batches: fast-batch-model.ts. */
  readonly batched: boolean;
  /** False is a server before 2.11: a fence that names a filter holds against the message's own subject. */
  readonly filterFence: boolean;
  readonly ttl: boolean;
  readonly retention: 'limits' | 'workqueue' | 'interest';
  readonly discard: 'old' | 'new';
  readonly maxMsgs: number;
  readonly maxAgeMs: number;
  readonly maxMsgSize: number;
  readonly unfit?: HubStream['unfit'];
}

export const MODEL_DEFAULTS: ModelConfig = {
  name: 'EDGE',
  subjects: ['edge.>'],
  replicas: 1,
  duplicateWindowMs: 120_000,
  atomic: true,
  batched: false,
  filterFence: true,
  ttl: true,
  retention: 'limits',
  discard: 'new',
  maxMsgs: 0,
  maxAgeMs: 0,
  maxMsgSize: 0,
};

export interface ModelMessage {
  readonly seq: number;
  readonly subject: string;
  readonly id: string | undefined;
  readonly headerLines: string;
  readonly data: Buffer;
  readonly timeMs: number;
}

/** A message as it is published, with the expectations that it carries. */
export interface Write {
  readonly message: Omit<HubMessage, 'id'> & { readonly id?: string };
  readonly expected?: Fence;
  readonly expectedStream?: string;
}

export interface ModelAck {
  readonly seq: number;
  readonly duplicate: boolean;
}

let created = 0;

export class HubModel {
  config: ModelConfig;
  created: string;
  lastSeq = 0;
  /** By sequence; removed ones are not there. */
  readonly messages = new Map<number, ModelMessage>();
  readonly #ids = new Map<string, { seq: number; timeMs: number }>();
  /** Everything stored and not lost, removed or not. */
  #history: ModelMessage[] = [];
  /** The IDs of everything ever stored. */
  readonly everStored = new Set<string>();
  /** Literal subjects and filters that proposals under way were checked against (R3). */
  readonly #inProcess = new Map<string, number>();

  constructor(config: ModelConfig) {
    this.config = config;
    this.created = `created-${++created}`;
  }

  describe(): HubStream {
    const {
      name,
      subjects,
      atomic,
      batched,
      filterFence,
      ttl,
      retention,
      discard,
      maxMsgs,
      maxAgeMs,
      maxMsgSize,
      unfit,
    } = this.config;
    return {
      name,
      created: this.created,
      lastSeq: this.lastSeq,
      subjects,
      messageBytesMax: maxMsgSize > 0 ? maxMsgSize : Infinity,
      atomic,
      batched,
      filterFence,
      mayDiffer: false,
      sourced: false,
      removes: maxAgeMs > 0 || retention !== 'limits' || (discard === 'old' && maxMsgs > 0),
      consumed: retention !== 'limits',
      checkpoints: atomic && ttl,
      ...(unfit === undefined ? {} : { unfit }),
    };
  }

  // --- reads ---

  last(filter: string): HubStored | null {
    for (let seq = this.lastSeq; seq > 0; seq--) {
      const message = this.messages.get(seq);
      if (message !== undefined && matches(filter, message.subject)) return stored(message);
    }
    return null;
  }

  next(filter: string, fromSeq: number): HubStored | null {
    for (const message of this.messages.values())
      if (message.seq >= fromSeq && matches(filter, message.subject)) return stored(message);
    return null;
  }

  at(seq: number): HubStored | null {
    const message = this.messages.get(seq);
    return message === undefined ? null : stored(message);
  }

  under(filter: string, fromSeq = 1): ModelMessage[] {
    return [...this.messages.values()].filter(
      (message) => message.seq >= fromSeq && matches(filter, message.subject),
    );
  }

  /** The IDs of all messages under `filter` that were stored and not lost since, removed or not, in order. */
  history(filter: string): (string | undefined)[] {
    return this.#history.filter(({ subject }) => matches(filter, subject)).map(({ id }) => id);
  }

  // --- writes ---

  /** Checks a publish; throws what the server would answer. A duplicate is an answer already. */
  check(writes: readonly Write[], nowMs: number): ModelAck | undefined {
    this.expire(nowMs);
    return writes.length === 1 ? this.#checkOne(writes, nowMs) : this.#checkBatch(writes, nowMs);
  }

  /** Checks a message of a fast batch; returns the sequence of a duplicate, 0 for one that is not stored yet. */
  checkFast(write: Write, nowMs: number): number | undefined {
    this.expire(nowMs);
    this.#size(write);
    this.#static(write);
    const original = this.#duplicate(write.message.id, nowMs);
    if (original !== undefined) return original;
    if (this.#inProcess.has(`id ${write.message.id}`)) return 0;
    this.#fence(write);
    this.#room(1);
    return undefined;
  }

  /** What the log says of a single message whose ID was stored since check(). */
  repeated([write, second]: readonly Write[], nowMs: number): ModelAck | undefined {
    if (write === undefined || second !== undefined) return undefined;
    const seq = this.#duplicate(write.message.id, nowMs);
    return seq === undefined ? undefined : { seq, duplicate: true };
  }

  /** Stores what check() has let pass. */
  store(writes: readonly Write[], nowMs: number): ModelAck {
    let seq = 0;
    for (const { message } of writes) seq = this.#append(message, nowMs);
    return { seq, duplicate: false };
  }

  /** Between check() and store() of an R3 stream: the keys that no other proposal may be checked against. */
  enter(writes: readonly Write[]): string[] {
    const keys = [
      ...writes.flatMap(({ expected }) => (expected?.kind === 'filter' ? [expected.filter] : [])),
      ...writes.map(({ message }) => message.subject),
      ...writes.map(({ message }) => `id ${message.id}`),
    ];
    for (const key of keys) this.#inProcess.set(key, (this.#inProcess.get(key) ?? 0) + 1);
    return keys;
  }

  leave(keys: readonly string[]): void {
    for (const key of keys) {
      const left = (this.#inProcess.get(key) ?? 0) - 1;
      if (left > 0) this.#inProcess.set(key, left);
      else this.#inProcess.delete(key);
    }
  }

  #checkOne([write]: readonly Write[], nowMs: number): ModelAck | undefined {
    if (write === undefined) return undefined;
    const r1 = this.config.replicas === 1;
    // R1 looks at the fence first, R3 at the ID: a retry hears 10071 here and "duplicate" there.
    this.#size(write);
    this.#static(write);
    if (r1) this.#fence(write);
    const original = this.#duplicate(write.message.id, nowMs);
    if (original !== undefined) return { seq: original, duplicate: true };
    if (this.#inProcess.has(`id ${write.message.id}`))
      throw error(10158, 'duplicate message id is in process', 409);
    if (!r1) this.#fence(write);
    this.#room(1);
    return undefined;
  }

  #checkBatch(writes: readonly Write[], nowMs: number): undefined {
    if (!this.config.atomic) throw error(10174, 'atomic publish is disabled');
    if (writes.length > BATCH_MESSAGES_MAX)
      throw error(10199, `atomic publish batch is too large: ${BATCH_MESSAGES_MAX}`);
    // A message over the size is dropped as it comes, without a word where nobody waits for one; the rest has a hole.
    const tooLarge = writes.map((write) => this.#isTooLarge(write));
    if (tooLarge[0] === true || tooLarge.at(-1) === true)
      throw error(10054, 'message size exceeds maximum allowed');
    if (tooLarge.includes(true)) throw error(10176, 'atomic publish batch is incomplete');
    const seen = new Set<string>();
    for (const [i, write] of writes.entries()) {
      this.#static(write);
      const { id } = write.message;
      if ((id !== undefined && seen.has(id)) || this.#duplicate(id, nowMs) !== undefined)
        throw error(10201, 'atomic publish batch contains duplicate message id');
      if (id !== undefined) seen.add(id);
      this.#fence(write);
      this.#room(i + 1);
    }
    return undefined;
  }

  #static({ message, expectedStream }: Write): void {
    if (expectedStream !== undefined && expectedStream !== this.config.name)
      throw error(10060, 'expected stream does not match');
    if (/(?:^|\n)Nats-TTL:/.test(message.headerLines) && !this.config.ttl)
      throw error(10166, 'per-message TTL is disabled');
  }

  #fence({ expected, message }: Write): void {
    if (expected === undefined) return;
    // Of a whole stream proposals count as stored, in the order in which they came.
    let actual = this.lastSeq + this.#proposed();
    if (expected.kind !== 'stream') {
      const named = expected.kind === 'filter' && this.config.filterFence;
      const filter = named ? expected.filter : message.subject;
      if (this.#inProcess.has(filter)) throw error(10164, 'wrong last sequence');
      actual = this.last(filter)?.seq ?? 0;
    }
    if (actual !== expected.seq) throw error(10071, `wrong last sequence: ${actual}`);
  }

  #duplicate(id: string | undefined, nowMs: number): number | undefined {
    const known = id === undefined ? undefined : this.#ids.get(id);
    return known !== undefined && nowMs - known.timeMs < this.config.duplicateWindowMs
      ? known.seq
      : undefined;
  }

  /** Messages under way to being stored. */
  #proposed(): number {
    let messages = 0;
    for (const [key, times] of this.#inProcess) if (key.startsWith('id ')) messages += times;
    return messages;
  }

  #isTooLarge({ message }: Write): boolean {
    const { maxMsgSize } = this.config;
    return maxMsgSize > 0 && message.headerLines.length + message.data.length > maxMsgSize;
  }

  #size(write: Write): void {
    if (this.#isTooLarge(write)) throw error(10054, 'message size exceeds maximum allowed');
  }

  #room(more: number): void {
    const { discard, maxMsgs } = this.config;
    if (discard === 'new' && maxMsgs > 0 && this.messages.size + more > maxMsgs)
      throw error(10077, 'maximum messages exceeded', 503);
  }

  #append({ subject, id, headerLines, data }: Write['message'], nowMs: number): number {
    const seq = ++this.lastSeq;
    const message = { seq, subject, id, headerLines, data, timeMs: nowMs };
    this.messages.set(seq, message);
    this.#history.push(message);
    if (id !== undefined) {
      this.#ids.set(id, { seq, timeMs: nowMs });
      this.everStored.add(id);
    }
    const { discard, maxMsgs } = this.config;
    if (discard === 'old' && maxMsgs > 0)
      for (const oldest of this.messages.keys()) {
        if (this.messages.size <= maxMsgs) break;
        this.messages.delete(oldest);
      }
    return seq;
  }

  // --- what befalls a stream ---

  /** Drops what is older than max_age; messages with Nats-TTL: never stay. */
  expire(nowMs: number): void {
    if (this.config.maxAgeMs === 0) return;
    for (const [seq, message] of this.messages)
      if (
        nowMs - message.timeMs >= this.config.maxAgeMs &&
        !/Nats-TTL: never/.test(message.headerLines)
      )
        this.messages.delete(seq);
  }

  purge(filter = '>'): void {
    for (const { seq } of this.under(filter)) this.messages.delete(seq);
  }

  remove(seq: number): boolean {
    return this.messages.delete(seq);
  }

  /** A restart: the IDs are those of the messages that are still there and young enough. */
  restart(nowMs: number): void {
    this.#inProcess.clear();
    this.#ids.clear();
    for (const { id, seq, timeMs } of this.messages.values())
      if (id !== undefined && nowMs - timeMs < this.config.duplicateWindowMs)
        this.#ids.set(id, { seq, timeMs });
  }

  /** A power cut of a hub that had not synced: the last `count` sequences are gone and are given out again. */
  rollBack(count: number, nowMs: number): void {
    this.lastSeq = Math.max(0, this.lastSeq - count);
    for (const seq of this.messages.keys()) if (seq > this.lastSeq) this.messages.delete(seq);
    this.#history = this.#history.filter(({ seq }) => seq <= this.lastSeq);
    this.restart(nowMs);
  }

  /** Deleted and created anew. */
  recreate(): void {
    this.created = `created-${++created}`;
    this.lastSeq = 0;
    this.messages.clear();
    this.#history = [];
    this.#ids.clear();
    this.#inProcess.clear();
  }
}

function stored({ seq, subject, id }: ModelMessage): HubStored {
  return { seq, subject, id };
}

function error(errCode: number, description: string, code = 400): HubError {
  return jetStreamError(code, errCode, description);
}

/** The expectations of a publish, on the messages that carry them on the wire. */
export function writesOf(
  messages: readonly HubMessage[],
  { stream, fence, checkpoint }: PublishOptions,
): Write[] {
  const all: Write[] = messages.map((message, i) =>
    i === 0 && fence !== undefined ? { message, expected: fence } : { message },
  );
  if (checkpoint !== undefined) {
    const { message, previousSeq } = checkpoint;
    all.push({ message, expected: { kind: 'subject', seq: previousSeq } });
  }
  const [first] = all;
  if (first !== undefined) all[0] = { ...first, expectedStream: stream };
  return all;
}
