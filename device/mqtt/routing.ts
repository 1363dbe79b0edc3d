// The broker knows no QoS and no acknowledgement; this is how a session learns how the message in its hand was published,
// and how it makes the publisher's PUBACK or PUBREC wait for what it writes.

import type { Message } from '../../src/message.ts';
import type { Settled } from './tables.ts';
import type { QoS } from './wire/types.ts';

/** One more thing to wait for: call the result with the disk's answer to it. */
export type Hold = () => Settled;

/** How a message was published. */
export interface Origin {
  readonly message: Message;
  readonly qos: QoS;
  /** The RETAIN flag as it was published. */
  readonly retain: boolean;
  /** Who published it: no-local. */
  readonly clientId: string | undefined;
  /** Undefined where nobody waits. */
  readonly hold: Hold | undefined;
}

/**
 * What is being routed at this moment. The broker calls subscribers synchronously; a session asks here with the message
 * in its hand, so a message of another origin, or one published while another is routed, is never taken for it.
 */
export class Routing {
  #current: Origin | undefined;

  /** How `message` was published; undefined for what did not come by MQTT (QoS 2: the subscription decides; not retained). */
  current(message: Message): Origin | undefined {
    return message === this.#current?.message ? this.#current : undefined;
  }

  /** Makes the answer to what is being routed wait; undefined when there is none. */
  hold(): Settled | undefined {
    return this.#current?.hold?.();
  }

  /** Runs `route` with `origin` as the current one. */
  run<T>(origin: Origin, route: () => T): T {
    const outer = this.#current;
    this.#current = origin;
    try {
      return route();
    } finally {
      this.#current = outer;
    }
  }
}
