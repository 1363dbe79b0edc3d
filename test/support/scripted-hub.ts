// A hub in memory, behind a link that a script can break: it implements Hub over a HubModel, takes its time from a Clock
// and its luck from a seed. Faults happen to requests one by one (lost, answered into the void, late: a zombie) or to
// the whole (cut, black hole, election, restart, rollback). Nothing here uses a real timer.

import type { Cancel, Clock } from '../../src/clock.ts';
import { HubError, localError } from '../../sync/hub-error.ts';
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
import { HubModel, MODEL_DEFAULTS, type ModelAck, type Write, writesOf } from './hub-model.ts';
import { FastBatchModel, type Registered } from './fast-batch-model.ts';
import { randomInt, type Random } from './random.ts';
import { killScripted, ScriptedBatch, sealScripted } from './scripted-batch.ts';
import { ScriptedLine } from './scripted-line.ts';
import type { Call, Effect, Faults, Proposal, ScriptedHubOptions } from './scripted-options.ts';

export type { Faults };

export class ScriptedHub implements Hub {
  readonly model: HubModel;
  readonly batches: FastBatchModel;
  readonly maxPayload: number;
  readonly faults: Faults = {
    lostRequest: 0,
    lostAck: 0,
    zombie: 0,
    zombieMinMs: 2_000,
    zombieMaxMs: 9_000,
  };
  /** Consulted for each publish: an error here is the hub's answer, and nothing is stored. */
  refuse: (messages: readonly HubMessage[], options: PublishOptions) => HubError | undefined = () =>
    undefined;
  /** What happened, for "must happen" counters. */
  readonly counters = {
    publishes: 0,
    stored: 0,
    duplicates: 0,
    repeatedInLog: 0,
    refusedByFence: 0,
    lostRequests: 0,
    lostAcks: 0,
    zombies: 0,
    zombiesPassed: 0,
    elections: 0,
    droppedProposals: 0,
  };
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #latencyMs: number;
  readonly #commitMs: number;
  readonly #timeoutMs: number;
  readonly #keepAliveMs: number;
  readonly #reconnectMs: number;
  readonly #listeners = new Set<() => void>();
  readonly #calls = new Set<Call>();
  readonly line: ScriptedLine;
  #proposals: Proposal[] = [];
  #missing: 'create' | 'fail' | undefined;
  #connected = true;
  #why = '';
  #down = false;
  #black = false;
  #cancelBlack: Cancel = () => undefined;
  #leaderless = false;
  #applyFromMs = 0;
  /** The request that is arriving is a late one. */
  #zombie = false;

