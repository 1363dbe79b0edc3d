// What the hub lets its user do, as its INFO says, and what it complained about nevertheless: neither is sent or asked for
// again. A hub closes the link on a violation, so one that we do not foresee happens once and not for ever.

import { isCovered } from '../../src/subject.ts';
import { withoutCovered } from './boundary.ts';
import { firstToken, intersection, isCoveredBy, Verdicts } from './subject-list.ts';
import type { SubjectRights } from './types.ts';

/** Subjects of complaints that are remembered, of each kind; the oldest go first. 1 KiB each at most. */
const REFUSED_MAX = 1024;
/** The hub asks for no permission for these. */
const EXEMPT = new Set(['_R_']);

export class HubRights {
  #mayImport: SubjectRights = {};
  #mayExport: SubjectRights = {};
  readonly #refusedSends = new Set<string>();
  readonly #refusedFilters = new Set<string>();
  readonly #sends = new Verdicts((subject) => this.#decide(subject));

  /** Takes what INFO says; undefined is everything. */
  replace(mayImport: SubjectRights | undefined, mayExport: SubjectRights | undefined): void {
    this.#mayImport = mayImport ?? {};
    this.#mayExport = mayExport ?? {};
    this.#sends.forget();
  }

  /** The hub has refused `subject`, though we thought that it would not. */
  refused(kind: 'publish' | 'subscription', subject: string): void {
    const refused = kind === 'publish' ? this.#refusedSends : this.#refusedFilters;
    const [oldest] = refused;
    if (refused.size >= REFUSED_MAX && oldest !== undefined) refused.delete(oldest);
    refused.add(subject);
    this.#sends.forget();
  }

  /** The operator of the hub may have mended it: everything is tried again. */
  forgive(): void {
    this.#refusedSends.clear();
    this.#refusedFilters.clear();
    this.#sends.forget();
  }

  /** Whether the hub takes a message to `subject`. */
  maySend(subject: string): boolean {
    const { allow, deny } = this.#mayExport;
    if (allow === undefined && deny === undefined && this.#refusedSends.size === 0) return true;
    return this.#sends.of(subject);
  }

  /** What of `filter` the hub may be asked for, as filters. */
  narrow(filter: string): readonly string[] {
    const { allow, deny = [] } = this.#mayImport;
    const parts = allow === undefined ? [filter] : common(filter, allow);
    return parts.filter(
      (part) => !this.#refusedFilters.has(part) && !deny.some((each) => covers(each, part)),
    );
  }

  #decide(subject: string): boolean {
    if (this.#refusedSends.has(subject)) return false;
    if (EXEMPT.has(firstToken(subject))) return true;
    const { allow, deny = [] } = this.#mayExport;
    if (allow !== undefined && !isCoveredBy(allow, subject)) return false;
    return !isCoveredBy(deny, subject);
  }
}

/** Those of `filters` of which the lists of an INFO let nothing pass. */
export function shutOut(rights: SubjectRights | undefined, filters: readonly string[]): string[] {
  const { allow, deny = [] } = rights ?? {};
  return filters.filter((filter) => {
    const parts = allow === undefined ? [filter] : common(filter, allow);
    return parts.every((part) => deny.some((each) => covers(each, part)));
  });
}

/** An entry may name a queue group behind its subject; what only that group may do is not given to others. */
function common(filter: string, allow: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const each of allow) {
    const part = each.includes(' ') ? undefined : intersection(filter, each);
    if (part !== undefined) found.add(part);
  }
  return withoutCovered(found);
}

function covers(denied: string, filter: string): boolean {
  return isCovered(filter, denied.split(' ')[0] ?? '');
}
