// Lists of subjects with wildcards: whether one of them covers a subject, and what a filter has in common with them.

import { matches } from '../../src/subject.ts';

/** Subjects whose answer is remembered; beyond it they are asked anew. Some 100 bytes each. */
const KNOWN_SUBJECTS_MAX = 4096;

/** What falls under both filters, as a filter: there is always one, or nothing. */
export function intersection(a: string, b: string): string | undefined {
  if (a === b) return a;
  const left = a.split('.');
  const right = b.split('.');
  const both: string[] = [];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const l = left[i] ?? '';
    const r = right[i] ?? '';
    if (l === '>') return [...both, ...right.slice(i)].join('.');
    if (r === '>') return [...both, ...left.slice(i)].join('.');
    if (l !== r && l !== '*' && r !== '*') return undefined;
    both.push(l === '*' ? r : l);
  }
  return left.length === right.length ? both.join('.') : undefined;
}

export function firstToken(subject: string): string {
  const dot = subject.indexOf('.');
  return dot < 0 ? subject : subject.slice(0, dot);
}

/** Remembers what `decide` says of a subject: a publisher repeats its subjects. */
export class Verdicts {
  readonly #decide: (subject: string) => boolean;
  readonly #known = new Map<string, boolean>();

  constructor(decide: (subject: string) => boolean) {
    this.#decide = decide;
  }

  of(subject: string): boolean {
    let verdict = this.#known.get(subject);
    if (verdict !== undefined) return verdict;
    verdict = this.#decide(subject);
    if (this.#known.size >= KNOWN_SUBJECTS_MAX) this.#known.clear();
    this.#known.set(subject, verdict);
    return verdict;
  }

  forget(): void {
    this.#known.clear();
  }
}

export function isCoveredBy(filters: readonly string[], subject: string): boolean {
  return filters.some((filter) => matches(filter, subject));
}
