// The subscriptions by subject: a trie of tokens, with a bounded cache of the subjects seen most recently.
// A publisher repeats its subjects, so nearly every match is one Map look-up.

import { isFilter } from './subject.ts';
import {
  collect,
  collectEntries,
  entriesAt,
  Found,
  isEmpty,
  level,
  memberSet,
  removeFrom,
  type Entry,
  type Level,
  type Matched,
} from './sublist-tree.ts';

/** Distinct subjects whose matches are remembered; beyond it the cache starts anew. Some 200 bytes an entry. */
const CACHE_SUBJECTS_MAX = 4096;
/** Entries in all remembered matches together; beyond it the cache starts anew. 2 MiB. */
const CACHE_ENTRIES_MAX = 262_144;
/**
 * Matches remembered for subjects of which each comes once, such as inboxes and acknowledgements: this many by the whole
 * subject, and as many by what it begins with. Two clients that need the same place take turns in it, and walk the tree.
 */
const MEMOS_MAX = 64;
/** Entries in a match that is remembered there: one with more is walked for again. */
const MEMO_ENTRIES_MAX = 64;

const DOLLAR = 36;
/** Subjects that begin with `$` are told apart by their first bytes: `$JS.ACK.` and some of the stream's name. */
const DOLLAR_PREFIX = 16;

/** A match that holds for one subject, or for all that begin with `prefix` and have one token more, or any number. */
interface Memo<T> {
  readonly generation: number;
  readonly prefix: string;
  readonly rest: 'none' | 'one' | 'many';
  readonly matched: Matched<T>;
}

export class Sublist<T> {
  readonly #root: Level<T> = level();
  readonly #isLast: ((entry: T) => boolean) | undefined;
  readonly #exact: (Memo<T> | undefined)[] = Array(MEMOS_MAX).fill(undefined);
  readonly #prefixed: (Memo<T> | undefined)[] = Array(MEMOS_MAX).fill(undefined);
  /** Counts the changes: a memo of an earlier one is void. */
  #generation = 0;
  readonly #cache = new Map<string, Matched<T>>();
  #cachedEntries = 0;
  #count = 0;

  /** `isLast` says of an entry, always the same, that it comes after the others. */
  constructor(isLast?: (entry: T) => boolean) {
    this.#isLast = isLast;
  }

  get count(): number {
    return this.#count;
  }

  /** Subjects whose matches are remembered at the moment. */
  get cached(): number {
    return this.#cache.size;
  }

  /**
   * Adds `entry` under `filter`, as a member of the group `queue` if one is given. Throws a TypeError on an invalid
   * filter. The same entry twice is one: false then.
   */
  insert(filter: string, entry: T, queue?: string): boolean {
    if (!isFilter(filter)) throw new TypeError(`invalid subject: ${filter}`);
    let at = this.#root;
    for (const token of filter.split('.')) {
      at.next ??= new Map();
      let next = at.next.get(token);
      if (next === undefined) at.next.set(token, (next = level()));
      at = next;
    }
    const entries = queue === undefined ? (at.here ??= new Set()) : memberSet(at, queue);
    if (entries.has(entry)) return false;
    this.#count++;
    entries.add(entry);
    this.#changed();
    return true;
  }

  /** Removes `entry` from `filter` (and its group); false for one that is not there. */
  remove(filter: string, entry: T, queue?: string): boolean {
    const path: [Level<T>, string][] = [];
    let at = this.#root;
    for (const token of filter.split('.')) {
      const next = at.next?.get(token);
      if (next === undefined) return false;
      path.push([at, token]);
      at = next;
    }
    if (!removeFrom(at, entry, queue)) return false;
    this.#count--;
    for (const [parent, token] of path.reverse()) {
      const child = parent.next?.get(token);
      if (child === undefined || !isEmpty(child)) break;
      parent.next?.delete(token);
      if (parent.next?.size === 0) parent.next = undefined;
    }
    this.#changed();
    return true;
  }

