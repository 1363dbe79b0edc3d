// The subscriptions by subject: a trie of tokens, with a bounded cache of the subjects seen most recently.
// A publisher repeats its subjects, so nearly every match is one Map look-up.

import { isFilter } from './subject.ts';

/** Distinct subjects whose matches are remembered; beyond it the cache starts anew. Some 200 bytes an entry. */
const CACHE_SUBJECTS_MAX = 4096;
/** Entries in all remembered matches together; beyond it the cache starts anew. 2 MiB. */
const CACHE_ENTRIES_MAX = 262_144;

interface Level<T> {
  next: Map<string, Level<T>> | undefined;
  here: Set<T> | undefined;
  /** Members by the name of their queue group. */
  groups: Map<string, Set<T>> | undefined;
}

/** What covers a subject. The arrays are shared: do not change them. */
export interface Matched<T> {
  /** Each of these gets a copy. */
  readonly plain: readonly T[];
  /** Of each of these groups one member gets a copy. A group is its name, whatever filters its members have. */
  readonly groups: readonly (readonly T[])[];
}

export class Sublist<T> {
  readonly #root: Level<T> = level();
  readonly #cache = new Map<string, Matched<T>>();
  #cachedEntries = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Subjects whose matches are remembered at the moment. */
  get cached(): number {
    return this.#cache.size;
  }

  /**
   * Adds `entry` under `filter`, as a member of the group `queue` if one is given. Throws a TypeError on an invalid
   * filter. The same entry twice is one.
   */
  insert(filter: string, entry: T, queue?: string): void {
    if (!isFilter(filter)) throw new TypeError(`invalid subject: ${filter}`);
    let at = this.#root;
    for (const token of filter.split('.')) {
      at.next ??= new Map();
      let next = at.next.get(token);
      if (next === undefined) at.next.set(token, (next = level()));
      at = next;
    }
    const entries = queue === undefined ? (at.here ??= new Set()) : memberSet(at, queue);
    if (!entries.has(entry)) this.#count++;
    entries.add(entry);
    this.#forget();
  }

  /** Removes `entry` from `filter` (and its group); unknown ones are ignored. */
  remove(filter: string, entry: T, queue?: string): void {
    const path: [Level<T>, string][] = [];
    let at = this.#root;
    for (const token of filter.split('.')) {
      const next = at.next?.get(token);
      if (next === undefined) return;
      path.push([at, token]);
      at = next;
    }
    if (removeFrom(at, entry, queue)) this.#count--;
    for (const [parent, token] of path.reverse()) {
      const child = parent.next?.get(token);
      if (child === undefined || !isEmpty(child)) break;
      parent.next?.delete(token);
      if (parent.next?.size === 0) parent.next = undefined;
    }
    this.#forget();
  }

  /** All entries of no group whose filter covers `subject`. The array is shared: do not change it. */
  match(subject: string): readonly T[] {
    return this.route(subject).plain;
  }

  /** All entries and groups whose filter covers `subject`. */
  route(subject: string): Matched<T> {
    const cached = this.#cache.get(subject);
    if (cached !== undefined) return cached;
    const matched = this.find(subject);
    const entries = matched.groups.reduce((n, group) => n + group.length, matched.plain.length);
    this.#cachedEntries += entries;
    if (this.#cache.size >= CACHE_SUBJECTS_MAX || this.#cachedEntries > CACHE_ENTRIES_MAX) {
      this.#forget();
      this.#cachedEntries = entries;
    }
    this.#cache.set(subject, matched);
    return matched;
  }

  /** The same for a subject that will not come again, such as an inbox: nothing is remembered. */
  find(subject: string): Matched<T> {
    const found = new Found<T>();
    collect(this.#root, subject, 0, found);
    return found.matched();
  }

  #forget(): void {
    this.#cachedEntries = 0;
    if (this.#cache.size > 0) this.#cache.clear();
  }
}

/** Gathers what a walk finds; an entry under two filters is found once. */
class Found<T> {
  #sets: Set<T>[] = [];
  #groups: Map<string, T[]> | undefined;

  add(at: Level<T>): void {
    if (at.here !== undefined) this.#sets.push(at.here);
    if (at.groups === undefined) return;
    this.#groups ??= new Map();
    for (const [queue, members] of at.groups) {
      const known = this.#groups.get(queue);
      if (known === undefined) this.#groups.set(queue, [...members]);
      else known.push(...members);
    }
  }

  matched(): Matched<T> {
    const [first, second] = this.#sets;
    const groups = this.#groups === undefined ? [] : [...this.#groups.values()];
    if (first === undefined) return { plain: [], groups };
    if (second === undefined) return { plain: [...first], groups };
    const plain = new Set<T>();
    for (const set of this.#sets) for (const entry of set) plain.add(entry);
    return { plain: [...plain], groups };
  }
}

function level<T>(): Level<T> {
  return { next: undefined, here: undefined, groups: undefined };
}

function isEmpty<T>(at: Level<T>): boolean {
  return at.next === undefined && at.here === undefined && at.groups === undefined;
}

function memberSet<T>(at: Level<T>, queue: string): Set<T> {
  at.groups ??= new Map();
  let members = at.groups.get(queue);
  if (members === undefined) at.groups.set(queue, (members = new Set()));
  return members;
}

function removeFrom<T>(at: Level<T>, entry: T, queue: string | undefined): boolean {
  const entries = queue === undefined ? at.here : at.groups?.get(queue);
  if (entries?.delete(entry) !== true) return false;
  if (entries.size > 0) return true;
  if (queue === undefined) at.here = undefined;
  else at.groups?.delete(queue);
  if (at.groups?.size === 0) at.groups = undefined;
  return true;
}

/** Finds what covers `subject` from the token that begins at `from`, which is behind the end when no token is left. */
function collect<T>(at: Level<T>, subject: string, from: number, found: Found<T>): void {
  if (from > subject.length) return found.add(at);
  const { next } = at;
  if (next === undefined) return;
  const rest = next.get('>');
  if (rest !== undefined) found.add(rest);
  const dot = subject.indexOf('.', from);
  const end = dot < 0 ? subject.length : dot;
  const exact = next.get(subject.slice(from, end));
  if (exact !== undefined) collect(exact, subject, end + 1, found);
  const any = next.get('*');
  if (any !== undefined && any !== exact) collect(any, subject, end + 1, found);
}
