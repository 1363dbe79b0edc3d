// The hub and the local stream as one simulated process sees them. After its death nothing reaches it any more, though
// its last words may still be on their way to the hub. What it asks and sends is checked against the disk.

import type { Cancel } from '../../src/clock.ts';
import type { Entry, ForwardMark } from '../../src/jetstream/stream-types.ts';
import type { LocalStream } from '../../sync/local-stream.ts';
import { parseId, positionOf } from '../../sync/hub-message.ts';
import type {
  FastBatch,
  FastBatchOptions,
  Hub,
  HubAck,
  HubMessage,
  HubStored,
  HubStream,
  PublishOptions,
} from '../../sync/hub.ts';
import type { ScriptedHub } from '../support/scripted-hub.ts';
import { GATEWAY, PREFIX } from './journal.ts';

export interface Watch {
  readonly alive: () => boolean;
  /** The last sequence of a stream that a finished sync covers. */
  readonly durable: (stream: string) => number;
  /** Whether the hub has ever stored this ID. */
  readonly atHub: (id: string) => boolean;
  readonly problem: (text: string) => void;
  readonly count: (what: string) => void;
  /** What forwarding has written down of a stream, as far as a finished sync covers it. */
  readonly noted: (stream: string) => string;
  /** Those of fast batches, of all processes. */
  readonly batchIds: Set<string>;
  /** The bytes first sent under each ID. */
  readonly sentAs: Map<string, string>;
  readonly described: (local: string, stream: HubStream) => void;
  /** A mark was given to a local stream; a late one is on the disk some seconds later. */
  readonly confirmed: (local: string, seq: number, late: boolean) => void;
}

export class WatchedHub implements Hub {
  readonly #hub: ScriptedHub;
  readonly #watch: Watch;
  readonly #local: string;
  #killed: string | undefined;

  /** `local` names the stream that is forwarded. */
  constructor(hub: ScriptedHub, local: string, watch: Watch) {
    this.#hub = hub;
    this.#local = local;
    this.#watch = watch;
  }

  get connected(): boolean {
    return this.#hub.connected;
  }

  get detail(): string {
    return this.#hub.detail;
  }

  get maxPayload(): number {
    return this.#hub.maxPayload;
  }

  onChange(fn: () => void): Cancel {
    return this.#hub.onChange(() => {
      if (this.#watch.alive()) fn();
    });
  }

  reconnect(reason: string): void {
    this.#hub.reconnect(reason);
  }

  async stream(name: string): Promise<HubStream> {
    const stream = await this.#gate(this.#hub.stream(name));
    this.#watch.described(this.#local, stream);
    return stream;
  }

  lastBySubject(stream: string, filter: string): Promise<HubStored | null> {
    const { noted, problem } = this.#watch;
    const { batch_id: id } = JSON.parse(noted(this.#local) || '{}') as { batch_id?: string | null };
    if (typeof id === 'string' && id !== this.#killed)
      problem(`${this.#local}: the hub is read before the fast batch ${id} is killed`);
    return this.#gate(this.#hub.lastBySubject(stream, filter));
  }

  nextBySubject(stream: string, filter: string, fromSeq: number): Promise<HubStored | null> {
    return this.#gate(this.#hub.nextBySubject(stream, filter, fromSeq));
  }

  messageAt(stream: string, seq: number): Promise<HubStored | null> {
    this.#watch.count('asked at the mark');
    return this.#gate(this.#hub.messageAt(stream, seq));
  }

  async *scanHeaders(
    stream: string,
    filter: string,
    fromSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    this.#watch.count('asked for a scan');
    yield* await this.#gate(Array.fromAsync(this.#hub.scanHeaders(stream, filter, fromSeq)));
  }

  deleteMessage(stream: string, seq: number): Promise<void> {
    return this.#gate(this.#hub.deleteMessage(stream, seq));
  }

  publish(messages: readonly HubMessage[], options: PublishOptions): Promise<HubAck> {
    for (const message of messages) this.#check(message);
    if (options.checkpoint !== undefined) this.#watch.count('checkpoint sent');
    return this.#gate(this.#hub.publish(messages, options));
  }

  async openBatch(first: HubMessage, options: FastBatchOptions): Promise<FastBatch> {
    const { noted, problem, batchIds } = this.#watch;
    this.#check(first);
    if (!noted(this.#local).includes(options.id))
      problem(`a fast batch is opened before its ID is on the disk: ${options.id}`);
    if (batchIds.has(options.id)) problem(`a second fast batch of the ID ${options.id}`);
    batchIds.add(options.id);
    const batch = await this.#gate(this.#hub.openBatch(first, options));
    return new WatchedBatch(batch, {
      check: (message) => this.#check(message),
      gate: (answer) => this.#gate(answer),
    });
  }

  killBatch(stream: string, subject: string, id: string): Promise<void> {
    return this.#gate(this.#hub.killBatch(stream, subject, id)).then(() => {
      this.#killed = id;
    });
  }

  #check({ id, subject, headerLines, data }: HubMessage): void {
    const { durable, problem, sentAs } = this.#watch;
    const stream = subject.split('.')[2] ?? '';
    const position = parseId({ prefix: PREFIX, gateway: GATEWAY, stream }, id);
    if (position === null) return problem(`sent with an ID that is none: ${id}`);
    if (position.seq > durable(stream)) problem(`sent before it was on the disk: ${id}`);
    if (headerLines.includes('Mangrove-Gap')) return;
    const bytes = `${subject} ${data.toString('latin1')}`;
    const before = sentAs.get(id) ?? bytes;
    if (before !== bytes) problem(`sent with other content than before: ${id}`);
    sentAs.set(id, bytes);
  }

  /** Passes an answer on only while the process lives. */
  #gate<T>(answer: Promise<T>): Promise<T> {
    const { alive } = this.#watch;
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => alive() && resolve(value),
        (error: Error) => alive() && reject(error),
      );
    });
  }
}

