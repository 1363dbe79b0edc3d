// What the forwarder of one stream shows to monitoring: what it is doing, why, and what it has done.

import type { Acceleration, Base, Order } from './choose-way.ts';

export type ForwarderState =
  | 'stopped'
  | 'connecting'
  | 'checking'
  | 'reading back'
  | 'forwarding'
  | 'caught up'
  | 'backing off'
  | 'conflict'
  | 'misconfigured';

export interface ForwarderStatus {
  readonly state: ForwarderState;
  /** Why, for people. */
  readonly detail: string;
  /** What only an operator can mend, from when it is found until a publish or a reading shows that it is gone. */
  readonly problem: string | null;
  /** How messages go to the hub stream, once it was read: see choose-way.ts. */
  readonly base: Base | null;
  readonly acceleration: Acceleration | null;
  /** What is promised there: 'relaxed' promises no order. */
  readonly order: Order;
  /** Why it is not faster or stricter. */
  readonly why: string;
  /** Everything up to this local sequence is at the hub. */
  readonly confirmedSeq: number;
  /** Where it is in the hub's stream. */
  readonly hubSeq: number;
  /** Sequences on disk that the hub has not confirmed. */
  readonly pending: number;
  /** Counts every turn of its loop: while there is something to do, it must not stand still (src/watchdog.ts). */
  readonly steps: number;
  readonly sentMsgs: number;
  readonly sentBytes: number;
  readonly batches: number;
  readonly retries: number;
  readonly readBacks: number;
  readonly refills: number;
  /** Messages set aside as dead letters. */
  readonly rejected: number;
  /** Gap records sent. */
  readonly gaps: number;
  readonly duplicates: number;
  /** Accelerated runs that failed and were left to the base. */
  readonly fallBacks: number;
}
