// What the hub sends, and whether it may come in. Every message has one of these places, or is dropped and counted:
//
//   - a request to the JetStream API under the domain of the gateway; a bucket's subject behind the domain is published as it is;
//   - an answer, an acknowledgement or flow control where the hub was told that somebody waits (ReplyInboxes);
//   - data for a mirror, or of an object bucket that is offered to the hub (LocalInterest);
//   - what `imports` lists.
//
// A reply is a subject to which parts of the gateway will publish in the hub's name. So it must be one on which nobody here listens:
// an answer of the API is data, too, and could open a valve. Where it names somebody here, only what the hub could send there
// itself is let in. An acknowledgement of a consumer of ours is such a reply, and goes nowhere.

import type { Broker, SubscriptionView } from '../../src/broker.ts';
import { domainPrefix, isRequestSubject, withoutDomain } from '../../src/domain-subject.ts';
import { PublishError, type Message } from '../../src/message.ts';
import { pubAckText } from '../../src/pub-ack-text.ts';
import { isPublishSubject } from '../../src/subject.ts';
import { isAddressable, type Boundary } from './boundary.ts';
import { consumerNames, splitDelivery } from './consumer-subjects.ts';
import type { LocalInterest } from './local-interest.ts';
import { innerReply, type ReplyGrants } from './reply-grants.ts';
import type { ReplyInboxes } from './reply-inboxes.ts';
import { HubSubscriber } from './remote-interest.ts';
import { destinationOf } from './request-check.ts';
import { firstToken } from './subject-list.ts';

/** Data of the hub that streams here have taken and the disk does not have yet; beyond it the hub is told so and asks again. */
const STORING_BYTES_MAX = 32 * 1024 * 1024;
const STORING_MSGS_MAX = 16_384;
/** First tokens behind which the second is somebody's name. */
const NAMED = new Set(['_INBOX', '_R_']);
/** Replies of the hub itself that begin with `$`. */
const HUB_REPLY = /^(?:\$GR|\$JSC\.R)\../;
/** Who sends too much at once is answered as nats-server does when it cannot keep up (JSInsufficientResourcesErr). */
const BUSY = new PublishError(503, 10023, 'insufficient resources');

/** The gateway, as what comes in sees it. */
export interface IncomingParts {
  readonly broker: Broker;
  readonly inboxes: ReplyInboxes;
  readonly local: LocalInterest;
  readonly grants: ReplyGrants;
  /** Stands for those of the hub who wait for an answer. */
  readonly asker: HubSubscriber;
  /** The link, as the broker is shown who publishes. */
  readonly origin: object;
  readonly ownsConsumer: (stream: string, consumer: string) => boolean;
}

type Place = 'request' | 'bucket' | 'answer' | 'consumer' | 'listed';

export class Incoming {
  readonly counters = { deniedInMsgs: 0 };
  readonly #boundary: Boundary;
  readonly #parts: IncomingParts;
  readonly #prefix: string | undefined;
  #hasJetStream = false;
  #storingBytes = 0;
  #storingMsgs = 0;

  constructor(boundary: Boundary, parts: IncomingParts) {
    this.#boundary = boundary;
    this.#parts = parts;
    const { domain } = boundary;
    this.#prefix = domain === undefined ? undefined : domainPrefix(domain);
  }

  /** A connection begins. */
  connected({ jetstream }: { readonly jetstream: boolean }): void {
    this.#hasJetStream = jetstream;
  }

  /** A message of the hub, for plain listeners and for one member of each group of `queues`. */
  message(message: Message, queues: readonly string[]): void {
    const { reply } = message;
    const inner = reply === undefined ? undefined : innerReply(reply);
    if (reply === undefined || inner === undefined) return this.#take(message, queues);
    const asked = splitDelivery(inner)?.reply ?? inner;
    const through = reply.slice(0, reply.length - inner.length);
    const lead = (): void => this.#parts.grants.lead(asked, `${through}${asked}`);
    this.#take({ ...message, reply: inner }, queues, lead);
  }

  /** `accepted` is called before anything can be answered. */
  #take(message: Message, queues: readonly string[], accepted?: () => void): void {
    const place = this.#place(message.subject);
    if (place === undefined) return this.#deny();
    const { reply } = message;
    const delivery = reply === undefined ? undefined : splitDelivery(reply);
    if (delivery !== undefined)
      return this.#deliver(message, delivery, place, { queues, accepted });
    if (reply !== undefined && !this.#accept(reply, place, accepted)) return this.#deny();
    if (place === 'request' && !this.#mayAsk(message)) return this.#deny();
    const subject = this.#local(message.subject, place);
    this.#publish(subject === message.subject ? message : { ...message, subject }, queues);
  }

  #deny(): void {
    this.counters.deniedInMsgs++;
  }