  constructor(options: ScriptedHubOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.model = new HubModel({ ...MODEL_DEFAULTS, ...options.config });
    this.batches = new FastBatchModel(this.#fastStore());
    this.#latencyMs = options.latencyMs ?? 5;
    this.#commitMs = options.commitMs ?? 2;
    this.line = new ScriptedLine({
      clock: options.clock,
      random: options.random,
      faults: this.faults,
      latencyMs: this.#latencyMs,
      batches: this.batches,
      isBlack: () => this.#black,
      isLeaderless: () => this.#leaderless,
    });
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#keepAliveMs = options.keepAliveMs ?? 15_000;
    this.#reconnectMs = options.reconnectMs ?? 100;
    this.maxPayload = options.maxPayload ?? 1024 * 1024;
    this.#missing = options.missing;
  }

  // --- the script ---

  /** The link breaks, and stays down until heal(). */
  cut(): void {
    this.#down = true;
    this.#drop('the link was cut');
  }

  /** The link works again; the gateway needs a moment to notice. */
  heal(): void {
    this.#down = false;
    this.#black = false;
    this.#cancelBlack();
    this.#reconnectSoon();
  }

  /** Nothing passes and nobody is told; the keep-alive notices. Until heal(). */
  blackHole(): void {
    this.#black = true;
    this.#down = true;
    for (const call of this.#calls) {
      call.transit?.cancel();
      call.transit = undefined;
    }
    this.line.swallow();
    this.#cancelBlack();
    this.#cancelBlack = this.#clock.after(this.#keepAliveMs, () => this.#drop('nothing heard'));
  }

  /** A new leader has all in its log, and applies what was under way after `ms`, unheard, before all that comes later. */
  behindItsLog(ms: number): void {
    this.counters.elections++;
    for (const proposal of this.#proposals) {
      proposal.done = () => undefined;
      // Of IDs under way only the leader knows that took them.
      this.model.leave(proposal.keys.splice(0));
      proposal.cancel();
      proposal.cancel = this.#clock.after(ms, () => this.#commit());
    }
    this.#applyFromMs = this.#clock.monotonicMs() + ms;
  }

  /** The leader steps down: proposals are committed or forgotten, nobody hears which, and nobody answers for a while. */
  changeLeader(electionMs: number): void {
    this.counters.elections++;
    const proposals = this.#proposals;
    this.#proposals = [];
    let lost = false;
    const nowMs = this.#clock.monotonicMs();
    // Most of a fast batch survives.
    const luck = 0.5 ** (1 + Math.floor(proposals.length / 4));
    for (const { writes, keys, cancel, registered } of proposals) {
      cancel();
      this.model.leave(keys);
      // A log loses a suffix, never one from the middle.
      lost ||= this.#random() < luck;
      if (lost) this.counters.droppedProposals++;
      else {
        const ack = this.#store(writes);
        if (registered !== undefined) this.batches.stored(registered, ack, nowMs, false);
      }
    }
    if (this.model.config.replicas === 3) this.batches.changeLeader(nowMs);
    this.#leaderless = true;
    this.#clock.after(electionMs, () => {
      this.#leaderless = false;
    });
  }

  /** The hub's process ends and comes back: connections drop. */
  restart(): void {
    this.#proposals = this.#forget();
    this.model.restart(this.#clock.monotonicMs());
    this.#drop('the hub restarted');
    this.#reconnectSoon();
  }

  /** A power cut at the hub: it comes back without its last `count` messages. */
  rollBack(count: number): void {
    this.#proposals = this.#forget();
    this.model.rollBack(count, this.#clock.monotonicMs());
    this.#drop('the hub lost power');
    this.#reconnectSoon();
  }

  /** A missing stream is created by an operator. */
  appear(): void {
    this.#missing = undefined;
  }

  recreate(): void {
    this.#proposals = this.#forget();
    this.model.recreate();
  }

  /** Somebody else stores a message at the hub. */
  storeForeign(subject: string, id?: string): number {
    const message = {
      subject,
      headerLines: '',
      data: Buffer.alloc(0),
      ...(id === undefined ? {} : { id }),
    };
    return this.model.store([{ message }], this.#clock.monotonicMs()).seq;
  }

  #forget(): Proposal[] {
    this.batches.forget();
    for (const { cancel, keys } of this.#proposals) {
      cancel();
      this.model.leave(keys);
    }
    return [];
  }

  // --- the link ---

  get connected(): boolean {
    return this.#connected;
  }

  get detail(): string {
    return this.#connected ? '' : this.#why;
  }

  onChange(fn: () => void): Cancel {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  reconnect(reason: string): void {
    this.#drop(reason);
    this.#reconnectSoon();
  }

  /** Lost and made again before anybody could look. */
  blink(): void {
    this.#drop('a blink');
    this.#connected = true;
    this.#changed();
  }

  #drop(why: string): void {
    if (!this.#connected) return;
    this.#why = why;
    this.#connected = false;
    for (const call of this.#calls) this.#strand(call);
    this.#calls.clear();
    this.line.drop();
    this.#changed();
  }

  /** A call on a link that has gone: its request may be lost, arrive all the same, or arrive much later. */
  #strand(call: Call): void {
    const { transit } = call;
    transit?.cancel();
    call.transit = undefined;
    const luck = this.#random();
    if (transit !== undefined && luck < this.faults.zombie) this.#late(transit.arrive);
    else if (transit !== undefined && luck > (1 + this.faults.zombie) / 2)
      this.#clock.after(this.#latencyMs, transit.arrive);
    call.reject(localError('linkDown', 'the connection to the hub ended'));
  }

  #late(arrive: () => void): void {
    this.counters.zombies++;
    const { zombieMinMs, zombieMaxMs } = this.faults;
    this.#clock.after(zombieMinMs + randomInt(this.#random, zombieMaxMs - zombieMinMs + 1), () => {
      this.#zombie = true;
      arrive();
      this.#zombie = false;
    });
  }

  #reconnectSoon(): void {
    this.#clock.after(this.#reconnectMs, () => {
      if (this.#connected || this.#down) return;
      this.#connected = true;
      this.#changed();
    });
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** One request: there, its effect, and back, unless luck has it otherwise. */
  #call<T>(effect: Effect<T>, timeoutMs = this.#timeoutMs): Promise<T> {
    if (!this.#connected) return Promise.reject(localError('linkDown', this.detail));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let settled = false;
    const settle = (end: () => void): void => {
      if (settled) return;
      settled = true;
      cancelTimeout();
      this.#calls.delete(call);
      end();
    };
    const call: Call = {
      reject: (error) => settle(() => reject(error)),
      transit: undefined,
    };
    const cancelTimeout = this.#clock.after(timeoutMs, () =>
      call.reject(localError('timeout', `no answer within ${timeoutMs} ms`)),
    );
    this.#calls.add(call);
    const lostAck = this.#random() < this.faults.lostAck;
    const arrive = (): void => {
      call.transit = undefined;
      effect((result) => {
        if (lostAck) return void this.counters.lostAcks++;
        this.#clock.after(this.#latencyMs, () => {
          if (this.#black) return;
          settle(() => (result instanceof HubError ? reject(result) : resolve(result)));
        });
      });
    };
    this.#send(call, arrive);
    return promise;
  }

  #send(call: Call, arrive: () => void): void {
    if (this.#black) return;
    const luck = this.#random();
    const { lostRequest, zombie } = this.faults;
    if (luck < lostRequest) this.counters.lostRequests++;
    else if (luck < lostRequest + zombie) this.#late(arrive);
    else call.transit = { arrive, cancel: this.#clock.after(this.#latencyMs, arrive) };
  }

  // --- the requests ---

  stream(name: string): Promise<HubStream> {
    return this.#call((done) => {
      if (this.#missing === 'create') this.#missing = undefined;
      this.#answer(done, name, () => this.model.describe());
    });
  }

  lastBySubject(stream: string, filter: string): Promise<HubStored | null> {
    return this.#read(stream, () => this.model.last(filter));
  }

  nextBySubject(stream: string, filter: string, fromSeq: number): Promise<HubStored | null> {
    return this.#read(stream, () => this.model.next(filter, fromSeq));
  }

  messageAt(stream: string, seq: number): Promise<HubStored | null> {
    return this.#read(stream, () => this.model.at(seq));
  }

  async *scanHeaders(
    stream: string,
    filter: string,
    fromSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    yield await this.#read(stream, () =>
      this.model.under(filter, fromSeq).map(({ seq, subject, id }) => ({ seq, subject, id })),
    );
  }

  async deleteMessage(stream: string, seq: number): Promise<void> {
    await this.#read(stream, () => {
      if (!this.model.remove(seq))
        throw new HubError('configuration', `sequence ${seq} not found`, { errCode: 10043 });
    });
  }

  #read<T>(stream: string, read: () => T): Promise<T> {
    return this.#call((done) =>
      this.#answer(done, stream, () => {
        this.model.expire(this.#clock.monotonicMs());
        return read();
      }),
    );
  }

  /** Answers from the leader; without one nobody does. */
  #answer<T>(done: (result: T | HubError) => void, stream: string, answer: () => T): void {
    if (this.#leaderless) return;
    try {
      if (this.#missing !== undefined || stream !== this.model.config.name)
        throw new HubError('configuration', 'stream not found', {
          errCode: 10059,
          hint: 'create it',
        });
      done(answer());
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      done(error);
    }
  }

  publish(messages: readonly HubMessage[], options: PublishOptions): Promise<HubAck> {
    const all = writesOf(messages, options);
    const [first] = all;
    if (options.seal !== undefined && first !== undefined) return this.#seal(options.seal, first);
    const timeoutMs = this.#keepAliveMs + (options.patienceMs ?? 0);
    return this.#call((done) => {
      this.counters.publishes++;
      if (this.#leaderless) return done(localError('noResponders', 'nobody takes it'));
      const refusal = this.refuse(messages, options);
      if (refusal !== undefined) return done(refusal);
      // The answer speaks of the last message, which the checkpoint stands behind.
      const behind = options.checkpoint === undefined ? 0 : 1;
      this.#apply(all, (result) =>
        done(result instanceof HubError ? result : { ...result, seq: result.seq - behind }),
      );
    }, timeoutMs);
  }

  #apply(all: readonly Write[], done: (result: ModelAck | HubError) => void): void {
    const { model } = this;
    try {
      const duplicate = model.check(all, this.#clock.monotonicMs());
      if (duplicate !== undefined) {
        this.counters.duplicates++;
        return done(duplicate);
      }
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      if (error.errCode === 10071 || error.errCode === 10164) this.counters.refusedByFence++;
      return done(error);
    }
    if (this.#zombie) this.counters.zombiesPassed++;
    this.#propose(all, done);
  }

  #propose(all: readonly Write[], done: Proposal['done'], registered?: Registered): void {
    const proposal: Proposal = {
      writes: all,
      keys: this.model.enter(all),
      done,
      ...(registered === undefined ? {} : { registered }),
      cancel: () => undefined,
    };
    this.#proposals.push(proposal);
    if (this.model.config.replicas === 1) return this.#commit();
    const behindMs = Math.max(0, this.#applyFromMs - this.#clock.monotonicMs());
    proposal.cancel = this.#clock.after(behindMs + this.#commitMs, () => this.#commit());
  }

  /** The log commits in order. */
  #commit(): void {
    const proposal = this.#proposals.shift();
    if (proposal === undefined) return;
    this.model.leave(proposal.keys);
    const repeated = this.model.repeated(proposal.writes, this.#clock.monotonicMs());
    if (repeated !== undefined) {
      this.counters.repeatedInLog++;
      return proposal.done(repeated);
    }
    const ack = this.#store(proposal.writes);
    const { registered } = proposal;
    if (registered !== undefined)
      this.batches.stored(registered, ack, this.#clock.monotonicMs(), true);
    proposal.done(ack);
  }

  // --- fast batches ---

  openBatch(first: HubMessage, options: FastBatchOptions): Promise<FastBatch> {
    if (!this.#connected) return Promise.reject(localError('linkDown', this.detail));
    const post = this.line.post();
    const batch = new ScriptedBatch(options, post);
    this.line.onDrop((error) => batch.fail(error));
    return batch.open(first, this.#clock, this.#keepAliveMs);
  }

  killBatch(_stream: string, _subject: string, id: string): Promise<void> {
    if (!this.#connected) return Promise.reject(localError('linkDown', this.detail));
    const parts = { post: this.line.post(), clock: this.#clock, timeoutMs: this.#keepAliveMs };
    return killScripted(id, parts, (fail) => this.line.onDrop(fail));
  }

  #seal(id: string, write: Write): Promise<HubAck> {
    return this.#call((done) => {
      if (this.#leaderless) return done(localError('noResponders', 'nobody takes it'));
      sealScripted(this.batches, { id, write, nowMs: this.#clock.monotonicMs() }, done);
    }, this.#keepAliveMs);
  }

  #fastStore(): ConstructorParameters<typeof FastBatchModel>[0] {
    const { model } = this;
    return {
      batched: () => model.config.batched && this.#missing === undefined,
      check: (write) => {
        const refusal = this.refuse([write.message as HubMessage], { stream: model.config.name });
        if (refusal !== undefined) throw refusal;
        return model.checkFast(write, this.#clock.monotonicMs());
      },
      propose: (write, registered) => this.#propose([write], () => undefined, registered),
    };
  }

  #store(all: readonly Write[]): ModelAck {
    this.counters.stored += all.length;
    return this.model.store(all, this.#clock.monotonicMs());
  }
}
