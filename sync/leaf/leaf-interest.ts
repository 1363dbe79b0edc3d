// What crosses a leafnode link, both ways, over all its connections: the hub's wishes as subscriptions here, ours as lines for
// the hub, and in between the boundary: nothing leaves or comes in that neither the configuration nor a rule of JetStream lets
// cross (boundary.ts, outgoing.ts, incoming.ts), and nothing is sent or asked for that the hub forbids (hub-rights.ts).

import type { Broker } from '../../src/broker.ts';
import type { Clock } from '../../src/clock.ts';
import type { Logger } from '../../src/log.ts';
import type { Message } from '../../src/message.ts';
import { Adverts } from './adverts.ts';
import { Boundary } from './boundary.ts';
import { FrameGatherer } from './frame-gatherer.ts';
import { HubRights } from './hub-rights.ts';
import { Incoming } from './incoming.ts';
import { LocalInterest } from './local-interest.ts';
import { Outgoing } from './outgoing.ts';
import { RemoteInterest } from './remote-interest.ts';
import { ReplyGrants } from './reply-grants.ts';
import { ReplyInboxes } from './reply-inboxes.ts';
import type { BoundaryConfig, HubInfo, Outbound } from './types.ts';

/** An answer of many messages waits while more than this does: an eighth of what the live lane has room for. */
const BUSY_BYTES = 256 * 1024;

export interface InterestParts {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether there is such a consumer here. */
  readonly ownsConsumer?: (stream: string, consumer: string) => boolean;
}

/** What of a hub's INFO matters here. */
export type HubTerms = Pick<HubInfo, 'mayImport' | 'mayExport' | 'payloadBytesMax'>;

export interface InterestOptions {
  /** Whether JetStream crosses; not where the hub has the domain of the gateway. */
  readonly jetstream: boolean;
}

/** Consumers of which the hub is told before those that are gone are looked for. */
const SWEEP_CONSUMERS = 32;

export interface InterestCounters {
  readonly deniedOutMsgs: number;
  readonly deniedInMsgs: number;
  readonly oversizeMsgs: number;
  /** Subjects, of the hub or of ours, beyond what is kept. */
  readonly ignoredInterests: number;
}

export class LeafInterest {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #rights = new HubRights();
  readonly #adverts: Adverts;
  readonly #inboxes: ReplyInboxes;
  readonly #local: LocalInterest;
  readonly #grants: ReplyGrants;
  readonly #remote: RemoteInterest;
  readonly #outgoing: Outgoing;
  readonly #incoming: Incoming;
  readonly #counters = { deniedOutMsgs: 0, oversizeMsgs: 0 };
  readonly #isThere: ((stream: string, consumer: string) => boolean) | undefined;
  #sweepAt = SWEEP_CONSUMERS;
  #frames: FrameGatherer | undefined;
  #outbound: Outbound | undefined;
  #options: InterestOptions = { jetstream: false };
  #hasComplained = false;
  #terms: HubTerms | undefined;

