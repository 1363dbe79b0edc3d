// The access list, made ready: for each user the entries that apply to him, as subjects. What is the same for many clients
// is kept once, with the answers given most recently; entries with %c or %u are made for one connection.

import { isReserved, filterToSubject, levelUp, TopicError } from '../topic.ts';
import { collide, isCovered, matches } from '../../../src/subject.ts';

/** One entry of the access list, as configured: topic filters, with %c and %u in them. */
export interface AclEntry {
  /** Undefined: every client, anonymous ones too. */
  readonly users: readonly string[] | undefined;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  readonly denyPublish: readonly string[];
  readonly denySubscribe: readonly string[];
}

/** Whom the placeholders stand for. */
export interface Who {
  readonly user: string | undefined;
  readonly clientId: string;
}

/** Subjects whose answers are remembered for all clients with the same rules; beyond it they are made anew. */
export const ACCESS_SUBJECTS_MAX = 1024;
/** The same of rules that one connection has for itself: there are thousands of those. */
export const ACCESS_OWN_SUBJECTS_MAX = 16;
/** Longer subjects are judged anew each time. */
const REMEMBERED_CHARACTERS = 128;

/** A filter of the list as subjects: `a/#` is two. */
interface Filter {
  readonly subjects: readonly string[];
  /** The list itself names `$…` or `_INBOX`: no wildcard and no placeholder does. */
  readonly system: boolean;
}

type Side = 'publish' | 'subscribe';

/** What some clients may do, by entries without placeholders, or what one may, by those with. */
export class Rules {
  readonly #allow: Readonly<Record<Side, readonly Filter[]>>;
  readonly #deny: Readonly<Record<Side, readonly string[]>>;
  readonly #known: Readonly<Record<Side, Map<string, Answer>>>;
  readonly #knownMax: number;

  constructor(
    allow: Record<Side, readonly Filter[]>,
    deny: Record<Side, readonly string[]>,
    knownMax: number,
  ) {
    this.#allow = allow;
    this.#deny = deny;
    this.#knownMax = knownMax;
    this.#known = { publish: new Map(), subscribe: new Map() };
  }

  /** What the entries say about a message on `subject`, to the broker (`publish`) or from it (`subscribe`). */
  about(side: Side, subject: string): Answer {
    const known = this.#known[side];
    let answer = known.get(subject);
    if (answer !== undefined) return answer;
    answer = this.#decide(side, subject);
    if (subject.length > REMEMBERED_CHARACTERS) return answer;
    if (known.size >= this.#knownMax) known.clear();
    known.set(subject, answer);
    return answer;
  }

  #decide(side: Side, subject: string): Answer {
    if (this.#deny[side].some((filter) => matches(filter, subject))) return 'denied';
    const reserved = isReserved(subject);
    const allowed = this.#allow[side].some(
      ({ subjects, system }) =>
        (system || !reserved) && subjects.some((filter) => matches(filter, subject)),
    );
    return allowed ? 'allowed' : 'unsaid';
  }

  /** The same about a subscription: all that falls under it. */
  aboutFilter(filter: string): Answer {
    if (this.#deny.subscribe.some((wide) => isCovered(filter, wide))) return 'denied';
    const reserved = isReserved(filter);
    const allowed = this.#allow.subscribe.some(
      ({ subjects, system }) =>
        (system || !reserved) && subjects.some((wide) => isCovered(filter, wide)),
    );
    return allowed ? 'allowed' : 'unsaid';
  }

  /** Whether some of what falls under `filter` is denied. */
  deniesPartOf(filter: string): boolean {
    const above = levelUp(filter);
    return this.#deny.subscribe.some(
      (denied) => collide(denied, filter) || (above !== undefined && collide(denied, above)),
    );
  }
}

/** Denied wins, also where another part of the rules allows. */
export type Answer = 'allowed' | 'denied' | 'unsaid';

/** The rules of one client: those that it has in common with others, and its own. */
export interface ClientRules {
  readonly common: Rules;
  /** Undefined: no entry with a placeholder speaks of it. */
  readonly own: Rules | undefined;
}

/** The whole list. Common rules exist once for each name that the list has, and once for all other clients. */
export class Acl {
  readonly #entries: readonly AclEntry[];
  readonly #named: ReadonlySet<string>;
  readonly #common = new Map<string | undefined, Rules>();

