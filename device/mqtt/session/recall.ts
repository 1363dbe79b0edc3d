// The retained messages that a session is still to be sent after a SUBSCRIBE [3.3.1.3]: a cursor through the index for each
// subscription, not a list, so that ten thousand of them cost what one costs. They go out some at a time, as the client
// reads and acknowledges, and never before the disk has them.

import type { Base } from '../base.ts';
import type { Retained } from '../retained.ts';
import type { QoS } from '../wire/types.ts';
import { Subscriptions } from './subscriptions.ts';
import type { Form, Subscription } from './types.ts';

/** How many are looked at in one turn. */
const LOOKS_PER_TURN = 64;
/** So many filters cost as much as one more look. */
const FILTERS_PER_LOOK = 8;
/** How often one is waited for that is written again and again: a newer one comes as a live message. */
const RECALL_WAITS_MAX = 8;
/** Subjects that got a newer message meanwhile. Beyond it a retained message may follow a newer one. */
const RECALL_PASSED_MAX = 1024;

/** Who gets them: a session. */
export interface Recaller {
  /** Whether one more may be sent (its connection is roomy) or queued (less than a window waits). */
  readonly ready: boolean;
  /** Whether the client may see messages on this subject. */
  mayReceive(subject: string): boolean;
  /** Sends at QoS 0 or queues at 1 and 2, with RETAIN 1. */
  take(form: Form, qos: QoS, identifiers: readonly number[]): void;
}

/** The way through the messages of one subscription. */
interface Walk {
  readonly subjects: Iterator<string, unknown>;
  readonly subscription: Subscription;
  /** All of the same SUBSCRIBE. */
  readonly batch: Subscriptions;
  /** Counts SUBSCRIBEs and newer messages. */
  readonly begunAt: number;
}

interface Due {
  readonly subject: string;
  readonly walk: Walk;
  waits: number;
}

/**
 * What one session waits for. A message goes once for each SUBSCRIBE, to the first of its filters that matches, with the
 * highest QoS and the identifiers of all of them. It is read when it leaves: a newer retained message goes in its
 * place, and none where a newer message of the topic has gone as a live one.
 */
export class Recall {
  readonly #base: Base;
  readonly #retained: Retained;
  /** By Topic Filter: a subscription made anew begins anew. As many as the session has subscriptions. */
  readonly #walks = new Map<string, Walk>();
  readonly #passed = new Map<string, number>();
  #time = 0;
  /** The one that the disk has not answered about. */
  #due: Due | undefined;
  #scheduled = false;

  constructor(base: Base, retained: Retained) {
    this.#base = base;
    this.#retained = retained;
  }

  /** Something is still to be sent. */
  get waiting(): boolean {
    return this.#due !== undefined || this.#walks.size > 0;
  }

  /** The retained messages of these subscriptions are wanted; they were made by one SUBSCRIBE. */
  add(subscriptions: readonly Subscription[]): void {
    if (this.#retained.count === 0) return;
    const batch = new Subscriptions();
    this.#time++;
    for (const subscription of subscriptions) {
      const { filter, subject } = subscription;
      this.drop(filter);
      batch.set(subscription);
      const subjects = this.#retained.walk(subject);
      this.#walks.set(filter, { subjects, subscription, batch, begunAt: this.#time });
    }
  }

  /** The subscription is gone. */
  drop(filter: string): void {
    if (this.#due?.walk.subscription.filter === filter) this.#due = undefined;
    // Another filter of its SUBSCRIBE may match what this one has left.
    this.#walks.get(filter)?.batch.delete(filter);
    this.#walks.delete(filter);
  }

  /** A live message on `subject` goes to the session: newer than the retained one. Call it while `waiting`. */
  passed(subject: string): void {
    if (this.#passed.size >= RECALL_PASSED_MAX && !this.#passed.has(subject)) return;
    this.#passed.set(subject, ++this.#time);
  }

  /** Hands over as many as there is room and time for, and calls `again` later where it is for us to go on. */
  pump(session: Recaller, again: () => void): void {
    if (this.#scheduled) return;
    for (let looks = 0; looks < LOOKS_PER_TURN; looks++) {
      if (!session.ready) return;
      const due = (this.#due ??= this.#next());
      if (due === undefined) return this.clear();
      looks += (due.walk.batch.size - 1) / FILTERS_PER_LOOK;
      if (!this.#hand(due, session))
        return this.#schedule((ready) => this.#base.gate.after(ready), again);
      this.#due = undefined;
    }
    if (this.waiting) this.#schedule((ready) => this.#base.clock.soon(ready), again);
  }

  /** The session has ended, or begins anew. */
  clear(): void {
    this.#walks.clear();
    this.#passed.clear();
    this.#due = undefined;
  }

  #schedule(when: (ready: () => void) => void, again: () => void): void {
    this.#scheduled = true;
    when(() => {
      this.#scheduled = false;
      if (this.waiting) again();
    });
  }

  #next(): Due | undefined {
    for (const [filter, walk] of this.#walks) {
      const { value, done } = walk.subjects.next();
      if (done !== true) return { subject: value, walk, waits: 0 };
      this.#walks.delete(filter);
    }
    return undefined;
  }

  /** Sends one, or finds that it is not to be sent; false when the disk has not answered about it. */
  #hand(due: Due, session: Recaller): boolean {
    const { subject, walk } = due;
    const { subscription, batch, begunAt } = walk;
    if ((this.#passed.get(subject) ?? 0) >= begunAt) return true;
    if (batch.size > 1 && batch.first(subject) !== subscription) return true;
    if (!session.mayReceive(subject)) return true;
    const message = this.#retained.read(subject);
    if (message === 'pending') return ++due.waits > RECALL_WAITS_MAX;
    const match = batch.match(subject, false);
    if (message === undefined || match === undefined) return true;
    const qos = message.qos < match.qos ? message.qos : match.qos;
    session.take(message.form, qos, match.identifiers);
    return true;
  }
}
