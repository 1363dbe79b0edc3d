// The one way of a device's message into the broker, Wills included: retain it where asked, route it, and say when its
// PUBACK or PUBREC may leave: never before the disk has everything that was written for it (in a stream, in a session's
// queue, as a retained message, as a Packet Identifier that was taken), and not at all when any of that was refused.

import type { Routed } from '../../src/broker.ts';
import type { Message, Receipt } from '../../src/message.ts';
import type { Base } from './base.ts';
import type { Retained } from './retained.ts';
import type { Will } from './session/types.ts';
import type { Settled } from './tables.ts';
import type { QoS } from './wire/types.ts';

/** The Packet Identifiers of QoS 2 PUBLISHes that a session has taken and that were not released [4.3.3]. */
export interface Received {
  has(packetId: number): boolean;
  /** False where nothing is written: the identifiers end with the connection. */
  add(packetId: number): boolean;
  delete(packetId: number): void;
}

/** Told once when the disk has all of a message (null), or part of it was refused. */
export type Published = (error: Error | null, routed: Routed) => void;

export class Publisher {
  readonly #base: Base;
  readonly #retained: Retained;
  /** QoS 2 messages that are noted and not settled, with who else waits for each: it was sent again meanwhile. */
  readonly #arriving = new Map<Received, Map<number, Settled[]>>();
  /** The receipt of all QoS 0 messages. */
  readonly #refusedPlain: Receipt;

  constructor(base: Base, retained: Retained) {
    this.#refusedPlain = (err) => {
      if (err === null) return;
      base.counters.refusedMsgs++;
      base.warn('MQTT messages of QoS 0 were refused and are lost', { err });
    };
    this.#base = base;
    this.#retained = retained;
  }

  /** Routes a QoS 0 message: nobody waits for the disk; what a stream refuses is counted. */
  publish(message: Message, retain: boolean, clientId: string | undefined): Routed {
    return this.#base.routing.run({ message, qos: 0, retain, clientId, hold: undefined }, () => {
      if (retain) this.#retained.set(message, 0);
      return this.#base.broker.publish(message, this.#refusedPlain);
    });
  }

  /** Routes a message of QoS 1 or 2. `settled` is called exactly once, possibly before this returns. */
  publishAcknowledged(
    message: Message,
    qos: QoS,
    retain: boolean,
    clientId: string | undefined,
    settled: Published,
  ): Routed {
    return this.#publish(message, qos, retain, clientId, settled, undefined, 0);
  }

  /**
   * Routes a QoS 2 message and notes its Packet Identifier, both in one transaction: were only one of them on the disk after
   * a power cut, the message would come twice or never. What is refused is not noted.
   */
  publishOnce(
    message: Message,
    retain: boolean,
    from: { readonly clientId: string; readonly received: Received },
    packetId: number,
    settled: Published,
  ): Routed {
    return this.#base.store.together(() =>
      this.#publish(message, 2, retain, from.clientId, settled, from.received, packetId),
    );
  }

  /**
   * A QoS 2 message that is noted has come again, perhaps on another connection than the first: `settled` is called when
   * the first is settled, at once where it is long since.
   */
  repeated(received: Received, packetId: number, settled: Settled): void {
    const waiting = this.#arriving.get(received)?.get(packetId);
    if (waiting === undefined) settled(null);
    else waiting.push(settled);
  }

  /** Publishes a client's last Will [MQTT-3.1.2-8]. */
  publishWill({ message, qos, retain }: Will, clientId: string, settled: Settled): void {
    if (qos > 0) this.publishAcknowledged(message, qos, retain, clientId, settled);
    else {
      this.publish(message, retain, clientId);
      settled(null);
    }
  }

  #publish(
    message: Message,
    qos: QoS,
    retain: boolean,
    clientId: string | undefined,
    settled: Published,
    received: Received | undefined,
    packetId: number,
  ): Routed {
    let waits = 2; // For the routing itself, and for the receipt.
    let failure: Error | null = null;
    let noted = false;
    let routed: Routed = 'nobody';
    const part = (error: Error | null): void => {
      failure ??= error;
      if (--waits > 0) return;
      if (noted && received !== undefined) this.#arrived(received, packetId, failure);
      settled(failure, routed);
    };
    const hold = (): Settled => {
      waits++;
      return part;
    };
    routed = this.#base.routing.run({ message, qos, retain, clientId, hold }, () => {
      const result = this.#base.broker.publish(message, part);
      if (failure !== null) return result; // What a stream refuses is not retained either.
      if (retain) this.#retained.set(message, qos);
      if (received === undefined) return result;
      noted = true;
      if (this.#note(received, packetId)) this.#base.store.whenDurable(hold());
      return result;
    });
    if (routed !== 'stored') waits--; // No receipt will come.
    part(null);
    return routed;
  }

  /** Returns whether that is written, and has to be waited for. */
  #note(received: Received, packetId: number): boolean {
    const written = received.add(packetId);
    let arriving = this.#arriving.get(received);
    if (arriving === undefined) this.#arriving.set(received, (arriving = new Map()));
    // A client that releases what we have not answered may send another under its identifier.
    if (!arriving.has(packetId)) arriving.set(packetId, []);
    return written;
  }

  #arrived(received: Received, packetId: number, failure: Error | null): void {
    if (failure !== null) received.delete(packetId);
    const arriving = this.#arriving.get(received);
    const waiting = arriving?.get(packetId) ?? [];
    arriving?.delete(packetId);
    if (arriving?.size === 0) this.#arriving.delete(received);
    for (const settled of waiting) settled(failure);
  }
}
