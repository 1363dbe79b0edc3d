// The broker: two verbs, publish and subscribe. It knows no protocol and no stream; a stream is one of its
// subscribers, with a `store` instead of a `deliver`. A serial frame, an MQTT PUBLISH and a NATS PUB all end in `publish`.

import type { Message, Receipt } from './message.ts';
import { Sublist, type Matched } from './sublist.ts';

/**
 * A subscriber: it gets copies (`deliver`), or is asked whether it takes one (`offer`: false where it does not, as it is
 * the publisher itself, or over), or takes messages in (`store`).
 */
export type Subscriber =
  | { readonly deliver: (message: Message) => void }
  | { readonly offer: (message: Message, from: object | undefined) => boolean }
  | { readonly store: (message: Message, receipt: Receipt | undefined) => void };

/**
 * What became of a publish at once: `stored` says that a stream has taken it and the receipt will be called,
 * once; `delivered` that only subscribers got it; `nobody` that there was none (no responders, 503).
 */
export type Routed = 'stored' | 'delivered' | 'nobody';

/** Subjects of answers: each is used once, and remembering it would push out those that come again. */
const INBOX = '_INBOX.';
const UNDERSCORE = 95;

export class Broker {
  readonly #sublist = new Sublist<Subscriber>();
  #turn = 1;
  /** Counters for /varz: messages and bytes since start. */
  readonly counters = { inMsgs: 0, inBytes: 0, outMsgs: 0, outBytes: 0, nobodyMsgs: 0 };

  get subscriptions(): number {
    return this.#sublist.count;
  }

  /** Subjects whose subscribers are remembered at the moment. */
  get cachedSubjects(): number {
    return this.#sublist.cached;
  }

  /**
   * Adds a subscription; the returned function ends it. Of the subscribers of one group, the `queue`, only one gets each
   * message. Throws a TypeError on an invalid filter.
   */
  subscribe(filter: string, subscriber: Subscriber, queue?: string): () => void {
    this.#sublist.insert(filter, subscriber, queue);
    return () => this.#sublist.remove(filter, subscriber, queue);
  }

  /**
   * Routes a message, synchronously. `message.subject` must be valid (isPublishSubject); the message's buffers must
   * not change afterwards. Streams do not share subjects, so at most one calls the receipt. `from` is shown to those who
   * are asked whether they take it.
   */
  publish(message: Message, receipt?: Receipt, from?: object): Routed {
    const { counters } = this;
    counters.inMsgs++;
    counters.inBytes += message.data.length;
    const routed = this.#route(this.#matched(message.subject), message, receipt, from);
    if (routed === 'nobody') counters.nobodyMsgs++;
    return routed;
  }

  /** Routes an answer of ours: not counted as coming in, and no loss when nobody waits for it. */
  answer(message: Message): Routed {
    return this.#route(this.#matched(message.subject), message, undefined, undefined);
  }

  /** Who gets copies of what is published to `subject`, groups aside. */
  subscribers(subject: string): readonly Subscriber[] {
    return this.#matched(subject).plain;
  }

  #matched(subject: string): Matched<Subscriber> {
    // The first letter tells most of them apart, at no cost.
    const isAnswer = subject.charCodeAt(0) === UNDERSCORE && subject.startsWith(INBOX);
    return isAnswer ? this.#sublist.find(subject) : this.#sublist.route(subject);
  }

  #route(
    { plain, groups }: Matched<Subscriber>,
    message: Message,
    receipt: Receipt | undefined,
    from: object | undefined,
  ): Routed {
    let routed: Routed = 'nobody';
    for (const subscriber of plain) {
      if ('store' in subscriber) {
        routed = 'stored';
        subscriber.store(message, receipt);
      } else if (this.#deliver(subscriber, message, from) && routed === 'nobody') {
        routed = 'delivered';
      }
    }
    for (const members of groups)
      if (this.#deliverToOne(members, message, from) && routed === 'nobody') routed = 'delivered';
    return routed;
  }

  #deliver(
    subscriber: Exclude<Subscriber, { store: unknown }>,
    message: Message,
    from: object | undefined,
  ): boolean {
    if ('offer' in subscriber) {
      if (!subscriber.offer(message, from)) return false;
    } else {
      subscriber.deliver(message);
    }
    this.counters.outMsgs++;
    this.counters.outBytes += message.data.length;
    return true;
  }

  /** Offers to one member after the other, from a random one on, until one takes it. A stream is in no group. */
  #deliverToOne(
    members: readonly Subscriber[],
    message: Message,
    from: object | undefined,
  ): boolean {
    const first = this.#random(members.length);
    for (let i = 0; i < members.length; i++) {
      const member = members[(first + i) % members.length];
      if (member !== undefined && !('store' in member) && this.#deliver(member, message, from))
        return true;
    }
    return false;
  }

  /** A whole number below `below`: xorshift, which spreads evenly and is the same in every run. */
  #random(below: number): number {
    if (below === 1) return 0;
    let x = this.#turn;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#turn = x;
    return (x >>> 0) % below;
  }
}
