// What one client publishes: whether it may, where it goes, and what the client hears. A message that a stream takes is
// answered with a PubAck once the disk has it, and not before. A client whose messages the disk cannot take yet is not
// read further: at most `publishBytesInFlightMax` of them wait here.

import { domainPrefix, isRequestSubject, withoutDomain } from '../domain-subject.ts';
import type { Message, PublishError, PubAck, Receipt } from '../message.ts';
import { pubAckBegins, pubAckText } from '../pub-ack-text.ts';
import { isAsciiPublishSubject, isPublishSubject } from '../subject.ts';
import type { NatsUser } from './auth.ts';
import type { ConnectOptions } from './connect.ts';
import { noRespondersFrame, OK, wire } from './encoder.ts';
import { serverInfo } from './info.ts';
import { toJson, type Rights } from './permissions.ts';
import type { Shared } from './shared.ts';
import type { Receiver, Subscriptions } from './subscriptions.ts';

const JS = '$JS.';
const USER_INFO = '$SYS.REQ.USER.INFO';
/** Subjects of the server itself: of a cluster's own traffic, and what the hub refused. */
const RESERVED = /^(_GR_|\$GNR|\$NRG|\$DEAD)\./;
/** Replies by which a server knows its own deliveries; a client that made them up could confuse others. */
const RESERVED_REPLY = /^(_R_|_GR_|\$JS\.ACK)\./;

/** The client. */
export interface Publisher extends Receiver {
  readonly options: ConnectOptions;
  readonly rights: Rights | undefined;
  readonly user: NatsUser | undefined;
  send(text: string): void;
  /** Tells it of something that it may not do; its connection stays. */
  deny(text: string): void;
  /** Too much waits for the disk: of this client (`Publishing.full`), or of all (`Shared.window`). */
  crowded(): void;
  /** A publish was answered. */
  settled(): void;
}

export class Publishing {
  readonly #client: Publisher;
  readonly #shared: Shared;
  readonly #subscriptions: Subscriptions;
  /** Under which clients with a domain find the API. */
  readonly #domainApi: string | undefined;
  #messages = 0;
  #bytes = 0;
  #checked = '';
  /** The stream that answered last, and how its acknowledgements begin; no text where that is not ASCII. */
  #ackOf: string | undefined;
  #ackBegins = '';
  #isValid = false;

  constructor(client: Publisher, shared: Shared, subscriptions: Subscriptions) {
    this.#client = client;
    this.#shared = shared;
    this.#subscriptions = subscriptions;
    const { domain } = shared.options;
    this.#domainApi = domain === undefined ? undefined : domainPrefix(domain);
  }

  /** Publishes that wait for the disk. */
  get inFlight(): number {
    return this.#messages;
  }

  get full(): boolean {
    const { publishesInFlightMax, publishBytesInFlightMax } = this.#shared.limits;
    return this.#messages >= publishesInFlightMax || this.#bytes >= publishBytesInFlightMax;
  }

  /** Whether reading can go on: half of the room is free. */
  get roomy(): boolean {
    const { publishesInFlightMax, publishBytesInFlightMax } = this.#shared.limits;
    return 2 * this.#messages <= publishesInFlightMax && 2 * this.#bytes <= publishBytesInFlightMax;
  }

  publish(to: string, reply: string | undefined, headers: Buffer | undefined, data: Buffer): void {
    const client = this.#client;
    // First of all: what may not be asked without the domain may not be asked with it.
    const subject = to.charCodeAt(0) === 0x24 ? this.#withoutDomain(to) : to;
    if (!this.#isAllowed(subject, reply)) return;
    if (client.options.verbose) client.send(OK);
    if (subject === USER_INFO && reply !== undefined) return this.#answerUserInfo(reply);
    // One shape for all messages: what is undefined is as good as absent.
    const message = { subject, reply, headers, data } as Message;
    const bytes = data.length + (headers?.length ?? 0);
    const receipt: Receipt = (error, ack, quiet) =>
      this.#settle(bytes, quiet === true ? undefined : reply, error, ack);
    const routed = this.#isPublishSubject(subject)
      ? this.#shared.broker.publish(message, receipt, client)
      : 'nobody';
    if (routed === 'stored') this.#open(bytes);
    else if (routed === 'nobody' && reply !== undefined) this.#sayNobody(subject, reply);
  }

  /** With a domain, a client puts it into requests, and before a bucket's subjects too (nats-server's mapping). */
  #withoutDomain(subject: string): string {
    const api = this.#domainApi;
    return api === undefined ? subject : withoutDomain(subject, api);
  }

