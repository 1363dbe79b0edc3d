// The subjects that a consumer, a purge or a get is about. It is asked about each message, by a thousand consumers, and
// about each of 100,000 subjects, so it is prepared once and remembers nothing of what it was asked.

import { hasWildcard } from '../subject.ts';
import { SubjectTree } from './api/subject-tree.ts';

const DOT = '.';
const REST = '.>';
/** With more wildcards than these it is quicker to take the subject apart, once. */
const ONE_BY_ONE = 8;

export class SubjectFilter {
  /** Empty: everything. */
  readonly filters: readonly string[];
  /** Whether it lets everything through. */
  readonly isAll: boolean;
  /** The one subject it is about, or undefined. */
  readonly literal: string | undefined;
  readonly #literals = new Set<string>();
  /** Of the filters with wildcards. */
  readonly #covers: readonly ((subject: string) => boolean)[];
  /** The same filters, where they are many. */
  readonly #tree: SubjectTree | undefined;

  constructor(filters: readonly string[]) {
    this.filters = filters.includes('>') ? [] : filters;
    this.isAll = this.filters.length === 0;
    const wild = this.filters.filter((filter) => hasWildcard(filter));
    for (const filter of this.filters) if (!hasWildcard(filter)) this.#literals.add(filter);
    const areMany = wild.length > ONE_BY_ONE;
    this.#covers = areMany ? [] : wild.map((filter) => matcher(filter));
    this.#tree = areMany ? SubjectTree.of(wild) : undefined;
    const [only] = this.filters;
    this.literal = this.filters.length === 1 && wild.length === 0 ? only : undefined;
  }

  covers(subject: string): boolean {
    if (this.isAll || this.#literals.has(subject)) return true;
    for (const covers of this.#covers) if (covers(subject)) return true;
    return this.#tree?.covers(subject) === true;
  }

  /** The same for a subject that its stream names by `_id`. */
  coversId(_id: number, subject: string): boolean {
    return this.covers(subject);
  }
}

/** What a filter with wildcards says of a subject, without taking the subject apart. */
function matcher(filter: string): (subject: string) => boolean {
  const prefix = filter.slice(0, -1);
  if (filter.endsWith(REST) && !hasWildcard(prefix.slice(0, -1)))
    return (subject) => subject.length > prefix.length && subject.startsWith(prefix);
  const tokens = filter.split(DOT);
  return (subject) => walk(tokens, subject);
}

function walk(tokens: readonly string[], subject: string): boolean {
  for (let i = 0, at = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? '';
    // Behind the last token there is none.
    if (at > subject.length) return false;
    if (token === '>') return true;
    const dot = subject.indexOf(DOT, at);
    const end = dot < 0 ? subject.length : dot;
    if (token !== '*' && !(end - at === token.length && subject.startsWith(token, at)))
      return false;
    if (i === tokens.length - 1) return dot < 0;
    at = end + 1;
  }
  return false;
}
