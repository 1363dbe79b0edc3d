// The shapes of a consumer: its configuration, how far it is, and the way out for its messages.

import type { Message } from '../../message.ts';

/** ADR-8, ADR-13, ADR-42; JSON names and nanoseconds are in `config.ts` only. Absent is off. */
export interface ConsumerConfig {
  readonly name: string;
  /** It survives being unused, unless it has an `inactiveThresholdMs` of its own. */
  readonly durable: boolean;
  readonly description?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly deliverPolicy:
    | 'all'
    | 'last'
    | 'new'
    | 'by_start_sequence'
    | 'by_start_time'
    | 'last_per_subject';
  readonly optStartSeq?: number | undefined;
  /** Wall clock. */
  readonly optStartTimeMs?: number | undefined;
  /** `flow_control`: answers to flow control acknowledge everything that they say is stored (see FlowAcks). */
  readonly ackPolicy: 'none' | 'all' | 'explicit' | 'flow_control';
  readonly ackWaitMs: number;
  /** -1: without end. */
  readonly maxDeliver: number;
  readonly backoffMs?: readonly number[] | undefined;
  /** Empty: everything. */
  readonly filterSubjects: readonly string[];
  readonly replayPolicy: 'instant' | 'original';
  readonly rateLimitBps?: number | undefined;
  /** 0 to 100. */
  readonly samplePercent?: number | undefined;
  /** -1: without end. */
  readonly maxAckPending: number;
  readonly headersOnly?: boolean | undefined;
  readonly inactiveThresholdMs?: number | undefined;
  readonly memoryStorage?: boolean | undefined;
  /** Wall clock; delivers nothing until then. */
  readonly pauseUntilMs?: number | undefined;
  /** Undefined for a push consumer. */
  readonly pull?: PullConfig | undefined;
  /** Undefined for a pull consumer. */
  readonly push?: PushConfig | undefined;
  /** A stream of somebody else's reads with it: lists do not show it, and it is free of the rules of retention. */
  readonly direct?: boolean | undefined;
  /** The same, kept by its stream; and it does not count. */
  readonly sourcing?: boolean | undefined;
  /** How its client put it: for answers only. */
  readonly asked?: AskedConfig | undefined;
}

/** What the fields of a ConsumerConfig do not say of how they were asked for; `config.ts` reads and writes it. */
export interface AskedConfig {
  /** It was made without a name. */
  readonly unnamed?: boolean;
  /** The filters came as a list, be it of one. */
  readonly filterList?: boolean;
  /** `opt_start_time` and `pause_until` as they came: with nanoseconds. */
  readonly optStartTime?: string;
  readonly pauseUntil?: string;
  /** With its percent sign, or without. */
  readonly sampleFreq?: string;
  readonly replicas?: number;
  /** -1 where no acknowledgements are to come: else that is left out. */
  readonly maxAckPending?: -1;
  /** It has the inactive threshold of all ephemeral consumers. */
  readonly inactiveDefault?: boolean;
  /** A hub before 2.14 asked for it, under no name that it would use again. */
  readonly oldHub?: boolean;
  /** That hub has stored something that came by it. */
  readonly read?: boolean;
  /** A group of a consumer that does not push. */
  readonly deliverGroup?: string;
}

export interface PullConfig {
  readonly maxWaiting: number;
  readonly maxBatch?: number | undefined;
  readonly maxExpiresMs?: number | undefined;
  readonly maxBytes?: number | undefined;
  /** Which of several clients gets messages (ADR-42). */
  readonly priority?: PriorityConfig | undefined;
}

export interface PriorityConfig {
  readonly policy: 'overflow' | 'pinned_client' | 'prioritized';
  readonly groups: readonly string[];
  readonly timeoutMs?: number | undefined;
}

export interface PushConfig {
  readonly deliverSubject: string;
  readonly deliverGroup?: string | undefined;
  readonly flowControl?: boolean | undefined;
  readonly idleHeartbeatMs?: number | undefined;
  /** Given, kept and shown; they mean nothing here. */
  readonly maxBatch?: number | undefined;
  readonly maxExpiresMs?: number | undefined;
  readonly maxBytes?: number | undefined;
}

/** A place in both numberings: the consumer's own, without gaps, and the stream's. */
export interface SequencePair {
  readonly consumerSeq: number;
  readonly streamSeq: number;
  /** Wall clock of the last delivery or acknowledgement; undefined for none yet. */
  readonly lastActiveMs?: number | undefined;
}

/** How far a consumer is, for an answer. */
export interface ConsumerState {
  readonly delivered: SequencePair;
  readonly ackFloor: SequencePair;
  readonly ackPending: number;
  readonly redelivered: number;
  /** Pull requests that wait. */
  readonly waiting: number;
  /** Messages that are still to be delivered. */
  readonly pending: number;
  /** Somebody listens on the deliver subject. */
  readonly pushBound: boolean;
}

/** Where one message goes. */
export interface Target {
  readonly subject: string;
  /** Added to the message's headers, such as a pin. */
  readonly headers?: readonly (readonly [string, string])[] | undefined;
}

export interface Pinned {
  readonly id: string;
  /** Wall clock. */
  readonly sinceMs: number | undefined;
  takeAway(): boolean;
}

/** The way out of a consumer: waiting pull requests, or a deliver subject. */
export interface Outlet {
  /** Whether anything could go now, for a message of any size. */
  readonly ready: boolean;
  /** Pull requests that wait; 0 for push. */
  readonly waiting: number;
  /** Somebody listens on the deliver subject; false for pull. */
  readonly bound: boolean;
  /** The most that whoever listens takes, headers and data together; Infinity for any message. */
  readonly messageBytesMax: number;
  /**
   * Where a message of `bytes` (stream subject, ack reply, headers and data) goes now; undefined where it has to wait. It is
   * asked again after each `sent`.
   */
  target(bytes: number): Target | undefined;
  /** The message went to `target`; or nobody was there, and the message goes elsewhere. */
  sent(target: Target, bytes: number, routed: 'delivered' | 'nobody'): void;
  /** Nothing is left to deliver at this moment. */
  exhausted(): void;
  /** An answer to a flow control request that went out with the reply `subject`. */
  flowControl?(subject: string, headers: Buffer | undefined): void;
  /** The client that alone gets messages, with `pinned_client`: an empty id for nobody. `takeAway` frees the place. */
  readonly pin?: Pinned | undefined;
  /** The consumer's configuration is another one now. */
  reconfigure(config: ConsumerConfig): void;
  /** The consumer is gone (`deleted`), or the gateway stops. */
  close(reason: 'deleted' | 'shutdown'): void;
}

/** The consumer as its outlet sees it. */
export interface OutletHost {
  readonly streamName: string;
  readonly name: string;
  readonly config: ConsumerConfig;
  /** What a heartbeat speaks of: the consumer's last delivery, and the last of the stream that it has looked at. */
  readonly delivered: SequencePair;
  /** The last sequence that was delivered. */
  readonly lastDeliveredSeq: number;
  readonly pending: number;
  readonly ackPending: number;
  /** Messages that wait to be delivered once more. */
  readonly redeliveries: number;
  /** There may be a target now. Delivers in a turn of its own. */
  wake(): void;
  /** It is in use: its inactive threshold begins anew. */
  used(): void;
  /** Whoever it delivers to has stored everything that was delivered up to `seq`. */
  confirmed(seq: number): void;
  /** Sends a status or a message; true where somebody got it. */
  send(subject: string, message: Omit<Message, 'subject'>): boolean;
}
