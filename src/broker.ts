// The broker: two verbs, publish and subscribe. It knows no protocol and no stream; a stream is one of its
// subscribers, with a `store` instead of a `deliver`. A serial frame, an MQTT PUBLISH and a NATS PUB all end in `publish`.

import type { Message, Receipt } from './message.ts';
import { Sublist, type Matched } from './sublist.ts';

/**
 * A subscriber: it gets copies (`deliver`; `target` is where it is sent to, for what `deliverTo` sends not its own
 * subject), or is asked whether it takes one (`offer`: false where it does not, as it is
 * the publisher itself, or over), or takes messages in (`store`).
 */
export type Subscriber =
  | { readonly deliver: (message: Message, target: string) => void }
  | {
      readonly offer: (message: Message, from: object | undefined) => boolean;
      /** The same of a message of ours on `subject` whose data is ASCII text: for who would make text of it again. */
      readonly offerText?: (subject: string, text: string) => boolean;
      /** What it was given and has not read yet, where that is known. */
      readonly unreadBytes?: number;
    }
  | { readonly store: (message: Message, receipt: Receipt | undefined) => void };

/**
 * What became of a publish at once: `stored` says that a stream has taken it and the receipt will be called,
 * once; `delivered` that only subscribers got it; `nobody` that there was none (no responders, 503).
 */
export type Routed = 'stored' | 'delivered' | 'nobody';

/** Subjects of which each is used once: remembering them would push out those that come again. */
const INBOX = '_INBOX.';
const ONCE = ['$JS.ACK.', '$JS.FC.'];
const UNDERSCORE = 95;
const DOLLAR = 36;

export class Broker {
  readonly #sublist = new Sublist<Subscriber>();
  /** By subject. As many as there are push consumers. */
  readonly #watchers = new Map<string, Set<() => void>>();
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
    this.#tellWatchers(filter);
    return () => {
      this.#sublist.remove(filter, subscriber, queue);
      this.#tellWatchers(filter);
    };
  }

  /** Whether somebody gets what is published to `subject`; with `queue`, somebody in that group. */
  hasInterest(subject: string, queue?: string): boolean {
    if (queue !== undefined) return this.#sublist.hasMember(subject, queue);
    const { plain, groups } = this.#matched(subject);
    return plain.length > 0 || groups.length > 0;
  }

  /** Who listens on exactly `subject`, not through a wildcard, streams aside; with `queue`, as a member of that group. */
  listeners(subject: string, queue?: string): readonly Exclude<Subscriber, { store: unknown }>[] {
    const listeners: Exclude<Subscriber, { store: unknown }>[] = [];
    for (const subscriber of this.#sublist.exactly(subject, queue))
      if (!('store' in subscriber)) listeners.push(subscriber);
    return listeners;
  }

  /** Calls `changed` whenever a subscription on exactly `subject` has begun or ended. It must not publish from within. */
  watchInterest(subject: string, changed: () => void): () => void {
    let watchers = this.#watchers.get(subject);
    if (watchers === undefined) this.#watchers.set(subject, (watchers = new Set()));
    // The same function may be given twice.
    const watcher = (): void => changed();
    watchers.add(watcher);
    return () => {
      const left = this.#watchers.get(subject);
      if (left?.delete(watcher) === true && left.size === 0) this.#watchers.delete(subject);
    };
  }

  #tellWatchers(filter: string): void {
    if (this.#watchers.size === 0) return;
    const watchers = this.#watchers.get(filter);
    if (watchers !== undefined) for (const changed of watchers) changed();
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

  /** As `answer`, for a valid subject and data that are ASCII: a single subscriber that can do with text gets it so. */
  answerText(subject: string, text: string): Routed {
    const matched = this.#matched(subject);
    const { plain, groups } = matched;
    const [only] = plain;
    if (
      plain.length !== 1 ||
      groups.length > 0 ||
      only === undefined ||
      !('offer' in only) ||
      only.offerText === undefined
    )
      return this.#route(
        matched,
        { subject, data: Buffer.from(text, 'latin1') },
        undefined,
        undefined,
      );
    if (!only.offerText(subject, text)) return 'nobody';
    this.counters.outMsgs++;
    this.counters.outBytes += text.length;
    return 'delivered';
  }

  /**
   * Delivers a stored message to whoever listens on `target`; it keeps the subject under which it is stored. Streams do
   * not take it, and it does not count as coming in.
   */
  deliverTo(target: string, message: Message): Routed {
    return this.#route(this.#sublist.find(target), message, undefined, undefined, target);
  }

  /** Whether somebody listens to subjects with `first` as their first token, and not through a wildcard in its place. */
  listensUnder(first: string): boolean {
    return this.#sublist.hasFirst(first);
  }

  /**
   * Tells those who ask for it by its first token: who listens to `>` is spared news of ours, and no stream takes them. It
   * does not count as coming in.
   */
  notify(message: Message): Routed {
    const { subject } = message;
    return this.#route(this.#sublist.under(subject), message, undefined, undefined, subject);
  }

  /** Who gets copies of what is published to `subject`, groups aside. */
  subscribers(subject: string): readonly Subscriber[] {
    return this.#matched(subject).plain;
  }

  #matched(subject: string): Matched<Subscriber> {
    return isUsedOnce(subject) ? this.#sublist.find(subject) : this.#sublist.route(subject);
  }

  #route(
    { plain, groups }: Matched<Subscriber>,
    message: Message,
    receipt: Receipt | undefined,
    from: object | undefined,
    target?: string,
  ): Routed {
    let routed: Routed = 'nobody';
    for (const subscriber of plain) {
      if ('store' in subscriber) {
        if (target !== undefined) continue;
        routed = 'stored';
        subscriber.store(message, receipt);
      } else if (this.#deliver(subscriber, message, from, target) && routed === 'nobody') {
        routed = 'delivered';
      }
    }
    for (const members of groups)
      if (this.#deliverToOne(members, message, from, target) && routed === 'nobody')
        routed = 'delivered';
    return routed;
  }

  #deliver(
    subscriber: Exclude<Subscriber, { store: unknown }>,
    message: Message,
    from: object | undefined,
    target: string | undefined,
  ): boolean {
    if ('offer' in subscriber) {
      if (!subscriber.offer(message, from)) return false;
    } else {
      subscriber.deliver(message, target ?? message.subject);
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
    target: string | undefined,
  ): boolean {
    const first = this.#random(members.length);
    for (let i = 0; i < members.length; i++) {
      const member = members[(first + i) % members.length];
      if (
        member !== undefined &&
        !('store' in member) &&
        this.#deliver(member, message, from, target)
      )
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

/** The first letter tells most of them apart, at no cost. */
function isUsedOnce(subject: string): boolean {
  const first = subject.charCodeAt(0);
  if (first === UNDERSCORE) return subject.startsWith(INBOX);
  return first === DOLLAR && ONCE.some((prefix) => subject.startsWith(prefix));
}
