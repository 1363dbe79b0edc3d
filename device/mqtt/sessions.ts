// All sessions by Client Identifier: opened, taken over, ended, kept in their table and found again at start.

import type { Broker } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';
import type { Base } from './base.ts';
import type { MqttCounters } from './counters.ts';
import { DurableQueue, parseQueueKey } from './durable-queue.ts';
import { Budget, type MqttLimits } from './limits.ts';
import { MemoryQueue } from './memory-queue.ts';
import { encodeName, encodePublish, type QoS } from './packets.ts';
import { encodeQueued } from './queue.ts';
import type { Retained } from './retained.ts';
import { Session, type Link, type SessionPorts, type Subscription } from './session.ts';
import { scan, type Settled } from './tables.ts';
import { filterToSubject, subjectToTopic } from './topic.ts';

const SCAN_ROWS = 64;
const EMPTY = Buffer.alloc(0);

/** A row of the sessions table. */
interface SessionRow {
  v: 1;
  subscriptions: [filter: string, qos: QoS][];
}

export interface Opened {
  readonly session: Session;
  /** Session Present of CONNACK. */
  readonly present: boolean;
  /** Something was written: CONNACK waits until the disk has answered. */
  readonly written: boolean;
}

export class Sessions implements SessionPorts {
  readonly broker: Broker;
  readonly limits: Readonly<MqttLimits>;
  readonly counters: MqttCounters;
  readonly #base: Base;
  readonly #retained: Retained;
  readonly #byClientId = new Map<string, Session>();
  /** Bytes of all queues on the disk, and in memory. */
  readonly #disk: Budget;
  readonly #memory: Budget;
  /** Clean sessions that something was queued for in this turn, and those that wait for a retained message to be safe. */
  readonly #queued = new Set<Session>();
  readonly #awaitingRetained = new Set<Session>();
  #persistent = 0;
  #subscriptions = 0;
  #newClientIds = 0;
  // The forms of the message that was routed last: many sessions get the same.
  #form: { message: Message | undefined; stored: Buffer | undefined; plain: Buffer | undefined } = {
    message: undefined,
    stored: undefined,
    plain: undefined,
  };

  constructor(base: Base, retained: Retained) {
    this.#base = base;
    this.#retained = retained;
    this.broker = base.broker;
    this.limits = base.limits;
    this.counters = base.counters;
    this.#disk = new Budget(base.limits.queuedBytesTotalMax);
    this.#memory = new Budget(base.limits.memoryBytesTotalMax);
  }

  get stats(): {
    sessions: number;
    subscriptions: number;
    queuedBytes: number;
    memoryBytes: number;
  } {
    return {
      sessions: this.#byClientId.size,
      subscriptions: this.#subscriptions,
      queuedBytes: this.#disk.used,
      memoryBytes: this.#memory.used,
    };
  }

  /** Brings back the persistent sessions, their subscriptions and queues. */
  load(): void {
    const { store, limits } = this.#base;
    for (const { key, value } of scan(store.sessions, SCAN_ROWS)) {
      const session = this.#create(key, false);
      for (const subscription of this.#parse(key, value)) this.#subscribe(session, subscription);
    }
    for (const { key, value } of scan(store.queue, SCAN_ROWS)) {
      const { clientId, seq } = parseQueueKey(key);
      const session = this.#byClientId.get(clientId);
      if (session?.queue instanceof DurableQueue) {
        session.queue.recover(seq, value.length);
        // Whether these were sent before, nobody knows any more; a client takes DUP for "perhaps again".
        if (session.queue.messages <= limits.deliveriesInFlightMax) session.redeliveredSeq = seq;
      } else store.queue.delete(key);
    }
  }

  /** An identifier for a client that brings none [MQTT-3.1.3-6]: one that nobody has. */
  newClientId(): string {
    do this.#newClientIds++;
    while (this.#byClientId.has(`auto-${this.#newClientIds}`));
    return `auto-${this.#newClientIds}`;
  }

  /** Whether a new persistent session would be one too many. */
  full(clientId: string): boolean {
    const known = this.#byClientId.get(clientId);
    return this.#persistent >= this.limits.sessionsMax && (known === undefined || known.clean);
  }

  /** Whether a connection has this client's session now: a new one would take its place. */
  owned(clientId: string): boolean {
    return this.#byClientId.get(clientId)?.owner !== undefined;
  }

  /** Opens the session of a CONNECT for `link`, and takes it from whoever has it. `settled`: see `written`. */
  open(clientId: string, clean: boolean, link: Link, settled: Settled): Opened {
    const known = this.#byClientId.get(clientId);
    if (known !== undefined && !clean && !known.clean) {
      known.claim(link);
      // What is on disk already needs none of it, so that a full disk can be drained. One that was never saved does.
      const written = known.saving > 0;
      if (written) this.save(known, settled);
      return { session: known, present: true, written };
    }
    known?.owner?.takeOver();
    const written = this.#forget(clientId, known) || !clean;
    const session = this.#create(clientId, clean);
    session.claim(link);
    if (session.queue instanceof DurableQueue) session.queue.sweep();
    if (!clean) this.save(session, settled);
    else if (written) this.#base.store.whenDurable(settled);
    return { session, present: false, written };
  }

  /** Ends what there is of a client's session [MQTT-3.1.2-6]. Returns whether the disk has to forget something. */
  #forget(clientId: string, known: Session | undefined): boolean {
    if (known !== undefined) this.#discard(known);
    if (known?.clean === false) return true;
    // A row without a session: the disk has failed to forget it.
    if (this.#base.store.sessions.get(clientId) === undefined) return false;
    this.#base.store.sessions.delete(clientId);
    return true;
  }

  /** `link` is closed: a clean session ends with it. */
  close(session: Session, link: Link): void {
    if (session.release(link) && session.clean) this.#discard(session);
  }

  /** Adds subscriptions, each answered with its granted QoS, or undefined beyond a limit. */
  subscribe(session: Session, wanted: Subscription): QoS | undefined {
    const isNew = !session.subscriptions.has(wanted.subject);
    const { sessionSubscriptionsMax, subscriptionsMax } = this.limits;
    if (isNew && session.subscriptions.size >= sessionSubscriptionsMax) return undefined;
    if (isNew && this.#subscriptions >= subscriptionsMax) return undefined;
    this.#subscribe(session, wanted);
    return wanted.qos;
  }

  unsubscribe(session: Session, subject: string): void {
    const before = session.subscriptions.size;
    session.unsubscribe(subject);
    this.#subscriptions -= before - session.subscriptions.size;
  }

  /** Writes a persistent session's subscriptions. After a refusal, what the table holds counts. */
  save(session: Session, settled: Settled): void {
    const subscriptions = [...session.subscriptions.values()].map(
      ({ filter, qos }): [string, QoS] => [filter, qos],
    );
    const row: SessionRow = { v: 1, subscriptions };
    this.#base.store.sessions.put(session.clientId, Buffer.from(JSON.stringify(row)));
    session.saving++;
    this.#base.store.whenDurable((error) => {
      session.saving--;
      session.doubtful ||= error !== null;
      // A later save on its way may still succeed; the last answer decides.
      if (session.doubtful && session.saving === 0) this.#revert(session);
      settled(error);
    });
  }

  #revert(session: Session): void {
    session.doubtful = false;
    if (this.#byClientId.get(session.clientId) !== session) return;
    const value = this.#base.store.sessions.get(session.clientId);
    const kept = new Map(this.#parse(session.clientId, value).map((each) => [each.subject, each]));
    for (const subject of session.subscriptions.keys())
      if (!kept.has(subject)) this.unsubscribe(session, subject);
    for (const subscription of kept.values()) this.#subscribe(session, subscription);
    if (value === undefined) this.#discard(session);
  }

  qosOf(message: Message): QoS {
    return this.#base.routing.qosOf(message);
  }

  stored(message: Message): Buffer {
    return (this.#forms(message).stored ??= encodeQueued(message, false));
  }

  plain(message: Message): Buffer {
    return (this.#forms(message).plain ??= encodePlain(message.subject, message.data, false));
  }

  queued(session: Session): void {
    if (session.clean) return this.#awaitTurn(session);
    const held = this.#base.routing.hold();
    const settle = session.queue.seal();
    this.#base.store.whenDurable((error) => {
      this.counters.droppedRefusedMsgs += settle(error);
      held?.(error);
      session.pump();
    });
  }

  /** A clean session writes nothing, but Law 1 holds for it too: the message may be a stream's, on its way to the disk. */
  #awaitTurn(session: Session): void {
    if (this.#queued.has(session)) return;
    this.#queued.add(session);
    this.#base.gate.join(() => {
      this.#queued.delete(session);
      const settle = session.queue.seal();
      return () => {
        settle(null);
        session.pump();
      };
    });
  }

  overflow({ clientId }: Session): void {
    this.counters.droppedQueueMsgs++;
    this.#base.warn('the queue of an MQTT client is full: its newest messages are dropped', {
      clientId,
    });
  }

  pumpRetained(session: Session): void {
    for (const [subject, granted] of session.retainedBacklog) {
      // At QoS 1 they come in behind what is queued, a window at a time.
      if (session.owner?.roomy !== true) return;
      if (session.queue.messages >= this.limits.deliveriesInFlightMax) return;
      const message = this.#retained.read(subject);
      if (message === 'pending') {
        this.#awaitRetained(session);
        continue;
      }
      session.retainedBacklog.delete(subject);
      if (message === undefined) continue;
      const { qos, data } = message;
      if (granted === 1 && qos === 1) session.enqueue(encodeQueued({ subject, data }, true));
      else session.sendPlain(encodePlain(subject, data, true), data.length);
    }
  }

  /** The newest version of a retained message is not safe yet: come back when it is. */
  #awaitRetained(session: Session): void {
    if (this.#awaitingRetained.has(session)) return;
    this.#awaitingRetained.add(session);
    this.#base.gate.after(() => {
      this.#awaitingRetained.delete(session);
      session.pump();
    });
  }

  #forms(message: Message): { stored: Buffer | undefined; plain: Buffer | undefined } {
    if (this.#form.message !== message)
      this.#form = { message, stored: undefined, plain: undefined };
    return this.#form;
  }

  #subscribe(session: Session, subscription: Subscription): void {
    if (!session.subscriptions.has(subscription.subject)) this.#subscriptions++;
    session.subscribe(subscription);
  }

  #create(clientId: string, clean: boolean): Session {
    const { limits, store } = this.#base;
    const queue = clean
      ? new MemoryQueue(limits.cleanQueuedMessagesMax, this.#memory)
      : new DurableQueue(store.queue, clientId, {
          messagesMax: limits.queuedMessagesMax,
          bytesMax: limits.queuedBytesMax,
          disk: this.#disk,
          memory: this.#memory,
        });
    const session = new Session(clientId, clean, queue, this);
    this.#byClientId.set(clientId, session);
    if (!clean) this.#persistent++;
    return session;
  }

  /** The subscriptions of a row. What cannot be read is left out: the client will have to subscribe again. */
  #parse(clientId: string, value: Buffer | undefined): Subscription[] {
    if (value === undefined) return [];
    try {
      const row = JSON.parse(value.toString('utf8')) as SessionRow;
      return row.subscriptions.map(([filter, qos]) => {
        return { filter, subject: filterToSubject(filter), qos: qos === 1 ? 1 : 0 };
      });
    } catch (error) {
      this.#base.log.error(
        { clientId, err: error },
        'the subscriptions of an MQTT client cannot be read',
      );
      return [];
    }
  }

  #discard(session: Session): void {
    if (this.#byClientId.get(session.clientId) !== session) return;
    this.#byClientId.delete(session.clientId);
    this.#subscriptions -= session.subscriptions.size;
    session.end();
    if (session.clean) return;
    this.#persistent--;
    this.#base.store.sessions.delete(session.clientId);
  }
}

function encodePlain(subject: string, data: Buffer, retain: boolean): Buffer {
  const topic = subjectToTopic(subject);
  return topic === '' ? EMPTY : encodePublish(encodeName(topic), data, { retain });
}
