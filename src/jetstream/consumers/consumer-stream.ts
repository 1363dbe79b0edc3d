// What a consumer needs of the stream it reads. Everything that the stream gives it is on the disk.

import type { Cancel } from '../../clock.ts';
import type { Interest, StoredMessage, StreamConfig, StreamWatcher } from '../stream-types.ts';
import type { SubjectFilter } from '../subject-filter.ts';

export interface ConsumerStream {
  readonly name: string;
  readonly id: number;
  readonly config: StreamConfig;
  /** The last sequence that is on the disk. */
  readonly durableSeq: number;
  /** The first sequence that exists; one past the last when the stream is empty. */
  readonly firstSeq: number;
  readonly isForwarded: boolean;
  watch(watcher: StreamWatcher): Cancel;
  addInterest(interest: Interest): Cancel;
  /** No consumer but others need `seq` from here on: interest and workqueue streams may drop it. */
  released(seq: number): void;
  get(seq: number): StoredMessage | undefined;
  scan(
    filter: SubjectFilter,
    fromSeq: number,
    limits: { messagesMax: number; bytesMax: number },
  ): { messages: StoredMessage[]; nextSeq: number };
  lastOf(filter: SubjectFilter): StoredMessage | undefined;
  /** Ascending; rejects with a RangeError beyond `max`. */
  lastPerSubject(
    filter: SubjectFilter,
    limits: { upToSeq?: number; max: number },
  ): Promise<number[]>;
  seqAtTime(timeMs: number): number;
  /** Calls `done` in the turn in which the number is exact. */
  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): Cancel;
}