  #isAllowed(subject: string, reply: string | undefined): boolean {
    const client = this.#client;
    const code = subject.charCodeAt(0);
    const reserved = (code === 0x24 || code === 0x5f) && RESERVED.test(subject);
    if (reserved || client.rights?.mayPublish(subject) === false) {
      client.deny(`Permissions Violation for Publish to "${subject}"`);
      return false;
    }
    if (reply === undefined || !(RESERVED_REPLY.test(reply) || this.#isForbiddenReply(reply)))
      return true;
    client.deny(`Permissions Violation for Publish with Reply of "${reply}"`);
    return false;
  }

  /** An answer without data would be a request of the API, which the client may not make himself. */
  #isForbiddenReply(reply: string): boolean {
    const { rights } = this.#client;
    if (rights === undefined || !reply.startsWith(JS)) return false;
    return !rights.mayPublish(this.#withoutDomain(reply));
  }

  /** Mostly it is the subject of the message before. */
  #isPublishSubject(subject: string): boolean {
    if (subject !== this.#checked) {
      this.#checked = subject;
      this.#isValid = isRequestSubject(subject);
    }
    return this.#isValid;
  }

  #open(bytes: number): void {
    const { window } = this.#shared;
    window.open(bytes);
    this.#messages++;
    this.#bytes += bytes;
    if (this.full || window.full) this.#client.crowded();
  }

  /** May run before `#open`, for a refusal; the sums are right in the end. */
  #settle(
    bytes: number,
    reply: string | undefined,
    error: PublishError | null,
    ack: PubAck | null,
  ): void {
    this.#shared.window.settle(bytes);
    this.#messages--;
    this.#bytes -= bytes;
    if (reply !== undefined && !(error === null && this.#acknowledge(reply, ack)))
      this.#answer(reply, pubAckText(error, ack, this.#shared.options.domain));
    this.#client.settled();
  }

  /** Sends a PubAck as text, if it is like nearly all: no buffer and no message is made for it. */
  #acknowledge(reply: string, ack: PubAck | null): boolean {
    if (ack === null || ack.duplicate !== undefined || ack.batch !== undefined) return false;
    if (ack.stream !== this.#ackOf) {
      this.#ackOf = ack.stream;
      const begins = pubAckBegins(ack.stream, this.#shared.options.domain);
      this.#ackBegins = wire(begins) === begins ? begins : '';
    }
    if (this.#ackBegins === '' || !isAsciiPublishSubject(reply)) return false;
    this.#shared.broker.answerText(reply, `${this.#ackBegins}${ack.seq}}`);
    return true;
  }

  #answer(reply: string, json: string): void {
    if (!isPublishSubject(reply)) return;
    this.#shared.broker.answer({ subject: reply, data: Buffer.from(json, 'utf8') });
  }

  #sayNobody(subject: string, reply: string): void {
    const client = this.#client;
    this.#shared.counters.noResponders++;
    if (!client.options.noResponders) return;
    const own = this.#subscriptions.covering(reply, client);
    if (own !== undefined) client.send(noRespondersFrame(reply, own.sid, subject));
  }

  #answerUserInfo(reply: string): void {
    const { user } = this.#client;
    const permissions = user?.permissions;
    const data = {
      user: user?.user ?? '',
      account: '$G',
      ...(permissions === undefined ? {} : { permissions: toJson(permissions) }),
    };
    this.#answer(reply, JSON.stringify({ server: serverInfo(this.#shared), data }));
  }
}
