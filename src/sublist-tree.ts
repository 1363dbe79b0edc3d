// The tree of tokens below a Sublist: its levels, and a walk that gathers what covers a subject.

export interface Level<T> {
  next: Map<string, Level<T>> | undefined;
  here: Set<T> | undefined;
  /** Members by the name of their queue group. */
  groups: Map<string, Set<T>> | undefined;
}

/** The members of one queue group, whatever filters they have. */
export interface Group<T> {
  readonly queue: string;
  readonly members: readonly T[];
  /** Members that are asked when none of the others takes a message; mostly none. */
  readonly last: readonly T[];
}

/** What covers a subject. The arrays are shared: do not change them. */
export interface Matched<T> {
  /** Each of these gets a copy. */
  readonly plain: readonly T[];
  /** So does each of these, after the others; mostly none. */
  readonly last: readonly T[];
  /** Of each of these groups one member gets a copy. */
  readonly groups: readonly Group<T>[];
}

/** One entry as it stands in the tree. */
export interface Entry<T> {
  readonly filter: string;
  readonly queue: string | undefined;
  readonly entry: T;
}

/** Gathers what a walk finds; an entry under two filters is found once. */
export class Found<T> {
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

  has(queue: string): boolean {
    return this.#groups?.has(queue) === true;
  }

  matched(isLast: ((entry: T) => boolean) | undefined): Matched<T> {
    const [first, second] = this.#sets;
    let plain: T[] = [];
    if (first !== undefined) plain = [...(second === undefined ? first : this.#union())];
    const groups: Group<T>[] = [];
    for (const [queue, members] of this.#groups ?? [])
      groups.push({ queue, ...parts(members, isLast) });
    const { members, last } = parts(plain, isLast);
    return { plain: members, last, groups };
  }

  #union(): Set<T> {
    const all = new Set<T>();
    for (const set of this.#sets) for (const entry of set) all.add(entry);
    return all;
  }
}

/** Shared by nearly all matches. */
const NOBODY: readonly never[] = [];

function parts<T>(
  all: readonly T[],
  isLast: ((entry: T) => boolean) | undefined,
): { members: readonly T[]; last: readonly T[] } {
  if (isLast === undefined || !all.some(isLast)) return { members: all, last: NOBODY };
  return { members: all.filter((entry) => !isLast(entry)), last: all.filter(isLast) };
}

export function level<T>(): Level<T> {
  return { next: undefined, here: undefined, groups: undefined };
}

export function isEmpty<T>(at: Level<T>): boolean {
  return at.next === undefined && at.here === undefined && at.groups === undefined;
}

export function memberSet<T>(at: Level<T>, queue: string): Set<T> {
  at.groups ??= new Map();
  let members = at.groups.get(queue);
  if (members === undefined) at.groups.set(queue, (members = new Set()));
  return members;
}

export function removeFrom<T>(at: Level<T>, entry: T, queue: string | undefined): boolean {
  const entries = queue === undefined ? at.here : at.groups?.get(queue);
  if (entries?.delete(entry) !== true) return false;
  if (entries.size > 0) return true;
  if (queue === undefined) at.here = undefined;
  else at.groups?.delete(queue);
  if (at.groups?.size === 0) at.groups = undefined;
  return true;
}

/** Finds what covers `subject` from the token that begins at `from`, which is behind the end when no token is left. */
export function collect<T>(at: Level<T>, subject: string, from: number, found: Found<T>): void {
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

/** The entries of one level, whose filter is `filter`. */
export function* entriesAt<T>(filter: string, at: Level<T>): Generator<Entry<T>> {
  for (const entry of at.here ?? []) yield { filter, queue: undefined, entry };
  for (const [queue, members] of at.groups ?? [])
    for (const entry of members) yield { filter, queue, entry };
}

/** Finds every entry that covers `tokens` from the one at `i` on; `begin` is the filter up to here, with its last dot. */
export function collectEntries<T>(
  at: Level<T>,
  begin: string,
  tokens: readonly string[],
  i: number,
  found: Entry<T>[],
): void {
  const token = tokens[i];
  if (token === undefined) return void found.push(...entriesAt(begin.slice(0, -1), at));
  const { next } = at;
  if (next === undefined) return;
  const rest = next.get('>');
  if (rest !== undefined) found.push(...entriesAt(`${begin}>`, rest));
  const exact = next.get(token);
  if (exact !== undefined) collectEntries(exact, `${begin}${token}.`, tokens, i + 1, found);
  const any = next.get('*');
  if (any !== undefined && any !== exact) collectEntries(any, `${begin}*.`, tokens, i + 1, found);
}
