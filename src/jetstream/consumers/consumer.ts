// A consumer: reads its stream from where it stands and delivers, through its outlet, what nobody has delivered yet and
// what is due once more. Everything it delivers is on the disk, for a stream shows nothing else.
//
// Why nothing acknowledged comes again and nothing else is lost: a message is pending from its delivery until its ack,
// and the record keeps the ack floor, what is acknowledged above it, and how far deliveries went; it is written in one
// transaction with what the stream drops for it. A start finds everything between the floor and the last delivery that
// has no ack on the disk, and delivers it again, in order, before anything new. What was delivered after the record was
// written last is new to it, and is delivered in order too.

import type { Cancel } from '../../clock.ts';
import type { Message } from '../../message.ts';
import { SubjectFilter } from '../subject-filter.ts';
import type { AckTokens } from './ack-subject.ts';
import type { AckState } from './ack-state.ts';
import { Acknowledging } from './acknowledging.ts';
import type { ConsumerDeps, ConsumerParts } from './consumer-deps.ts';
import type { ConsumerEvents } from './consumer-events.ts';
import type { ConsumerRecord } from './consumer-record.ts';
import { consumerState } from './consumer-state.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import { ConsumerWatcher } from './consumer-watcher.ts';
import { Cursor } from './cursor.ts';
import { Delivery } from './delivery.ts';
import { Early } from './early.ts';
import { InTurn } from './in-turn.ts';
import { Inactivity } from './inactivity.ts';
import { PauseTimer } from './pause-timer.ts';
import { PullOutlet } from './pull-outlet.ts';
import { lastSeqs, type StartPosition } from './start-position.ts';
import type { ConsumerConfig, ConsumerState, Outlet, OutletHost, SequencePair } from './types.ts';
import { unconfirmed } from './unconfirmed.ts';

const EMPTY = Buffer.alloc(0);
const PUSH_BASED = Buffer.from('NATS/1.0 409 Consumer is push based\r\n\r\n', 'latin1');

export class Consumer implements OutletHost {
  readonly name: string;
  readonly createdMs: number;
  readonly progress: AckState;
  readonly events: ConsumerEvents;
  readonly record: ConsumerRecord | undefined;
  readonly outlet: Outlet;
  readonly #stream: ConsumerStream;
  readonly #deps: ConsumerDeps;
  readonly #acks: Acknowledging;
  readonly #watcher: ConsumerWatcher;
  readonly #early = new Early();
  readonly #inactivity: Inactivity;
  readonly #pause: PauseTimer;
  readonly #delivery: Delivery;
  #config: ConsumerConfig;
  #resumeSeq: number | undefined;
  #filter: SubjectFilter;
  #cursor: Cursor;
  #lastDeliveryMs: number | undefined;
  #isOpen = false;
  #isClosed = false;
  /** Others may see it. */
  #isKnown = false;
  /** Somebody within this process may answer a message before its delivery has returned. */
  #isDelivering = false;
  #cancels: Cancel[] = [];
  readonly #changes = new InTurn();
  /** What earlier runs have delivered is known. */
  #restored: Promise<void> = Promise.resolve();
  #cancelCount: Cancel = () => {};
  /** Ends the waiting for a count. */
  #counted: () => void = () => {};
  #cancelInterest: Cancel = () => {};

  constructor(stream: ConsumerStream, parts: ConsumerParts, deps: ConsumerDeps) {
    const { config, resumeSeq } = parts.head;
    this.#stream = stream;
    this.#deps = deps;
    this.#config = config;
    this.#resumeSeq = resumeSeq;
    this.name = config.name;
    this.createdMs = parts.createdMs;
    this.progress = parts.progress;
    this.events = parts.events;
    this.record = parts.record;
    this.#filter = new SubjectFilter(config.filterSubjects);
    this.#cursor = new Cursor(stream, this.#filter, { seq: this.progress.delivered.streamSeq + 1 });
    this.#acks = new Acknowledging(this, deps.clock);
    this.#watcher = new ConsumerWatcher(this, this.#acks);
    this.#delivery = new Delivery(this, stream, this.#acks, deps);
    this.#inactivity = new Inactivity(this, deps.clock);
    this.#pause = new PauseTimer(deps.clock, () => this.#resume());
    this.outlet = deps.openOutlet(this, parts.events);
  }

  // --- beginning and end ---

  /** Takes part in the stream's retention; from now on nothing that it needs goes. */
  attach(): void {
    this.#cancels.push(this.#stream.watch(this.#watcher));
    this.#addInterest();
  }

