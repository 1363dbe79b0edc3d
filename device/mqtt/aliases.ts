// Topic Aliases [3.3.2.3.4]: numbers that stand for topics, for one direction of one connection. Each side names its
// maximum; they end with the connection [MQTT-3.3.2-7].

import type { NameCache } from './topic.ts';
import { ProtocolError } from './wire/protocol-error.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import type { Publish } from './wire/types.ts';

/** What the client has named: alias -> subject. */
export class InboundAliases {
  readonly #max: number;
  readonly #subjects: NameCache;
  readonly #known = new Map<number, string>();

  /** `max` is what CONNACK announces; `subjects` maps Topic Names. */
  constructor(max: number, subjects: NameCache) {
    this.#max = max;
    this.#subjects = subjects;
  }

  /** The subject of a PUBLISH that has a Topic Alias. Throws a ProtocolError or a TopicError. */
  resolve({ topic, properties: { topicAlias = 0 } }: Publish): string {
    // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
    if (topicAlias === 0 || topicAlias > this.#max)
      throw new ProtocolError('a Topic Alias beyond the maximum', ReasonCode.topicAliasInvalid);
    if (topic === '') {
      const subject = this.#known.get(topicAlias);
      if (subject === undefined)
        throw new ProtocolError('a Topic Alias that was not named', ReasonCode.protocolError);
      return subject;
    }
    const subject = this.#subjects.get(topic);
    this.#known.set(topicAlias, subject);
    return subject;
  }
}

/**
 * What we have named for the client: the first topics that come get an alias and keep it. Devices are sent few topics again
 * and again, and a client that is sent many loses nothing.
 */
export class OutboundAliases {
  readonly #max: number;
  readonly #known = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** The alias of a topic (UTF-8 with its length in front); `isNew`: the client has to be told. Undefined: it gets none. */
  of(topic: Buffer): { readonly alias: number; readonly isNew: boolean } | undefined {
    const name = topic.toString('latin1');
    const alias = this.#known.get(name);
    if (alias !== undefined) return { alias, isNew: false };
    if (this.#known.size >= this.#max) return undefined;
    return { alias: this.#known.size + 1, isNew: true };
  }

  /** The PUBLISH that names it has left. */
  name(topic: Buffer): void {
    this.#known.set(topic.toString('latin1'), this.#known.size + 1);
  }
}
