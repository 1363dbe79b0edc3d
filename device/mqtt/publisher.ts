// The one way of a device's message into the broker, Wills included: retain it where asked, route it, and say when its
// PUBACK may leave: never before the disk has everything that was written for it (in a stream, in a session's queue, as
// a retained message), and not at all when any of that was refused.

import type { Routed } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';
import type { Base } from './base.ts';
import type { Will } from './connect.ts';
import type { Retained } from './retained.ts';
import type { Settled } from './tables.ts';

export class Publisher {
  readonly #base: Base;
  readonly #retained: Retained;

  constructor(base: Base, retained: Retained) {
    this.#base = base;
    this.#retained = retained;
  }

  /** Routes a QoS 0 message: nobody waits for the disk. */
  publish(message: Message, retain: boolean): Routed {
    return this.#base.routing.run(message, 0, undefined, () => {
      if (retain) this.#retained.set(message, 0);
      return this.#base.broker.publish(message);
    });
  }

  /** Routes a QoS 1 message. `settled` is called exactly once, possibly before this returns. */
  publishAcknowledged(message: Message, retain: boolean, settled: Settled): Routed {
    let waits = 2; // For the routing itself, and for the receipt.
    let failure: Error | null = null;
    const part = (error: Error | null): void => {
      failure ??= error;
      if (--waits === 0) settled(failure);
    };
    const hold = (): Settled => {
      waits++;
      return part;
    };
    const routed = this.#base.routing.run(message, 1, hold, () => {
      if (retain) this.#retained.set(message, 1);
      return this.#base.broker.publish(message, part);
    });
    if (routed !== 'stored') waits--; // No receipt will come.
    part(null);
    return routed;
  }

  /** Publishes a client's last Will [MQTT-3.1.2-8]. */
  publishWill({ message, qos, retain }: Will, clientId: string | undefined): void {
    const { counters } = this.#base;
    counters.wills++;
    if (qos === 0) this.publish(message, retain);
    else
      this.publishAcknowledged(message, retain, (error) => {
        if (error === null) return;
        counters.refusedMsgs++;
        this.#base.warn('the Will of an MQTT client was refused', { clientId, err: error });
      });
  }
}