  #place(subject: string): Place | undefined {
    const { inboxes, local } = this.#parts;
    if (!isRequestSubject(subject)) return undefined;
    if (this.#prefix !== undefined && subject.startsWith(this.#prefix)) {
      if (!this.#hasJetStream) return undefined;
      const is = withoutDomain(subject, this.#prefix);
      return is.startsWith('$JS.') ? 'request' : isPublishSubject(is) ? 'bucket' : undefined;
    }
    if (!isPublishSubject(subject)) return undefined;
    if (inboxes.admits(subject))
      return consumerNames(subject) === undefined ? 'answer' : 'consumer';
    if (local.isMirrored(subject)) return 'answer';
    if (local.isOffered(subject)) return 'bucket';
    return this.#boundary.mayEnter(subject) ? 'listed' : undefined;
  }

  #local(subject: string, place: Place): string {
    return place === 'bucket' && this.#prefix !== undefined
      ? withoutDomain(subject, this.#prefix)
      : subject;
  }

  /** A delivery of a consumer of the hub: it is sent to its subject, and shows the one under which the hub stores it. */
  #deliver(
    { subject: target, headers, data }: Message,
    { reply, subject }: { readonly reply: string; readonly subject: string },
    place: Place,
    { queues, accepted }: { queues: readonly string[]; accepted: (() => void) | undefined },
  ): void {
    // Who acknowledges looks at the subject that a message shows, and so does the API.
    if (place !== 'answer' && place !== 'listed') return this.#deny();
    if (!isPublishSubject(subject) || !this.#accept(reply, place, accepted)) return this.#deny();
    const { broker, origin, grants, asker } = this.#parts;
    // A heartbeat that names the flow control to be answered has no reply.
    grants.grant(reply.replace('$JS.ACK.', '$JS.FC.'), asker);
    broker.deliverTo(target, { subject, reply, headers, data } as Message, origin, queues);
  }

  /** Whether answers may be published to `reply`; they may leave then. */
  #accept(reply: string, place: Place, accepted?: () => void): boolean {
    const { broker, grants, asker, ownsConsumer } = this.#parts;
    if (!isPublishSubject(reply)) return false;
    const names = consumerNames(reply);
    if (names !== undefined) {
      if (ownsConsumer(names.stream, names.consumer)) return false;
      grants.grant(reply, asker);
      accepted?.();
      return true;
    }
    if (reply.startsWith('$') && !HUB_REPLY.test(reply)) return false;
    const listeners = broker.subscriptionsOn(reply);
    const isOurs = listeners.some((each) => isNamed(each, reply));
    if (isOurs && !this.#boundary.mayEnter(reply) && !this.#parts.inboxes.admits(reply))
      return false;
    const isKnown = listeners.some(({ entry }) => entry instanceof HubSubscriber);
    if (place !== 'request' || !isKnown) grants.grant(reply, isKnown ? undefined : asker);
    accepted?.();
    return true;
  }

  /** Whether what a request would let go to a subject here may go there; answers it where not. */
  #mayAsk({ subject, reply, data }: Message): boolean {
    const operation = subject.slice(this.#prefix?.length ?? 0);
    const destination = destinationOf(operation, data);
    if (destination === undefined || this.#boundary.isListed(destination)) return true;
    if (isAddressable(destination) && !this.#isOurs(destination)) return true;
    if (reply !== undefined) this.#answer(reply, refusal(operation, destination));
    return false;
  }

  #isOurs(subject: string): boolean {
    return this.#parts.broker.subscriptionsOn(subject).some((each) => isNamed(each, subject));
  }

  #publish(message: Message, queues: readonly string[]): void {
    const { broker, origin } = this.#parts;
    const { reply } = message;
    const bytes = message.data.length + (message.headers?.length ?? 0);
    if (this.#storingBytes >= STORING_BYTES_MAX || this.#storingMsgs >= STORING_MSGS_MAX) {
      this.#deny();
      if (reply !== undefined) this.#answer(reply, pubAckText(BUSY, null, undefined));
      return;
    }
    this.#storingBytes += bytes;
    this.#storingMsgs++;
    const settled = (): void => {
      this.#storingBytes -= bytes;
      this.#storingMsgs--;
    };
    const routed = broker.publish(
      message,
      (error, ack, quiet) => {
        settled();
        if (reply !== undefined && quiet !== true)
          this.#answer(reply, pubAckText(error, ack, this.#boundary.domain));
      },
      origin,
      queues,
    );
    if (routed !== 'stored') settled();
  }

  #answer(reply: string, text: string): void {
    this.#parts.broker.answer({ subject: reply, data: Buffer.from(text, 'utf8') });
  }
}

/** Whether a subscription here is of somebody whom `subject` names: not one who watches everything, or all inboxes. */
function isNamed({ filter, entry }: SubscriptionView, subject: string): boolean {
  if (entry instanceof HubSubscriber) return false;
  const [first = '', second] = filter.split('.');
  if (first === '*' || first === '>') return false;
  return !NAMED.has(firstToken(subject)) || (second !== '*' && second !== '>');
}

/** As the API would answer. */
function refusal(operation: string, destination: string): string {
  const kind = operation.startsWith('CONSUMER.') ? 'consumer' : 'stream';
  const verb = /^STREAM\.(UPDATE|RESTORE)/.exec(operation)?.[1]?.toLowerCase() ?? 'create';
  const description = `"${destination}" is neither in exports nor in imports of the gateway`;
  return JSON.stringify({
    type: `io.nats.jetstream.api.v1.${kind}_${verb}_response`,
    error: { code: 400, err_code: 10003, description },
  });
}
