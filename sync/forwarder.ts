// Brings one local stream to the hub: one publish in flight, each fenced, each begun from what the hub was last known to
// hold. reconcile.ts has the argument why every entry arrives once and in order; this file keeps its rules:
// an attempt whose outcome is unknown is followed by a reading, never by a second try, and `confirm` is called
// only for what the hub has acknowledged or shown.

import { assert } from '../src/assert.ts';
import { delay, type Clock } from '../src/clock.ts';
import type { Logger } from '../src/log.ts';
import { PublishError } from '../src/message.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';
import { Backoff, type Random } from './backoff.ts';
import type { Batch, BatchLimits } from './batch.ts';
import { BatchSize } from './batch-size.ts';
import { Checkpoints } from './checkpoints.ts';
import { ForwardLog } from './forward-log.ts';
import type { ForwarderState, ForwarderStatus } from './forwarder-status.ts';
import { HubError, isExplained, LOCAL_ERROR, localError } from './hub-error.ts';
import { filterOf, positionOf, type Origin } from './hub-message.ts';
import type { Hub, HubAck, HubStream } from './hub.ts';
import type { LocalStream } from './local-stream.ts';
import { ReadAhead } from './read-ahead.ts';
import { readBack } from './read-back.ts';
import { markOf, type LocalFacts } from './reconcile.ts';

/** The first delay after a failure is drawn from this. */
const RETRY_BASE_MS = 200;
const RETRY_MAX_MS = 15_000;
/** What only an operator can mend is looked at again at most this late after he did. */
const RECHECK_BASE_MS = 1_000;
const RECHECK_MAX_MS = 30_000;
/** Refusals of one message alone, each with the hub's stream looked at again, until it is set aside. */
const REFUSALS = { explained: 2, unexplained: 3 } as const;
/** stop() waits this long for the publish in flight. */
const STOP_MS = 2_000;

export interface ForwarderOptions {
  readonly gateway: string;
  readonly prefix: string;
  readonly hubStream: string;
  readonly stream: LocalStream;
}

export interface ForwarderParts {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
}

/** Where a run of publishes stands. */
interface Progress {
  afterSeq: number;
  fenceSeq: number;
  readonly stream: HubStream;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #origin: Origin;
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #log: ForwardLog;
  readonly #size = new BatchSize();
  readonly #ahead: ReadAhead;
  readonly #checkpoints: Checkpoints;
  readonly #retry: Backoff;
  readonly #recheck: Backoff;
  readonly #stopped = new AbortController();
  readonly #counters = {
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
  #wake: () => void = () => undefined;
  /** The link was down since the last reading began, if only for a moment: the hub may be another one than it was. */
  #linkLost = false;
  #tolerated: ReadonlySet<string> | null = null;
  /** The entry whose publish failed last, how often in a row it was refused alone, and by what. */
  #head = { seq: 0, refusals: 0, errCode: 0 };

  constructor(options: ForwarderOptions, { hub, clock, log, random }: ForwarderParts) {
    const { gateway, prefix, stream } = options;
    this.#options = options;
    this.#origin = { prefix, gateway, stream: stream.name };
    this.#hub = hub;
    this.#clock = clock;
    this.#ahead = new ReadAhead(this.#origin, stream, clock);
    this.#log = new ForwardLog(stream.name, clock, log);
    this.#checkpoints = new Checkpoints(this.#origin, options.hubStream, hub, this.#log);
    this.#retry = new Backoff({ baseMs: RETRY_BASE_MS, capMs: RETRY_MAX_MS }, random);
    this.#recheck = new Backoff({ baseMs: RECHECK_BASE_MS, capMs: RECHECK_MAX_MS }, random);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Lets the publish in flight end, for 2 s at most, and confirms nothing after that. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#ahead.drop();
    this.#wake();
    const late = new AbortController();
    await Promise.race([this.#running, delay(this.#clock, STOP_MS, late.signal)]);
    late.abort();
    this.#closed = true;
    this.#enter('stopped');
  }

  status(): ForwarderStatus {
    const { mark, durableSeq } = this.#options.stream;
    return {
      state: this.#state,
      detail: this.#detail,
      problem: this.#problem,
      confirmedSeq: mark?.seq ?? 0,
      hubSeq: mark?.hubSeq ?? 0,
      pending: Math.max(0, durableSeq - (mark?.seq ?? 0)),
      ...this.#counters,
    };
  }

  get #over(): boolean {
    return this.#stopped.signal.aborted;
  }

  #enter(state: ForwarderState, detail = ''): void {
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
    const { hubStream, stream } = this.#options;
    this.#enter(this.#tolerated === null ? 'checking' : 'reading back');
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
    if (verdict.mark !== null) stream.confirm(verdict.mark);
    for (const remark of verdict.remarks) {
      if (remark.kind === 'refill') this.#counters.refills++;
      this.#log.remark(remark);
    }
    this.#checkpoints.readBack(hub, verdict.checkpointSeq);
    this.#log.checked(hub, stream.durableSeq - verdict.afterSeq);
    return { afterSeq: verdict.afterSeq, fenceSeq: verdict.fenceSeq, stream: hub };
  }