interface BatchWatch {
  check(message: HubMessage): void;
  gate<T>(answer: Promise<T>): Promise<T>;
}

/** A fast batch of a process that may be dead. */
class WatchedBatch implements FastBatch {
  readonly #batch: FastBatch;
  readonly #watch: BatchWatch;

  constructor(batch: FastBatch, watch: BatchWatch) {
    this.#batch = batch;
    this.#watch = watch;
  }

  get sent(): number {
    return this.#batch.sent;
  }

  get acked(): number {
    return this.#batch.acked;
  }

  get flow(): number {
    return this.#batch.flow;
  }

  get unsentBytes(): number {
    return this.#batch.unsentBytes;
  }

  send(messages: readonly HubMessage[]): void {
    for (const message of messages) this.#watch.check(message);
    this.#batch.send(messages);
  }

  news(): Promise<void> {
    return this.#watch.gate(this.#batch.news());
  }

  ping(): void {
    this.#batch.ping();
  }

  commit(): Promise<{ readonly seq: number; readonly count: number }> {
    return this.#watch.gate(this.#batch.commit());
  }

  abandon(): void {
    this.#batch.abandon();
  }
}

/** Reads nothing but what a finished sync covers, or says so. */
export class WatchedStream implements LocalStream {
  readonly #stream: LocalStream;
  readonly #watch: Watch;

  constructor(stream: LocalStream, watch: Watch) {
    this.#stream = stream;
    this.#watch = watch;
  }

  get name(): string {
    return this.#stream.name;
  }

  get durableSeq(): number {
    return this.#stream.durableSeq;
  }

  get firstSeq(): number {
    return this.#stream.firstSeq;
  }

  get graceSeq(): number {
    return this.#stream.graceSeq;
  }

  get mark(): ForwardMark | null {
    return this.#stream.mark;
  }

  epochs(): ReturnType<LocalStream['epochs']> {
    return this.#stream.epochs();
  }

  read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    const entries = this.#stream.read(afterSeq, max, bytesMax);
    let next = afterSeq + 1;
    for (const entry of entries) {
      const first = entry.kind === 'gap' ? entry.gap.firstSeq : entry.message.seq;
      if (first !== next) this.#watch.problem(`${this.name}: read ${first} where ${next} is due`);
      next = positionOf(entry).seq + 1;
    }
    if (next - 1 > Math.max(afterSeq, this.#watch.durable(this.name)))
      this.#watch.problem(`${this.name}: read ${next - 1} before it was on the disk`);
    return entries;
  }

  confirm(mark: ForwardMark, late?: boolean): void {
    // What lies there may be without an ID.
    if (mark.id !== '' && !this.#watch.atHub(mark.id))
      this.#watch.problem(`confirmed, and never stored: ${mark.id}`);
    this.#stream.confirm(mark, late);
    this.#watch.confirmed(this.name, mark.seq, late === true);
  }

  onDurable(fn: () => void): Cancel {
    return this.#stream.onDurable(() => {
      if (this.#watch.alive()) fn();
    });
  }

  deadLetter(seq: number, reason: string): Promise<void> {
    this.#watch.count('dead letter');
    return this.#stream.deadLetter(seq, reason);
  }
}