  /** Every entry with its filter and its group, in no order. */
  *all(): Generator<Entry<T>> {
    const waiting: [string, Level<T>][] = [['', this.#root]];
    for (let each = waiting.pop(); each !== undefined; each = waiting.pop()) {
      const [filter, at] = each;
      yield* entriesAt(filter, at);
      for (const [token, next] of at.next ?? [])
        waiting.push([filter === '' ? token : `${filter}.${token}`, next]);
    }
  }

  /** Every entry whose filter covers `subject`, with the filter and its group. Nothing is remembered. */
  entriesOn(subject: string): readonly Entry<T>[] {
    const found: Entry<T>[] = [];
    collectEntries(this.#root, '', subject.split('.'), 0, found);
    return found;
  }

  /** All entries of no group whose filter covers `subject`, those that come last aside. The array is shared: do not change it. */
  match(subject: string): readonly T[] {
    return this.route(subject).plain;
  }

  /** All entries and groups whose filter covers `subject`. */
  route(subject: string): Matched<T> {
    const cached = this.#cache.get(subject);
    if (cached !== undefined) return cached;
    const matched = this.#walk(subject);
    const entries = matched.groups.reduce(
      (n, { members, last }) => n + members.length + last.length,
      matched.plain.length + matched.last.length,
    );
    this.#cachedEntries += entries;
    if (this.#cache.size >= CACHE_SUBJECTS_MAX || this.#cachedEntries > CACHE_ENTRIES_MAX) {
      this.#forget();
      this.#cachedEntries = entries;
    }
    this.#cache.set(subject, matched);
    return matched;
  }

  /**
   * The same for a subject that will not come again, such as an inbox: what is remembered is a match that holds for all
   * subjects with its beginning, where the tree tells none of them apart.
   */
  find(subject: string): Matched<T> {
    const dot = subject.lastIndexOf('.');
    const bySubject = exactSlot(subject);
    const same = this.#exact[bySubject];
    if (same !== undefined && same.generation === this.#generation && same.prefix === subject)
      return same.matched;
    const byPrefix = prefixSlot(subject, dot);
    const alike = this.#prefixed[byPrefix];
    if (alike !== undefined && alike.generation === this.#generation && covers(alike, subject, dot))
      return alike.matched;
    const matched = this.#walk(subject);
    const plain = matched.plain.length + matched.last.length;
    if (matched.groups.length > 0 || plain > MEMO_ENTRIES_MAX) return matched;
    const memo = { ...beginning(this.#root, subject), generation: this.#generation, matched };
    if (memo.rest === 'none') this.#exact[bySubject] = memo;
    else this.#prefixed[byPrefix] = memo;
    return matched;
  }

  #walk(subject: string): Matched<T> {
    const found = new Found<T>();
    collect(this.#root, subject, 0, found);
    return found.matched(this.#isLast);
  }

  /** Whether some filter has `first` as its first token, literally. */
  hasFirst(first: string): boolean {
    return this.#root.next?.has(first) === true;
  }

  /** All whose filter covers `subject` and has the same first token, literally. Nothing is remembered. */
  under(subject: string): Matched<T> {
    const dot = subject.indexOf('.');
    const first = dot < 0 ? subject : subject.slice(0, dot);
    const found = new Found<T>();
    const at = this.#root.next?.get(first);
    if (at !== undefined) collect(at, subject, first.length + 1, found);
    return found.matched(this.#isLast);
  }

  /** Whether the group `queue` has a member that covers `subject`. */
  hasMember(subject: string, queue: string): boolean {
    const found = new Found<T>();
    collect(this.#root, subject, 0, found);
    return found.has(queue);
  }

  /** The entries under exactly the filter `subject`; with `queue`, the members of that group. */
  exactly(subject: string, queue?: string): Iterable<T> {
    let at: Level<T> | undefined = this.#root;
    for (const token of subject.split('.')) at = at?.next?.get(token);
    return (queue === undefined ? at?.here : at?.groups?.get(queue)) ?? [];
  }

  #changed(): void {
    this.#generation++;
    this.#forget();
  }

  #forget(): void {
    this.#cachedEntries = 0;
    if (this.#cache.size > 0) this.#cache.clear();
  }
}

function exactSlot(subject: string): number {
  const { length } = subject;
  return (
    (31 * subject.charCodeAt(length - 1) + 7 * subject.charCodeAt(length - 2) + length) % MEMOS_MAX
  );
}

/** The same for all subjects of one inbox, whose last dot is at `dot`, and for all acknowledgements of one stream. */
function prefixSlot(subject: string, dot: number): number {
  const isDollar = subject.charCodeAt(0) === DOLLAR;
  const end = isDollar ? Math.min(DOLLAR_PREFIX, subject.length) : dot;
  if (end < 2) return 0;
  return (31 * subject.charCodeAt(end - 1) + 7 * subject.charCodeAt(end - 2) + end) % MEMOS_MAX;
}

function covers<T>({ prefix, rest }: Memo<T>, subject: string, dot: number): boolean {
  if (!subject.startsWith(prefix)) return false;
  return rest === 'many' || dot === prefix.length - 1;
}

/**
 * How much of `subject` decides what covers it. At a token where no branch of the tree that it has followed leads further
 * but by `>`, what comes behind is alike for all; at the last one, where none leads on but by wildcards, one token is.
 */
function beginning<T>(root: Level<T>, subject: string): Pick<Memo<T>, 'prefix' | 'rest'> {
  let reached = [root];
  for (let from = 0; ;) {
    if (reached.every(({ next }) => hasOnly(next, false)))
      return { prefix: subject.slice(0, from), rest: 'many' };
    const dot = subject.indexOf('.', from);
    if (dot < 0)
      return reached.every(({ next }) => hasOnly(next, true))
        ? { prefix: subject.slice(0, from), rest: 'one' }
        : { prefix: subject, rest: 'none' };
    const token = subject.slice(from, dot);
    reached = reached.flatMap(({ next }) =>
      [next?.get(token), next?.get('*')].filter((each) => each !== undefined),
    );
    from = dot + 1;
  }
}

/** Whether no branch but `>`, and with `orAny` but `*`, leads on. */
function hasOnly<T>(next: Map<string, Level<T>> | undefined, orAny: boolean): boolean {
  if (next === undefined) return true;
  const wildcards = (next.has('>') ? 1 : 0) + (orAny && next.has('*') ? 1 : 0);
  return next.size === wildcards;
}
