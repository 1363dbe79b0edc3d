// The broker knows no QoS and no acknowledgement; this is how a session learns the QoS of the message in its hand, and how
// it makes the publisher's PUBACK wait for what it writes.

import type { Message } from '../../src/message.ts';
import type { QoS } from './packets.ts';
import type { Settled } from './tables.ts';

/** One more thing to wait for: call the result with the disk's answer to it. */
export type Hold = () => Settled;

/**
 * What is being routed at this moment. The broker calls subscribers synchronously; a session asks here with the message
 * in its hand, so a message of another origin, or one published while another is routed, is never taken for it.
 */
export class Routing {
  #current:
    | { readonly message: Message; readonly qos: QoS; readonly hold: Hold | undefined }
    | undefined;

  /** The QoS that `message` was published with. What did not come by MQTT counts as QoS 1: the subscription decides. */
  qosOf(message: Message): QoS {
    return message === this.#current?.message ? this.#current.qos : 1;
  }

  /** Makes the PUBACK of what is being routed wait; undefined when there is none. */
  hold(): Settled | undefined {
    return this.#current?.hold?.();
  }

  /** Runs `route` with `message` as the current one. */
  run<T>(message: Message, qos: QoS, hold: Hold | undefined, route: () => T): T {
    const outer = this.#current;
    this.#current = { message, qos, hold };
    const result = route();
    this.#current = outer;
    return result;
  }
}
