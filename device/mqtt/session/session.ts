// A Session [4.1]: the subscriptions of one Client Identifier, the messages at QoS 1 and 2 that are not finished in either
// direction, and the connection that has it just now. One that outlives its connection survives the process; another
// lives in memory. What few sessions need is made when it is needed: ten thousand idle ones are mostly subscriptions.
//
// To the broker a session is one subscriber, called once for each message however many filters match. QoS 1 and 2 go
// through the queue, which shows them when the disk has everything up to them (Law 1); QoS 0 goes at once or never.

import type { Broker, Subscriber } from '../../../src/broker.ts';
import type { Message } from '../../../src/message.ts';
import type { MqttCounters } from '../counters.ts';
import type { MqttLimits } from '../limits.ts';
import type { Origin } from '../routing.ts';
import type { MqttStore, Settled } from '../tables.ts';
import { sentTo, topicToSubject } from '../topic.ts';
import type { QoS } from '../wire/types.ts';
import { Deliveries, type DeliveriesOwner } from './deliveries.ts';
import { plain, type Forms } from './forms.ts';
import { Delivery, type DeliveryQueue, type Loss } from './queue.ts';
import type { Recall, Recaller } from './recall.ts';
import { ReceivedIds } from './received-ids.ts';
import type { SharedMember } from './shared-groups.ts';
import { Subscriptions } from './subscriptions.ts';
import type { Form, Link, Outgoing, Subscription, Will } from './types.ts';

/** What a session needs of its surroundings. */
export interface SessionPorts {
  readonly broker: Broker;
  readonly limits: Readonly<MqttLimits>;
  readonly counters: MqttCounters;
  readonly store: MqttStore;
  readonly forms: Forms;
  /** How a message was published; undefined for what did not come by MQTT. */
  origin(message: Message): Origin | undefined;
  newRecall(): Recall;
  newQueue(session: Session): DeliveryQueue;
  /** A message was just put into the queue of a session that ends with its connection: settle it with this turn. */
  awaitTurn(session: Session): void;
  lost(session: Session, loss: Loss, messages: number): void;
}

/** Whose a session is. */
export interface Identity {
  readonly clientId: string;
  readonly user: string | undefined;
  /** It outlives its connection. */
  readonly persistent: boolean;
}

/** Messages that did not reach the client, by reason. */
export type Losses = Record<Loss, number>;

const NO_LOSSES: Readonly<Losses> = Object.freeze({
  full: 0,
  expired: 0,
  refused: 0,
  large: 0,
  forbidden: 0,
  unreadable: 0,
});

export class Session implements DeliveriesOwner, SharedMember, Recaller {
  readonly clientId: string;
  readonly user: string | undefined;
  readonly persistent: boolean;
  /** Changed through `Sessions` only. */
  readonly subscriptions: Subscriptions;
  /** Session Expiry Interval; seconds. */
  expirySeconds = 0;
  /** The same as its row has it. */
  rowExpirySeconds = -1;
  /** Store time since when the client is away; undefined while it is connected. */
  awaySinceMs: number | undefined;
  /** Saves that the disk has not answered, and whether one of them was refused. */
  saving = 0;
  doubtful = false;
  will: Will | undefined;
  readonly #ports: SessionPorts;
  #deliveries: Deliveries | undefined;
  #received: ReceivedIds | undefined;
  #recall: Recall | undefined;
  #losses: Losses | undefined;
  #owner: Link | undefined;
  #live = false;
  #ended = false;

  constructor({ clientId, user, persistent }: Identity, ports: SessionPorts) {
    this.clientId = clientId;
    this.user = user;
    this.persistent = persistent;
    this.#ports = ports;
    const subscriber: Subscriber = {
      deliver: (message, to) => this.#deliver(sentTo(to, message)),
    };
    this.subscriptions = new Subscriptions((filter) => ports.broker.subscribe(filter, subscriber));
  }

  get owner(): Link | undefined {
    return this.#owner;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get limits(): Readonly<MqttLimits> {
    return this.#ports.limits;
  }

  get losses(): Readonly<Losses> {
    return this.#losses ?? NO_LOSSES;
  }

  get queuedMessages(): number {
    return this.#deliveries?.queue.messages ?? 0;
  }

  get queuedBytes(): number {
    return this.#deliveries?.queue.bytes ?? 0;
  }

