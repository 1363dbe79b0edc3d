// MQTT Topic Names and Topic Filters as NATS subjects and back. What nats-server maps is mapped as there (server/mqtt.go),
// so that a device sees the same names behind either: `/` separates levels and becomes `.`; an empty level (a leading,
// trailing or doubled `/`) becomes the token `/`; a `.` inside a level becomes `//`; in filters `+` and `#` become `*` and
// `>`. What no subject can carry is escaped instead of refused: white space, control characters and a level that is exactly
// `*` or `>` become `/` and two hex digits for each byte of their UTF-8.

import type { Message } from '../../src/message.ts';
import { isFilter, isPublishSubject, SUBJECT_BYTES_MAX } from '../../src/subject.ts';

/** Names whose mapping is remembered; beyond it the cache starts anew. Devices repeat theirs. */
const CACHE_TOPICS_MAX = 4096;

/** Characters that stay out of subjects: controls, DEL, and white space as JavaScript or as Go's `unicode.IsSpace` has it. */
const UNFIT = String.raw`\u0001-\u0020\u007f-\u00a0\s`;
const UNFIT_RUN = new RegExp(`[${UNFIT}]+`, 'gu');
const ONLY_UNFIT = new RegExp(`^[${UNFIT}]+$`, 'u');
const UNFIT_SEARCH = new RegExp(`[${UNFIT}]`, 'u');
/** A level that is more than itself. */
const SPECIAL_LEVEL = new RegExp(`[.${UNFIT}]|^[*>]?$`, 'u');
/** A topic or filter in which one level is: then it is mapped level by level. */
const SPECIAL_NAME = new RegExp(`[.+#*>${UNFIT}]|^/|//|/$`, 'u');
/** In a token: a dot, escaped bytes, or what no topic holds as it is. */
const TOKEN_PARTS = new RegExp(String.raw`//|(?:/[0-9a-f]{2})+|[/+#]|[${UNFIT}]+`, 'gu');
const STAR = '/2a';
const REST = '/3e';

/** Why a Topic Name or Topic Filter is not acceptable; the text is for the log and for Reason Strings. */
export class TopicError extends Error {
  override name = 'TopicError';
}

/**
 * Maps a Topic Name: no two the same subject. Throws a TopicError where it is no valid one, or where its subject would be
 * too long.
 */
export function topicToSubject(topic: string): string {
  check(topic);
  // [MQTT-3.3.2-2], [MQTT-4.7.1-1]
  if (topic.includes('+') || topic.includes('#'))
    throw new TopicError('a topic name holds the wildcard + or #');
  const subject = SPECIAL_NAME.test(topic)
    ? topic.split('/').map(levelToToken).join('.')
    : topic.replaceAll('/', '.');
  if (!isPublishSubject(subject)) throw tooLong('topic name', subject);
  return subject;
}

/**
 * Maps a Topic Filter, without `$share/…` in front. Only `+` and `#` are wildcards. Throws a TopicError where it is
 * invalid, or too long as a subject.
 */
export function filterToSubject(filter: string): string {
  check(filter);
  const levels = filter.split('/');
  const subject = levels
    .map((level, i) => {
      if (level === '+') return '*';
      if (level === '#' && i === levels.length - 1) return '>';
      // [MQTT-4.7.1-2], [MQTT-4.7.1-1]
      if (level.includes('+')) throw new TopicError('+ must be a whole level of a topic filter');
      if (level.includes('#'))
        throw new TopicError('# must be the whole last level of a topic filter');
      return levelToToken(level);
    })
    .join('.');
  if (!isFilter(subject)) throw tooLong('topic filter', subject);
  return subject;
}

/** `foo/#` also matches `foo` [4.7.1.2], but `foo.>` does not match `foo`: the filter to add, or undefined. */
export function levelUp(subject: string): string | undefined {
  // Above `/#` is the empty name, which is no topic.
  return subject.length > 2 && subject.endsWith('.>') && subject !== '/.>'
    ? subject.slice(0, -2)
    : undefined;
}

