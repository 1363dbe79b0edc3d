// What one connection may publish and subscribe to. Without a list everything is allowed; what is denied stays denied.

import { collide, isCovered, matches } from '../subject.ts';

/** As configured for a user. */
export interface Permissions {
  /** Undefined: everything. */
  readonly publish: readonly string[] | undefined;
  readonly denyPublish: readonly string[];
  /** `subject`, or `subject group`: then it speaks of subscriptions in that queue group alone, wildcards allowed. */
  readonly subscribe: readonly string[] | undefined;
  readonly denySubscribe: readonly string[];
  /** Whether it may answer each request that it gets, once and within two minutes; without `publish` nothing else. */
  readonly allowResponses: boolean;
}

/** Decisions about subjects that are remembered; beyond it they are made anew. */
const CACHE_SUBJECTS_MAX = 256;
const RESPONSE_MS = 120_000;

/** Of `subscribe` or `denySubscribe`. */
interface Entry {
  readonly subject: string;
  readonly group: string | undefined;
}

export class Rights {
  readonly #permissions: Permissions;
  readonly #subscribe: readonly Entry[] | undefined;
  readonly #denySubscribe: readonly Entry[];
  readonly #publish: readonly string[] | undefined;
  readonly #nowMs: () => number;
  readonly #repliesMax: number;
  readonly #mayPublish = new Map<string, boolean>();
  readonly #mayReceive = new Map<string, boolean>();
  /** Reply subjects of requests that were delivered, and when. */
  readonly #replies = new Map<string, number>();

  constructor(permissions: Permissions, repliesMax: number, nowMs: () => number) {
    this.#permissions = permissions;
    this.#subscribe = permissions.subscribe?.map(toEntry);
    this.#denySubscribe = permissions.denySubscribe.map(toEntry);
    this.#publish = permissions.allowResponses ? (permissions.publish ?? []) : permissions.publish;
    this.#repliesMax = repliesMax;
    this.#nowMs = nowMs;
  }

  mayPublish(subject: string): boolean {
    const { denyPublish, allowResponses } = this.#permissions;
    const known = this.#mayPublish.get(subject);
    if (known === true) return true;
    if (known === undefined) {
      const allowed =
        (this.#publish?.some((filter) => matches(filter, subject)) ?? true) &&
        !denyPublish.some((filter) => matches(filter, subject));
      remember(this.#mayPublish, subject, allowed);
      if (allowed) return true;
    }
    return allowResponses && this.#mayAnswer(subject);
  }

  /** `queue` is the group of the subscription. What is allowed to named groups is allowed to no other group. */
  maySubscribe(filter: string, queue: string | undefined): boolean {
    const covers = ({ subject }: Entry): boolean => isCovered(filter, subject);
    const allow = this.#subscribe?.filter(covers);
    const allowed =
      allow === undefined ||
      (names(allow, queue) ?? allow.some(({ group }) => group === undefined));
    return allowed && !applies(this.#denySubscribe.filter(covers), queue);
  }

  /** Whether some of what falls under `filter` must be kept from the client: then `mayReceive` decides. */
  isSifted(filter: string, queue: string | undefined): boolean {
    return applies(
      this.#denySubscribe.filter(({ subject }) => collide(subject, filter)),
      queue,
    );
  }

  mayReceive(subject: string, queue: string | undefined): boolean {
    const key = queue === undefined ? subject : `${subject} ${queue}`;
    let may = this.#mayReceive.get(key);
    if (may !== undefined) return may;
    may = !applies(
      this.#denySubscribe.filter((entry) => matches(entry.subject, subject)),
      queue,
    );
    remember(this.#mayReceive, key, may);
    return may;
  }

  /** A request was delivered, to be answered on `reply`. */
  received(reply: string): void {
    if (!this.#permissions.allowResponses) return;
    this.#replies.delete(reply);
    if (this.#replies.size >= this.#repliesMax) {
      const oldest = this.#replies.keys().next();
      if (!oldest.done) this.#replies.delete(oldest.value);
    }
    this.#replies.set(reply, this.#nowMs());
  }

  #mayAnswer(subject: string): boolean {
    const sinceMs = this.#replies.get(subject);
    this.#replies.delete(subject);
    return sinceMs !== undefined && this.#nowMs() - sinceMs <= RESPONSE_MS;
  }
}

function toEntry(text: string): Entry {
  const [subject = '', group] = text.split(' ');
  return { subject, group };
}

/** Whether one of `entries` names the group `queue`; undefined where they name none, or it is none. */
function names(entries: readonly Entry[], queue: string | undefined): boolean | undefined {
  const groups = entries.flatMap(({ group }) => (group === undefined ? [] : [group]));
  if (queue === undefined || groups.length === 0) return undefined;
  return groups.some((group) => isCovered(queue, group));
}

/** Whether one of `entries` speaks of a subscription in the group `queue`. */
function applies(entries: readonly Entry[], queue: string | undefined): boolean {
  return entries.some(({ group }) => group === undefined) || names(entries, queue) === true;
}

function remember(cache: Map<string, boolean>, subject: string, may: boolean): void {
  if (cache.size >= CACHE_SUBJECTS_MAX) cache.clear();
  cache.set(subject, may);
}

/** As `$SYS.REQ.USER.INFO` shows them. */
export function toJson(permissions: Permissions): object {
  const side = (allow: readonly string[] | undefined, deny: readonly string[]): object => ({
    ...(allow === undefined ? {} : { allow }),
    ...(deny.length === 0 ? {} : { deny }),
  });
  const { publish, denyPublish, subscribe, denySubscribe, allowResponses } = permissions;
  return {
    publish: side(allowResponses ? (publish ?? []) : publish, denyPublish),
    subscribe: side(subscribe, denySubscribe),
    ...(allowResponses ? { responses: { max: 1, ttl: RESPONSE_MS * 1_000_000 } } : {}),
  };
}
