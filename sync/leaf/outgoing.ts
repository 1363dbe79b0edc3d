// What of the gateway's traffic may go to the hub, and how: asked by the broker for each message that the hub wants.
//
// There are two kinds of it. What somebody here publishes (no `target`) goes where `exports` lists the subject, or where it
// answers a message that came over the link. What the gateway itself addresses - a delivery of a stream, an answer of the API,
// a PubAck - goes to whom the hub listens for under a name that was made up for this (isInbox), to the reply of a
// message that came over the link, or where `exports` lists it. In both cases the hub must permit it (HubRights).
//
// A reply leaves only where the answer may come back: the hub is told of the subject first (Replies). What may never
// leave is no reply either, or a listener of the hub could be made to publish there in our place.

import type { Message } from '../../src/message.ts';
import { OPERATOR } from '../../src/operator.ts';
import { isAddressable, isPrivate, type Boundary } from './boundary.ts';
import { consumerOf } from './consumer-subjects.ts';
import type { FrameGatherer } from './frame-gatherer.ts';
import type { HubRights } from './hub-rights.ts';
import { destinationOf } from './request-check.ts';
import type { Lane, Outbound } from './types.ts';

const ACK = '$JS.ACK.';
const FLOW_CONTROL = '$JS.FC.';
/** Targets that are remembered for what they were sent in bulk: consumers that deliver at the same time. 1 KiB each at most. */
const BULK_TARGETS_MAX = 4096;
/** Nothing more is delivered while this much waits: who pulls looks only at what he asked for himself. */
const WAITING_BYTES_MAX = 32 * 1024 * 1024;

/** What of the interest here the hub is told, so that it can answer. */
export interface Replies {
  /** Whether a mirror of ours waits on `reply`, of which the hub has been told. */
  isMirrored(reply: string): boolean;
  /** Whether the answer to what leaves with `reply` can come back: the hub knows the subject then. */
  open(reply: string): boolean;
  /** The same for a subject on which data will come: who asked for it may begin to listen later. */
  expect(subject: string): void;
  /** The hub is told of the acknowledgements (`$JS.ACK.`) or of the flow control (`$JS.FC.`) of a consumer. */
  openConsumer(reply: string): void;
  /** Whether `subject` may be published to the hub because something came from there with this reply. */
  isGranted(subject: string): boolean;
  /** What an answer to `subject` has as its subject on the wire. */
  onWire(subject: string): string;
}

export interface OutgoingCounters {
  deniedOutMsgs: number;
  oversizeMsgs: number;
}

export class Outgoing {
  /** Headers and data together, as the hub takes them; undefined for any. */
  messageBytesMax: number | undefined;
  readonly #boundary: Boundary;
  readonly #rights: HubRights;
  readonly #replies: Replies;
  readonly #counters: OutgoingCounters;
  #frames: FrameGatherer | undefined;
  #outbound: Outbound | undefined;
  readonly #bulkTargets = new Set<string>();
  #bulkTarget: string | undefined;
  /** Of the consumer that delivered last: how its acknowledgements begin. */
  #consumer = ' ';

  constructor(boundary: Boundary, rights: HubRights, replies: Replies, counters: OutgoingCounters) {
    this.#boundary = boundary;
    this.#rights = rights;
    this.#replies = replies;
    this.#counters = counters;
  }

  /** A connection begins. */
  connected(frames: FrameGatherer, outbound: Outbound): void {
    this.#frames = frames;
    this.#outbound = outbound;
    this.#bulkTargets.clear();
    this.#bulkTarget = undefined;
    this.#consumer = ' ';
  }

  disconnected(): void {
    this.#frames = undefined;
    this.#outbound = undefined;
  }

  /** See Subscriber. */
  get unreadBytes(): number {
    return this.#outbound?.isFull === true ? Infinity : 0;
  }