  constructor(config: BoundaryConfig, { broker, clock, log, ownsConsumer }: InterestParts) {
    this.#clock = clock;
    this.#log = log;
    this.#isThere = ownsConsumer;
    const boundary = new Boundary(config);
    this.#adverts = new Adverts(() => clock.soon(() => this.#tell()));
    this.#inboxes = new ReplyInboxes(broker, this.#adverts, this.#rights, clock);
    this.#local = new LocalInterest(broker, boundary, this.#rights, this.#adverts);
    this.#grants = new ReplyGrants(broker, clock);
    const replies = {
      isMirrored: (reply: string) => this.#local.isMirrored(reply),
      open: (reply: string) => this.#inboxes.open(reply),
      expect: (subject: string) => this.#inboxes.expect(subject),
      openConsumer: (reply: string) => this.#openConsumer(reply),
      isGranted: (subject: string) => this.#grants.has(subject),
      onWire: (subject: string) => this.#grants.onWire(subject),
    };
    this.#outgoing = new Outgoing(boundary, this.#rights, replies, this.#counters);
    this.#remote = new RemoteInterest(broker, boundary, this.#outgoing, this);
    this.#incoming = new Incoming(boundary, {
      broker,
      inboxes: this.#inboxes,
      local: this.#local,
      grants: this.#grants,
      asker: this.#remote.asker,
      origin: this,
      ownsConsumer: ownsConsumer ?? ((): boolean => false),
    });
  }

  #openConsumer(reply: string): void {
    // First of all: the one that speaks now is there.
    if (this.#inboxes.consumers >= this.#sweepAt) this.#sweep();
    this.#inboxes.openConsumer(reply);
  }

  /** Lets go of consumers that are gone, each time there are twice as many as were left, and before a new connection. */
  #sweep(): void {
    if (this.#isThere === undefined) return;
    this.#inboxes.forgetConsumers(this.#isThere);
    this.#sweepAt = Math.max(SWEEP_CONSUMERS, 2 * this.#inboxes.consumers);
  }

  get counters(): InterestCounters {
    return {
      ...this.#counters,
      ...this.#incoming.counters,
      ignoredInterests: this.#remote.ignored + this.#adverts.ignored,
    };
  }

  /** Subjects of ours that the hub knows, each with its group. */
  get advertised(): readonly string[] {
    return this.#adverts.list();
  }

  /** Subjects of the hub that are kept. */
  get wanted(): number {
    return this.#remote.size;
  }

  /** They, as the hub names them. */
  readonly wantedSubjects = (): readonly string[] => this.#remote.list();

  /** Whether so much waits for the hub that an answer of many messages should wait, too. */
  get isBusy(): boolean {
    return (this.#outbound?.waitingBytes ?? 0) > BUSY_BYTES;
  }

  /** The hub has let us in. */
  open(outbound: Outbound, hub: HubTerms, options: InterestOptions): void {
    this.close();
    this.#sweep();
    this.#options = options;
    this.#outbound = outbound;
    this.#frames = new FrameGatherer(outbound, this.#clock, () => this.#adverts.flush());
    this.#outgoing.connected(this.#frames, outbound);
    this.#incoming.connected(options);
    this.#adverts.open(outbound);
    this.#take(hub);
    this.#adverts.flush();
  }

  /** INFO says something else than before: what the hub lets us do may have changed. */
  changed(hub: HubTerms): void {
    if (this.#frames === undefined) return;
    this.#adverts.recount();
    this.#take(hub);
  }

  /** The connection has ended. */
  close(): void {
    this.#frames?.drop();
    this.#frames = undefined;
    this.#outbound = undefined;
    this.#outgoing.disconnected();
    this.#remote.clear();
    this.#local.disconnected();
    this.#inboxes.disconnected();
    this.#grants.disconnected();
    this.#adverts.clear();
  }

  /** See LeafListener. */
  subscribe(subject: string, queue: string | undefined): void {
    if (this.#frames === undefined) return;
    if (this.#remote.subscribe(subject, queue)) this.#local.hubWants(subject, 1);
    if (this.#remote.ignored > 0) this.#complain();
  }

  /** See LeafListener. */
  unsubscribe(subject: string, queue: string | undefined): void {
    if (this.#remote.unsubscribe(subject, queue)) this.#local.hubWants(subject, -1);
    this.#grants.withdrawn(subject);
  }

  /** See LeafListener. */
  message(message: Message, queues: readonly string[]): void {
    if (this.#frames !== undefined) this.#incoming.message(message, queues);
  }

  /** The hub has complained of `subject`: it is neither sent nor asked for again. */
  denied(kind: 'publish' | 'subscription', subject: string): void {
    this.#rights.refused(kind, subject);
  }

  /** What the hub complained of is tried again, on the next connection. */
  forgive(): void {
    this.#rights.forgive();
  }

  #take(terms: HubTerms): void {
    const { mayImport, mayExport, payloadBytesMax } = terms;
    this.#terms = terms;
    this.#rights.replace(mayImport, mayExport);
    this.#outgoing.messageBytesMax = payloadBytesMax > 0 ? payloadBytesMax : undefined;
    this.#local.connected(this.#options, this.#inboxes);
    this.#inboxes.connected();
  }

  #tell(): void {
    this.#adverts.flush();
    if (this.#adverts.ignored > 0) this.#complain();
    if (this.#adverts.hasRoomAgain && this.#terms !== undefined) this.changed(this.#terms);
  }

  #complain(): void {
    if (this.#hasComplained) return;
    this.#hasComplained = true;
    const { ignoredInterests: ignored } = this.counters;
    this.#log.warn(
      { ignored },
      'the leafnode link has more subjects than it keeps: of the rest nothing crosses',
    );
  }
}
