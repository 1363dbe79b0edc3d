// The shapes that a stream shows to the outside: its configuration, its state, and what the forwarder reads of it.

import type { Message } from '../message.ts';

export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: 'limits';
  readonly storage: 'file';
  /** Age in store time (time the agent ran) after which messages go; undefined keeps them. */
  readonly maxAgeMs: number | undefined;
  /** Bytes of subjects, headers and data. */
  readonly maxBytes: number;
  readonly maxMsgs: number | undefined;
  /** At a limit: drop the oldest, or refuse the new. */
  readonly discard: 'old' | 'new';
  readonly duplicateWindowMs: number;
  readonly duplicateIdsMax: number;
}

export interface StreamState {
  readonly messages: number;
  readonly bytes: number;
  readonly firstSeq: number;
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
