// What a stream is made of: whom it works with, and who it is.

import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Message, Receipt } from '../message.ts';
import type { Advisories } from './advisories.ts';
import type { DuplicateWindow } from './duplicates.ts';
import type { BatchRoom } from './publish/batch-room.ts';
import type { Quota } from './quota.ts';
import type { Store } from './store.ts';
import type { Origin, StreamConfig } from './stream-types.ts';
import type { StreamTime } from './timeline.ts';

export interface StreamParts {
  readonly store: Store;
  readonly timeline: StreamTime;
  readonly log: Logger;
  readonly clock: Clock;
  readonly advisories: Advisories;
  /** Publishes to the broker: republished messages, and copies of unacceptable ones, whose receipt comes when they are stored. */
  readonly publish: (message: Message, receipt?: Receipt) => void;
  /** Sends to a publisher what is said while its fast batch goes on. */
  readonly answer: (message: Message) => void;
  /** What all streams of clients may take together; absent for those of the configuration. */
  readonly quota?: Quota;
  /** What the batches of all streams may hold; absent: this stream has all of it. */
  readonly batchRoom?: BatchRoom;
}

export interface StreamOptions {
  readonly id: number;
  readonly createdMs: number;
  readonly config: StreamConfig;
  /** `file` unless said otherwise. */
  readonly origin?: Origin;
  readonly epoch: string;
  /** How long confirmed messages can be sent again to a hub that lost them; null when nothing forwards the stream. */
  readonly graceMs: number | null;
  readonly duplicates: DuplicateWindow;
}
