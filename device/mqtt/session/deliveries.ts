// What a session sends at QoS 1 and 2: from its queue to the end of the handshake, within the client's window, over as many
// connections and processes as it takes.
//
// A message is at one of four places: in the queue; sent (waits for PUBACK or PUBREC); releasing (PUBREC has come, its
// marker is on the way to the disk); released (PUBREL has left, or leaves at the next connection). Its Packet Identifier
// follows from its sequence, so all of this comes back after a restart: a row is a message that may have been sent, a
// marker one that the client has.
//
// Exactly once rests on this order. The client forgets an identifier when it gets PUBREL; so PUBREL leaves only when the
// disk knows that the client has the message, or a restart would send it again, to be taken for a new one. And an
// identifier is used again only when its handshake has ended: the client would take a new message for a repetition.

import type { MqttLimits } from '../limits.ts';
import type { WhenDurable } from '../tables.ts';
import { ReasonCode } from '../wire/reason-codes.ts';
import type { Delivery, DeliveryQueue, Loss } from './queue.ts';
import type { Link } from './types.ts';

/** Packet Identifiers are 1 to this. */
const PACKET_IDS = 65_535;

interface Sent {
  readonly seq: number;
  readonly bytes: number;
  readonly qos: 1 | 2;
  /** Undefined while the client is away, where the queue can read it again. */
  delivery: Delivery | undefined;
  /** Over the present connection. */
  now: boolean;
}

interface Releasing {
  readonly seq: number;
  bytes: number;
  marker: 'writing' | 'refused' | 'safe';
}

/** What the deliveries of a session need of it. */
export interface DeliveriesOwner {
  readonly limits: Readonly<MqttLimits>;
  readonly whenDurable: WhenDurable;
  nowMs(): number;
  /** Whether the client may have a message; asked where its connection looks at each. */
  mayReceive(delivery: Delivery): boolean;
  sent(bytes: number): void;
  lost(loss: Loss, messages: number): void;
}

export class Deliveries {
  readonly queue: DeliveryQueue;
  readonly #owner: DeliveriesOwner;
  readonly #sent = new Map<number, Sent>();
  readonly #releasing = new Map<number, Releasing>();
  readonly #released = new Map<number, { seq: number; bytes: number }>();
  /** Identifiers in `sent` that the present connection has not been sent yet, oldest first. */
  #again: number[] = [];
  #againAt = 0;
  /** Sent over the present connection and not acknowledged. */
  #sentNow = 0;
  #sentNowBytes = 0;
  /** Of them, those at QoS 2. */
  #sentNowTwice = 0;
  /** The last message that was ever sent. */
  #sentSeq = 0;
  #link: Link | undefined;

  constructor(queue: DeliveryQueue, owner: DeliveriesOwner) {
    this.queue = queue;
    this.#owner = owner;
  }

  /** Messages that were sent and whose handshake has not ended. */
  get inFlight(): number {
    return this.#sent.size + this.#releasing.size + this.#released.size;
  }

