// Delivers the messages of a consumer, one at a time: what is due once more before what is new, each to whoever the outlet
// names, with the subject on which it is acknowledged.

import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import type { StoredMessage } from '../stream-types.ts';
import { ackPrefix } from './ack-subject.ts';
import type { AckState } from './ack-state.ts';
import type { Acknowledging } from './acknowledging.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import type { Cursor } from './cursor.ts';
import type { SourcingLedger } from './sourcing-ledger.ts';
import { deliverable, Replay, withoutExpectations } from './deliverable.ts';
import type { ConsumerConfig, Outlet } from './types.ts';

/** The clock is looked at after so many deliveries. */
const LOOKS_EVERY = 16;

/** What it delivers for. */
export interface DeliveryHost {
  readonly name: string;
  readonly config: ConsumerConfig;
  readonly progress: AckState;
  readonly outlet: Outlet;
  readonly cursor: Cursor;
  /** The stream's retention depends on what was delivered. */
  readonly keepsOthers: boolean;
}

export interface DeliveryDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly sourcing: SourcingLedger;
}

export class Delivery {
  readonly #host: DeliveryHost;
  readonly #stream: ConsumerStream;
  readonly #acks: Acknowledging;
  readonly #on: DeliveryDeps;
  readonly #ackPrefix: string;
  #replay: Replay | undefined;

  constructor(host: DeliveryHost, stream: ConsumerStream, acks: Acknowledging, on: DeliveryDeps) {
    this.#host = host;
    this.#stream = stream;
    this.#acks = acks;
    this.#on = on;
    this.#ackPrefix = ackPrefix(stream.name, host.name);
  }

  /** Keeps the pace of storage up to `untilSeq`; `due` is called when a message has become due. */
  replay(untilSeq: number, due: () => void): void {
    this.#replay = new Replay(this.#on.clock, untilSeq, due);
  }

  close(): void {
    this.#replay?.close();
  }

  /** Delivers until nothing can go now, or `untilMs` of the clock is past: then there may be `more`. */
  run(untilMs: number): { sent: number; more: boolean } {
    const { outlet } = this.#host;
    this.#noteLost();
    let sent = 0;
    for (let looks = 1; outlet.ready; looks++) {
      const next = this.next();
      if (next === 'sent') sent++;
      else if (next === 'wait') break;
      // A look that found nothing may have been at thousands of rows.
      if (next !== 'more' && looks % LOOKS_EVERY > 0) continue;
      if (this.#on.clock.monotonicMs() >= untilMs) return { sent, more: outlet.ready };
    }
    return { sent, more: false };
  }

  /** Delivers one message. `wait`: nothing can go now; `more`: it takes another look. */
  next(): 'sent' | 'more' | 'wait' {
    const { progress } = this.#host;
    if (progress.redeliveries.size > 0) return this.#redeliver();
    const { maxAckPending } = this.#host.config;
    // Who asked not to wait waits nevertheless: more will come with the next ack.
    if (maxAckPending > 0 && progress.pending.size >= maxAckPending) return 'wait';
    const message = this.#host.cursor.peek();
    if (message === 'more') return 'more';
    if (message === 'end') {
      this.#host.outlet.exhausted();
      return 'wait';
    }
    if (this.#replay !== undefined && !this.#replay.isDue(message)) return 'wait';
    if (bytesOf(message) > this.#host.outlet.messageBytesMax) return this.#passOver(message);
    const routed = this.#transmit(message, 1, this.#host.cursor.pending - 1);
    if (routed !== 'sent') return routed;
    this.#host.cursor.take(message);
    const nowMs = this.#on.clock.monotonicMs();
    if (this.#host.config.ackPolicy === 'none') {
      progress.sentForGood(message.seq);
      if (this.#host.keepsOthers) this.#stream.released(message.seq);
    } else {
      this.#acks.track(progress.sent(message.seq, nowMs), nowMs);
    }
    return 'sent';
  }

  /** Whoever listens cannot take it: a gap that is told of, and no end of everything behind it. */
  #passOver(message: StoredMessage): 'more' {
    this.#host.cursor.take(message);
    this.#on.sourcing.oversize(this.#stream.name, this.#host.name, message.seq, bytesOf(message));
    return 'more';
  }

  /**
   * What went before it was delivered, a hub misses that listens. One that does not may long have it through another
   * consumer, and one that is brought to ask anew says by its question what it lacks.
   */
  #noteLost(): void {
    const { cursor, config, name, outlet, progress } = this.#host;
    if (config.direct !== true || !outlet.ready || progress.isStrange) return;
    const stream = this.#stream;
    const { nextSeq } = cursor;
    let { lost } = cursor;
    cursor.lost = 0;
    if (config.filterSubjects.length === 0) {
      // Also what went in the moment in which it came, of which nobody was told.
      lost = stream.firstSeq - nextSeq;
      cursor.skipTo(stream.firstSeq);
    }
    if (lost > 0) this.#on.sourcing.missed(stream.name, name, nextSeq - 1, lost);
  }

  #redeliver(): 'sent' | 'more' | 'wait' {
    const { progress } = this.#host;
    const { maxDeliver } = this.#host.config;
    const seq = progress.redeliveries.next() ?? 0;
    const pending = progress.pending.get(seq);
    if (pending === undefined) return 'more';
    if (maxDeliver > 0 && pending.deliveries >= maxDeliver) {
      this.#acks.exceed(pending);
      return 'more';
    }
    const message = this.#stream.get(seq);
    if (message === undefined) {
      this.#acks.gone(seq, false);
      return 'more';
    }
    const routed = this.#transmit(message, pending.deliveries + 1, this.#host.cursor.pending);
    if (routed !== 'sent') {
      progress.redeliveries.putBack(seq);
      return routed;
    }
    const nowMs = this.#on.clock.monotonicMs();
    progress.sentAgain(pending, nowMs);
    this.#acks.track(pending, nowMs);
    return 'sent';
  }

  /** Offers a message to whoever is next. `wait` where nobody takes it now. */
  #transmit(stored: StoredMessage, deliveries: number, pending: number): 'sent' | 'more' | 'wait' {
    const { subject, seq, timeMs } = stored;
    const consumerSeq = this.#host.progress.delivered.consumerSeq + 1;
    const reply = `${this.#ackPrefix}${deliveries}.${seq}.${consumerSeq}.${Math.trunc(timeMs)}000000.${Math.max(0, pending)}`;
    const { direct, sourcing, headersOnly } = this.#host.config;
    // A hub that says `sourcing` knows by itself what is none of its business.
    const isOldHub = direct === true && sourcing !== true;
    const content = isOldHub ? withoutExpectations(stored) : stored;
    const message = deliverable(content, reply, headersOnly === true);
    const bytes =
      Buffer.byteLength(subject) +
      reply.length +
      message.data.length +
      (message.headers?.length ?? 0);
    const target = this.#host.outlet.target(bytes);
    if (target === undefined) {
      this.#host.outlet.exhausted();
      return 'wait';
    }
    const pinned =
      target.headers === undefined ? message : deliverable(message, reply, false, target.headers);
    const routed = this.#on.broker.deliverTo(target.subject, pinned);
    this.#host.outlet.sent(target, bytes, routed === 'nobody' ? 'nobody' : 'delivered');
    return routed === 'nobody' ? 'more' : 'sent';
  }
}

function bytesOf({ headers, data }: StoredMessage): number {
  return data.length + (headers?.length ?? 0);
}
