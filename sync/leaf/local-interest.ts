// What subscriptions here mean for the hub: it is told of what they have in common with `imports`, of the inboxes that mirrors
// of ours made up, and of the object buckets here (their subjects have no domain: else nobody behind the hub could
// fill one). What the hub does not let us ask for is left out. It watches the broker while a connection lasts.

import type { Broker, Subscriber, SubscriptionWatcher } from '../../src/broker.ts';
import { domainPrefix } from '../../src/domain-subject.ts';
import { Sublist } from '../../src/sublist.ts';
import type { Adverts } from './adverts.ts';
import type { Boundary } from './boundary.ts';
import type { HubRights } from './hub-rights.ts';
import { HubSubscriber } from './remote-interest.ts';

/** `$O.<bucket>.C.>` and `$O.<bucket>.M.>` are the subjects of a bucket. */
const OBJECTS = /^\$O\.([^.*>]+)\./;
/** Object buckets of the hub that are remembered; of more we offer those of the same name, too. */
const HUB_BUCKETS_MAX = 1024;

/** Who is told of subscriptions here. */
export interface Listeners {
  began(filter: string, queue: string | undefined): void;
  ended(filter: string, queue: string | undefined): void;
}

export class LocalInterest implements SubscriptionWatcher {
  readonly #broker: Broker;
  readonly #boundary: Boundary;
  readonly #rights: HubRights;
  readonly #adverts: Adverts;
  /** Filters of mirrors. */
  readonly #mirrors = new Sublist<string>();
  /** Object buckets here, with the number of their subscriptions. */
  readonly #buckets = new Map<string, number>();
  /** The same of the hub. */
  readonly #hubBuckets = new Map<string, number>();
  #listeners: Listeners | undefined;
  #unwatch: (() => void) | undefined;
  #hasJetStream = false;

  constructor(broker: Broker, boundary: Boundary, rights: HubRights, adverts: Adverts) {
    this.#broker = broker;
    this.#boundary = boundary;
    this.#rights = rights;
    this.#adverts = adverts;
  }

  /** A connection begins. `listeners` are told of each subscription here, too. */
  connected({ jetstream }: { readonly jetstream: boolean }, listeners: Listeners): void {
    this.disconnected();
    const { domain } = this.#boundary;
    this.#hasJetStream = jetstream && domain !== undefined;
    this.#listeners = listeners;
    if (this.#hasJetStream && domain !== undefined) this.#want(`${domainPrefix(domain)}>`);
    this.#unwatch = this.#broker.watchSubscriptions(this);
  }

  disconnected(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    for (const filter of [...this.#mirrors.all()].map((each) => each.filter))
      this.#mirrors.remove(filter, filter);
    this.#buckets.clear();
    this.#hubBuckets.clear();
  }

  /** Whether what the hub sends to `subject` is for a mirror. */
  isMirrored(subject: string): boolean {
    return this.#mirrors.find(subject).plain.length > 0;
  }

  /** Whether what the hub sends to `subject` is of an object bucket that is offered to it. */
  isOffered(subject: string): boolean {
    const bucket = OBJECTS.exec(subject)?.[1];
    return bucket !== undefined && this.#isOffered(bucket);
  }

  /** The hub wants `subject`, or wants it no more: a bucket that it has itself is not offered. */
  hubWants(subject: string, change: 1 | -1): void {
    const bucket = OBJECTS.exec(subject)?.[1];
    if (bucket === undefined) return;
    const count = this.#hubBuckets.get(bucket) ?? 0;
    if (count === 0 && (change < 0 || this.#hubBuckets.size >= HUB_BUCKETS_MAX)) return;
    const wasOffered = this.#isOffered(bucket);
    if (count + change === 0) this.#hubBuckets.delete(bucket);
    else this.#hubBuckets.set(bucket, count + change);
    const isOffered = this.#isOffered(bucket);
    if (wasOffered && !isOffered) this.#drop(`$O.${bucket}.>`);
    if (!wasOffered && isOffered) this.#want(`$O.${bucket}.>`);
  }

  /** See SubscriptionWatcher. */
  began(filter: string, queue: string | undefined, subscriber: Subscriber): void {
    if (subscriber instanceof HubSubscriber) return;
    for (const part of this.#boundary.entering(filter))
      for (const permitted of this.#rights.narrow(part)) this.#adverts.wantListed(permitted, queue);
    if (isMirror(subscriber)) {
      this.#mirrors.insert(filter, filter);
      this.#want(filter);
    } else if ('store' in subscriber) this.#bucketBegan(filter, 1);
    else this.#listeners?.began(filter, queue);
  }

  /** See SubscriptionWatcher. */
  ended(filter: string, queue: string | undefined, subscriber: Subscriber): void {
    if (subscriber instanceof HubSubscriber) return;
    for (const part of this.#boundary.entering(filter)) this.#drop(part, queue);
    if (isMirror(subscriber)) {
      this.#mirrors.remove(filter, filter);
      this.#drop(filter);
    } else if ('store' in subscriber) this.#bucketBegan(filter, -1);
    this.#listeners?.ended(filter, queue);
  }

  #bucketBegan(filter: string, change: 1 | -1): void {
    const bucket = OBJECTS.exec(filter)?.[1];
    if (bucket === undefined || !this.#hasJetStream) return;
    const wasOffered = this.#isOffered(bucket);
    const count = (this.#buckets.get(bucket) ?? 0) + change;
    if (count <= 0) this.#buckets.delete(bucket);
    else this.#buckets.set(bucket, count);
    const isOffered = this.#isOffered(bucket);
    if (!wasOffered && isOffered) this.#want(`$O.${bucket}.>`);
    if (wasOffered && !isOffered) this.#drop(`$O.${bucket}.>`);
  }

  #isOffered(bucket: string): boolean {
    return this.#buckets.has(bucket) && !this.#hubBuckets.has(bucket);
  }

  #want(filter: string, queue?: string): void {
    for (const part of this.#rights.narrow(filter)) this.#adverts.want(part, queue);
  }

  #drop(filter: string, queue?: string): void {
    for (const part of this.#rights.narrow(filter)) this.#adverts.drop(part, queue);
  }
}

function isMirror(subscriber: Subscriber): boolean {
  return 'deliver' in subscriber && subscriber.isMirror === true;
}
