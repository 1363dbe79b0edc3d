// The hub as the forwarder needs it: a JetStream stream far away that can be asked, and that takes fenced publishes.
// The real one speaks NATS; a scripted one serves tests. All failures are HubErrors, and no method tries a write again.

import type { Cancel } from '../src/clock.ts';

/** A hub stream as far as forwarding depends on it. */
export interface HubStream {
  readonly name: string;
  /** When it was created, as the hub writes it: the identity of this incarnation. */
  readonly created: string;
  readonly lastSeq: number;
  readonly subjects: readonly string[];
  /** Largest headers + data that it stores; Infinity where only max_payload limits. */
  readonly messageBytesMax: number;
  /** Takes atomic batches. */
  readonly atomic: boolean;
  /** Takes fast batches. */
  readonly batched: boolean;
  /** Honours a fence that names a filter (nats-server 2.11): an older one holds the fence against the message's own subject. */
  readonly filterFence: boolean;
  /**
   * It has several replicas, on servers that may come to hold different messages (nats-server before 2.10.23): what was
   * acknowledged may then be missing on one of them.
   */
  readonly mayDiffer: boolean;
  /** It has sources: others write into it, under any subject. */
  readonly sourced: boolean;
  /** Drops messages by itself: by age, by a limit with discard old, or because consumers had them. */
  readonly removes: boolean;
  /** It is consumers that remove messages (retention interest or workqueue). */
  readonly consumed: boolean;
  /** Takes messages that outlive max_age, and lets them be deleted: a checkpoint can be kept there. */
  readonly checkpoints: boolean;
  /** Why it cannot be forwarded to at all (sealed, a mirror …), with the remedy. */
  readonly unfit?: { readonly reason: string; readonly hint: string };
}

/** What the hub holds at a sequence. */
export interface HubStored {
  readonly seq: number;
  readonly subject: string;
  /** Its Nats-Msg-Id, if it has one. */
  readonly id: string | undefined;
}

/** A message on its way to the hub. */
export interface HubMessage {
  readonly subject: string;
  /** Its Nats-Msg-Id. */
  readonly id: string;
  /** Header lines, each ended by CRLF, without the version line and Nats-Msg-Id. One character is one byte (latin1). */
  readonly headerLines: string;
  readonly data: Buffer;
}

/**
 * Refuses a write when the last message is no longer `seq` (0: when there is one at all). The last one under `filter`,
 * which only a hub stream with `filterFence` understands; under the message's own exact subject; or of the whole stream.
 */
export type Fence =
  | { readonly kind: 'filter'; readonly filter: string; readonly seq: number }
  | { readonly kind: 'subject'; readonly seq: number }
  | { readonly kind: 'stream'; readonly seq: number };

/** A message kept at the hub to say how far we are, where the hub does not keep the messages themselves. */
export interface Checkpoint {
  readonly message: HubMessage;
  /** The hub sequence of the checkpoint that it replaces; 0 for none. A fence of its own. */
  readonly previousSeq: number;
}

export interface PublishOptions {
  readonly stream: string;
  /** Stands on the first message. Without one only the hub's duplicate window refuses a message that it has. */
  readonly fence?: Fence;
  /** Stored in the same atomic batch, behind the messages. */
  readonly checkpoint?: Checkpoint;
  /** Silence of the link to be borne beyond its keep-alive: one large message on a slow line. */
  readonly patienceMs?: number;
  /**
   * ID of a fast batch that was killed: the one message is stored as a batch of that ID, begun and ended in one. With it
   * every replica forgets the batch; of the kill only the leader knows, and the next leader would open it again.
   */
  readonly seal?: string;
}

export interface HubAck {
  /** Hub sequence of the last of the messages. */
  readonly seq: number;
  /** The hub had this ID already, and stored nothing. Only of a single message. */
  readonly duplicate: boolean;
}

/** How an ordered fast batch is opened. */
export interface FastBatchOptions {
  readonly stream: string;
  /** No other batch has had this ID, and it is on our disk. */
  readonly id: string;
  /** Guards the first message only. */
  readonly fence: { readonly filter: string; readonly seq: number };
  /** The hub shall acknowledge at least every this many messages. */
  readonly flow: number;
}

/**
 * An ordered fast batch at the hub (ADR-50, gap mode "fail"): of what was sent the hub stores a prefix without gaps. It
 * takes bytes of any connection until it is ended, by commit() or Hub.killBatch().
 */
export interface FastBatch {
  /** Messages handed over so far. */
  readonly sent: number;
  /** Of these the hub has acknowledged. */
  readonly acked: number;
  /** The hub acknowledges at least every this many; it lowers this when others send too. */
  readonly flow: number;
  /** Bytes that the network has not taken from us yet. */
  readonly unsentBytes: number;
  /** Hands over the next messages; does nothing when the batch is over. */
  send(messages: readonly HubMessage[]): void;
  /** Resolves after the next sign from the hub; rejects with a HubError when the batch is over. */
  news(): Promise<void>;
  /** Asks for a sign: a batch that the hub has lost is noticed by its answer. */
  ping(): void;
  /** Ends the batch behind what was sent. Rejects with a HubError; how much is stored is unknown then. */
  commit(): Promise<{ readonly seq: number; readonly count: number }>;
  /** Listens no more. The hub is told nothing. */
  abandon(): void;
}

export interface Hub {
  readonly connected: boolean;
  /** Why it is not connected, for people; empty when it is. */
  readonly detail: string;
  /** Largest headers + data of one message that the hub's server takes. */
  readonly maxPayload: number;
  /** Calls `fn` whenever `connected` has changed. */
  onChange(fn: () => void): Cancel;

  /** Reads the stream, and creates it first where it is missing and the configuration says so. */
  stream(name: string): Promise<HubStream>;
  /** The last message under `filter`, from the stream's leader; null for none. */
  lastBySubject(stream: string, filter: string): Promise<HubStored | null>;
  /** The first message under `filter` at or behind `fromSeq`; null for none. */
  nextBySubject(stream: string, filter: string, fromSeq: number): Promise<HubStored | null>;
  /** The message at `seq`; null when there is none any more. */
  messageAt(stream: string, seq: number): Promise<HubStored | null>;
  /**
   * All messages under `filter` from `fromSeq` to at least `toSeq`, in order, without their data, some at a time. A page
   * may come from a replica that is behind; what it lacks up to `toSeq` is read from the leader.
   */
  scanHeaders(
    stream: string,
    filter: string,
    fromSeq: number,
    toSeq: number,
  ): AsyncIterable<readonly HubStored[]>;
  /**
   * Stores all messages or none (one: a fenced publish; more: an atomic batch, at most BATCH_MESSAGES_MAX with the
   * checkpoint). Resolves with the sequence of the last of `messages`; rejecting says nothing about what was stored.
   */
  publish(messages: readonly HubMessage[], options: PublishOptions): Promise<HubAck>;
  /** Opens a fast batch with its first message. Rejects with a HubError. */
  openBatch(first: HubMessage, options: FastBatchOptions): Promise<FastBatch>;
  /**
   * Resolves when the leader stores nothing under the batch `id` any more; a later leader might, until publish() has
   * sealed it. `subject` is one of the hub stream's; nothing is stored under it. Rejects with a HubError.
   */
  killBatch(stream: string, subject: string, id: string): Promise<void>;
  deleteMessage(stream: string, seq: number): Promise<void>;
  /** Drops the connection and makes a new one, to another server where there are several. */
  reconnect(reason: string): void;
}

/** The most messages that the hub takes in one atomic batch (nats-server's max_batch_size). */
export const BATCH_MESSAGES_MAX = 1000;