  /** See Subscriber. `who` stands for the hub's plain listeners of one kind, or for one of its groups, `queue`. */
  offer(
    {
      message,
      from,
      target,
    }: { message: Message; from: object | undefined; target: string | undefined },
    who: object,
    queue: string | undefined,
  ): boolean {
    const frames = this.#frames;
    if (frames === undefined) return false;
    const subject = target ?? message.subject;
    if (frames.join(message, subject, who, queue)) return true;
    if (!this.#mayPass(message, from, target)) {
      if (!isPrivate(subject)) this.#counters.deniedOutMsgs++;
      return false;
    }
    if (this.#isTooLarge(message)) {
      this.#counters.oversizeMsgs++;
      return false;
    }
    if (target !== undefined && (this.#outbound?.waitingBytes ?? 0) >= WAITING_BYTES_MAX)
      return false;
    const { reply } = message;
    const wire = this.#replies.onWire(subject);
    const isDelivery = target !== undefined && reply !== undefined && reply.startsWith(ACK);
    const lane = target === undefined ? 'live' : this.#lane(target, isDelivery);
    if (isDelivery) {
      this.#openConsumer(reply);
      const to = `${reply}@${message.subject}`;
      frames.begin({ message, target: subject, wire, reply: to, lane }, who, queue);
      return true;
    }
    const answer = this.#answerTo(message, target);
    if (answer === DENIED) {
      this.#counters.deniedOutMsgs++;
      return false;
    }
    frames.begin({ message, target: subject, wire, reply: answer, lane }, who, queue);
    return true;
  }

  #mayPass(message: Message, from: object | undefined, target: string | undefined): boolean {
    const subject = target ?? message.subject;
    if (!this.#rights.maySend(subject)) return false;
    if (target !== undefined && isAddressable(target)) return true;
    if (this.#boundary.mayLeave(subject) || this.#replies.isGranted(subject)) return true;
    return (
      target === undefined &&
      from === OPERATOR &&
      (this.#boundary.isForeignApi(subject) || subject.startsWith(FLOW_CONTROL))
    );
  }

  #isTooLarge({ headers, data }: Message): boolean {
    const { messageBytesMax } = this;
    return messageBytesMax !== undefined && data.length + (headers?.length ?? 0) > messageBytesMax;
  }

  /** Statuses follow the data of their target: they speak of what went before. */
  #lane(target: string, isDelivery: boolean): Lane {
    if (target === this.#bulkTarget) return 'bulk';
    const known = this.#bulkTargets;
    if (!isDelivery) return known.has(target) ? 'bulk' : 'live';
    this.#bulkTarget = target;
    known.delete(target);
    const [oldest] = known;
    if (known.size >= BULK_TARGETS_MAX && oldest !== undefined) known.delete(oldest);
    known.add(target);
    return 'bulk';
  }

  #openConsumer(reply: string): void {
    if (reply.startsWith(this.#consumer)) return;
    this.#replies.openConsumer(reply);
    this.#consumer = consumerOf(reply) ?? ' ';
  }

  /** The reply with which a message leaves, as far as it may. */
  #answerTo(message: Message, target: string | undefined): string | undefined | typeof DENIED {
    const { reply } = message;
    if (target === undefined) this.#openDeliverSubject(message);
    if (reply === undefined) return undefined;
    if (target !== undefined && reply.startsWith(FLOW_CONTROL)) {
      this.#replies.openConsumer(reply);
      return reply;
    }
    if (reply.startsWith('$')) return this.#replies.isMirrored(reply) ? reply : DENIED;
    if (this.#replies.open(reply)) return reply;
    // An inbox of the hub, or a subject of its own; of one here nobody could answer.
    const isTheirs = isAddressable(reply) || this.#boundary.mayLeave(reply);
    return isTheirs ? reply : undefined;
  }

  /** Who asks another domain for a consumer that pushes wants to hear it, and names the subject in the data only. */
  #openDeliverSubject({ subject, data }: Message): void {
    if (!subject.startsWith('$JS.') || !CONSUMER_CREATE.test(subject)) return;
    if (data.length > CREATE_BYTES_MAX) return;
    const deliverSubject = destinationOf(
      subject.slice(subject.indexOf('.API.') + API.length),
      data,
    );
    if (deliverSubject !== undefined && !deliverSubject.startsWith('$'))
      this.#replies.expect(deliverSubject);
  }
}

const API = '.API.';
const DENIED = Symbol('denied');
const CONSUMER_CREATE = /^\$JS\.[^.]+\.API\.CONSUMER\.(?:CREATE|DURABLE\.CREATE)\./;
/** Of a request that is read for its deliver subject; a consumer's configuration has less. */
const CREATE_BYTES_MAX = 64 * 1024;