  /** Messages sent whose handshake has not ended. */
  get inFlight(): number {
    return this.#deliveries?.inFlight ?? 0;
  }

  /** What goes out at QoS 1 and 2; undefined where nothing ever did. */
  get outgoing(): Deliveries | undefined {
    return this.#deliveries;
  }

  /** The same, made where there is none. */
  get deliveries(): Deliveries {
    if (this.#deliveries === undefined) {
      this.#deliveries = new Deliveries(this.#ports.newQueue(this), this);
      if (this.#live && this.#owner !== undefined) this.#deliveries.start(this.#owner);
    }
    return this.#deliveries;
  }

  get receivedIds(): number {
    return this.#received?.size ?? 0;
  }

  /** Packet Identifiers of QoS 2 PUBLISHes that the client has not released. */
  get received(): ReceivedIds {
    const { store, limits } = this.#ports;
    const table = this.persistent ? store.received : undefined;
    return (this.#received ??= new ReceivedIds(this.clientId, limits.receivedMax, table));
  }

  /** The retained messages that the client is still to get. */
  get recall(): Recall {
    return (this.#recall ??= this.#ports.newRecall());
  }

  /** Gives the session to a connection; nothing is sent before `start`. */
  claim(link: Link): void {
    this.#owner = link;
    this.#live = false;
    this.awaySinceMs = undefined;
  }

  /** CONNACK has left: sends again what was in flight, and then what waits. */
  start(): void {
    if (this.#owner === undefined || this.#live || this.#ended) return;
    this.#live = true;
    this.#deliveries?.start(this.#owner);
    this.pump();
  }

  /** `link` is gone. Does nothing when another has the session already. Returns whether `link` had it. */
  release(link: Link): boolean {
    if (this.#owner !== link) return false;
    this.#owner = undefined;
    this.#live = false;
    this.#deliveries?.stop();
    return true;
  }

  /** PUBACK. False where the client broke the protocol: it answers a QoS 2 message. */
  puback(packetId: number): boolean {
    const isFair = this.#deliveries?.puback(packetId) ?? true;
    this.#pumpRecall();
    return isFair;
  }

  /** PUBREC. False where the client broke the protocol: it answers a QoS 1 message. */
  pubrec(packetId: number, reasonCode: number): boolean {
    return this.deliveries.pubrec(packetId, reasonCode);
  }

  /** PUBCOMP. False where the client broke the protocol: no PUBREL was sent. */
  pubcomp(packetId: number): boolean {
    const isFair = this.#deliveries?.pubcomp(packetId) ?? true;
    this.#pumpRecall();
    return isFair;
  }

  /** Sends what may be sent: retained messages, and what is queued. */
  pump(): void {
    if (!this.#live) return;
    this.#pumpRecall();
    this.#deliveries?.pump();
  }

  /** Ends the session: no subscription and no queued message is left. Its connection is still to be released. */
  end(): void {
    this.#ended = true;
    this.#live = false;
    this.subscriptions.clear();
    this.#recall?.clear();
    this.#deliveries?.clear();
    this.#received?.clear();
  }

  enqueueShared(message: Message, published: QoS, subscription: Subscription): boolean {
    if (this.#ended || !this.#maySee(message.subject)) return false;
    const { filter, qos: granted, retainAsPublished, identifier } = subscription;
    const qos = published < granted ? published : granted;
    const origin = this.#ports.origin(message);
    const retain = retainAsPublished && origin?.retain === true;
    const identifiers = identifier === undefined ? [] : [identifier];
    if (qos === 0) {
      if (!this.#live || this.#owner?.roomy !== true) return false;
      const outgoing = this.#ports.forms.plain(message, retain, identifiers);
      return outgoing !== undefined && this.#sendPlain(outgoing);
    }
    const wanted = { qos, retain, identifiers, share: filter };
    const delivery = this.#ports.forms.delivery(message, wanted);
    return delivery !== undefined && this.#enqueue(delivery, false, origin);
  }

  enqueueSharedForm(form: Form, published: QoS, subscription: Subscription): boolean {
    const subject = topicToSubject(form.topic.toString('utf8', 2));
    if (this.#ended || !this.#maySee(subject)) return false;
    const { filter, qos: granted, identifier } = subscription;
    const qos = published < granted ? published : granted;
    const identifiers = identifier === undefined ? [] : [identifier];
    if (qos === 0) return this.#live && this.#sendPlain(plain(form, false, identifiers));
    const wanted = { qos, retain: false, identifiers, share: filter };
    return this.#enqueue(Delivery.of(form, wanted), false, undefined);
  }

  /** Recaller: one more retained message may be sent, or queued behind what waits. */
  get ready(): boolean {
    if (!this.#live || this.#owner?.roomy !== true) return false;
    return this.queuedMessages < this.limits.deliveriesInFlightMax;
  }

  /** Recaller: a retained message. */
  take(form: Form, qos: QoS, identifiers: readonly number[]): void {
    if (this.#ended) return;
    if (qos === 0) {
      this.#sendPlain(plain(form, true, identifiers));
      return;
    }
    const wanted = { qos, retain: true, identifiers, share: undefined };
    if (!this.#enqueue(Delivery.of(form, wanted), true, undefined)) this.lost('full', 1);
  }

  nowMs(): number {
    return this.#ports.store.nowMs();
  }

  whenDurable(settled: Settled): void {
    this.#ports.store.whenDurable(settled);
  }

  /** Whether the client may have a message, as far as its connection looks at each. */
  mayReceive(message: Delivery | string): boolean {
    if (this.#owner?.mayReceive === undefined) return true;
    const subject = typeof message === 'string' ? message : message.subject;
    return subject === undefined || this.#maySee(subject);
  }

  sent(bytes: number): void {
    const { counters } = this.#ports;
    counters.outMsgs++;
    counters.outBytes += bytes;
  }

  lost(loss: Loss, messages: number): void {
    this.#losses ??= { ...NO_LOSSES };
    this.#losses[loss] += messages;
    this.#ports.lost(this, loss, messages);
  }

  /** Room in the queue is room for another retained message. */
  #pumpRecall(): void {
    if (this.#live && this.#recall?.waiting === true) this.#recall.pump(this, () => this.pump());
  }

  #maySee(subject: string): boolean {
    return this.#owner?.mayReceive?.(subject) ?? true;
  }

  #deliver(message: Message): void {
    if (this.#ended) return; // It ended while this very message was being routed.
    const origin = this.#ports.origin(message);
    const own = origin !== undefined && origin.clientId === this.clientId;
    const match = this.subscriptions.match(message.subject, own);
    if (match === undefined || !this.#maySee(message.subject)) return;
    const published = origin?.qos ?? 2;
    const qos = published < match.qos ? published : match.qos;
    const retain = match.retainAsPublished && origin?.retain === true;
    const { forms } = this.#ports;
    if (qos === 0) {
      if (!this.#live) return;
      const outgoing = forms.plain(message, retain, match.identifiers);
      if (outgoing === undefined) this.lost('unreadable', 1);
      else if (this.#sendPlain(outgoing)) this.#passed(message);
      return;
    }
    const wanted = { qos, retain, identifiers: match.identifiers, share: undefined };
    const delivery = forms.delivery(message, wanted);
    if (delivery === undefined) this.lost('unreadable', 1);
    else if (this.#enqueue(delivery, true, origin)) this.#passed(message);
    else this.lost('full', 1);
  }

  /** Newer than the retained message of its topic that still waits. */
  #passed({ subject }: Message): void {
    if (this.#recall?.waiting === true) this.#recall.passed(subject);
  }

  /** Queues a message at QoS 1 or 2; false where the queue is full. The publisher waits for what is written. */
  #enqueue(delivery: Delivery, mayDrop: boolean, origin: Origin | undefined): boolean {
    const { queue } = this.deliveries;
    const seq = queue.push(delivery, this.nowMs(), mayDrop);
    if (seq === 0) return false;
    if (!this.persistent) {
      this.#ports.awaitTurn(this);
      return true;
    }
    const held = origin?.hold?.();
    this.#ports.store.whenDurable((error) => {
      queue.settle(seq, error);
      if (error !== null && !this.#ended) this.lost('refused', 1);
      held?.(error);
      this.#deliveries?.pump();
    });
    return true;
  }

  /** Sends a QoS 0 message, or drops it where the client is away or does not read. */
  #sendPlain(outgoing: Outgoing): boolean {
    if (!this.#live || this.#owner === undefined) return false;
    const { counters } = this.#ports;
    if (!this.#owner.roomy) {
      counters.droppedSlowMsgs++;
      return false;
    }
    if (this.#owner.publish(outgoing)) this.sent(outgoing.form.data.length);
    else this.lost('large', 1);
    return true;
  }
}
