// What one connection may publish and subscribe to. Without a list everything is allowed; what is denied stays denied.

import { collide, isCovered, matches } from '../subject.ts';

/** As configured for a user. */
export interface Permissions {
  /** Undefined: everything. */
  readonly publish: readonly string[] | undefined;
  readonly denyPublish: readonly string[];
  readonly subscribe: readonly string[] | undefined;
  readonly denySubscribe: readonly string[];
  /** Whether it may answer each request that it gets, once and within two minutes; without `publish` nothing else. */
  readonly allowResponses: boolean;
}

/** Decisions about subjects that are remembered; beyond it they are made anew. */
const CACHE_SUBJECTS_MAX = 256;
const RESPONSE_MS = 120_000;

export class Rights {
  readonly #permissions: Permissions;
  readonly #publish: readonly string[] | undefined;
  readonly #nowMs: () => number;
  readonly #repliesMax: number;
  readonly #mayPublish = new Map<string, boolean>();
  readonly #mayReceive = new Map<string, boolean>();
  /** Reply subjects of requests that were delivered, and when. */
  readonly #replies = new Map<string, number>();

  constructor(permissions: Permissions, repliesMax: number, nowMs: () => number) {
    this.#permissions = permissions;
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

  maySubscribe(filter: string): boolean {
    const { subscribe, denySubscribe } = this.#permissions;
    const allowed = subscribe?.some((wide) => isCovered(filter, wide)) ?? true;
    return allowed && !denySubscribe.some((wide) => isCovered(filter, wide));
  }

  /** Whether some of what falls under `filter` must be kept from the client: then `mayReceive` decides. */
  isSifted(filter: string): boolean {
    return this.#permissions.denySubscribe.some((denied) => collide(denied, filter));
  }

  mayReceive(subject: string): boolean {
    let may = this.#mayReceive.get(subject);
    if (may !== undefined) return may;
    may = !this.#permissions.denySubscribe.some((filter) => matches(filter, subject));
    remember(this.#mayReceive, subject, may);
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
