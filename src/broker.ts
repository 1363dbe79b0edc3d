// The broker: two verbs, publish and subscribe. It knows no protocol and no stream; a stream is one of its
// subscribers, with a `store` instead of a `deliver`. A serial frame, an MQTT PUBLISH and a NATS PUB all end in `publish`.

import type { Message, Receipt } from './message.ts';
import { Sublist } from './sublist.ts';
import type { Entry, Group, Matched } from './sublist-tree.ts';

/**
 * A subscriber: it gets copies (`deliver`; `target` is where it is sent to, for what `deliverTo` sends not its own
 * subject), or is asked whether it takes one (`offer`: false where it does not, as it is
 * the publisher itself, or over), or takes messages in (`store`).
 */
export type Subscriber =
  | {
      readonly deliver: (message: Message, target: string) => void;
      /** It is where a mirror of ours hears its origin: on the subjects that it made up and has told nobody else. */
      readonly isMirror?: boolean;
    }
  | {
      /** `target` is where the gateway itself sends it to: a delivery, an answer, news. Undefined: it was published. */
      readonly offer: (
        message: Message,
        from: object | undefined,
        target: string | undefined,
      ) => boolean;
      /** The same of a message of ours on `subject` whose data is ASCII text: for who would make text of it again. */
      readonly offerText?: (subject: string, text: string) => boolean;
      /** What it was given and has not read yet, where that is known. */
      readonly unreadBytes?: number;
      /** The most that it takes, headers and data together; undefined for what any message may have. */
      readonly messageBytesMax?: number | undefined;
      /**
       * It stands for others behind a link: it is asked after all others; not at all for what a stream of ours has taken
       * when it was published (who wants that there, gets it of the stream); and in a queue group only where no
       * member here has taken it. It must not change.
       */
      readonly isRemote?: boolean;
    }
  | { readonly store: (message: Message, receipt: Receipt | undefined) => void };

/**
 * What became of a publish at once: `stored` says that a stream has taken it and the receipt will be called,
 * once; `delivered` that only subscribers got it; `nobody` that there was none (no responders, 503).
 */
export type Routed = 'stored' | 'delivered' | 'nobody';

/** One subscription: its filter, its group, and as `entry` who has it. */
export type SubscriptionView = Entry<Subscriber>;

/** Told of each subscription that begins, and of each that ends. It must neither publish nor subscribe from within. */
export interface SubscriptionWatcher {
  began(filter: string, queue: string | undefined, subscriber: Subscriber): void;
  ended(filter: string, queue: string | undefined, subscriber: Subscriber): void;
}

/** As `from`: the gateway itself publishes, and not one of its clients. */
export const GATEWAY: object = Object.freeze({ name: 'gateway' });

/** Subjects of which each is used once: remembering them would push out those that come again. */
const INBOX = '_INBOX.';
const ONCE = ['$JS.ACK.', '$JS.FC.'];
const UNDERSCORE = 95;
const DOLLAR = 36;

