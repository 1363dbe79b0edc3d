// The way out of a push consumer: everything goes to its deliver subject, as long as somebody listens there.
//
// As in nats-server a listener is a subscription on exactly that subject, or with a deliver group a member of that group on
// it: who watches everything with a wildcard does not use up what is meant for others, but gets copies of what goes.
//
// What a client has not read is bounded: nothing goes while more than UNREAD_BYTES_MAX waits for the slowest listener (in
// a group: for each member). nats-server would cut such a client; here its consumer waits, with flow control or without.
// Acks of flow control come in on `$JS.FC.<stream>.<consumer>.<token>`: whoever takes them calls `flowControl`.

import type { Broker } from '../../broker.ts';
import type { Cancel, Clock } from '../../clock.ts';
import { FlowAcks, type FlowAckHost } from './flow-acks.ts';
import { isDoubted } from './old-hubs.ts';
import { PushFlow } from './push-flow.ts';
import { PushRate } from './push-rate.ts';
import type { ConsumerConfig, Outlet, OutletHost, PushConfig, Target } from './types.ts';

/** A client that has not read this much gets no more: an eighth of what may wait for one. */
const UNREAD_BYTES_MAX = 2 * 1024 * 1024;
/** Looks at it each time this much went. */
const UNREAD_STEP_BYTES = 64 * 1024;
/** Looks again when something had to wait for a client. */
const UNREAD_AGAIN_MS = 5;
/** Nobody took a message though somebody listens, such as one that may not receive it. */
const REFUSED_AGAIN_MS = 1_000;

const FLOW_REQUEST = Buffer.from('NATS/1.0 100 FlowControl Request\r\n\r\n', 'latin1');
const NOTHING = Buffer.alloc(0);

export interface PushDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  /** The largest message: what a rate limit lets through at once. */
  readonly messageBytesMax: number;
}

export class PushOutlet implements Outlet {
  readonly waiting = 0;
  readonly #host: OutletHost;
  readonly #deps: PushDeps;
  readonly #flow: PushFlow | undefined;
  /** Undefined where answers to flow control acknowledge nothing. */
  readonly #flowAcks: FlowAcks | undefined;
  #push: PushConfig;
  #target: Target;
  #rate: PushRate | undefined;
  #rateBps: number | undefined;
  #bound = false;
  #messageBytesMax = Infinity;
  /** Sent since the clients were looked at. */
  #unlookedBytes = 0;
  /** Waits for a client or for the rate. */
  #held: Cancel | undefined;
  #heartbeat: Cancel | undefined;
  #lastSentMs = 0;
  #unwatch: Cancel;

  /** `push` of the host's configuration must be there. */
  constructor(host: OutletHost, push: PushConfig, deps: PushDeps) {
    this.#host = host;
    this.#deps = deps;
    this.#push = push;
    this.#target = { subject: push.deliverSubject };
    this.#flow = push.flowControl === true ? new PushFlow(host.streamName, host.name) : undefined;
    if (host.config.ackPolicy === 'flow_control')
      this.#flowAcks = new FlowAcks(flowAckHost(host), deps.clock);
    this.#limit(host.config.rateLimitBps);
    this.#unwatch = this.#watch();
    this.#look();
  }

  get bound(): boolean {
    return this.#bound;
  }

  get messageBytesMax(): number {
    return this.#messageBytesMax;
  }

  get ready(): boolean {
    return this.#bound && this.#held === undefined && this.#flow?.isStalled !== true;
  }

  /** See Outlet. */
  target(bytes: number): Target | undefined {
    if (!this.ready) return undefined;
    if (this.#unlookedBytes >= UNREAD_STEP_BYTES) {
      if (this.#isUnread()) {
        this.#hold(UNREAD_AGAIN_MS);
        return undefined;
      }
      this.#unlookedBytes = 0;
    }
    const delayMs = this.#rate?.delayMs(bytes, this.#deps.clock.monotonicMs()) ?? 0;
    if (delayMs > 0) {
      this.#hold(delayMs);
      return undefined;
    }
    return this.#target;
  }

  /** See Outlet. */
  sent(_target: Target, bytes: number, routed: 'delivered' | 'nobody'): void {
    if (routed === 'nobody') {
      this.#look();
      if (this.#bound) this.#hold(REFUSED_AGAIN_MS);
      return;
    }
    this.#unlookedBytes += bytes;
    if (this.#rate !== undefined || this.#heartbeat !== undefined) {
      this.#lastSentMs = this.#deps.clock.monotonicMs();
      this.#rate?.spend(bytes, this.#lastSentMs);
    }
    const reply = this.#flow?.sent(bytes, this.#flowAcks?.sent(bytes));
    if (reply !== undefined) this.#ask(reply);
  }

  /** Asks for an answer to flow control. */
  #ask(reply: string): void {
    this.#flowAcks?.asked();
    this.#host.send(this.#target.subject, { reply, headers: FLOW_REQUEST, data: NOTHING });
  }

  /** See Outlet. */
  exhausted(): void {
    // Heartbeats come by time alone.
  }

