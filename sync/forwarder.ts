// Brings one local stream to the hub: connects, reads back what the hub holds, chooses a way, sends, and after any doubt
// begins again with the reading. reconcile.ts has the argument why every entry arrives once and in order; the ways
// (stop-and-wait.ts, fast-drain.ts, chain.ts, window.ts) keep its rules, and `confirm` is called only for what the hub has
// acknowledged or shown.

import { delay, type Clock } from '../src/clock.ts';
import type { Logger } from '../src/log.ts';
import { PublishError } from '../src/message.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';
import { Backoff, type Random } from './backoff.ts';
import { BatchSize } from './batch-size.ts';
import { Checkpoints } from './checkpoints.ts';
import { chooseWay, type Choice, type Wishes } from './choose-way.ts';
import { FastLane } from './fast-lane.ts';
import { ForwardLog } from './forward-log.ts';
import type { ForwardState } from './forward-state.ts';
import type { ForwarderState, ForwarderStatus } from './forwarder-status.ts';
import { HubError, localError } from './hub-error.ts';
import { positionOf, type Origin, type Position } from './hub-message.ts';
import type { Hub } from './hub.ts';
import type { LocalStream } from './local-stream.ts';
import { readBack } from './read-back.ts';
import { markOf, type FirstLook, type LocalFacts } from './reconcile.ts';
import { StopAndWait } from './stop-and-wait.ts';
import type { Errand, Progress, Sent } from './way.ts';
import { readWindow, type WindowReading } from './window-reading.ts';

/** The first delay after a failure is drawn from this. */
const RETRY_BASE_MS = 200;
const RETRY_MAX_MS = 15_000;
/** What only an operator can mend is looked at again at most this late after he did. */
const RECHECK_BASE_MS = 1_000;
const RECHECK_MAX_MS = 30_000;
/** stop() waits this long for what is in flight. */
const STOP_MS = 2_000;

export interface ForwarderOptions {
  readonly gateway: string;
  readonly prefix: string;
  readonly hubStream: string;
  readonly stream: LocalStream;
  /** What of a way must survive a restart. */
  readonly state: ForwardState;
  readonly wishes: Wishes;
  /** A hub that makes no progress for this long with many messages in flight is given up. */
  readonly silenceMs: number;
}

