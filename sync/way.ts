// The ways in which messages can go to the hub, and which one a hub stream allows. Every way promises what its `claim`
// says; the base of each hub is strict and slow, an accelerator beside it drains what has piled up.

import type { Entry } from '../src/jetstream/stream-types.ts';
import type { Clock } from '../src/clock.ts';
import type { BatchSize } from './batch-size.ts';
import type { Origin, Position } from './hub-message.ts';
import type { Hub, HubStream } from './hub.ts';
import type { LocalStream } from './local-stream.ts';
import type { Ahead } from './pipeline.ts';

/** Where a run of publishes stands. */
export interface Progress {
  /** Everything up to this local sequence is at the hub, or need not be sent. */
  afterSeq: number;
  /** Hub sequence of the last message under our filter; 0 for none. */
  fenceSeq: number;
  /** The hub stream as the last reading found it. */
  readonly stream: HubStream;
  /** What a window that was open has brought behind `afterSeq`: only window.ts knows how to go on there. */
  ahead?: Ahead | undefined;
}

/** What the hub took in one go. */
export interface Sent {
  readonly messages: number;
  readonly bytes: number;
  /** Gap records among the messages. */
  readonly gaps: number;
  /** Messages that the hub had already. */
  readonly duplicates?: number;
}

/** What an accelerator works with: its forwarder's side of the work. */
export interface Errand {
  readonly origin: Origin;
  /** Name of the hub stream. */
  readonly hubStream: string;
  readonly stream: LocalStream;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly size: BatchSize;
  /** Aborted by stop(): send nothing more. What is in flight then may still be confirmed. */
  readonly stopped: AbortSignal;
  /** The link was down since the last reading: what the hub holds must be read again. */
  linkLost(): boolean;
  /** The hub has everything up to `last`, which it stored at `hubSeq`: moves the mark. False after stop(). */
  confirm(last: Position, hubSeq: number, hubCreated: string): boolean;
  /** These went out and were taken, for counters and the log. */
  sent(counts: Sent): void;
  /** Moves one entry out of the way into the dead-letter stream; waits for as long as that has no room. */
  setAside(entry: Entry, reason: string): Promise<void>;
}

/** A way beside the base that is faster where much waits. */
export interface Accelerator {
  /**
   * Sends what waits behind `progress`, and moves it, until nothing waits ('caught up'), or the hub must be read first
   * ('read back'), or stop(). Rejects with a HubError; what the hub has stored is unknown then. Nothing that it has
   * sent can be stored any more after the forwarder's next reading.
   */
  run(progress: Progress): Promise<'caught up' | 'read back'>;
  /** A new link, perhaps another line: what was learnt of the old one may be wrong. */
  restart(): void;
}
