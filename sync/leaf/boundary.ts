// What the configuration lets cross, both ways: only what is listed, and some things whatever is listed. It knows no hub and no
// connection.
//
// A list is meant for messages of the plant. What belongs to a server itself - its JetStream API, its buckets, its system
// events, the inboxes of its clients, all named with a first token of their own - is not meant by `>` or by `*.x`: such a
// subject crosses by its own rule (a domain's API, an answer that somebody waits for), or not at all.

import { isCovered, matches } from '../../src/subject.ts';
import { firstToken, intersection, Verdicts } from './subject-list.ts';
import type { BoundaryConfig } from './types.ts';

/** First tokens that no list opens. */
const NEVER = new Set('$SYS $KV $OBJ $JSC $NRG $DEAD $LDS $GR $GNR $MQTT _GR_ _R_'.split(' '));
/** Some clients have `_INBOX_<their name>`. */
const INBOX = '_INBOX';
const JETSTREAM = '$JS';
const ADDRESSABLE = /^(?:_INBOX|_R_|\$JS\.S|\$JS\.M|\$JSC\.R)\../;
const PRIVATE_JETSTREAM = /^\$JS\.(?:API|ACK|FC|EVENT|S|M)\./;
/** What a server makes up for one who waits for an answer, or for the data of a stream; the next token is random. */
const INBOXES = /^(?:_INBOX|_R_|\$JS\.S|\$JS\.M|\$JSC\.R)\.(?!\*(?:\.|$)|>$)/;

/** Whether `subject` (or a filter, wherever its wildcards are) belongs to one who made it up for himself. */
export function isInbox(subject: string): boolean {
  const code = subject.charCodeAt(0);
  return (code === 0x5f || code === 0x24) && INBOXES.test(subject);
}

/** Whether `target` is a name that somebody made up for an answer or for a delivery; his own, as far as that can be known. */
export function isAddressable(target: string): boolean {
  return ADDRESSABLE.test(target);
}

/** Whether no list opens `subject`, whatever it says: nobody has to be told that it stays here. */
export function isPrivate(subject: string): boolean {
  const code = subject.charCodeAt(0);
  if (code !== 0x5f && code !== 0x24) return false;
  if (subject.startsWith(INBOX) || NEVER.has(firstToken(subject))) return true;
  return PRIVATE_JETSTREAM.test(subject);
}

export class Boundary {
  readonly domain: string | undefined;
  readonly #exports: readonly string[];
  readonly #imports: readonly string[];
  readonly #leaves: Verdicts;
  readonly #enters: Verdicts;

  constructor({ exports, imports, domain }: BoundaryConfig) {
    this.domain = domain;
    this.#exports = exports;
    this.#imports = imports;
    this.#leaves = new Verdicts((subject) => this.#isIn(this.#exports, subject));
    this.#enters = new Verdicts(
      (subject) => firstToken(subject) !== JETSTREAM && this.#isIn(this.#imports, subject),
    );
  }

  /** Whether what is published here to `subject` may go to the hub. */
  mayLeave(subject: string): boolean {
    // Of inboxes and acknowledgements each is used once: remembering them would push out the others.
    return isPrivate(subject) ? false : this.#leaves.of(subject);
  }

  /** Whether what the hub sends to `subject` may come in. */
  mayEnter(subject: string): boolean {
    return this.#enters.of(subject);
  }

  /** What of a filter of the hub may leave, as filters. Of those that begin with a wildcard `mayLeave` decides for each message. */
  leaving(filter: string): readonly string[] {
    if (this.isForeignApi(filter)) return [filter];
    return parts(filter, this.#exports);
  }

  /** What of a filter here the hub may be asked for. */
  entering(filter: string): readonly string[] {
    return parts(filter, this.#imports).filter((part) => firstToken(part) !== JETSTREAM);
  }

  /** Whether all that falls under `filter` is listed, to leave or to come in. */
  isListed(filter: string): boolean {
    const parts = [...this.leaving(filter), ...this.entering(filter)];
    return !this.isForeignApi(filter) && parts.includes(filter);
  }

  /** Whether `subject` is of the JetStream API of another domain. */
  isForeignApi(subject: string): boolean {
    if (!subject.startsWith('$JS.')) return false;
    const [, domain = '', api, ...rest] = subject.split('.');
    if (api !== 'API' || rest.length === 0 || domain === '*') return false;
    return domain !== this.domain && !isPrivate(subject);
  }

  #isIn(list: readonly string[], subject: string): boolean {
    const first = firstToken(subject);
    if (first === JETSTREAM && !this.isForeignApi(subject)) return false;
    return list.some((filter) => speaksOf(filter, first) && matches(filter, subject));
  }
}

/** Whether a listed filter may mean subjects whose first token is `first`. */
function speaksOf(filter: string, first: string): boolean {
  if (first.startsWith(INBOX) || NEVER.has(first)) return false;
  return !first.startsWith('$') || firstToken(filter) === first;
}

/** What `filter` has in common with a list; nothing twice. */
function parts(filter: string, list: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const listed of list) {
    const part = intersection(filter, listed);
    if (part !== undefined && speaksOf(listed, firstToken(part))) found.add(part);
  }
  return withoutCovered(found);
}

/** Of several filters those that no other covers. */
export function withoutCovered(filters: ReadonlySet<string>): readonly string[] {
  const all = [...filters];
  return all.filter((one) => !all.some((other) => other !== one && isCovered(one, other)));
}
