// What becomes of a consumer's messages after their delivery: acks of all kinds, the ack wait, and what of it the disk
// has to know before anybody is answered.

import type { Cancel, Clock } from '../../clock.ts';
import type { Message } from '../../message.ts';
import type { AckState } from './ack-state.ts';
import type { AckTokens } from './ack-subject.ts';
import { parseAckVerb, type AckVerb } from './ack-verb.ts';
import type { ConsumerEvents } from './consumer-events.ts';
import type { ConsumerRecord } from './consumer-record.ts';
import type { PendingMessage } from './pending.ts';
import type { ConsumerConfig } from './types.ts';

/** What the reason says where the stream dropped a message that was delivered and not acknowledged. */
const GONE = 'Unacknowledged message was deleted';

/** What acknowledging needs of its consumer. */
export interface AckHost {
  readonly config: ConsumerConfig;
  readonly progress: AckState;
  readonly events: ConsumerEvents;
  /** Undefined where nothing of it outlives this process. */
  readonly record: ConsumerRecord | undefined;
  /** The stream's retention depends on acks. */
  readonly keepsOthers: boolean;
  wake(): void;
  /** Stream sequences from here on were not delivered. */
  readonly nextSeq: number;
  released(seq: number): void;
  /** Calls `done` when everything up to now is on the disk; never if that fails. */
  whenDurable(done: () => void): void;
  reply(subject: string): void;
  /** A pull request that came with an ack. */
  request(reply: string | undefined, data: Buffer): void;
  badNak(text: string): void;
}

export class Acknowledging {
  readonly #host: AckHost;
  readonly #clock: Clock;
  #cancelTimer: Cancel | undefined;
  #timerMs = Infinity;
  #sampled = 0;
  /** Wall clock of the last ack. */
  lastAckMs: number | undefined;

  constructor(host: AckHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
  }

  // --- deliveries ---

  /** `message` was delivered at `nowMs`: it is due again when its ack wait is over. */
  track(message: PendingMessage, nowMs: number): void {
    // What is not acknowledged comes again when the other side asks for it.
    if (this.#host.config.ackPolicy === 'flow_control') return;
    const dueMs = nowMs + this.#waitMs(message);
    this.#host.progress.pending.deadlines.set(message, dueMs);
    if (dueMs < this.#timerMs) this.#arm();
  }

  #waitMs({ deliveries }: PendingMessage): number {
    const { ackWaitMs, backoffMs = [] } = this.#host.config;
    return backoffMs[Math.min(deliveries, backoffMs.length) - 1] ?? ackWaitMs;
  }

  /** When the last of what is pending is due; undefined for nothing. */
  get lastDueMs(): number | undefined {
    let last: number | undefined;
    const { ackWaitMs, backoffMs = [] } = this.#host.config;
    // There may be more steps than a call has arguments.
    const waitMs = backoffMs.reduce((most, ms) => Math.max(most, ms), ackWaitMs);
    for (const { sentMs } of this.#host.progress.pending.all())
      last = Math.max(last ?? 0, sentMs + waitMs);
    return last;
  }

  #arm(): void {
    const dueMs = this.#host.progress.pending.deadlines.nextMs;
    if (dueMs === undefined || dueMs >= this.#timerMs) return;
    this.#cancelTimer?.();
    this.#timerMs = dueMs;
    this.#cancelTimer = this.#clock.after(Math.max(0, dueMs - this.#clock.monotonicMs()), () => {
      this.#timerMs = Infinity;
      this.#expire();
      this.#arm();
    });
  }

  #expire(): void {
    const { progress } = this.#host;
    const due = progress.pending.deadlines.due(this.#clock.monotonicMs());
    if (due.length === 0) return;
    for (const message of due.sort((a, b) => a.seq - b.seq)) this.#again(message);
    this.#host.wake();
  }

  /** Everything that is pending is due: it goes to somebody else now. */
  expireAll(): void {
    for (const message of this.#host.progress.pending.all()) this.#again(message);
    this.#host.wake();
  }

  /** It is to be delivered once more. What waits for that already is given up at its turn. */
  #again(message: PendingMessage): void {
    const { progress, config } = this.#host;
    if (progress.redeliveries.has(message.seq)) return;
    if (config.maxDeliver > 0 && message.deliveries >= config.maxDeliver) this.exceed(message);
    else progress.redeliveries.add(message.seq);
  }

  /** It was delivered as often as it may be. */
  exceed(message: PendingMessage): void {
    const { progress, events, record } = this.#host;
    progress.exceed(message);
    record?.acked();
    events.exceeded(message);
  }

  /** The stream has dropped a message that was delivered. `quietly`: a purge of everything is no news of each. */
  gone(seq: number, quietly: boolean): void {
    const { progress, events, record } = this.#host;
    const message = progress.ack(seq);
    record?.acked();
    if (message === undefined) return;
    this.lastAckMs = this.#clock.wallMs();
    if (!quietly) events.terminated(seq, message.consumerSeq, message.deliveries, GONE);
    this.#host.wake();
  }

