// What the hub wants, as subscriptions of the broker: only what may matter, which is what `exports` has in common with the
// hub's filters, the inboxes of those who ask us, and the JetStream API of other domains. Everything else that the hub says
// (it tells each subscription of its account) is let go: it costs nothing to keep.

import type { Broker } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';
import { isFilter } from '../../src/subject.ts';
import { isInbox, type Boundary } from './boundary.ts';
import type { Outgoing } from './outgoing.ts';

/** Subjects of the hub that are kept, each with its group; what comes beyond is ignored and counted. 1 KiB each and more. */
const WANTED_MAX = 16_384;
/** Groups of the hub that are kept at the same time. */
const GROUPS_MAX = 4096;

/** Stands in the broker for those behind the link: for all plain listeners of one kind, or for one queue group. */
export class HubSubscriber {
  readonly isRemote: boolean;
  readonly #out: Outgoing;
  readonly #origin: object;
  readonly #queue: string | undefined;

  /** `origin` is the link itself, as it is shown for what came over it: nothing goes back. */
  constructor(out: Outgoing, origin: object, isRemote: boolean, queue?: string) {
    this.#out = out;
    this.#origin = origin;
    this.isRemote = isRemote;
    this.#queue = queue;
  }

  get unreadBytes(): number {
    return this.#out.unreadBytes;
  }

  get messageBytesMax(): number | undefined {
    return this.#out.messageBytesMax;
  }

  offer(message: Message, from: object | undefined, target: string | undefined): boolean {
    if (from === this.#origin) return false;
    return this.#out.offer({ message, from, target }, this, this.#queue);
  }
}

interface Part {
  count: number;
  readonly end: () => void;
}

export class RemoteInterest {
  /** What was not kept. */
  ignored = 0;
  readonly #broker: Broker;
  readonly #boundary: Boundary;
  readonly #out: Outgoing;
  readonly #origin: object;
  /** Listeners to what is published: of what a stream here takes they get no copy. */
  readonly #listeners: HubSubscriber;
  /** Those who wait for an answer get it, even where a stream takes it too. */
  readonly #asker: HubSubscriber;
  /** Each with how many subjects of the hub name it. */
  readonly #groups = new Map<string, { readonly subscriber: HubSubscriber; count: number }>();
  /** By what the hub said: what it became here. */
  readonly #wanted = new Map<string, readonly string[]>();
  /** Two filters of the hub may come to the same here. */
  readonly #parts = new Map<string, Part>();

  constructor(broker: Broker, boundary: Boundary, out: Outgoing, origin: object) {
    this.#broker = broker;
    this.#boundary = boundary;
    this.#out = out;
    this.#origin = origin;
    this.#listeners = new HubSubscriber(out, origin, true);
    this.#asker = new HubSubscriber(out, origin, false);
  }

  /** Subjects of the hub that are kept. */
  get size(): number {
    return this.#wanted.size;
  }

  /** They, as the hub names them: behind some the name of a group. */
  list(): readonly string[] {
    return [...this.#wanted.keys()];
  }

  /** Who stands for the plain listeners to an answer. */
  get asker(): HubSubscriber {
    return this.#asker;
  }

  /** LS+; false where it was known before, or is none. */
  subscribe(subject: string, queue: string | undefined): boolean {
    const key = keyOf(subject, queue);
    if (this.#wanted.has(key) || !isFilter(subject)) return false;
    const isReply = isInbox(subject);
    const parts = isReply ? [subject] : this.#boundary.leaving(subject);
    if (parts.length === 0 && !isObject(subject)) return false;
    const isNewGroup = queue !== undefined && !this.#groups.has(queue);
    if (this.#wanted.size >= WANTED_MAX || (isNewGroup && this.#groups.size >= GROUPS_MAX)) {
      this.ignored++;
      return false;
    }
    this.#wanted.set(key, parts);
    const subscriber = this.#subscriber(isReply, queue);
    for (const part of parts) this.#add(part, queue, subscriber);
    return true;
  }

  /** LS-; false where it was not known. */
  unsubscribe(subject: string, queue: string | undefined): boolean {
    const key = keyOf(subject, queue);
    const parts = this.#wanted.get(key);
    if (parts === undefined) return false;
    this.#wanted.delete(key);
    for (const part of parts) this.#drop(keyOf(part, queue));
    const group = queue === undefined ? undefined : this.#groups.get(queue);
    if (queue !== undefined && group !== undefined && --group.count === 0)
      this.#groups.delete(queue);
    return true;
  }

  /** The connection has ended: the next one says it all again. */
  clear(): void {
    for (const { end } of this.#parts.values()) end();
    this.#parts.clear();
    this.#wanted.clear();
    this.#groups.clear();
  }

  #subscriber(isReply: boolean, queue: string | undefined): HubSubscriber {
    if (queue === undefined) return isReply ? this.#asker : this.#listeners;
    let group = this.#groups.get(queue);
    if (group === undefined) {
      const subscriber = new HubSubscriber(this.#out, this.#origin, true, queue);
      group = { subscriber, count: 0 };
      this.#groups.set(queue, group);
    }
    group.count++;
    return group.subscriber;
  }

  #add(part: string, queue: string | undefined, subscriber: HubSubscriber): void {
    const key = keyOf(part, queue);
    const known = this.#parts.get(key);
    if (known !== undefined) known.count++;
    else this.#parts.set(key, { count: 1, end: this.#broker.subscribe(part, subscriber, queue) });
  }

  #drop(key: string): void {
    const part = this.#parts.get(key);
    if (part === undefined || --part.count > 0) return;
    this.#parts.delete(key);
    part.end();
  }
}

function keyOf(subject: string, queue: string | undefined): string {
  return queue === undefined ? subject : `${subject} ${queue}`;
}

/** Of a bucket of the hub it is kept that there is one. */
function isObject(subject: string): boolean {
  return subject.startsWith('$O.');
}