export class Broker {
  readonly #sublist = new Sublist<Subscriber>(isRemote);
  /** By subject. As many as there are push consumers. */
  readonly #watchers = new Map<string, Set<() => void>>();
  /** One for each link. */
  readonly #subscriptionWatchers = new Set<SubscriptionWatcher>();
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
    if (this.#sublist.insert(filter, subscriber, queue)) {
      this.#tellWatchers(filter);
      for (const watcher of this.#subscriptionWatchers) watcher.began(filter, queue, subscriber);
    }
    return () => {
      if (!this.#sublist.remove(filter, subscriber, queue)) return;
      this.#tellWatchers(filter);
      for (const watcher of this.#subscriptionWatchers) watcher.ended(filter, queue, subscriber);
    };
  }

  /** Whether somebody gets what is published to `subject`; with `queue`, somebody in that group. */
  hasInterest(subject: string, queue?: string): boolean {
    if (queue !== undefined) return this.#sublist.hasMember(subject, queue);
    const { plain, last, groups } = this.#matched(subject);
    return plain.length > 0 || groups.length > 0 || last.length > 0;
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

  /** Tells `watcher` of every subscription, first of those that are there, until the returned function is called. */
  watchSubscriptions(watcher: SubscriptionWatcher): () => void {
    for (const { filter, entry, queue } of this.#sublist.all()) watcher.began(filter, queue, entry);
    this.#subscriptionWatchers.add(watcher);
    return () => void this.#subscriptionWatchers.delete(watcher);
  }

  #tellWatchers(filter: string): void {
    if (this.#watchers.size === 0) return;
    const watchers = this.#watchers.get(filter);
    if (watchers !== undefined) for (const changed of watchers) changed();
  }

  /**
   * Routes a message, synchronously. `message.subject` must be valid (isPublishSubject); the message's buffers must
   * not change afterwards. Streams do not share subjects, so at most one calls the receipt. `from` is shown to those who
   * are asked whether they take it. With `queues`, no other group gets it: who sent it over a link has chosen these.
   */
  publish(message: Message, receipt?: Receipt, from?: object, queues?: readonly string[]): Routed {
    const { counters } = this;
    counters.inMsgs++;
    counters.inBytes += message.data.length;
    const all = this.#matched(message.subject);
    const matched = queues === undefined ? all : withGroups(all, queues);
    const routed = this.#route(matched, message, receipt, from, undefined, true);
    if (routed === 'nobody') counters.nobodyMsgs++;
    return routed;
  }

  /** Routes an answer of ours: not counted as coming in, and no loss when nobody waits for it. */
  answer(message: Message): Routed {
    const { subject } = message;
    return this.#route(this.#matched(subject), message, undefined, undefined, subject, true);
  }

  /** As `answer`, for a valid subject and data that are ASCII: a single subscriber that can do with text gets it so. */
  answerText(subject: string, text: string): Routed {
    const matched = this.#matched(subject);
    const { plain, last, groups } = matched;
    const [only] = plain;
    if (
      plain.length !== 1 ||
      groups.length > 0 ||
      last.length > 0 ||
      only === undefined ||
      !('offer' in only) ||
      only.offerText === undefined
    ) {
      const message = { subject, data: Buffer.from(text, 'latin1') };
      return this.#route(matched, message, undefined, undefined, subject, true);
    }
    if (!only.offerText(subject, text)) return 'nobody';
    this.counters.outMsgs++;
    this.counters.outBytes += text.length;
    return 'delivered';
  }

  /**
   * Delivers a stored message to whoever listens on `target`; it keeps the subject under which it is stored. Streams do
   * not take it, and it does not count as coming in. `from` and `queues` are those of `publish`.
   */
  deliverTo(target: string, message: Message, from?: object, queues?: readonly string[]): Routed {
    const all = this.#sublist.find(target);
    const matched = queues === undefined ? all : withGroups(all, queues);
    return this.#route(matched, message, undefined, from, target, false);
  }

  /** All subscriptions that cover `subject`. It walks the tree: not for each message. */
  subscriptionsOn(subject: string): readonly SubscriptionView[] {
    return this.#sublist.entriesOn(subject);
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
    const matched = this.#sublist.under(subject);
    return this.#route(matched, message, undefined, undefined, subject, false);
  }

  /** Who gets copies of what is published to `subject`, groups and those behind a link aside. */
  subscribers(subject: string): readonly Subscriber[] {
    return this.#matched(subject).plain;
  }

  #matched(subject: string): Matched<Subscriber> {
    return isUsedOnce(subject) ? this.#sublist.find(subject) : this.#sublist.route(subject);
  }

  #route(
    { plain, last, groups }: Matched<Subscriber>,
    message: Message,
    receipt: Receipt | undefined,
    from: object | undefined,
    target: string | undefined,
    storable: boolean,
  ): Routed {
    let routed: Routed = 'nobody';
    for (const subscriber of plain) {
      if ('store' in subscriber) {
        if (!storable) continue;
        routed = 'stored';
        subscriber.store(message, receipt);
      } else if (this.#deliver(subscriber, message, from, target) && routed === 'nobody') {
        routed = 'delivered';
      }
    }
    if (last.length > 0 && (routed !== 'stored' || target !== undefined))
      for (const subscriber of last)
        if (this.#deliver(subscriber, message, from, target) && routed === 'nobody')
          routed = 'delivered';
    for (const group of groups)
      if (this.#deliverToOne(group, message, from, target) && routed === 'nobody')
        routed = 'delivered';
    return routed;
  }

  #deliver(
    subscriber: Subscriber,
    message: Message,
    from: object | undefined,
    target: string | undefined,
  ): boolean {
    if ('store' in subscriber) return false;
    if ('offer' in subscriber) {
      if (!subscriber.offer(message, from, target)) return false;
    } else {
      subscriber.deliver(message, target ?? message.subject);
    }
    this.counters.outMsgs++;
    this.counters.outBytes += message.data.length;
    return true;
  }

  /**
   * Offers to one member after the other, from a random one on, until one takes it; those behind a link come after all
   * others. A stream is in no group.
   */
  #deliverToOne(
    { members, last }: Group<Subscriber>,
    message: Message,
    from: object | undefined,
    target: string | undefined,
  ): boolean {
    const first = members.length === 0 ? 0 : this.#random(members.length);
    for (let i = 0; i < members.length; i++) {
      const member = members[(first + i) % members.length];
      if (member !== undefined && this.#deliver(member, message, from, target)) return true;
    }
    for (const member of last) if (this.#deliver(member, message, from, target)) return true;
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

function isRemote(subscriber: Subscriber): boolean {
  return 'offer' in subscriber && subscriber.isRemote === true;
}

/** Of the groups only those in `queues`. */
function withGroups(
  { plain, last, groups }: Matched<Subscriber>,
  queues: readonly string[],
): Matched<Subscriber> {
  return { plain, last, groups: groups.filter(({ queue }) => queues.includes(queue)) };
}
