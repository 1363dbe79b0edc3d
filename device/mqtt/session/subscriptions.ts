// The subscriptions of one session: which of them a message falls under, and with what it goes to the client then. A message
// goes to a session once, however many filters match. Shared subscriptions are kept here with the others, but matched by
// `shared-groups.ts`. Relies on subjects as `topic.ts` maps them.

import { matches } from '../../../src/subject.ts';
import { isReserved, levelUp } from '../topic.ts';
import type { QoS } from '../wire/types.ts';
import type { Subscription } from './types.ts';

/** Subjects whose match a session remembers, once it has more than a few filters; beyond it the cache starts anew. */
const MATCHED_SUBJECTS_MAX = 128;
/** So many filters are looked through faster than a map is asked. */
const FEW_FILTERS = 2;

/** A filter costs memory by its levels, in the broker's tree, and by its bytes, in its session's row: so much counts as one. */
const WEIGHT_LEVELS = 8;
const WEIGHT_BYTES = 128;

/** With what a message goes to a session. Shared by many messages: never changed. */
export interface Match {
  /** The highest that any of the subscriptions was granted. */
  readonly qos: QoS;
  /** The Subscription Identifiers of all of them, in the order in which they were first made; [MQTT-3.3.4-3]. */
  readonly identifiers: readonly number[];
  /** Whether any of them wants the RETAIN flag as it was published. */
  readonly retainAsPublished: boolean;
}

/** Begins an interest in a NATS filter at the broker; the result ends it. */
export type Interest = (filter: string) => () => void;

interface Counted {
  readonly end: () => void;
  count: number;
}

const NO_IDENTIFIERS: readonly number[] = Object.freeze([]);

/**
 * All subscriptions of one session by their Topic Filter, the shared ones included. `interest`, where it is given, is
 * called for each NATS filter that the broker has to know for the others, once however many subscriptions need it.
 */
export class Subscriptions {
  readonly #byFilter = new Map<string, Subscription>();
  readonly #interest: Interest | undefined;
  readonly #interests = new Map<string, Counted>();
  /** Those that are not shared, in the order of #byFilter. */
  #plain: readonly Subscription[] = [];
  #weight = 0;
  /** By subject, for the client's own messages and for those of others; only beyond FEW_FILTERS. */
  #matched: readonly [Map<string, Match | null>, Map<string, Match | null>] | undefined;

  constructor(interest?: Interest) {
    this.#interest = interest;
  }

  get size(): number {
    return this.#byFilter.size;
  }

  /** All of them together: see `weightOf`. */
  get weight(): number {
    return this.#weight;
  }

  get all(): Iterable<Subscription> {
    return this.#byFilter.values();
  }

  get(filter: string): Subscription | undefined {
    return this.#byFilter.get(filter);
  }

  /** Adds a subscription, or replaces that of the same Topic Filter [MQTT-3.8.4-3], which it returns. */
  set(subscription: Subscription): Subscription | undefined {
    const { filter } = subscription;
    const known = this.#byFilter.get(filter);
    this.#byFilter.set(filter, subscription);
    if (known === undefined) this.#weight += weightOf(filter);
    if (subscription.share !== undefined) return known;
    // The same filter is the same subject: the broker knows it already.
    if (known === undefined) for (const each of natsFilters(subscription)) this.#begin(each);
    this.#changed();
    return known;
  }

  /** Removes the subscription of this Topic Filter, and returns it. */
  delete(filter: string): Subscription | undefined {
    const known = this.#byFilter.get(filter);
    if (known === undefined) return undefined;
    this.#byFilter.delete(filter);
    this.#weight -= weightOf(filter);
    if (known.share !== undefined) return known;
    for (const each of natsFilters(known)) this.#end(each);
    this.#changed();
    return known;
  }