  constructor(entries: readonly AclEntry[]) {
    this.#entries = entries;
    this.#named = new Set(entries.flatMap(({ users }) => users ?? []));
  }

  /** The rules for `who`. */
  rulesOf(who: Who): ClientRules {
    const name = who.user !== undefined && this.#named.has(who.user) ? who.user : undefined;
    const entries = this.#entries.filter(
      ({ users }) => users === undefined || (name !== undefined && users.includes(name)),
    );
    let common = this.#common.get(name);
    if (common === undefined) {
      common = toRules(entries, (template) => !hasPlaceholder(template), undefined);
      this.#common.set(name, common);
    }
    const isOwn = entries.some((entry) => templatesOf(entry).some(hasPlaceholder));
    return { common, own: isOwn ? toRules(entries, hasPlaceholder, who) : undefined };
  }
}

function templatesOf({ publish, subscribe, denyPublish, denySubscribe }: AclEntry): string[] {
  return [...publish, ...subscribe, ...denyPublish, ...denySubscribe];
}

function hasPlaceholder(template: string): boolean {
  return /%[cu]/.test(template);
}

function toRules(
  entries: readonly AclEntry[],
  isMeant: (template: string) => boolean,
  who: Who | undefined,
): Rules {
  const allow = (lists: readonly (readonly string[])[]): Filter[] =>
    lists
      .flat()
      .filter(isMeant)
      .flatMap((template) => allowed(template, who) ?? []);
  const deny = (lists: readonly (readonly string[])[]): string[] =>
    lists
      .flat()
      .filter(isMeant)
      .flatMap((template) => denied(template, who));
  return new Rules(
    {
      publish: allow(entries.map(({ publish }) => publish)),
      subscribe: allow(entries.map(({ subscribe }) => subscribe)),
    },
    {
      publish: deny(entries.map(({ denyPublish }) => denyPublish)),
      subscribe: deny(entries.map(({ denySubscribe }) => denySubscribe)),
    },
    who === undefined ? ACCESS_SUBJECTS_MAX : ACCESS_OWN_SUBJECTS_MAX,
  );
}

/** Undefined: the entry does not apply to `who`. A name never becomes a wildcard, several levels, or a part of the system. */
function allowed(template: string, who: Who | undefined): Filter | undefined {
  const subjects = subjectsOf(fillIn(template, who, () => undefined));
  if (subjects === undefined) return undefined;
  const system = /^(\$|_INBOX(\/|$))/.test(template);
  return !system && subjects.some(isReserved) ? undefined : { subjects, system };
}

/** A name that cannot stand in a level denies everything that could be meant: odd names do not slip through. */
function denied(template: string, who: Who | undefined): readonly string[] {
  let odd = false;
  const filled = fillIn(template, who, (name) => {
    odd = name !== undefined;
    return undefined;
  });
  if (filled !== undefined) return subjectsOf(filled) ?? [];
  if (!odd) return [];
  const levels = template.split('/');
  const before = levels.slice(0, levels.findIndex(hasPlaceholder));
  return subjectsOf([...before, '#'].join('/')) ?? [];
}

/** Puts the names in place; where one cannot stand in a level, `instead` is told, and the result is undefined. */
function fillIn(
  template: string,
  who: Who | undefined,
  instead: (name: string | undefined) => undefined,
): string | undefined {
  let usable = true;
  const filled = template.replaceAll(/%[cu]/g, (placeholder) => {
    const name = placeholder === '%c' ? who?.clientId : who?.user;
    if (name !== undefined && isOneLevel(name)) return name;
    usable = false;
    instead(name);
    return '';
  });
  return usable ? filled : undefined;
}

/** Neither a wildcard nor more than one level. */
function isOneLevel(name: string): boolean {
  return name !== '' && !/[+#/]/.test(name);
}

function subjectsOf(filter: string | undefined): string[] | undefined {
  if (filter === undefined) return undefined;
  try {
    const subject = filterToSubject(filter);
    const above = levelUp(subject);
    return above === undefined ? [subject] : [subject, above];
  } catch (error) {
    if (error instanceof TopicError) return undefined; // No topic has such a name.
    throw error;
  }
}
