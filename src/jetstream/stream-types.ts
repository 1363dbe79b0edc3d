// The shapes that a stream shows to the outside: its configuration, its state, and what the forwarder reads of it.

import type { MessageBatch } from './message-batch.ts';
import type { Message } from '../message.ts';

/** Each stream has tables, statements and counts of its own in memory: 50 KB when it is empty. */
export const STREAMS_MAX = 512;

/** Who made a stream: the configuration file, or a client through the API. */
export type Origin = 'file' | 'api';

export interface StreamConfig extends StreamExtras {
  readonly name: string;
  readonly subjects: readonly string[];
  /** When messages go: at limits, when every consumer has them, or when the one consumer has them. */
  readonly retention: 'limits' | 'interest' | 'workqueue';
  readonly storage: 'file' | 'memory';
  /** Age in store time (time the agent ran) after which messages go; undefined keeps them. */
  readonly maxAgeMs: number | undefined;
  /** Bytes of subjects, headers and data; Infinity for none of its own. */
  readonly maxBytes: number;
  readonly maxMsgs: number | undefined;
  /** At a limit: drop the oldest, or refuse the new. */
  readonly discard: 'old' | 'new';
  /** 0: no message ID is remembered. */
  readonly duplicateWindowMs: number;
  readonly duplicateIdsMax: number;
}

/** What streams of the JetStream API may have besides (ADR-8, ADR-28, ADR-36, ADR-43, ADR-50); absent is off. */
export interface StreamExtras {
  readonly description?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Messages that one subject may have; the oldest of the subject goes, or the new one is refused. */
  readonly maxMsgsPerSubject?: number | undefined;
  readonly discardNewPerSubject?: boolean | undefined;
  /** Headers and data of one message. */
  readonly maxMsgBytes?: number | undefined;
  readonly maxConsumers?: number | undefined;
  /** Publishers get no answer. */
  readonly noAck?: boolean | undefined;
  /** The sequence of the first message. */
  readonly firstSeq?: number | undefined;
  readonly subjectTransform?: SubjectMapping | undefined;
  readonly republish?: (SubjectMapping & { readonly headersOnly: boolean }) | undefined;
  readonly allowDirect?: boolean | undefined;
  readonly allowRollup?: boolean | undefined;
  readonly denyDelete?: boolean | undefined;
  readonly denyPurge?: boolean | undefined;
  /** Nothing comes in and nothing goes any more. */
  readonly sealed?: boolean | undefined;
  readonly allowMsgTtl?: boolean | undefined;
  /** A subject whose last message goes by age gets a marker that lives this long. */
  readonly markerTtlMs?: number | undefined;
  readonly allowAtomic?: boolean | undefined;
  /** Ordered fast batches. */
  readonly allowBatched?: boolean | undefined;
  readonly consumerLimits?:
    | {
        readonly inactiveThresholdMs?: number | undefined;
        readonly maxAckPending?: number | undefined;
      }
    | undefined;
  /** Its messages are those of another stream, under the same sequences; nobody publishes into it. */
  readonly mirror?: MirrorConfig | undefined;
  /** Messages keep the time of the server that they come from: of a mirror, also when it is one no more. */
  readonly wallTime?: boolean | undefined;
  /** What is kept and given back as it came, for it means nothing here: wire names. */
  readonly inert?: Readonly<Record<string, unknown>> | undefined;
}

/** Of which stream a mirror is, and what of it. */
export interface MirrorConfig {
  readonly name: string;
  /** In another JetStream domain: how its API begins, and under which subject it delivers. */
  readonly external?: { readonly api: string; readonly deliver?: string | undefined } | undefined;
  /** In the domain of the hub that this gateway is linked to, which `external` then names. */
  readonly ofHub?: boolean | undefined;
  /** `external` was learned from the hub, and is no part of what was ordered. */
  readonly learned?: boolean | undefined;
  /** Of a bucket of the hub: messages kept of each key, where that is not as at the hub. */
  readonly history?: number | undefined;
  readonly filterSubject?: string | undefined;
  /** What is under no `src` is not mirrored. An empty `dest` leaves the subject as it is. */
  readonly subjectTransforms?: readonly SubjectMapping[] | undefined;
  readonly startSeq?: number | undefined;
  readonly startTimeMs?: number | undefined;
}

