// Where answers of the hub may come in: the replies of what has left, and the acknowledgements and the flow control of the
// consumers whose data has left. The hub is told of each (Adverts), and of no other inbox.
//
// A client listens on its inbox for a time: the hub is told of the filter until the subscription ends, for one filter serves
// all requests of a client. Where the filter is wide, as `_INBOX.>` is, the hub is told of the one reply only, and for some
// minutes: else it would send us the answers to all its own clients.

import type { Broker, SubscriptionView } from '../../src/broker.ts';
import type { Clock } from '../../src/clock.ts';
import { Sublist } from '../../src/sublist.ts';
import type { Adverts } from './adverts.ts';
import { consumerFilter, consumerNames, consumerOf } from './consumer-subjects.ts';
import type { HubRights } from './hub-rights.ts';
import { Recent } from './recent.ts';
import { HubSubscriber } from './remote-interest.ts';
import { firstToken } from './subject-list.ts';

/** Filters of inboxes that the hub is told; beyond it single replies are. 1 KiB each at most. */
const INBOXES_MAX = 4096;
/** Single replies, and subjects of which data is expected: of twice as many each at most. */
const REPLIES_MAX = 2048;
/** Who asks does not wait longer for the first answer, nor between two. */
const REPLY_MS = 300_000;
/** Who asked for data listens soon. */
const EXPECTED_MS = 60_000;
/** Consumers whose data has left, each for acks and for flow control; the one that is silent for longest goes first. */
const CONSUMERS_MAX = 4096;

interface Inbox {
  readonly filter: string;
  readonly queue: string | undefined;
}

export class ReplyInboxes {
  readonly #broker: Broker;
  readonly #adverts: Adverts;
  readonly #rights: HubRights;
  /** Of clients here, while their subscriptions last, over all connections. */
  readonly #inboxes = new Map<string, Inbox>();
  readonly #replies: Recent<true>;
  /** Subjects of which the data was asked for, and nobody listens yet. */
  readonly #expected: Recent<true>;
  /** As consumerOf names them, the one used last at the end; over all connections. */
  readonly #consumers = new Set<string>();
  /** All of them, as filters. */
  readonly #admitted = new Sublist<string>();
  #isConnected = false;