  /** Everything up to this sequence may have been sent. */
  get sentSeq(): number {
    return Math.max(this.#sentSeq, this.queue.doubtfulSeq);
  }

  /** A marker found at start. */
  recoverMarker(seq: number, bytes: number): void {
    this.#released.set(packetIdOf(seq), { seq, bytes });
    this.#sentSeq = Math.max(this.#sentSeq, seq);
  }

  /** A connection has the session: goes on where the last one stopped, PUBRELs first [MQTT-4.4.0-1]. */
  start(link: Link): void {
    this.stop();
    this.#link = link;
    this.#again = [...this.#sent.keys()];
    for (const packetId of this.#released.keys()) link.pubrel(packetId);
    this.retry();
    this.pump();
  }

  /** The connection is gone. */
  stop(): void {
    this.#link = undefined;
    this.#again = [];
    this.#againAt = 0;
    this.#sentNow = 0;
    this.#sentNowBytes = 0;
    this.#sentNowTwice = 0;
    for (const sent of this.#sent.values()) {
      sent.now = false;
      sent.delivery = undefined;
    }
    this.queue.rest();
  }

  /** Sends what is durable, as far as the client's window and its reading allow. */
  pump(): void {
    const { deliveriesInFlightMax, deliveryBytesInFlightMax } = this.#owner.limits;
    for (;;) {
      const link = this.#link;
      if (link === undefined || !link.roomy) return;
      const open = this.#sentNow + this.#releasing.size + this.#released.size;
      if (open >= Math.min(deliveriesInFlightMax, link.receiveMaximum)) return; // [MQTT-3.3.4-9]
      if (this.#sentNowBytes >= deliveryBytesInFlightMax) return;
      const resent = this.#again[this.#againAt];
      if (resent !== undefined) {
        if (this.#sent.get(resent)?.qos === 2 && this.#isTwiceFull(link)) return;
        this.#againAt++;
        this.#resend(link, resent);
      } else if (!this.#next(link)) return;
    }
  }

  /**
   * Whether a client that cannot say how much it takes has all that it takes at QoS 2. A mosquitto that bridges with 3.1.1
   * forgets what comes beyond its 20, after it has acknowledged it.
   */
  #isTwiceFull(link: Link): boolean {
    if (link.version === 5) return false;
    const open = this.#sentNowTwice + this.#releasing.size + this.#released.size;
    return open >= this.#owner.limits.deliveriesInFlightTwiceMax;
  }

  /** PUBACK. An unknown identifier answers an earlier connection. False where the message is no QoS 1 one. */
  puback(packetId: number): boolean {
    const sent = this.#sent.get(packetId);
    if (sent === undefined) return !this.#releasing.has(packetId) && !this.#released.has(packetId);
    if (sent.qos !== 1) return false;
    this.#end(packetId, sent);
    this.pump();
    return true;
  }

  /** PUBREC: PUBREL leaves when the disk knows. False where the message is no QoS 2 one. */
  pubrec(packetId: number, reasonCode: number): boolean {
    const sent = this.#sent.get(packetId);
    if (sent === undefined) {
      if (this.#releasing.has(packetId)) return true; // Its PUBREL is on its way.
      if (this.#released.has(packetId)) this.#link?.pubrel(packetId);
      else if (reasonCode < 0x80) this.#link?.pubrel(packetId, ReasonCode.packetIdentifierNotFound);
      return true;
    }
    if (sent.qos !== 2) return false;
    if (reasonCode >= 0x80) {
      this.#end(packetId, sent); // [MQTT-4.3.3-4]
      this.pump();
      return true;
    }
    this.#unsend(packetId, sent);
    const releasing: Releasing = { seq: sent.seq, bytes: sent.bytes, marker: 'writing' };
    this.#releasing.set(packetId, releasing);
    this.#mark(releasing);
    return true;
  }

  /** PUBCOMP. An unknown identifier answers an earlier connection. False where no PUBREL was sent for it. */
  pubcomp(packetId: number): boolean {
    const released = this.#released.get(packetId);
    if (released === undefined) return !this.#sent.has(packetId) && !this.#releasing.has(packetId);
    this.#released.delete(packetId);
    this.queue.remove(released.seq, released.bytes);
    this.pump();
    return true;
  }

  /** Writes again the markers that a full disk has refused. */
  retry(): void {
    for (const releasing of this.#releasing.values())
      if (releasing.marker === 'refused') this.#mark(releasing);
  }

  /** The session ends: what no client has, sent or not at QoS 1, not sent at QoS 2, oldest first [MQTT-4.8.2-5]. */
  *unfinished(): Iterable<Delivery> {
    for (const { seq, qos, delivery } of this.#sent.values()) {
      const left = qos === 1 ? (delivery ?? this.queue.read(seq)) : undefined;
      if (left !== undefined) yield left;
    }
    yield* this.queue.waiting();
  }

  clear(): void {
    this.stop();
    this.#sent.clear();
    this.#releasing.clear();
    this.#released.clear();
    this.queue.clear();
  }

  #mark(releasing: Releasing): void {
    const { queue } = this;
    if (!queue.durable) return this.#marked(releasing, null);
    releasing.marker = 'writing';
    queue.mark(releasing.seq);
    this.#owner.whenDurable((error) => this.#marked(releasing, error));
  }

  #marked(releasing: Releasing, error: Error | null): void {
    if (error !== null) {
      releasing.marker = 'refused';
      return;
    }
    releasing.marker = 'safe';
    if (!this.queue.durable) this.queue.mark(releasing.seq);
    releasing.bytes = this.queue.marked(releasing.seq, releasing.bytes);
    // In the order of the PUBRECs [MQTT-4.6.0-4], whatever the disk has refused in between.
    for (const [packetId, { seq, bytes, marker }] of this.#releasing) {
      if (marker !== 'safe') return;
      this.#releasing.delete(packetId);
      this.#released.set(packetId, { seq, bytes });
      this.#link?.pubrel(packetId);
    }
  }

  /** Sends the next message of the queue; false where there is none, or its identifier is still in use. */
  #next(link: Link): boolean {
    const message = this.queue.peek();
    if (message === undefined) return false;
    const { seq, delivery } = message;
    if (delivery.qos === 2 && this.#isTwiceFull(link)) return false;
    const packetId = packetIdOf(seq);
    if (this.#sent.has(packetId) || this.#releasing.has(packetId) || this.#released.has(packetId))
      return false;
    this.queue.take();
    const doubtful = seq <= this.queue.doubtfulSeq;
    const { qos, bytes } = delivery;
    const sent: Sent = { seq, bytes, qos, delivery, now: false };
    // What may have been sent at QoS 2 is finished in any case: the client may hold the identifier.
    if (!(doubtful && qos === 2) && this.#isOver(delivery)) {
      this.queue.remove(seq, bytes);
      this.#owner.lost('expired', 1);
      return true;
    }
    this.#sent.set(packetId, sent);
    this.#sentSeq = Math.max(this.#sentSeq, seq);
    this.#send(link, packetId, sent, doubtful);
    return true;
  }

  /** Most never expire, and the time costs. */
  #isOver({ expiresMs }: Delivery): boolean {
    return expiresMs !== Number.POSITIVE_INFINITY && expiresMs <= this.#owner.nowMs();
  }

  #resend(link: Link, packetId: number): void {
    const sent = this.#sent.get(packetId);
    if (sent === undefined) return; // Acknowledged meanwhile.
    sent.delivery ??= this.queue.read(sent.seq);
    if (sent.qos === 1 && sent.delivery !== undefined && this.#isOver(sent.delivery))
      return this.#lose(packetId, sent, 'expired');
    this.#send(link, packetId, sent, true);
  }

  #send(link: Link, packetId: number, sent: Sent, dup: boolean): void {
    const { delivery } = sent;
    const form = delivery?.form;
    // Nothing can be delivered, so nothing may wait for its PUBACK.
    if (delivery === undefined || form === undefined)
      return this.#lose(packetId, sent, 'unreadable');
    if (!this.#owner.mayReceive(delivery)) return this.#lose(packetId, sent, 'forbidden');
    const { qos, retain, identifiers } = delivery;
    sent.now = true;
    this.#sentNow++;
    this.#sentNowBytes += sent.bytes;
    if (sent.qos === 2) this.#sentNowTwice++;
    const subscriptionIdentifiers = identifiers;
    if (!link.publish({ form, qos, retain, dup, packetId, subscriptionIdentifiers }))
      return this.#lose(packetId, sent, 'large'); // [MQTT-3.1.2-25]
    this.#owner.sent(form.data.length);
  }

  #lose(packetId: number, sent: Sent, loss: Loss): void {
    this.#end(packetId, sent);
    this.#owner.lost(loss, 1);
  }

  /** The handshake has ended. */
  #end(packetId: number, sent: Sent): void {
    this.#unsend(packetId, sent);
    this.queue.remove(sent.seq, sent.bytes);
  }

  #unsend(packetId: number, sent: Sent): void {
    this.#sent.delete(packetId);
    if (!sent.now) return;
    sent.now = false;
    this.#sentNow--;
    this.#sentNowBytes -= sent.bytes;
    if (sent.qos === 2) this.#sentNowTwice--;
  }
}

function packetIdOf(seq: number): number {
  return ((seq - 1) % PACKET_IDS) + 1;
}