  /** Everything before `fromSeq` was purged. */
  purged(fromSeq: number): void {
    const { progress, record } = this.#host;
    const wasPending = progress.purged(fromSeq).length > 0;
    if (wasPending) this.lastAckMs = this.#clock.wallMs();
    record?.acked();
    if (wasPending) this.#host.wake();
  }

  // --- acks ---

  /** An ack has come on a subject of the consumer. */
  process(tokens: AckTokens, { data, reply }: Message): void {
    const verb = parseAckVerb(data);
    const answers = tokens.seq > 0 && this.#apply(tokens, verb);
    if (verb.kind === 'next') return this.#host.request(reply, verb.request);
    if (reply === undefined || !answers) return;
    this.#host.record?.save();
    this.#host.whenDurable(() => this.#host.reply(reply));
  }

  /** Returns whether it is answered. */
  #apply(tokens: AckTokens, verb: AckVerb): boolean {
    switch (verb.kind) {
      case 'ack':
      case 'next':
        return this.#ack(tokens, true);
      case 'term': {
        const answers = this.#ack(tokens, false);
        const { seq, consumerSeq, deliveries } = tokens;
        this.#host.events.terminated(seq, consumerSeq, deliveries, verb.reason);
        return answers;
      }
      case 'nak':
        this.#nak(tokens, verb);
        return true;
      case 'progress':
        this.#progress(tokens.seq);
        return true;
      case 'unknown':
        return true;
    }
  }

  #ack({ seq, consumerSeq }: AckTokens, sample: boolean): boolean {
    const { progress, config, record, keepsOthers } = this.#host;
    // Never delivered.
    if (seq >= this.#host.nextSeq) return false;
    if (config.ackPolicy === 'none') return keepsOthers;
    const wasFull = config.maxAckPending > 0 && progress.pending.size >= config.maxAckPending;
    if (config.ackPolicy === 'all') {
      if (seq <= progress.floor.streamSeq || consumerSeq <= progress.floor.consumerSeq) return true;
      const done = progress.ackAll(seq, consumerSeq);
      if (keepsOthers) for (const each of done) this.#host.released(each.seq);
      this.lastAckMs = this.#clock.wallMs();
    } else {
      const comesLate = progress.exceeded.has(seq);
      const message = progress.ack(seq);
      this.lastAckMs = this.#clock.wallMs();
      if (message === undefined && !comesLate) return true;
      if (sample && message !== undefined && config.samplePercent !== undefined)
        this.#sample(message, consumerSeq);
      if (keepsOthers) this.#host.released(seq);
    }
    if (keepsOthers) record?.ackedAtOnce();
    else record?.acked();
    if (wasFull) this.#host.wake();
    return true;
  }

  /** Whoever reads the stream into another has stored what was delivered up to `seq`. */
  confirmed(seq: number): void {
    const { progress, config, record, keepsOthers } = this.#host;
    const upTo = Math.min(seq, progress.delivered.streamSeq);
    if (upTo <= progress.floor.streamSeq) return;
    const wasFull = config.maxAckPending > 0 && progress.pending.size >= config.maxAckPending;
    for (const each of progress.confirm(upTo)) if (keepsOthers) this.#host.released(each.seq);
    this.lastAckMs = this.#clock.wallMs();
    if (keepsOthers) record?.ackedAtOnce();
    else record?.acked();
    if (wasFull) this.#host.wake();
  }

  /** Every hundredth and so on, evenly. */
  #sample(message: PendingMessage, consumerSeq: number): void {
    this.#sampled += this.#host.config.samplePercent ?? 0;
    if (this.#sampled < 100) return;
    this.#sampled -= 100;
    this.#host.events.acked(message, consumerSeq, this.#clock.monotonicMs() - message.sentMs);
  }

  #nak({ seq, consumerSeq, deliveries }: AckTokens, verb: Extract<AckVerb, { kind: 'nak' }>): void {
    const { progress, events } = this.#host;
    const message = progress.pending.get(seq);
    if (message === undefined || consumerSeq > progress.delivered.consumerSeq) return;
    events.naked(seq, consumerSeq, deliveries);
    if (verb.bad !== undefined) this.#host.badNak(verb.bad);
    if (verb.delayMs === undefined) {
      progress.redeliveries.add(seq);
      return this.#host.wake();
    }
    progress.redeliveries.delete(seq);
    // As if it had been delivered when its ack wait is over at that time: another ack wait finds it so.
    const delayMs = Math.max(0, verb.delayMs);
    message.sentMs = this.#clock.monotonicMs() + delayMs - this.#waitMs(message);
    this.track(message, message.sentMs);
  }

  #progress(seq: number): void {
    const message = this.#host.progress.pending.get(seq);
    if (message === undefined) return;
    message.sentMs = this.#clock.monotonicMs();
    this.track(message, message.sentMs);
  }

  /** Looks again at what is due: the ack wait is another one. */
  reconsider(): void {
    for (const message of this.#host.progress.pending.all()) this.track(message, message.sentMs);
  }

  close(): void {
    this.#cancelTimer?.();
    this.#timerMs = Infinity;
  }
}
