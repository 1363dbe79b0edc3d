// MQTT Topic Names and Topic Filters as NATS subjects and back, by nats-server's rules (server/mqtt.go), so that a device
// sees the same names behind either: `/` separates levels and becomes `.`; an empty level (a leading, trailing or doubled
// `/`) becomes the token `/`; a `.` inside a level becomes `//`; `+` and `#` become `*` and `>`.

import { isFilter, isPublishSubject } from '../../src/subject.ts';

/** Topics whose subjects are remembered; beyond it the cache starts anew. Devices repeat theirs. */
const CACHE_TOPICS_MAX = 4096;

/** Why a Topic Name or Topic Filter is not acceptable; the text is for the log. */
export class TopicError extends Error {
  override name = 'TopicError';
}

/** Maps a Topic Name. Throws a TopicError for what no subject can stand for. */
export function topicToSubject(topic: string): string {
  // [MQTT-3.3.2-2], [MQTT-4.7.1-1]
  if (topic.includes('+') || topic.includes('#')) throw new TopicError('wildcards in a topic name');
  const subject = convert(topic);
  // A level that is just `*` or `>`, exotic white space, or too long.
  if (!isPublishSubject(subject)) throw new TopicError('no subject stands for this topic name');
  return subject;
}

/** Maps a Topic Filter. Throws a TopicError when it is invalid. `*` and `>` as whole levels are wildcards too, as in nats-server. */
export function filterToSubject(filter: string): string {
  const levels = filter.split('/');
  levels.forEach((level, i) => {
    // [MQTT-4.7.1-3], [MQTT-4.7.1-2]
    if (level.includes('+') && level !== '+') throw new TopicError('+ must be a whole level');
    if (level.includes('#') && (level !== '#' || i < levels.length - 1))
      throw new TopicError('# must be the whole last level');
  });
  const subject = convert(filter)
    .replaceAll(/(?<=^|\.)\+(?=\.|$)/g, '*')
    .replace(/(?<=^|\.)#$/, '>');
  if (!isFilter(subject)) throw new TopicError('no subject stands for this topic filter');
  return subject;
}

/** `foo/#` also matches `foo` [MQTT-4.7.1-2], but `foo.>` does not match `foo`: the filter to add, or undefined. */
export function levelUp(subject: string): string | undefined {
  return subject.length > 2 && subject.endsWith('.>') ? subject.slice(0, -2) : undefined;
}

/** Maps a subject back. Of topics mapped here it is the inverse. May be empty, which is no valid topic. */
export function subjectToTopic(subject: string): string {
  if (!subject.includes('/')) return subject.replaceAll('.', '/');
  let topic = '';
  for (let i = 0; i < subject.length; i++) {
    const char = subject[i];
    if (char === '/') {
      const next = subject[i + 1];
      // `/.` is an empty level, `//` a dot. A lone `/` (the end of a trailing empty level) stands for nothing.
      if (next === '.') topic += '/';
      else if (next === '/') topic += '.';
      if (next === '.' || next === '/') i++;
    } else topic += char === '.' ? '/' : char;
  }
  return topic;
}

/**
 * Whether devices are kept out of a subject: everything under `$` belongs to the system ([MQTT-4.7.2-1] keeps leading
 * wildcards from it), and `_INBOX` holds the answers to other people's requests.
 */
export function isReserved(subject: string): boolean {
  return subject.startsWith('$') || subject.startsWith('_INBOX.') || subject === '_INBOX';
}

/** Remembers what `map` returned for the names seen most recently. */
export class NameCache {
  readonly #map: (name: string) => string;
  readonly #known = new Map<string, string>();

  constructor(map: (name: string) => string) {
    this.#map = map;
  }

  /** `map(name)`; throws what `map` throws. */
  get(name: string): string {
    let mapped = this.#known.get(name);
    if (mapped === undefined) {
      mapped = this.#map(name);
      if (this.#known.size >= CACHE_TOPICS_MAX) this.#known.clear();
      this.#known.set(name, mapped);
    }
    return mapped;
  }
}

/** The conversion of mqttToNATSSubjectConversion, but for the wildcards. */
function convert(name: string): string {
  if (name === '') throw new TopicError('empty'); // [MQTT-4.7.3-1]
  // NUL: [MQTT-4.7.3-2]. White space would break the lines of the NATS protocol; DEL is refused with it, as there.
  // oxlint-disable-next-line no-control-regex
  if (/[\0 \t\n\r\f\x7f]/.test(name)) throw new TopicError('a space or control character');
  let subject = '';
  let last = '';
  for (let i = 0; i < name.length; i++) {
    const char = name.charAt(i);
    if (char === '/') {
      if (i === 0 || last === '.') subject += '/.';
      else if (i === name.length - 1 || name.charAt(i + 1) === '/') subject += './';
      else subject += '.';
    } else subject += char === '.' ? '//' : char;
    last = subject.charAt(subject.length - 1);
  }
  return last === '.' ? `${subject}/` : subject;
}