  constructor(broker: Broker, adverts: Adverts, rights: HubRights, clock: Clock) {
    this.#broker = broker;
    this.#adverts = adverts;
    this.#rights = rights;
    this.#expected = new Recent<true>({ clock, max: REPLIES_MAX, ms: EXPECTED_MS });
    this.#replies = new Recent<true>({
      clock,
      max: REPLIES_MAX,
      ms: REPLY_MS,
      gone: (reply) => this.#withdraw({ filter: reply, queue: undefined }),
    });
  }

  /** A connection begins: the hub is told of those that still are. */
  connected(): void {
    this.#isConnected = true;
    for (const [key, inbox] of this.#inboxes)
      if (this.#isThere(inbox)) this.#tell(inbox);
      else this.#forget(key, inbox);
    for (const reply of this.#replies.keys()) this.#tell({ filter: reply, queue: undefined });
    for (const begin of this.#consumers)
      this.#tell({ filter: consumerFilter(begin), queue: undefined });
  }

  /** The connection has ended, and Adverts has forgotten all. */
  disconnected(): void {
    this.#isConnected = false;
  }

  /** Whether what the hub sends to `subject` may come in. */
  admits(subject: string): boolean {
    return this.#admitted.find(subject).plain.length > 0;
  }

  /** Makes sure that the answer to `reply` can come in; false where nobody here waits for it. */
  open(reply: string): boolean {
    if (this.admits(reply)) {
      this.#replies.get(reply);
      return true;
    }
    const askers = this.#broker.subscriptionsOn(reply).filter(isAsker);
    for (const { filter, queue } of askers) this.#open(reply, filter, queue);
    return askers.length > 0;
  }

  /** Acknowledgements and flow control of consumers, each counted, that may come in. */
  get consumers(): number {
    return this.#consumers.size;
  }

  /** Lets the hub acknowledge to the consumer of `reply`, or answer its flow control. */
  openConsumer(reply: string): void {
    const begin = consumerOf(reply);
    if (begin === undefined) return;
    if (this.#consumers.delete(begin)) {
      this.#consumers.add(begin);
      return;
    }
    const [oldest] = this.#consumers;
    if (this.#consumers.size >= CONSUMERS_MAX && oldest !== undefined) {
      this.#consumers.delete(oldest);
      this.#withdraw({ filter: consumerFilter(oldest), queue: undefined });
    }
    this.#consumers.add(begin);
    this.#admit({ filter: consumerFilter(begin), queue: undefined });
  }

  /** Forgets consumers that are gone: a hub that sources makes a new one after each outage. */
  forgetConsumers(isThere: (stream: string, consumer: string) => boolean): void {
    for (const begin of this.#consumers) {
      const names = consumerNames(`${begin}x`);
      if (names === undefined || isThere(names.stream, names.consumer)) continue;
      this.#consumers.delete(begin);
      this.#withdraw({ filter: consumerFilter(begin), queue: undefined });
    }
  }

  /** As `open`, for a subject on which data is to come: who asks for it may begin to listen when he has his answer. */
  expect(subject: string): void {
    if (!this.open(subject)) this.#expected.add(subject, () => true);
  }

  /** A subscription here has begun. */
  began(filter: string, queue: string | undefined): void {
    if (this.#expected.size > 0 && this.#expected.has(filter)) this.#open(filter, filter, queue);
  }

  /** A subscription here has ended. */
  ended(filter: string, queue: string | undefined): void {
    const key = keyOf(filter, queue);
    const inbox = this.#inboxes.get(key);
    if (inbox !== undefined && !this.#isThere(inbox)) this.#forget(key, inbox);
  }

  #open(reply: string, filter: string, queue: string | undefined): void {
    const key = keyOf(filter, queue);
    if (this.#inboxes.has(key)) return;
    if (!isOwn(filter, reply) || this.#inboxes.size >= INBOXES_MAX) {
      if (this.#replies.has(reply)) return;
      this.#replies.add(reply, () => true);
      this.#admit({ filter: reply, queue: undefined });
      return;
    }
    const inbox = { filter, queue };
    this.#inboxes.set(key, inbox);
    this.#admit(inbox);
  }

  #isThere({ filter, queue }: Inbox): boolean {
    const listeners = this.#broker.listeners(filter, queue);
    return listeners.some((each) => !(each instanceof HubSubscriber));
  }

  #forget(key: string, inbox: Inbox): void {
    this.#inboxes.delete(key);
    this.#withdraw(inbox);
  }

  #admit(inbox: Inbox): void {
    this.#admitted.insert(inbox.filter, keyOf(inbox.filter, inbox.queue));
    if (this.#isConnected) this.#tell(inbox);
  }

  #withdraw(inbox: Inbox): void {
    this.#admitted.remove(inbox.filter, keyOf(inbox.filter, inbox.queue));
    if (!this.#isConnected) return;
    for (const part of this.#rights.narrow(inbox.filter)) this.#adverts.drop(part, inbox.queue);
  }

  #tell({ filter, queue }: Inbox): void {
    for (const part of this.#rights.narrow(filter)) this.#adverts.want(part, queue);
  }
}

/** Who may wait for an answer: no stream, none behind the link, and nobody who watches all subjects. */
function isAsker({ filter, entry }: SubscriptionView): boolean {
  if (entry instanceof HubSubscriber || 'store' in entry) return false;
  const first = firstToken(filter);
  return first !== '*' && first !== '>';
}

/** Whether `filter` is an inbox of one client: the reply itself, or all but its last token. */
function isOwn(filter: string, reply: string): boolean {
  if (filter === reply) return true;
  const tokens = filter.split('.');
  const names = tokens.slice(0, -1);
  return names.length >= 2 && !names.includes('*');
}

function keyOf(filter: string, queue: string | undefined): string {
  return queue === undefined ? filter : `${filter} ${queue}`;
}
