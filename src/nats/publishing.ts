// What one client publishes: whether it may, where it goes, and what the client hears. A message that a stream takes is
// answered with a PubAck once the disk has it, and not before. A client whose messages the disk cannot take yet is not
// read further: at most `publishBytesInFlightMax` of them wait here.

import type { Message, PublishError, PubAck, Receipt } from '../message.ts';
import { isPublishSubject } from '../subject.ts';
import type { NatsUser } from './auth.ts';
import type { ConnectOptions } from './connect.ts';
import { noRespondersFrame, OK } from './encoder.ts';
import { serverInfo } from './info.ts';
import { toJson, type Rights } from './permissions.ts';
import type { Shared } from './shared.ts';
import type { Receiver, Subscriptions } from './subscriptions.ts';

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
  #messages = 0;
  #bytes = 0;
  #checked = '';
  #isValid = false;

  constructor(client: Publisher, shared: Shared, subscriptions: Subscriptions) {
    this.#client = client;
    this.#shared = shared;
    this.#subscriptions = subscriptions;
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

  publish(
    subject: string,
    reply: string | undefined,
    headers: Buffer | undefined,
    data: Buffer,
  ): void {
    const client = this.#client;
    if (!this.#isAllowed(subject, reply)) return;
    if (client.options.verbose) client.send(OK);
    if (subject === USER_INFO && reply !== undefined) return this.#answerUserInfo(reply);
    // One shape for all messages: what is undefined is as good as absent.
    const message = { subject, reply, headers, data } as Message;
    const bytes = data.length + (headers?.length ?? 0);
    const receipt: Receipt = (error, ack) => this.#settle(bytes, reply, error, ack);
    const routed = this.#isPublishSubject(subject)
      ? this.#shared.broker.publish(message, receipt, client)
      : 'nobody';
    if (routed === 'stored') this.#open(bytes);
    else if (routed === 'nobody' && reply !== undefined) this.#sayNobody(subject, reply);
  }

  #isAllowed(subject: string, reply: string | undefined): boolean {
    const client = this.#client;
    const code = subject.charCodeAt(0);
    const reserved = (code === 0x24 || code === 0x5f) && RESERVED.test(subject);
    if (reserved || client.rights?.mayPublish(subject) === false) {
      client.deny(`Permissions Violation for Publish to "${subject}"`);
      return false;
    }
    if (reply === undefined || !RESERVED_REPLY.test(reply)) return true;
    client.deny(`Permissions Violation for Publish with Reply of "${reply}"`);
    return false;
  }

  /** Mostly it is the subject of the message before. */
  #isPublishSubject(subject: string): boolean {
    if (subject !== this.#checked) {
      this.#checked = subject;
      this.#isValid = isPublishSubject(subject);
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
    if (reply !== undefined) this.#answer(reply, error === null ? ackJson(ack) : errorJson(error));
    this.#client.settled();
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

function ackJson(ack: PubAck | null): string {
  if (ack === null) return '{}';
  const duplicate = ack.duplicate === true ? ',"duplicate":true' : '';
  return `{"stream":"${ack.stream}","seq":${ack.seq}${duplicate}}`;
}

function errorJson({ code, errCode, message }: PublishError): string {
  return JSON.stringify({ error: { code, err_code: errCode, description: message } });
}
