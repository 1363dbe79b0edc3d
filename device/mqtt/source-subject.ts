// Topic Names of somebody else's devices as subjects. They are mapped as our own devices' are (topic.ts), and what no
// subject can hold is escaped instead of refused, since nobody here can rename a lamp called "Living Room": white space,
// control characters and a level that is just `*` or `>` become `%` and two hex digits for each byte of their UTF-8; a
// `%` that would read like one of these becomes `%25`. So two topics never share a subject.

import { isPublishSubject } from '../../src/subject.ts';
import { isReserved, NameCache, TopicError, topicToSubject } from './topic.ts';

// oxlint-disable-next-line no-control-regex
const UNFIT = /[\x01-\x20\x7f\s]/gu;

/** Maps the Topic Names of one source. */
export class SourceSubjects {
  readonly #cache: NameCache;

  /** `prefix` (a subject) stands before every subject; without one, topics of the system have no place. */
  constructor(prefix: string | undefined) {
    this.#cache = new NameCache((topic) => {
      const mapped = topicToSubject(escapeTopic(topic));
      const subject = prefix === undefined ? mapped : `${prefix}.${mapped}`;
      if (isReserved(subject)) throw new TopicError('a topic of the system, without a prefix');
      if (!isPublishSubject(subject)) throw new TopicError('too long a subject');
      return subject;
    });
  }

  /** The subject of a Topic Name, or undefined where none stands for it. */
  get(topic: string): string | undefined {
    try {
      return this.#cache.get(topic);
    } catch (error) {
      if (error instanceof TopicError) return undefined;
      throw error;
    }
  }
}

/** A Topic Name without what no subject can hold. */
export function escapeTopic(topic: string): string {
  return topic
    .replaceAll(/%(?=[0-9a-f]{2})/gi, '%25')
    .replaceAll(UNFIT, percent)
    .replaceAll(/(?<=^|\/)[*>](?=$|\/)/g, percent);
}

function percent(character: string): string {
  return [...Buffer.from(character)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
}
