// The broker: two verbs, publish and subscribe. It knows no protocol and no stream; a stream is one of its
// subscribers, with a `store` instead of a `deliver`. A serial frame, an MQTT PUBLISH and a NATS PUB all end in `publish`.

import type { Message, Receipt } from './message.ts';
import { Sublist } from './sublist.ts';

/** A subscriber: it either gets copies (`deliver`) or takes messages in (`store`). */
export type Subscriber =
  | { readonly deliver: (message: Message) => void }
  | { readonly store: (message: Message, receipt: Receipt | undefined) => void };

/**
 * What became of a publish at once: `stored` says that a stream has taken it and the receipt will be called,
 * once; `delivered` that only subscribers got it; `nobody` that there was none (no responders, 503).
 */
export type Routed = 'stored' | 'delivered' | 'nobody';

export class Broker {
  readonly #sublist = new Sublist<Subscriber>();
  /** Counters for /varz: messages and bytes since start. */
  readonly counters = { inMsgs: 0, inBytes: 0, outMsgs: 0, outBytes: 0, nobodyMsgs: 0 };

  get subscriptions(): number {
    return this.#sublist.count;
  }

  /** Adds a subscription; the returned function ends it. Throws a TypeError on an invalid filter. */
  subscribe(filter: string, subscriber: Subscriber): () => void {
    this.#sublist.insert(filter, subscriber);
    return () => this.#sublist.remove(filter, subscriber);
  }

  /**
   * Routes a message, synchronously. `message.subject` must be valid (isPublishSubject); the message's buffers must
   * not change afterwards. Streams do not share subjects, so at most one calls the receipt.
   */
  publish(message: Message, receipt?: Receipt): Routed {
    this.counters.inMsgs++;
    this.counters.inBytes += message.data.length;
    let routed: Routed = 'nobody';
    for (const subscriber of this.#sublist.match(message.subject)) {
      if ('store' in subscriber) {
        routed = 'stored';
        subscriber.store(message, receipt);
      } else {
        if (routed === 'nobody') routed = 'delivered';
        this.counters.outMsgs++;
        this.counters.outBytes += message.data.length;
        subscriber.deliver(message);
      }
    }
    if (routed === 'nobody') this.counters.nobodyMsgs++;
    return routed;
  }
}
