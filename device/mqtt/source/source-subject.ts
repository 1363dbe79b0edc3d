// Topic Names of somebody else's devices as subjects: mapped as our own devices' are (topic.ts), so that nothing that a
// broker may send is without a subject, but behind a prefix where one is set.

import { isPublishSubject } from '../../../src/subject.ts';
import { isReserved, NameCache, TopicError, topicToSubject } from '../topic.ts';

/** Maps the Topic Names of one source. */
export class SourceSubjects {
  readonly #cache: NameCache;

  /** `prefix` (a subject) stands before every subject; without one, topics of the system have no place. */
  constructor(prefix: string | undefined) {
    this.#cache = new NameCache((topic) => {
      const mapped = topicToSubject(topic);
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
