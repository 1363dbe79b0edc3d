// A Session [3.1.2.4]: the subscriptions of one Client Identifier, and the QoS 1 messages that it has yet to
// acknowledge. A persistent one lives on while its client is away, and survives the process; a clean one ends with its
// connection.
//
// Each message is delivered once, whatever number of filters match, at the highest granted QoS. To the broker a session is
// two subscribers, one for its QoS 0 filters and one for those of QoS 1; the broker calls each at most once a message.
// The first keeps silent when a QoS 1 filter matches too.

import type { Broker, Subscriber } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';
import { matches } from '../../src/subject.ts';
import type { MqttCounters } from './counters.ts';
import type { MqttLimits } from './limits.ts';
import type { QoS } from './packets.ts';
import { encodeDelivery, type DeliveryQueue, type QueuedMessage } from './queue.ts';
import { isReserved, levelUp } from './topic.ts';

/** The client's side of a session: its connection. */
export interface Link {
  /** The client reads: more may be sent. */
  readonly roomy: boolean;
  send(packet: Buffer): void;
  /** Another connection has the session now. */
  takeOver(): void;
}

export interface Subscription {
  /** The Topic Filter as the client wrote it. */
  readonly filter: string;
  /** The same as a NATS subject: what identifies it. */
  readonly subject: string;
  readonly qos: QoS;
}

/** What a session needs of its surroundings. */
export interface SessionPorts {
  readonly broker: Broker;
  readonly limits: Readonly<MqttLimits>;
  readonly counters: MqttCounters;
  /** The QoS that a message was published with. */
  qosOf(message: Message): QoS;
  /** The stored form of a message, and its PUBLISH at QoS 0; empty when no topic stands for its subject. */
  stored(message: Message): Buffer;
  plain(message: Message): Buffer;
  /** A message was just queued: seal the queue, and pump when the disk has answered. */
  queued(session: Session): void;
  /** A message was dropped because the queue is full. */
  overflow(session: Session): void;
  /** Sends what waits of the retained messages. */
  pumpRetained(session: Session): void;
}

interface Delivery {
  readonly seq: number;
  readonly bytes: number;
  /** Undefined while the client is away, where the queue can read it again. */
  value: Buffer | undefined;
}

interface Interest {
  readonly end: () => void;
  count: number;
}