/** A message as a mirror gets it: with the number and the time that it has at its origin. */
export interface Mirrored {
  readonly seq: number;
  readonly timeMs: number;
  readonly subject: string;
  readonly headers: Buffer | null;
  readonly data: Buffer;
}

/** `src` as a filter, `dest` with `{{wildcard(1)}}` and the like (ADR-30); an absent `src` is `>`. */
export interface SubjectMapping {
  readonly src: string;
  readonly dest: string;
}

/**
 * Is told by a stream what becomes of its messages, one by one, and only of what is on the disk. It must not change the
 * stream from within.
 */
export interface StreamWatcher {
  /** `seq` can be read from now on; it stands, no later message or limit has taken it away again. */
  stored(seq: number, subjectId: number, subject: string): void;
  /** `seq`, which could be read, is gone. */
  removed(seq: number, subjectId: number, subject: string): void;
  /** All at once, instead of `stored` for each. */
  storedAll?(batch: MessageBatch): void;
  /** All at once, instead of `removed` for each. */
  removedAll?(batch: MessageBatch): void;
  /** After some of the above: time to look what there is to do. `quietly`: a purge of all subjects took them out. */
  settled(quietly?: boolean): void;
  /** Somebody took messages out, under `filter` or all alike, and the disk knows: `removed` was told of each. */
  purged?(purge: Purged): void;
}

/** What a purge has left. */
export interface Purged {
  readonly filter: string | undefined;
  /** The first sequence of the stream. */
  readonly firstSeq: number;
  /** The first sequence under the filter; one past the last message of the stream where there is none. */
  readonly leftSeq: number;
}

/** A consumer as seen by the retention of its stream (interest, workqueue). */
export interface Interest {
  /** Whether it covers the subject at all. */
  covers(subjectId: number, subject: string): boolean;
  /** Whether it has still to get or to acknowledge `seq`, which it covers. */
  needs(seq: number): boolean;
}

export interface StreamState {
  readonly messages: number;
  readonly bytes: number;
  /** Holes between the first and the last sequence. */
  readonly numDeleted: number;
  readonly firstSeq: number;
  /** It has begun to count: with a message, with a purge, or because its configuration says where. */
  readonly begun?: boolean | undefined;
  readonly firstTimeMs: number | null;
  readonly lastSeq: number;
  readonly lastTimeMs: number | null;
  readonly subjects: number;
  readonly durableSeq: number;
  readonly duplicateIds: number;
}

/** A stored message with what the hub needs to know of it. Its identity is (stream, epoch, seq). */
export interface StoredMessage extends Message {
  readonly seq: number;
  readonly epoch: string;
  /** Wall-clock time of storage, to the best of what is known now. */
  readonly timeMs: number;
  /** Whether the wall clock was believable then. */
  readonly timeSynced: boolean;
}

export const GAP_REASONS = [
  'max_age',
  'max_bytes',
  'max_msgs',
  'max_msgs_per_subject',
  'removed',
  'consumed',
  'corrupt',
  'dead_letter',
  'lost',
] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** A hole in a stream: nothing from firstSeq to lastSeq exists any more. */
export interface Gap {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
  readonly reason: GapReason;
  /** The epoch of lastSeq. */
  readonly epoch: string;
  readonly firstTimeMs: number | null;
  readonly lastTimeMs: number | null;
}

export type Entry =
  | { readonly kind: 'message'; readonly message: StoredMessage }
  | { readonly kind: 'gap'; readonly gap: Gap };

/** One run of a stream's numbering. Two messages never share (stream, epoch, seq). */
export interface Epoch {
  readonly epoch: string;
  readonly firstSeq: number;
  /** The last sequence it gave out; for the current one, the stream's durable last. */
  readonly lastSeq: number;
  /** Begun by this process. */
  readonly current: boolean;
  /** Of an earlier stream of the same name, deleted since: none of its messages are left. */
  readonly retired: boolean;
}

/** What the hub has confirmed, and where. */
export interface ForwardMark {
  /** Everything up to this local sequence is at the hub. */
  readonly seq: number;
  /** The message ID of that one. */
  readonly id: string;
  /** Its sequence in the hub's stream. */
  readonly hubSeq: number;
  /** When the hub's stream was created, as the hub writes it. */
  readonly hubCreated: string;
}
