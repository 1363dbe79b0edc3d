// What a broker's retained messages said last. A broker that lost our session sends all of them again when we subscribe
// anew; those that say nothing new are told from those that do by a digest of the last message of their topic, live or
// retained. Only topics that were ever retained are remembered, and only while the agent runs.

import { hash } from 'node:crypto';

/** Topics remembered: a broker of a plant has hundreds. Beyond it the memory begins anew, and a message may be stored again. */
const RETAINED_TOPICS_MAX = 10_000;

export class RetainedSeen {
  readonly #digests = new Map<string, string>();

  /** Notes a live message. */
  live(topic: string, data: Buffer): void {
    if (this.#digests.has(topic)) this.#digests.set(topic, digest(data));
  }

  /** Notes a retained message; returns whether it says what the topic's last message said. */
  isKnown(topic: string, data: Buffer): boolean {
    const now = digest(data);
    if (this.#digests.get(topic) === now) return true;
    if (this.#digests.size >= RETAINED_TOPICS_MAX) this.#digests.clear();
    this.#digests.set(topic, now);
    return false;
  }
}

function digest(data: Buffer): string {
  return hash('sha256', data, 'base64');
}
