// The broker knows no QoS; this is how a session learns the one of the message in its hand.

import type { Message } from '../../src/message.ts';
import type { QoS } from './packets.ts';

/**
 * What is being routed at this moment. The broker calls subscribers synchronously and knows no QoS; a session asks here
 * with the message in its hand, so a message of another origin, or one published while another is routed, is never
 * taken for it.
 */
export class Routing {
  #current: { message: Message; qos: QoS; touched: boolean } | undefined;

  /** The QoS that `message` was published with. What did not come by MQTT counts as QoS 1: the subscription decides. */
  qosOf(message: Message): QoS {
    return message === this.#current?.message ? this.#current.qos : 1;
  }

  /** Something was written, or held back until it is durable, on behalf of the message being routed. */
  touch(): void {
    if (this.#current !== undefined) this.#current.touched = true;
  }

  /** Runs `route` with `message` as the current one. */
  run<T>(message: Message, qos: QoS, route: () => T): { routed: T; touched: boolean } {
    const outer = this.#current;
    const current = { message, qos, touched: false };
    this.#current = current;
    const routed = route();
    this.#current = outer;
    return { routed, touched: current.touched };
  }
}