/**
 * Maps a subject back: the inverse of `topicToSubject`. A subject that is no topic's still gets one, to be read and not to
 * be published to: `+`, `#`, a stray `/`, white space and control characters appear as `%` and two hex digits a byte.
 */
export function subjectToTopic(subject: string): string {
  if (!/[/+#]/.test(subject) && !UNFIT_SEARCH.test(subject)) return subject.replaceAll('.', '/');
  if (subject === '/') return '%2F'; // A topic is not empty [MQTT-4.7.3-1].
  return subject.split('.').map(tokenToLevel).join('/');
}

/**
 * The subject of a topic that `subjectToTopic` has made, also where no client could publish to it: what was escaped stays so,
 * which no access list can tell from the subject itself.
 */
export function shownSubject(topic: string): string {
  return topic.split('/').map(levelToToken).join('.');
}

/** Whether a subject is some topic's: then a device can publish to it. */
export function isTopicSubject(subject: string): boolean {
  try {
    return topicToSubject(subjectToTopic(subject)) === subject;
  } catch (error) {
    if (error instanceof TopicError) return false;
    throw error;
  }
}

/**
 * Whether devices are kept out of a subject: everything under `$` belongs to the system ([MQTT-4.7.2-1] keeps leading
 * wildcards from it), and `_INBOX` holds the answers to other people's requests.
 */
export function isReserved(subject: string): boolean {
  return subject.startsWith('$') || subject.startsWith('_INBOX.') || subject === '_INBOX';
}

/**
 * A message as devices get it that was sent to `target`: what a push consumer sends has the subject under which it is stored,
 * and a topic must be one that was subscribed to [MQTT-3.3.2-3].
 */
export function sentTo(target: string, message: Message): Message {
  return target === message.subject ? message : { ...message, subject: target };
}

/** Remembers what `map` returned for the names seen most recently. */
export class NameCache<T = string> {
  readonly #map: (name: string) => T;
  readonly #known = new Map<string, T>();

  constructor(map: (name: string) => T) {
    this.#map = map;
  }

  /** `map(name)`; throws what `map` throws. */
  get(name: string): T {
    let mapped = this.#known.get(name);
    if (mapped === undefined) {
      mapped = this.#map(name);
      if (this.#known.size >= CACHE_TOPICS_MAX) this.#known.clear();
      this.#known.set(name, mapped);
    }
    return mapped;
  }
}

function check(name: string): void {
  if (name === '') throw new TopicError('an empty topic'); // [MQTT-4.7.3-1]
  if (name.includes('\0')) throw new TopicError('a topic holds U+0000'); // [MQTT-4.7.3-2]
}

/** The only thing that can still be wrong with it. */
function tooLong(what: string, subject: string): TopicError {
  return new TopicError(
    `the ${what} is too long: its subject has ${subject.length} characters of at most ${SUBJECT_BYTES_MAX}`,
  );
}

function levelToToken(level: string): string {
  if (!SPECIAL_LEVEL.test(level)) return level;
  if (level === '') return '/';
  if (level === '*') return STAR;
  if (level === '>') return REST;
  return level.replaceAll('.', '//').replaceAll(UNFIT_RUN, (run) => hexBytes('/', run));
}

function tokenToLevel(token: string): string {
  if (token === '/') return '';
  if (token === STAR) return '*';
  if (token === REST) return '>';
  return token.replaceAll(TOKEN_PARTS, (part) => {
    if (part === '//') return '.';
    if (!/^\/./.test(part)) return hexBytes('%', part).toUpperCase();
    const run = Buffer.from(part.replaceAll('/', ''), 'hex').toString();
    return ONLY_UNFIT.test(run) ? run : part.replaceAll('/', '%2F');
  });
}

function hexBytes(sign: string, text: string): string {
  let hex = '';
  for (const byte of Buffer.from(text)) hex += sign + byte.toString(16).padStart(2, '0');
  return hex;
}
