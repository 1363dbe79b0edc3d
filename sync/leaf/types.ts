// The shapes of the leafnode link: what the hub says of itself, what crosses, and how the parts see each other.

import type { Message } from '../../src/message.ts';

/** Lists of subjects with wildcards, as in a nats-server's user; absent is everything (`allow`) or nothing (`deny`). */
export interface SubjectRights {
  readonly allow?: readonly string[] | undefined;
  readonly deny?: readonly string[] | undefined;
}

/** INFO of a hub's leafnode port, as far as it matters here. */
export interface HubInfo {
  readonly serverId: string;
  readonly serverName: string;
  readonly version: string;
  readonly domain: string | undefined;
  readonly cluster: string | undefined;
  readonly headers: boolean;
  readonly jetstream: boolean;
  /** Of headers and data together, in bytes; 0 where the hub does not say. */
  readonly payloadBytesMax: number;
  readonly nonce: string | undefined;
  readonly authRequired: boolean;
  readonly tlsRequired: boolean;
  /** `host:port` of the hub's other leafnode ports; undefined where INFO has no such field. */
  readonly leafnodeUrls: readonly string[] | undefined;
  /** The hub is about to stop. */
  readonly lameDuck: boolean;
  /** It is the INFO that follows CONNECT: the login was taken. */
  readonly connectInfo: boolean;
  readonly remoteAccount: string | undefined;
  /** What the hub's user may receive from the hub: what we may subscribe to. Undefined: everything. */
  readonly mayImport: SubjectRights | undefined;
  /** What the hub's user may send to the hub. Undefined: everything. */
  readonly mayExport: SubjectRights | undefined;
}

/** What the hub says, in order. Each may throw a LeafProtocolError. */
export interface LeafListener {
  info(json: string): void;
  subscribe(subject: string, queue: string | undefined, weight: number): void;
  unsubscribe(subject: string, queue: string | undefined): void;
  /** LMSG or HMSG; `queues` are the groups of which one member each gets it. */
  message(message: Message, queues: readonly string[]): void;
  ping(): void;
  pong(): void;
  /** `-ERR`, without the quotes. */
  error(text: string): void;
}

/**
 * Which of the two lanes behind the control lane a message takes. `bulk` is what a consumer of ours delivers: there may be
 * megabytes of it, and it can wait for the window; `live` is the rest, and goes first.
 */
export type Lane = 'live' | 'bulk';

/** What leaves on one connection. Lines of control go ahead of all messages; messages of one lane keep their order. */
export interface Outbound {
  /** PING, PONG, LS+, LS-: complete lines as latin1 text. */
  control(line: string): void;
  /**
   * A message to `subject`, for plain subscriptions of the hub (`plain`) and for one member of each group of `queues`. False where the
   * lane is full and it is dropped and counted; a bulk message is never dropped, for whoever sends looks at `isFull`.
   */
  message(frame: LeafFrame, lane: Lane): boolean;
  /** Nothing more should be put into the bulk lane now. */
  readonly isFull: boolean;
  /** Bytes that wait here in all lanes. */
  readonly waitingBytes: number;
}

/** One message as it crosses. `reply` is complete: with `@subject` where it acknowledges a delivery of a stream. */
export interface LeafFrame {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly headers: Buffer | undefined;
  readonly data: Buffer;
  readonly plain: boolean;
  readonly queues: readonly string[];
}

/** Of `[leaf]`: what may cross beside JetStream. Empty by default. */
export interface BoundaryConfig {
  /** Subjects of local publishes that may go to the hub, with wildcards. */
  readonly exports: readonly string[];
  /** Subjects that may come from the hub, with wildcards. */
  readonly imports: readonly string[];
  /** The JetStream domain of this gateway; undefined: nothing of JetStream crosses. */
  readonly domain: string | undefined;
}

/** A link as monitoring shows it. Counts are since start, over all connections. */
export interface LeafStatus {
  readonly connected: boolean;
  /** One line for people: where to, since when, or why not. */
  readonly detail: string;
  /** What only an operator can mend; null for nothing. */
  readonly problem: string | null;
  /** Counts what it does; see src/heartbeat.ts. */
  readonly steps: number;
  /** Of the present connection; undefined while there is none. */
  readonly hub: LeafHubView | undefined;
  readonly counters: LeafCounters;
}

export interface LeafHubView {
  readonly name: string;
  readonly version: string;
  readonly domain: string | undefined;
  readonly account: string;
  readonly ip: string;
  readonly port: number;
  readonly tls: boolean;
  /** What we send: a level as nats-server calls it, or `off`. */
  readonly compression: string;
  /** Milliseconds of the last PING; undefined before the first PONG. */
  readonly rttMs: number | undefined;
  /** Subjects of ours that the hub knows, and of the hub that we keep. */
  readonly advertised: readonly string[];
  readonly wanted: number;
  readonly wantedSubjects?: (() => readonly string[]) | undefined;
  readonly waitingBytes: number;
}

export interface LeafCounters {
  readonly connects: number;
  readonly inMsgs: number;
  readonly inBytes: number;
  readonly outMsgs: number;
  readonly outBytes: number;
  /** Not sent because the link was behind (at most once, as core NATS is). */
  readonly droppedMsgs: number;
  /** Kept back by the boundary, ours or the hub's. */
  readonly deniedOutMsgs: number;
  readonly deniedInMsgs: number;
  /** Larger than the hub takes. */
  readonly oversizeMsgs: number;
}
