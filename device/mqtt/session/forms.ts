// What a message is made into for its subscribers: once for a message, however many sessions get it. Remembers the message
// that is being routed; relies on the broker calling all its subscribers one after the other.

import type { Message } from '../../../src/message.ts';
import { toForm } from '../message.ts';
import { Delivery, type Wanted } from './queue.ts';
import type { Form, Outgoing } from './types.ts';

const NO_IDENTIFIERS: readonly number[] = Object.freeze([]);

export class Forms {
  readonly #nowMs: () => number;
  #message: Message | undefined;
  #form: Form | undefined;
  /** By QoS and RETAIN; those with identifiers, or of shared subscriptions, are made for each. */
  #deliveries: (Delivery | undefined)[] = [];
  #plain: (Outgoing | undefined)[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Undefined where no PUBLISH can carry the message. */
  form(message: Message): Form | undefined {
    if (this.#message !== message) {
      this.#message = message;
      this.#form = toForm(message, this.#nowMs());
      this.#deliveries = [];
      this.#plain = [];
    }
    return this.#form;
  }

  /** The message as it is queued. */
  delivery(message: Message, wanted: Wanted): Delivery | undefined {
    const form = this.form(message);
    if (form === undefined) return undefined;
    const { qos, retain, identifiers, share } = wanted;
    if (identifiers.length > 0 || share !== undefined)
      return Delivery.of(form, wanted, message.subject);
    const at = qos + (retain ? 2 : 0);
    return (this.#deliveries[at] ??= Delivery.of(form, wanted, message.subject));
  }

  /** The message as it is sent at QoS 0. */
  plain(message: Message, retain: boolean, identifiers: readonly number[]): Outgoing | undefined {
    const form = this.form(message);
    if (form === undefined) return undefined;
    if (identifiers.length > 0) return plain(form, retain, identifiers);
    return (this.#plain[retain ? 1 : 0] ??= plain(form, retain, NO_IDENTIFIERS));
  }
}

/** A form at QoS 0. */
export function plain(
  form: Form,
  retain: boolean,
  subscriptionIdentifiers: readonly number[],
): Outgoing {
  return { form, qos: 0, retain, dup: false, packetId: 0, subscriptionIdentifiers };
}