  /** See Outlet. */
  flowControl(subject: string, headers: Buffer | undefined): void {
    if (this.#flow?.answered(subject) !== true) return;
    this.#flowAcks?.answered(headers);
    this.#host.wake();
  }

  /** See Outlet. */
  reconfigure(config: ConsumerConfig): void {
    const { push } = config;
    if (push === undefined) return;
    if (config.rateLimitBps !== this.#rateBps) this.#limit(config.rateLimitBps);
    // Another listener begins, who has had nothing.
    if (push.deliverSubject !== this.#push.deliverSubject) this.#unbind();
    this.#push = push;
    this.#target = { subject: push.deliverSubject };
    this.#unwatch();
    this.#unwatch = this.#watch();
    this.#release();
    this.#look();
    if (this.#bound) this.#host.wake();
  }

  /** See Outlet. */
  close(): void {
    this.#unwatch();
    this.#held?.();
    this.#unbind();
  }

  #unbind(): void {
    this.#bound = false;
    this.#heartbeat?.();
    this.#heartbeat = undefined;
    this.#flowAcks?.reset();
  }

  #watch(): Cancel {
    return this.#deps.broker.watchInterest(this.#push.deliverSubject, () => this.#look());
  }

  /** Sees whether somebody listens. */
  #look(): void {
    const listeners = this.#listeners();
    this.#messageBytesMax = Infinity;
    for (const listener of listeners)
      if ('offer' in listener && listener.messageBytesMax !== undefined)
        this.#messageBytesMax = Math.min(this.#messageBytesMax, listener.messageBytesMax);
    const bound = listeners.length > 0;
    if (bound === this.#bound) return;
    this.#unbind();
    this.#bound = bound;
    this.#host.used();
    if (!bound) return;
    this.#flow?.reset();
    const { idleHeartbeatMs } = this.#push;
    if (idleHeartbeatMs !== undefined) {
      this.#lastSentMs = this.#deps.clock.monotonicMs();
      this.#beatAfter(idleHeartbeatMs, idleHeartbeatMs);
    }
    this.#host.wake();
  }

  #listeners(): ReturnType<Broker['listeners']> {
    const { deliverSubject, deliverGroup } = this.#push;
    return this.#deps.broker.listeners(deliverSubject, deliverGroup);
  }

  /** Whether too much waits for the one who listens; in a group, for everybody. */
  #isUnread(): boolean {
    let most = 0;
    let least = Infinity;
    for (const listener of this.#listeners()) {
      const bytes = 'offer' in listener ? (listener.unreadBytes ?? 0) : 0;
      most = Math.max(most, bytes);
      least = Math.min(least, bytes);
    }
    return (this.#push.deliverGroup === undefined ? most : least) > UNREAD_BYTES_MAX;
  }

  #limit(bitsPerSecond: number | undefined): void {
    const { clock, messageBytesMax } = this.#deps;
    this.#rateBps = bitsPerSecond;
    this.#rate =
      bitsPerSecond === undefined
        ? undefined
        : new PushRate(bitsPerSecond, messageBytesMax, clock.monotonicMs());
  }

  /** Sends nothing for a while. */
  #hold(ms: number): void {
    this.#held?.();
    this.#held = this.#deps.clock.after(ms, () => {
      this.#held = undefined;
      this.#host.wake();
    });
  }

  #release(): void {
    this.#held?.();
    this.#held = undefined;
  }

  /** One timer, which looks when it runs how long it is since the last message. */
  #beatAfter(ms: number, intervalMs: number): void {
    this.#heartbeat = this.#deps.clock.after(ms, () => {
      const restMs = this.#lastSentMs + intervalMs - this.#deps.clock.monotonicMs();
      if (restMs <= 0) this.#beat();
      this.#beatAfter(restMs > 0 ? restMs : intervalMs, intervalMs);
    });
  }

  #beat(): void {
    this.#lastSentMs = this.#deps.clock.monotonicMs();
    const { consumerSeq, streamSeq } = this.#host.delivered;
    // Who is told of a stall answers at once, with nothing in it: that must not be taken for an acknowledgement.
    const stalled = this.#flowAcks === undefined ? this.#flow?.asked : undefined;
    const headers =
      'NATS/1.0 100 Idle Heartbeat\r\n' +
      `Nats-Last-Consumer: ${consumerSeq}\r\nNats-Last-Stream: ${streamSeq}\r\n` +
      (stalled === undefined ? '' : `Nats-Consumer-Stalled: ${stalled}\r\n`);
    this.#host.send(this.#target.subject, {
      headers: Buffer.from(`${headers}\r\n`, 'utf8'),
      data: NOTHING,
    });
    // Once more where no answer has come: the question may be lost with a leader of the other side.
    const { ackPending, config } = this.#host;
    if (this.#flow !== undefined && this.#flowAcks !== undefined)
      if (ackPending > 0 || isDoubted(config)) this.#ask(this.#flow.ask());
  }
}

function flowAckHost(host: OutletHost): FlowAckHost {
  return {
    get deliveredSeq() {
      return host.lastDeliveredSeq;
    },
    isOldHub: host.config.asked?.oldHub === true,
    confirmed: (seq) => host.confirmed(seq),
  };
}