export interface ForwarderParts {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #origin: Origin;
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #log: ForwardLog;
  readonly #size = new BatchSize();
  readonly #checkpoints: Checkpoints;
  readonly #base: StopAndWait;
  readonly #fast: FastLane;
  readonly #retry: Backoff;
  readonly #recheck: Backoff;
  readonly #stopped = new AbortController();
  readonly #counters = {
    steps: 0,
    sentMsgs: 0,
    sentBytes: 0,
    batches: 0,
    retries: 0,
    readBacks: 0,
    refills: 0,
    rejected: 0,
    gaps: 0,
    duplicates: 0,
  };
  #running: Promise<void> | undefined;
  /** stop() has returned. */
  #closed = false;
  #state: ForwarderState = 'stopped';
  #detail = '';
  #problem: string | null = null;
  #choice: Choice | undefined;
  /** The hub stream removes nothing by itself. */
  #hubKeeps = false;
  #wake: () => void = () => undefined;
  /** The link was down since the last reading began, if only for a moment: the hub may be another one than it was. */
  #linkLost = false;
  #tolerated: ReadonlySet<string> | null = null;
  #firstLook: FirstLook | undefined;

  constructor(options: ForwarderOptions, { hub, clock, log, random }: ForwarderParts) {
    const { gateway, prefix, stream, hubStream } = options;
    this.#options = options;
    this.#origin = { prefix, gateway, stream: stream.name };
    this.#hub = hub;
    this.#clock = clock;
    this.#log = new ForwardLog(stream.name, clock, log);
    this.#checkpoints = new Checkpoints(this.#origin, hubStream, hub, this.#log);
    const errand = this.#errand();
    this.#base = new StopAndWait(errand, this.#checkpoints);
    this.#fast = new FastLane(errand, this.#log, options, random);
    this.#retry = new Backoff({ baseMs: RETRY_BASE_MS, capMs: RETRY_MAX_MS }, random);
    this.#recheck = new Backoff({ baseMs: RECHECK_BASE_MS, capMs: RECHECK_MAX_MS }, random);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Lets what is in flight end, for 2 s at most, and confirms nothing after that. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#base.drop();
    this.#wake();
    const late = new AbortController();
    await Promise.race([this.#running, delay(this.#clock, STOP_MS, late.signal)]);
    late.abort();
    this.#closed = true;
    this.#enter('stopped');
  }

  status(): ForwarderStatus {
    const { mark, durableSeq } = this.#options.stream;
    const { base, acceleration, order, why } = this.#choice ?? {};
    return {
      state: this.#state,
      detail: this.#detail,
      problem: this.#problem,
      base: base ?? null,
      acceleration: acceleration ?? null,
      order: order ?? this.#options.wishes.order,
      why: why ?? '',
      confirmedSeq: mark?.seq ?? 0,
      hubSeq: mark?.hubSeq ?? 0,
      pending: Math.max(0, durableSeq - (mark?.seq ?? 0)),
      ...this.#counters,
      ...this.#fast.counters,
    };
  }

  get #over(): boolean {
    return this.#stopped.signal.aborted;
  }

  #enter(state: ForwarderState, detail = ''): void {
    this.#counters.steps++;
    this.#state = state;
    this.#detail = detail;
    if (state === 'misconfigured' || state === 'conflict') this.#problem = detail;
    if (state === 'caught up') this.#problem = null;
  }

  async #run(): Promise<void> {
    const cancels = [
      this.#options.stream.onDurable(() => this.#wake()),
      this.#hub.onChange(() => {
        this.#linkLost ||= !this.#hub.connected;
        this.#wake();
      }),
    ];
    try {
      while (!this.#over) {
        try {
          await this.#connected();
          const progress = await this.#readBack();
          if (progress === undefined) return;
          await this.#forward(progress);
        } catch (error) {
          if (!(error instanceof HubError)) throw error;
          await this.#recover(error);
        }
      }
    } finally {
      for (const cancel of cancels) cancel();
    }
  }

  /** Resolves when something has happened: a message is durable, the link changed, or it is time to stop. */
  #happening(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #connected(): Promise<void> {
    while (!this.#hub.connected && !this.#over) {
      this.#enter('connecting', this.#hub.detail);
      await this.#happening();
    }
    this.#linkLost = false;
  }

  /** Asks the hub where to go on. Undefined: not at all, because of a conflict or stop(). */
  async #readBack(): Promise<Progress | undefined> {
    if (this.#over) return undefined;
    const { hubStream, stream, state } = this.#options;
    this.#enter(this.#tolerated === null ? 'checking' : 'reading back');
    await this.#fast.settle();
    const { stream: hub, verdict } = await readBack(this.#hub, hubStream, this.#origin, () =>
      this.#localFacts(),
    );
    if (this.#over) return undefined;
    this.#counters.readBacks++;
    if (verdict.kind === 'conflict') {
      this.#enter('conflict', `another gateway sends as ${this.#origin.gateway}`);
      this.#log.conflict(this.#origin, verdict);
      return undefined;
    }
    this.#tolerated ??= verdict.foreign;
    this.#firstLook ??= { created: hub.created, lastSeq: hub.lastSeq };
    const facts = { hub: this.#hub, origin: this.#origin, local: stream, state };
    const found: WindowReading = await readWindow(facts, hub, verdict);
    if (this.#over) return undefined;
    const { afterSeq, fenceSeq, mark, remarks, ahead } = found;
    if (mark !== null) stream.confirm(mark);
    for (const remark of remarks) {
      if (remark.kind === 'refill') this.#counters.refills++;
      this.#log.remark(remark);
    }
    this.#checkpoints.readBack(hub, verdict.checkpointSeq);
    this.#log.checked(hub, stream.durableSeq - afterSeq);
    this.#hubKeeps = !hub.removes;
    this.#choice = chooseWay(hub, this.#origin, this.#options.wishes);
    this.#log.way(this.#choice);
    return { afterSeq, fenceSeq, stream: hub, ahead };
  }

  #localFacts(): LocalFacts {
    const { mark, firstSeq, durableSeq, graceSeq } = this.#options.stream;
    const epochs = this.#options.stream.epochs();
    const seen = { tolerated: this.#tolerated, firstLook: this.#firstLook };
    return { origin: this.#origin, epochs, mark, firstSeq, durableSeq, graceSeq, ...seen };
  }

  /** Sends what is there and what comes, until the hub must be read again or stop(). */
  async #forward(progress: Progress): Promise<void> {
    this.#base.drop();
    while (!this.#over) {
      if (this.#linkLost) throw localError('linkDown', this.#hub.detail);
      if (this.#options.stream.durableSeq > progress.afterSeq) this.#enter('forwarding');
      const step = await this.#step(progress);
      if (step === 'read back') return;
      if (step === 'sent') continue;
      this.#enter('caught up');
      this.#log.caughtUp();
      await this.#happening();
    }
  }

  async #step(progress: Progress): Promise<'nothing' | 'sent' | 'read back'> {
    const choice = this.#choice;
    const fast = choice === undefined ? undefined : await this.#fast.step(choice, progress);
    if (fast !== undefined) return fast;
    const step = await this.#base.step(progress, this.#fast.killed);
    if (step === 'sealed') await this.#fast.sealed();
    if (step === 'sent' || step === 'sealed') this.#fast.released();
    return step === 'sealed' ? 'sent' : step;
  }

  /** What the ways of sending work with. */
  #errand(): Errand {
    const { hubStream, stream } = this.#options;
    return {
      origin: this.#origin,
      hubStream,
      stream,
      hub: this.#hub,
      clock: this.#clock,
      size: this.#size,
      stopped: this.#stopped.signal,
      linkLost: () => this.#linkLost,
      confirm: (last, hubSeq, created) => this.#confirm(last, hubSeq, created),
      sent: (counts) => this.#sent(counts),
      setAside: (entry, reason) => this.#setAside(entry, reason),
    };
  }

  #confirm(last: Position, hubSeq: number, hubCreated: string): boolean {
    if (this.#closed) return false;
    // Where the hub keeps what it has, a start that finds an old mark learns there where we were: it may be late.
    const late = this.#hubKeeps && this.#options.state.value.window === null;
    this.#options.stream.confirm(markOf(this.#origin, last, hubSeq, hubCreated), late);
    return true;
  }

  #sent({ messages, bytes, gaps, duplicates = 0 }: Sent): void {
    this.#counters.steps++;
    this.#problem = null;
    this.#retry.reset();
    this.#recheck.reset();
    this.#counters.batches++;
    this.#counters.sentMsgs += messages;
    this.#counters.sentBytes += bytes;
    this.#counters.gaps += gaps;
    this.#counters.duplicates += duplicates;
    this.#log.sent(messages);
  }

  /** Moves one message out of the way into the dead-letter stream; waits for as long as that has no room. */
  async #setAside(entry: Entry, reason: string): Promise<void> {
    const { seq } = positionOf(entry);
    while (!this.#over) {
      try {
        await this.#options.stream.deadLetter(seq, reason);
        this.#counters.rejected++;
        return this.#log.setAside(seq, reason);
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        this.#log.notSetAside(seq, error);
        this.#enter('backing off', `no room for a dead letter: ${error.message}`);
        await delay(this.#clock, Math.max(1, this.#retry.nextMs()), this.#stopped.signal);
      }
    }
  }

  /** Waits before the hub is read again; a new link ends the wait, for what was wrong may have gone with the old one. */
  async #recover(error: HubError): Promise<void> {
    if (this.#over) return;
    this.#counters.retries++;
    if (!this.#hub.connected) {
      this.#log.failed(error, 0);
      this.#size.reconnected();
      this.#fast.restart();
      return;
    }
    const configuration = error.kind === 'configuration';
    const waitMs = Math.max(1, (configuration ? this.#recheck : this.#retry).nextMs());
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    this.#enter(configuration ? 'misconfigured' : 'backing off', error.message + hint);
    if (error.standing) this.#problem = error.message + hint;
    this.#log.failed(error, waitMs);
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stopped.signal, over.signal]);
    const cancel = this.#hub.onChange(() => over.abort());
    await delay(this.#clock, waitMs, signal);
    cancel();
  }
}
