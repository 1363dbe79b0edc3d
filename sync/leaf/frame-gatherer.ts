// Makes one frame of what the broker offers piece by piece: a message that the hub wants plainly and for some of its queue
// groups is offered once for each, and must cross once. A frame leaves with the next message, or at the end of the turn.
//
// Order: messages of one lane leave as they were offered. `before` runs ahead of each frame: lines of control that its answer
// depends on.

import type { Clock } from '../../src/clock.ts';
import type { Message } from '../../src/message.ts';
import type { Lane, LeafFrame, Outbound } from './types.ts';

/** A message on its way out. */
export interface Passage {
  readonly message: Message;
  /** Where it is sent to. */
  readonly target: string;
  /** The subject that the hub reads. */
  readonly wire: string;
  readonly reply: string | undefined;
  readonly lane: Lane;
}

interface Gathered extends Passage {
  /** Who has been offered it; one who is offered it again means another message. */
  readonly offered: object[];
  plain: boolean;
  readonly queues: string[];
}

export class FrameGatherer {
  readonly #outbound: Outbound;
  readonly #clock: Clock;
  readonly #before: () => void;
  #waiting: Gathered | undefined;
  #isScheduled = false;

  constructor(outbound: Outbound, clock: Clock, before: () => void) {
    this.#outbound = outbound;
    this.#clock = clock;
    this.#before = before;
  }

  /** Adds one more to the message that is being gathered; false where it is another. `who` stands for a group, or for all plain listeners. */
  join(message: Message, target: string, who: object, queue: string | undefined): boolean {
    const waiting = this.#waiting;
    if (waiting?.message !== message || waiting.target !== target) return false;
    if (waiting.offered.includes(who)) return false;
    waiting.offered.push(who);
    if (queue === undefined) waiting.plain = true;
    else if (!waiting.queues.includes(queue)) waiting.queues.push(queue);
    return true;
  }

  /** Begins with a message that may pass. */
  begin(
    { message, target, wire, reply, lane }: Passage,
    who: object,
    queue: string | undefined,
  ): void {
    this.flush();
    const queues = queue === undefined ? [] : [queue];
    const plain = queue === undefined;
    this.#waiting = { message, target, wire, reply, lane, offered: [who], plain, queues };
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  /** The connection has ended: what is gathered is lost with it. */
  drop(): void {
    this.#waiting = undefined;
  }

  /** Sends what is gathered. */
  flush(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    const { message, wire, reply, lane, plain, queues } = waiting;
    const { headers, data } = message;
    const frame: LeafFrame = { subject: wire, reply, headers, data, plain, queues };
    this.#before();
    this.#outbound.message(frame, lane);
  }
}