  /** Removes all. */
  clear(): void {
    this.#byFilter.clear();
    this.#weight = 0;
    for (const { end } of this.#interests.values()) end();
    this.#interests.clear();
    this.#changed();
  }

  /**
   * With what a message on `subject` goes to the client; undefined when no subscription matches. `own`: this client has
   * published it, so that subscriptions with No Local do not count [MQTT-3.8.3-3].
   */
  match(subject: string, own: boolean): Match | undefined {
    if (this.#plain.length <= FEW_FILTERS) return this.#match(subject, own);
    const [others, ours] = (this.#matched ??= [new Map(), new Map()]);
    const cache = own ? ours : others;
    const known = cache.get(subject);
    if (known !== undefined) return known ?? undefined;
    const match = this.#match(subject, own);
    if (cache.size >= MATCHED_SUBJECTS_MAX) cache.clear();
    cache.set(subject, match ?? null);
    return match;
  }

  /** The first subscription that matches, shared ones aside. */
  first(subject: string): Subscription | undefined {
    return this.#plain.find((each) => subscriptionMatches(each.subject, subject));
  }

  #match(subject: string, own: boolean): Match | undefined {
    let first: Subscription | undefined;
    let many: { qos: QoS; identifiers: number[]; retainAsPublished: boolean } | undefined;
    for (const subscription of this.#plain) {
      if (own && subscription.noLocal) continue;
      if (!subscriptionMatches(subscription.subject, subject)) continue;
      if (first === undefined) {
        first = subscription;
        continue;
      }
      many ??= {
        qos: first.qos,
        identifiers: first.identifier === undefined ? [] : [first.identifier],
        retainAsPublished: first.retainAsPublished,
      };
      if (subscription.qos > many.qos) many.qos = subscription.qos;
      if (subscription.identifier !== undefined) many.identifiers.push(subscription.identifier);
      many.retainAsPublished ||= subscription.retainAsPublished;
    }
    return many ?? (first === undefined ? undefined : matchOf(first));
  }

  #changed(): void {
    this.#matched = undefined;
    this.#plain = [...this.#byFilter.values()].filter(({ share }) => share === undefined);
  }

  #begin(filter: string): void {
    const known = this.#interests.get(filter);
    if (known !== undefined) known.count++;
    else if (this.#interest !== undefined)
      this.#interests.set(filter, { end: this.#interest(filter), count: 1 });
  }

  #end(filter: string): void {
    const known = this.#interests.get(filter);
    if (known === undefined || --known.count > 0) return;
    known.end();
    this.#interests.delete(filter);
  }
}

/** As how many subscriptions a Topic Filter counts: most as one, one of 512 levels as 64. */
export function weightOf(filter: string): number {
  const levels = filter.split('/').length;
  return Math.ceil(Math.max(levels / WEIGHT_LEVELS, Buffer.byteLength(filter) / WEIGHT_BYTES));
}

/** The filters that the broker has to know for a subscription: `foo/#` matches `foo` too, `foo.>` does not. */
export function natsFilters({ subject }: { readonly subject: string }): readonly string[] {
  const above = levelUp(subject);
  return above === undefined ? [subject] : [subject, above];
}

/**
 * Whether a message on `subject` falls under the filter of a subscription (as a NATS subject). A leading wildcard matches
 * no topic that begins with `$` [MQTT-4.7.2-1], nor the answers to other people's requests.
 */
export function subscriptionMatches(filter: string, subject: string): boolean {
  if (filter === subject) return true;
  const first = filter.charCodeAt(0);
  const leads = (first === 42 || first === 62) && (filter.length === 1 || filter[1] === '.');
  if (leads && isReserved(subject)) return false;
  if (matches(filter, subject)) return true;
  const above = levelUp(filter);
  return above !== undefined && matches(above, subject);
}

const singles = new WeakMap<Subscription, Match>();

/** The Match of a single subscription, made once. */
function matchOf(subscription: Subscription): Match {
  let match = singles.get(subscription);
  if (match === undefined) {
    const { qos, identifier, retainAsPublished } = subscription;
    const identifiers = identifier === undefined ? NO_IDENTIFIERS : [identifier];
    singles.set(subscription, (match = { qos, identifiers, retainAsPublished }));
  }
  return match;
}
