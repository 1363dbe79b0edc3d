// Shared subscriptions [4.8.2]: of the sessions that share a ShareName and a filter, one gets each message. A group is one
// subscriber of the broker, and picks the member itself: who is connected and reads, in turn; then who is connected; then
// who is away and has room in its queue. What nobody takes is counted.

import type { Broker, Subscriber } from '../../../src/broker.ts';
import type { Message } from '../../../src/message.ts';
import type { Base } from '../base.ts';
import { sentTo } from '../topic.ts';
import type { QoS } from '../wire/types.ts';
import { natsFilters, subscriptionMatches } from './subscriptions.ts';
import type { Form, Subscription } from './types.ts';

/** Members that a message is offered to: where so many have no room, the next one hardly has. Beyond it nobody gets it. */
const SHARED_OFFERS_MAX = 64;

/** A session as a group sees it. */
export interface SharedMember {
  readonly clientId: string;
  /** Its connection; undefined while it is away. */
  readonly owner: { readonly roomy: boolean } | undefined;
  /** Sends or queues `message` with the lower of `qos` and that of `subscription`; false where it does not take it. */
  enqueueShared(message: Message, qos: QoS, subscription: Subscription): boolean;
  /** The same for what another member left behind. QoS 1 or 2. */
  enqueueSharedForm(form: Form, qos: QoS, subscription: Subscription): boolean;
}

/** What an ended session had of a shared subscription. */
export interface LeftBehind {
  /** `$share/<name>/<filter>`. */
  readonly filter: string;
  readonly form: Form;
  readonly qos: QoS;
}

interface Place {
  readonly member: SharedMember;
  subscription: Subscription;
}

/** All groups of a listener, by `$share/<name>/<filter>`. As many as there are subscriptions at most. */
export class SharedGroups {
  readonly #base: Base;
  readonly #groups = new Map<string, Group>();

  constructor(base: Base) {
    this.#base = base;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** Makes `member` one of the group, or replaces its subscription. */
  join(member: SharedMember, subscription: Subscription): void {
    const { filter } = subscription;
    let group = this.#groups.get(filter);
    if (group === undefined) {
      const { broker } = this.#base;
      group = new Group(broker, subscription, (message) => this.#deliver(filter, message));
      this.#groups.set(filter, group);
    }
    group.join(member, subscription);
  }

  /** `member` leaves; the last one ends the group. */
  leave(member: SharedMember, filter: string): void {
    const group = this.#groups.get(filter);
    if (group === undefined) return;
    group.leave(member);
    if (group.size > 0) return;
    group.end();
    this.#groups.delete(filter);
  }

  /**
   * Gives what an ended session had not acknowledged to another member: QoS 1, and QoS 2 that was never sent
   * [MQTT-4.8.2-5]. The session has left its groups. Call it within the transaction that ends the session. What belongs
   * to a group that ended with it ends too.
   */
  handOver(left: Iterable<LeftBehind>): void {
    for (const { filter, form, qos } of left) {
      const group = this.#groups.get(filter);
      if (group === undefined) continue;
      const isTaken = group.offer(qos, ({ member, subscription }) =>
        member.enqueueSharedForm(form, qos, subscription),
      );
      if (!isTaken) this.#drop(filter);
    }
  }

  /** Of all groups together. */
  get subscriptions(): number {
    let count = 0;
    for (const { size } of this.#groups.values()) count += size;
    return count;
  }

  #deliver(filter: string, message: Message): void {
    const group = this.#groups.get(filter);
    if (group === undefined || !subscriptionMatches(group.subject, message.subject)) return;
    // What did not come by MQTT: the subscription decides.
    const qos = this.#base.routing.current(message)?.qos ?? 2;
    const isTaken = group.offer(qos, ({ member, subscription }) =>
      member.enqueueShared(message, qos, subscription),
    );
    if (!isTaken) this.#drop(filter);
  }

  #drop(filter: string): void {
    this.#base.counters.sharedDroppedMsgs++;
    this.#base.warn('no client of a shared MQTT subscription could take a message', { filter });
  }
}

class Group {
  readonly subject: string;
  readonly #ends: (() => void)[];
  /** Replaced and not changed: a member may leave while it is offered a message. */
  #places: readonly Place[] = [];
  /** Whose turn it is. */
  #turn = 0;

  constructor(broker: Broker, subscription: Subscription, take: (message: Message) => void) {
    this.subject = subscription.subject;
    // One subscriber for both filters: the broker calls it once for each message.
    const subscriber: Subscriber = { deliver: (message, to) => take(sentTo(to, message)) };
    this.#ends = natsFilters(subscription).map((filter) => broker.subscribe(filter, subscriber));
  }

  get size(): number {
    return this.#places.length;
  }

  join(member: SharedMember, subscription: Subscription): void {
    const known = this.#places.find((place) => place.member === member);
    if (known === undefined) this.#places = [...this.#places, { member, subscription }];
    else known.subscription = subscription;
  }

  leave(member: SharedMember): void {
    const at = this.#places.findIndex((place) => place.member === member);
    if (at < 0) return;
    this.#places = this.#places.toSpliced(at, 1);
    if (at < this.#turn) this.#turn--;
  }

  end(): void {
    for (const end of this.#ends) end();
  }

  /** Offers a message of `qos` to the members, the best first; false when none of them took it. */
  offer(qos: QoS, take: (place: Place) => boolean): boolean {
    const places = this.#places;
    const count = places.length;
    let offers = SHARED_OFFERS_MAX;
    for (const isEligible of [isRoomy, isSlow, isAway]) {
      for (let i = 0; i < count; i++) {
        const at = (this.#turn + i) % count;
        const place = places[at];
        if (place === undefined || !isEligible(place, qos)) continue;
        if (offers-- === 0) return false;
        if (!take(place)) continue;
        this.#turn = (at + 1) % count;
        return true;
      }
    }
    return false;
  }
}

function isRoomy({ member }: Place): boolean {
  return member.owner?.roomy === true;
}

function isSlow({ member }: Place): boolean {
  return member.owner?.roomy === false;
}

/** Who is away takes nothing at QoS 0. */
function isAway({ member, subscription }: Place, qos: QoS): boolean {
  return member.owner === undefined && qos > 0 && subscription.qos > 0;
}