export class Session {
  readonly clientId: string;
  readonly clean: boolean;
  readonly queue: DeliveryQueue;
  /** By subject. Changed by `subscribe` and `unsubscribe` only. */
  readonly subscriptions = new Map<string, Subscription>();
  /** Subjects of retained messages still to be sent, with the granted QoS. */
  readonly retainedBacklog = new Map<string, QoS>();
  /** Messages up to this one may have been sent by an earlier process: they go out with DUP. */
  redeliveredSeq = 0;
  /** Saves that the disk has not answered, and whether one of them was refused. */
  saving = 0;
  doubtful = false;
  readonly #ports: SessionPorts;
  readonly #inFlight = new Map<number, Delivery>();
  readonly #subscribers: readonly [Subscriber, Subscriber];
  readonly #interests: readonly [Map<string, Interest>, Map<string, Interest>] = [
    new Map(),
    new Map(),
  ];
  #inFlightBytes = 0;
  #packetId = 0;
  #owner: Link | undefined;
  #live = false;
  #ended = false;

  constructor(clientId: string, clean: boolean, queue: DeliveryQueue, ports: SessionPorts) {
    this.clientId = clientId;
    this.clean = clean;
    this.queue = queue;
    this.#ports = ports;
    this.#subscribers = [
      { deliver: (message) => this.#deliverPlain(message) },
      { deliver: (message) => this.#deliverGranted(message) },
    ];
  }

  get owner(): Link | undefined {
    return this.#owner;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Gives the session to a connection; nothing is sent before `start`. The one that had it is told [MQTT-3.1.4-2]. */
  claim(link: Link): void {
    const before = this.#owner;
    this.#owner = link;
    this.#live = false;
    this.retainedBacklog.clear();
    before?.takeOver();
  }

  /** CONNACK has left: sends again what was in flight, and then what waits. */
  start(): void {
    this.#live = true;
    for (const [packetId, delivery] of this.#inFlight) {
      delivery.value ??= this.queue.read(delivery.seq);
      this.#send(packetId, delivery, true); // [MQTT-4.4.0-1]
    }
    this.pump();
  }

  /** `link` is gone. Does nothing when another has the session already. Returns whether `link` had it. */
  release(link: Link): boolean {
    if (this.#owner !== link) return false;
    this.#owner = undefined;
    this.#live = false;
    this.retainedBacklog.clear();
    for (const delivery of this.#inFlight.values()) delivery.value = undefined;
    this.queue.rest();
    return true;
  }

  /** Adds or replaces a subscription [MQTT-3.8.4-3]. */
  subscribe(subscription: Subscription): void {
    const known = this.subscriptions.get(subscription.subject);
    this.subscriptions.set(subscription.subject, subscription);
    // The new interest first, so that the broker always knows one of them.
    this.#interest(subscription, 1);
    if (known !== undefined) this.#interest(known, -1);
  }

  unsubscribe(subject: string): void {
    const known = this.subscriptions.get(subject);
    if (known === undefined) return;
    this.subscriptions.delete(subject);
    this.#interest(known, -1);
  }

  /** The client has acknowledged a delivery. Unknown identifiers are ignored: an answer to an earlier connection. */
  puback(packetId: number): void {
    const delivery = this.#inFlight.get(packetId);
    if (delivery === undefined) return;
    this.#inFlight.delete(packetId);
    this.#inFlightBytes -= delivery.bytes;
    this.queue.remove(delivery);
    this.pump();
  }

  /** Sends what is durable, as far as the client's window and its reading allow. */
  pump(): void {
    if (!this.#live) return;
    if (this.retainedBacklog.size > 0) this.#ports.pumpRetained(this);
    const { deliveriesInFlightMax, deliveryBytesInFlightMax } = this.#ports.limits;
    while (
      this.#owner?.roomy === true &&
      this.#inFlight.size < deliveriesInFlightMax &&
      this.#inFlightBytes < deliveryBytesInFlightMax
    ) {
      const message = this.queue.next();
      if (message === undefined) break;
      this.#dispatch(message);
    }
  }

  /** Queues a QoS 1 delivery. */
  enqueue(value: Buffer): void {
    if (this.queue.push(value)) this.#ports.queued(this);
    else this.#ports.overflow(this);
  }

  /** Sends a QoS 0 delivery, or drops it when the client is away or does not read. */
  sendPlain(packet: Buffer, dataBytes: number): void {
    if (!this.#live || this.#owner === undefined) return;
    const { counters } = this.#ports;
    if (!this.#owner.roomy) {
      counters.droppedSlowMsgs++;
      return;
    }
    counters.outMsgs++;
    counters.outBytes += dataBytes;
    this.#owner.send(packet);
  }

  /** Ends the session: no subscription and no queued message is left. */
  end(): void {
    this.#ended = true;
    for (const subject of this.subscriptions.keys()) this.unsubscribe(subject);
    this.#inFlight.clear();
    this.#inFlightBytes = 0;
    this.queue.clear();
  }

  /** What only QoS 0 filters match, or was published with QoS 0, goes at once or never. */
  #deliverPlain(message: Message): void {
    if (isReserved(message.subject)) return;
    for (const filter of this.#interests[1].keys()) if (matches(filter, message.subject)) return;
    this.#deliver(message, 0);
  }

  #deliverGranted(message: Message): void {
    if (isReserved(message.subject)) return;
    this.#deliver(message, this.#ports.qosOf(message));
  }

  #deliver(message: Message, qos: QoS): void {
    if (this.#ended) return; // It ended while this very message was being routed.
    // Newer than the retained message of its topic that still waits.
    if (this.retainedBacklog.size > 0) this.retainedBacklog.delete(message.subject);
    if (qos === 0) {
      if (!this.#live) return;
      const packet = this.#ports.plain(message);
      if (packet.length > 0) this.sendPlain(packet, message.data.length);
      return;
    }
    const value = this.#ports.stored(message);
    if (value.length > 0) this.enqueue(value);
  }

  #dispatch({ seq, value }: QueuedMessage): void {
    const packetId = this.#nextPacketId();
    const delivery = { seq, bytes: value.length, value };
    this.#inFlight.set(packetId, delivery);
    this.#inFlightBytes += delivery.bytes;
    this.#send(packetId, delivery, seq <= this.redeliveredSeq);
  }

  #send(packetId: number, delivery: Delivery, dup: boolean): void {
    const packet = delivery.value && encodeDelivery(delivery.value, packetId, dup);
    if (packet === undefined) return this.#lose(packetId, delivery);
    const { counters } = this.#ports;
    counters.outMsgs++;
    counters.outBytes += delivery.bytes;
    this.#owner?.send(packet);
  }

  /** A row that is gone or unreadable: nothing can be delivered, so nothing may wait for its PUBACK. */
  #lose(packetId: number, delivery: Delivery): void {
    this.#inFlight.delete(packetId);
    this.#inFlightBytes -= delivery.bytes;
    this.queue.remove(delivery);
    this.#ports.counters.droppedRefusedMsgs++;
  }

  /** The next Packet Identifier that is not in use [MQTT-2.3.1-4]. The window is far smaller than their number. */
  #nextPacketId(): number {
    do this.#packetId = (this.#packetId % 0xffff) + 1;
    while (this.#inFlight.has(this.#packetId));
    return this.#packetId;
  }

  /** Two filters may need the same subject (`foo/#` needs `foo` too), so interests are counted. */
  #interest({ subject, qos }: Subscription, change: 1 | -1): void {
    const interests = this.#interests[qos];
    const above = levelUp(subject);
    for (const filter of above === undefined ? [subject] : [subject, above]) {
      let interest = interests.get(filter);
      if (interest === undefined) {
        const end = this.#ports.broker.subscribe(filter, this.#subscribers[qos]);
        interests.set(filter, (interest = { end, count: 0 }));
      }
      interest.count += change;
      if (interest.count > 0) continue;
      interest.end();
      interests.delete(filter);
    }
  }
}
