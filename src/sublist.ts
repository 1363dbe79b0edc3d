// The subscriptions by subject: a trie of tokens, with a bounded cache of the subjects seen most recently.
// A publisher repeats its subjects, so nearly every match is one Map look-up.

import { isFilter } from './subject.ts';

/** Distinct subjects whose matches are remembered; beyond it the cache starts anew. Some 200 bytes an entry. */
const CACHE_SUBJECTS_MAX = 4096;

interface Level<T> {
  readonly next: Map<string, Level<T>>;
  readonly here: Set<T>;
}

export class Sublist<T> {
  readonly #root: Level<T> = level();
  readonly #cache = new Map<string, readonly T[]>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds `entry` under `filter`. Throws a TypeError on an invalid filter. The same entry twice is one. */
  insert(filter: string, entry: T): void {
    if (!isFilter(filter)) throw new TypeError(`invalid subject: ${filter}`);
    let at = this.#root;
    for (const token of filter.split('.')) {
      let next = at.next.get(token);
      if (next === undefined) at.next.set(token, (next = level()));
      at = next;
    }
    if (!at.here.has(entry)) this.#count++;
    at.here.add(entry);
    this.#cache.clear();
  }

  /** Removes `entry` from `filter`; unknown ones are ignored. */
  remove(filter: string, entry: T): void {
    const path: [Level<T>, string][] = [];
    let at = this.#root;
    for (const token of filter.split('.')) {
      const next = at.next.get(token);
      if (next === undefined) return;
      path.push([at, token]);
      at = next;
    }
    if (at.here.delete(entry)) this.#count--;
    for (const [parent, token] of path.reverse()) {
      const child = parent.next.get(token);
      if (child !== undefined && child.here.size === 0 && child.next.size === 0)
        parent.next.delete(token);
    }
    this.#cache.clear();
  }

  /** All entries whose filter covers `subject`. The array is shared: do not change it. */
  match(subject: string): readonly T[] {
    const cached = this.#cache.get(subject);
    if (cached !== undefined) return cached;
    const found = new Set<T>();
    collect(this.#root, subject.split('.'), 0, found);
    const result = [...found];
    if (this.#cache.size >= CACHE_SUBJECTS_MAX) this.#cache.clear();
    this.#cache.set(subject, result);
    return result;
  }
}

function level<T>(): Level<T> {
  return { next: new Map(), here: new Set() };
}

function collect<T>(at: Level<T>, tokens: readonly string[], depth: number, found: Set<T>): void {
  const rest = at.next.get('>');
  if (rest !== undefined && depth < tokens.length) for (const entry of rest.here) found.add(entry);
  if (depth === tokens.length) {
    for (const entry of at.here) found.add(entry);
    return;
  }
  const token = tokens[depth];
  const exact = token === undefined ? undefined : at.next.get(token);
  if (exact !== undefined) collect(exact, tokens, depth + 1, found);
  const any = at.next.get('*');
  if (any !== undefined && any !== exact) collect(any, tokens, depth + 1, found);
}