  /** Where it had one before, the stream looks again at what stands. */
  #addInterest(): void {
    this.#cancelInterest();
    this.#cancelInterest = this.#stream.addInterest({
      covers: (id, subject) => this.#filter.coversId(id, subject),
      needs: (seq) => this.progress.needs(seq, this.#config.ackPolicy, this.#cursor.nextSeq),
    });
  }

  /** Begins at `position`, once what there is to deliver is counted. */
  begin(position: StartPosition): Promise<void> {
    this.#cursor = new Cursor(this.#stream, this.#filter, position);
    if (this.#config.replayPolicy === 'original')
      this.#delivery.replay(this.#stream.durableSeq, () => this.wake());
    this.#inactivity.begin(this.#thresholdMs);
    this.#pause.begin(this.#config.pauseUntilMs);
    return this.#count();
  }

  #count(): Promise<void> {
    this.#isOpen = false;
    return new Promise((resolve) => {
      this.#cancelCount = this.#cursor.count(() => {
        this.#isOpen = !this.#isClosed;
        this.#isKnown = true;
        this.#early.take();
        this.wake();
        resolve();
      });
      // Nobody counts for one that is gone.
      if (this.#isClosed) resolve();
      this.#counted = resolve;
    });
  }

  get #thresholdMs(): number | undefined {
    return this.#config.inactiveThresholdMs || undefined;
  }

  /** Delivers nothing until `goOn`: it is being deleted. */
  halt(): void {
    this.#isOpen = false;
    this.#deps.turns.delete(this);
  }

  /** It could not be deleted. */
  goOn(): void {
    this.#isOpen = !this.#isClosed;
    this.#early.take();
    this.wake();
  }

  /** The agent is about to stop: whoever waits for messages is told, and nothing is delivered. Acks are still taken. */
  dismiss(): void {
    this.halt();
    this.#inactivity.close();
    this.outlet.close('shutdown');
  }

  /** It is over: another of its name, or none, has its place. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** It delivers nothing more. What it knows stays on the disk unless it is `deleted` there. */
  close(reason: 'deleted' | 'shutdown'): void {
    if (this.#isClosed) return;
    this.#isOpen = false;
    this.#isClosed = true;
    this.#deps.turns.delete(this);
    this.#cancelCount();
    this.#counted();
    this.#acks.close();
    this.#inactivity.close();
    this.#pause.close();
    this.#delivery.close();
    this.outlet.close(reason);
    if (reason === 'shutdown') this.record?.save();
    else this.record?.close();
    for (const cancel of this.#cancels) cancel();
    this.#cancels = [];
    if (reason === 'deleted') this.#cancelInterest();
  }

  /** It is closed, and another has taken its place: until then nothing that it needs goes. */
  leave(): void {
    this.#cancelInterest();
  }

  /** Another configuration, checked before; on the disk when it resolves. */
  reconfigure(config: ConsumerConfig): Promise<void> {
    return this.amend(() => config);
  }

  /** The same, made of the one that it has when its turn comes. */
  amend(change: (config: ConsumerConfig) => ConsumerConfig): Promise<void> {
    return this.#inTurn(() => this.#apply(change(this.#config)));
  }

  #inTurn<T>(body: () => Promise<T>): Promise<T> {
    return this.#changes.run(async () => {
      await this.#restored;
      return await body();
    });
  }

  async #apply(config: ConsumerConfig): Promise<void> {
    const before = this.#config;
    await this.record?.saveHead({ config, resumeSeq: this.#resumeSeq });
    if (this.#isClosed) return;
    this.#config = config;
    this.outlet.reconfigure(config);
    if (config.inactiveThresholdMs !== before.inactiveThresholdMs)
      this.#inactivity.begin(this.#thresholdMs);
    if (config.ackWaitMs !== before.ackWaitMs || config.backoffMs !== before.backoffMs)
      this.#acks.reconsider();
    if (config.push?.deliverSubject !== before.push?.deliverSubject) {
      // What a hub gets a second time it does not take.
      if (config.ackPolicy === 'flow_control') await this.#reset(undefined);
      else this.#acks.expireAll();
    }
    if (config.pauseUntilMs !== before.pauseUntilMs) {
      this.#pause.begin(config.pauseUntilMs);
      this.events.paused(this.pauseRemainingMs > 0, config.pauseUntilMs);
    }
    if (String(config.filterSubjects) === String(before.filterSubjects)) return this.wake();
    this.#filter = new SubjectFilter(config.filterSubjects);
    this.#cursor = this.#cursor.refiltered(this.#filter);
    this.#addInterest();
    await this.#count();
  }

  /**
   * Goes on with `seq`, or right above the ack floor, as if nothing from there on had been delivered; resolves with where,
   * on the disk. On a full disk it rejects with a PublishError: it has begun anew, but a crash takes that back. A `reader` is
   * a hub that reads the stream into one of its own, and expects the first consumer sequence.
   */
  reset(seq?: number, reader = false): Promise<number> {
    return this.#inTurn(() => this.#reset(seq, reader));
  }

  async #reset(wantedSeq: number | undefined, reader = false): Promise<number> {
    const upTo = this.#resumeSeq;
    const lasts = upTo === undefined ? [] : await lastSeqs(this.#stream, this.#config, upTo);
    const seq = Math.max(1, wantedSeq ?? this.progress.floor.streamSeq + 1);
    if (this.#isClosed) return seq;
    const before = this.progress.delivered.consumerSeq;
    this.progress.reset(seq);
    if (this.#config.ackPolicy === 'flow_control' && !reader) this.progress.estrange(before);
    const list = lasts.filter((last) => last >= seq);
    await this.#beginAnew(upTo === undefined ? { seq } : { seq, list, resumeSeq: upTo });
    return seq;
  }

  async #beginAnew(position: StartPosition): Promise<void> {
    this.halt();
    this.#cancelCount();
    this.#watcher.reset();
    this.#lastDeliveryMs = this.#acks.lastAckMs = undefined;
    this.#cursor = new Cursor(this.#stream, this.#filter, position);
    this.#addInterest();
    try {
      await this.record?.saved();
    } finally {
      await this.#count();
    }
  }

  /**
   * A hub asks for it anew, with `config`: goes on with `askedSeq`, but not below what is acknowledged, or right there; with
   * consumer sequences from 1 on. Rejects as `reconfigure` does.
   */
  renew(config: ConsumerConfig, askedSeq: number | undefined): Promise<void> {
    return this.#inTurn(async () => {
      this.halt();
      try {
        await this.record?.saveHead({ config, resumeSeq: undefined });
        await this.#renew(config, askedSeq);
      } catch (error) {
        this.goOn();
        throw error;
      }
    });
  }

  async #renew(config: ConsumerConfig, askedSeq: number | undefined): Promise<void> {
    if (this.#isClosed) return;
    this.#config = config;
    this.#resumeSeq = undefined;
    this.#filter = new SubjectFilter(config.filterSubjects);
    this.outlet.reconfigure(config);
    this.#inactivity.begin(this.#thresholdMs);
    const { floor } = this.progress;
    const asked = { fromSeq: floor.streamSeq + 1, toSeq: askedSeq ?? 0, max: config.maxAckPending };
    const waiting = await unconfirmed(this.#stream, this.#filter, asked, this.#deps.clock);
    if (this.#isClosed) return;
    const fromSeq = floor.streamSeq + 1;
    const seq = waiting === undefined ? fromSeq : Math.max(fromSeq, askedSeq ?? 0);
    this.progress.resumeAt(seq, waiting ?? []);
    await this.#beginAnew({ seq });
  }

  /** Delivers nothing until that wall-clock time; undefined ends a pause. On the disk when it resolves. */
  pause(untilMs: number | undefined): Promise<void> {
    return this.amend((config) => ({ ...config, pauseUntilMs: untilMs }));
  }

  get pauseRemainingMs(): number {
    return Math.max(0, (this.#config.pauseUntilMs ?? 0) - this.#deps.clock.wallMs());
  }

  #resume(): void {
    this.events.paused(false, this.#config.pauseUntilMs);
    this.wake();
  }

  // --- what others see ---

  get config(): ConsumerConfig {
    return this.#config;
  }

  get streamName(): string {
    return this.#stream.name;
  }

  /** Others may see it: it is made, or was there at the start. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  get isPull(): boolean {
    return this.#config.push === undefined;
  }

  get inUse(): boolean {
    return this.isPull ? this.outlet.waiting > 0 : this.outlet.bound;
  }

  get isKept(): boolean {
    return this.#deps.oldHubs.keeps(this);
  }

  get lastDueMs(): number | undefined {
    return this.#acks.lastDueMs;
  }

  expired(): void {
    this.#deps.expired(this);
  }

  /** Where it reads. */
  get cursor(): Cursor {
    return this.#cursor;
  }

  get pending(): number {
    return this.#cursor.pending;
  }

  get ackPending(): number {
    return this.progress.pending.size;
  }

  get redeliveries(): number {
    return this.progress.redeliveries.size;
  }

  get delivered(): SequencePair {
    const { consumerSeq } = this.progress.delivered;
    return { consumerSeq, streamSeq: this.#cursor.nextSeq - 1 };
  }

  get lastDeliveredSeq(): number {
    return this.progress.delivered.streamSeq;
  }

  get nextSeq(): number {
    return this.#cursor.nextSeq;
  }

  get keepsOthers(): boolean {
    return this.#stream.config.retention !== 'limits';
  }

  state(): ConsumerState {
    return consumerState(this, { delivery: this.#lastDeliveryMs, ack: this.#acks.lastAckMs });
  }

  /** Resolves when what it shows now is on the disk. */
  async settled(): Promise<void> {
    await this.record?.settled();
  }

  // --- acks ---

  /** An ack on a subject of this consumer. */
  acknowledge(tokens: AckTokens, message: Message): void {
    if (this.isPull) this.#inactivity.used();
    if (this.progress.isRestored && !this.#isDelivering) this.#acks.process(tokens, message);
    else this.#early.add(() => this.#acks.process(tokens, message));
  }

  /** See OutletHost. */
  confirmed(seq: number): void {
    if (this.#isClosed) return;
    const { streamSeq } = this.progress.floor;
    this.#acks.confirmed(seq);
    this.#deps.oldHubs.confirmed(this, this.progress.floor.streamSeq > streamSeq);
  }

  released(seq: number): void {
    this.#stream.released(seq);
  }

  whenDurable(done: () => void): void {
    this.#deps.whenDurable(done);
  }

  reply(subject: string): void {
    this.#deps.broker.answer({ subject, data: EMPTY });
  }

  /** A pull request. */
  request(reply: string | undefined, data: Buffer): void {
    if (reply === undefined) return;
    const { outlet } = this;
    if (!(outlet instanceof PullOutlet))
      return void this.send(reply, { headers: PUSH_BASED, data: EMPTY });
    // While it finds out where it stands, it waits with its heartbeats.
    if (!this.#isDelivering) outlet.request(reply, data, this.#isOpen);
    else this.#early.add(() => outlet.request(reply, data, this.#isOpen));
  }

  badNak(delay: string): void {
    this.#deps.log.debug(
      { stream: this.streamName, consumer: this.name, delay: delay.slice(0, 100) },
      'a client asked for a redelivery after a time that cannot be read: it comes at once',
    );
  }

  send(subject: string, message: Omit<Message, 'subject'>): boolean {
    return this.#deps.broker.answer({ ...message, subject }) !== 'nobody';
  }

  // --- delivering ---

  wake(): void {
    if (this.#isOpen) this.#deps.turns.add(this);
  }

  used(): void {
    this.#inactivity.used();
    this.#deps.oldHubs.moved(this);
  }

  /** Its inactive threshold begins anew. */
  waitAnew(): void {
    this.#inactivity.used();
  }

  /** See Deliverer. */
  deliver(untilMs: number): boolean {
    if (!this.#isOpen) return false;
    if (this.pauseRemainingMs > 0) {
      // Who does not wait is told that there is nothing.
      this.outlet.exhausted();
      return false;
    }
    this.#isDelivering = true;
    const { sent, more } = this.#delivery.run(untilMs);
    this.#isDelivering = false;
    if (sent > 0) {
      this.#lastDeliveryMs = this.#deps.clock.wallMs();
      if (this.isPull) this.#inactivity.used();
      this.record?.delivered();
    }
    this.#early.take();
    return more;
  }

  /** See Deliverer. */
  rest(): void {
    this.#cursor.rest();
  }

  /** Delivers what earlier runs have delivered and what is not acknowledged; then what is new. */
  resumeFrom(restore: (over: () => boolean) => Promise<StartPosition>): Promise<void> {
    const restored = this.#resumeFrom(restore);
    this.#restored = restored.catch(() => undefined);
    return restored;
  }

  async #resumeFrom(restore: (over: () => boolean) => Promise<StartPosition>): Promise<void> {
    this.#isKnown = true;
    this.progress.isRestored = false;
    const position = await restore(() => this.#isClosed);
    this.progress.isRestored = true;
    if (!this.#isClosed) await this.begin(position);
  }
}