  #localFacts(): LocalFacts {
    const { mark, firstSeq, durableSeq, graceSeq } = this.#options.stream;
    const epochs = this.#options.stream.epochs();
    const tolerated = this.#tolerated;
    return { origin: this.#origin, epochs, mark, firstSeq, durableSeq, graceSeq, tolerated };
  }

  /** Sends what is there and what comes, until the hub must be read again or stop(). */
  async #forward(progress: Progress): Promise<void> {
    this.#ahead.drop();
    while (!this.#over) {
      if (this.#linkLost) throw localError('linkDown', this.#hub.detail);
      const batch = this.#ahead.take(progress.afterSeq, this.#limits(progress));
      if (batch === undefined) {
        this.#enter('caught up');
        this.#log.caughtUp();
        await this.#happening();
        continue;
      }
      this.#enter('forwarding');
      if ('tooLarge' in batch) await this.#setAside(batch.tooLarge.entry, batch.tooLarge.reason);
      else if ((await this.#send(batch, progress)) === 'read back') return;
    }
  }

  #limits({ stream, fenceSeq }: Progress): BatchLimits {
    const messages = Math.min(this.#size.messages, this.#checkpoints.messagesMax);
    return {
      messages: stream.atomic ? messages : 1,
      bytes: this.#size.bytes,
      messageBytesMax: Math.min(this.#hub.maxPayload, stream.messageBytesMax),
      fenceBytes:
        this.#options.hubStream.length + filterOf(this.#origin).length + String(fenceSeq).length,
    };
  }

  /** Publishes one batch and confirms it. Throws a HubError when back-off shall come before the reading. */
  async #send(batch: Batch, progress: Progress): Promise<'go on' | 'read back'> {
    const { entries, messages, bytes, single } = batch;
    const { hubStream, stream } = this.#options;
    const tail = entries.at(-1);
    assert(tail !== undefined, 'a batch is not empty');
    const last = positionOf(tail);
    // After a refusal it is tried quite alone: the checkpoint may be what the hub does not take.
    const bare = single || this.#head.refusals > 0;
    const checkpoint = bare ? undefined : this.#checkpoints.next(last);
    const sentMs = this.#clock.monotonicMs();
    let ack: HubAck;
    try {
      const publishing = this.#hub.publish(messages, {
        stream: hubStream,
        fence: { filter: filterOf(this.#origin), seq: progress.fenceSeq },
        patienceMs: this.#size.patienceMs(messages.length, bytes),
        ...(checkpoint === undefined ? {} : { checkpoint }),
      });
      this.#ahead.prepare(last.seq, this.#limits(progress));
      ack = await publishing;
    } catch (error) {
      this.#ahead.drop();
      if (!(error instanceof HubError) || this.#over) throw error;
      return this.#failed(error, batch);
    }
    // After stop() the store may be closed. What the hub has stored is found by the next start.
    if (this.#closed) return 'read back';
    stream.confirm(markOf(this.#origin, last, ack.seq, progress.stream.created));
    this.#succeeded(batch, this.#clock.monotonicMs() - sentMs);
    if (ack.duplicate) {
      // The hub has had it before, so it counts; but what is last there now only a reading can tell.
      this.#counters.duplicates++;
      return 'read back';
    }
    progress.afterSeq = last.seq;
    progress.fenceSeq = ack.seq;
    if (checkpoint !== undefined) this.#checkpoints.acknowledged(ack.seq);
    return 'go on';
  }

  #succeeded({ entries, messages, bytes }: Batch, elapsedMs: number): void {
    this.#size.acknowledged(bytes, elapsedMs);
    this.#problem = null;
    this.#retry.reset();
    this.#recheck.reset();
    this.#head = { seq: 0, refusals: 0, errCode: 0 };
    this.#counters.batches++;
    this.#counters.sentMsgs += messages.length;
    this.#counters.sentBytes += bytes;
    for (const entry of entries) if (entry.kind === 'gap') this.#counters.gaps++;
    this.#log.sent(messages.length);
  }

  /** What to do about a publish that failed; throws the error where it shall be waited for first. */
  async #failed(error: HubError, { entries, messages }: Batch): Promise<'go on' | 'read back'> {
    const { kind, errCode } = error;
    const [head] = entries;
    assert(head !== undefined, 'a batch is not empty');
    const { seq } = positionOf(head);
    const again = this.#head.seq === seq && this.#head.errCode === errCode;
    this.#head = { seq, errCode, refusals: again ? this.#head.refusals : 0 };
    if (kind === 'poison') return this.#refused(error, head, messages.length);
    if (errCode === LOCAL_ERROR.timeout || errCode === LOCAL_ERROR.linkDown)
      this.#size.unanswered(messages.length);
    // The hub does not say which message of a batch it could not take.
    if (errCode === 10176 && again) this.#size.refused(messages.length);
    // Known IDs refuse a whole batch, and too many gateways at once every batch: one message needs neither.
    if ((errCode === 10201 || errCode === 10210) && again) this.#size.alone();
    // The fence moved: consumers removed the last message, or somebody was faster. Look at once, but only once.
    if (errCode === 10071 && !again) return 'read back';
    throw error;
  }

  /** The hub will not take a message: find out which, look at the hub once more, then set it aside. */
  async #refused(error: HubError, head: Entry, messages: number): Promise<'go on' | 'read back'> {
    if (messages > 1) {
      // Nothing of the batch was stored, and the fence still says so.
      this.#size.refused(messages);
      return 'go on';
    }
    const explained = isExplained(error.errCode);
    this.#head.refusals++;
    if (this.#head.refusals >= (explained ? REFUSALS.explained : REFUSALS.unexplained)) {
      await this.#setAside(head, error.message);
      return 'go on';
    }
    if (explained) return 'read back';
    throw error;
  }

  /** Moves one message out of the way into the dead-letter stream; waits for as long as that has no room. */
  async #setAside(entry: Entry, reason: string): Promise<void> {
    const { seq } = positionOf(entry);
    if (entry.kind === 'gap')
      throw new HubError('configuration', `the hub does not take a gap record: ${reason}`, {
        errCode: LOCAL_ERROR.unfitStream,
        hint: 'a gap record is some 400 bytes: raise max_msg_size of the hub stream',
      });
    while (!this.#over) {
      try {
        await this.#options.stream.deadLetter(seq, reason);
        this.#counters.rejected++;
        this.#head = { seq: 0, refusals: 0, errCode: 0 };
        return this.#log.setAside(seq, reason);
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        this.#log.notSetAside(seq, error);
        this.#enter('backing off', `no room for a dead letter: ${error.message}`);
        await delay(this.#clock, Math.max(1, this.#retry.nextMs()), this.#stopped.signal);
      }
    }
  }

  /** Waits before the hub is read again. */
  async #recover(error: HubError): Promise<void> {
    if (this.#over) return;
    this.#counters.retries++;
    if (!this.#hub.connected) {
      this.#log.failed(error, 0);
      this.#size.reconnected();
      return;
    }
    const configuration = error.kind === 'configuration';
    const waitMs = Math.max(1, (configuration ? this.#recheck : this.#retry).nextMs());
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    this.#enter(configuration ? 'misconfigured' : 'backing off', error.message + hint);
    this.#log.failed(error, waitMs);
    await delay(this.#clock, waitMs, this.#stopped.signal);
  }
}
