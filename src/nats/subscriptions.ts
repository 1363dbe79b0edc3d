// The subscriptions of one client, by the name (sid) that it gave them. A subscription that has had its last message, or
// whose client is gone, takes nothing more, also in the middle of a delivery.

import type { Broker, Subscriber } from '../broker.ts';
import type { Message } from '../message.ts';
import type { Budget, NatsLimits } from './limits.ts';

/** The client that gets what its subscriptions take. */
export interface Receiver {
  /** Whether it gets what it publishes itself. */
  readonly echo: boolean;
  /** What it was sent and has not read, as far as we can know. */
  readonly unreadBytes: number;
  mayReceive(subject: string, queue: string | undefined): boolean;
  receive(subscription: Subscription, message: Message, from: object | undefined): void;
  /** An answer of ours; subject and text are ASCII. */
  receiveText(subscription: Subscription, subject: string, text: string): void;
}

export class Subscription {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly sid: string;
  readonly owner: Receiver;
  /** Messages since SUB. */
  delivered = 0;
  /** After this many it ends; 0 for never. */
  max = 0;
  /** Something of what it covers must not reach the client. */
  sifted: boolean;
  #end: (() => void) | undefined;
  /** The line up to the sid, for the last subject. */
  #prefixOf: string | undefined;
  #prefix = '';
  /** The rest of the line from the sid on, for the last size. */
  #middleOf = -1;
  #middle = '';

  constructor(
    owner: Receiver,
    subject: string,
    queue: string | undefined,
    { sid, sifted }: { sid: string; sifted: boolean },
  ) {
    this.owner = owner;
    this.subject = subject;
    this.queue = queue;
    this.sid = sid;
    this.sifted = sifted;
  }

  /** Subscribes; `ended` is called when it has had its last message. Throws a TypeError on an invalid subject. */
  begin(broker: Broker, ended: () => void): void {
    const unsubscribe = broker.subscribe(this.subject, this, this.queue);
    this.#end = () => {
      unsubscribe();
      ended();
    };
  }

  end(): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }

  /** See Subscriber. */
  get unreadBytes(): number {
    return this.owner.unreadBytes;
  }

  /** See Subscriber. */
  offer(message: Message, from: object | undefined): boolean {
    const { owner } = this;
    if (this.#end === undefined || (from === owner && !owner.echo)) return false;
    if (this.sifted && !owner.mayReceive(message.subject, this.queue)) return false;
    this.delivered++;
    owner.receive(this, message, from);
    if (this.delivered === this.max) this.end();
    return true;
  }

  /** See Subscriber. */
  offerText(subject: string, text: string): boolean {
    const { owner } = this;
    if (this.#end === undefined) return false;
    if (this.sifted && !owner.mayReceive(subject, this.queue)) return false;
    this.delivered++;
    owner.receiveText(this, subject, text);
    if (this.delivered === this.max) this.end();
    return true;
  }

  /** ` <sid> <size>\r\n` for a line; acknowledgements are mostly of the same size. */
  middle(size: number, wire: (sid: string) => string): string {
    if (size !== this.#middleOf) {
      this.#middleOf = size;
      this.#middle = ` ${wire(this.sid)} ${size}\r\n`;
    }
    return this.#middle;
  }

  /** `<subject> <sid> ` for a line, from `wire`, which makes it of a subject; mostly the same as last time. */
  prefix(subject: string, wire: (subject: string) => string): string {
    if (subject !== this.#prefixOf) {
      this.#prefixOf = subject;
      this.#prefix = ` ${wire(subject)} ${wire(this.sid)} `;
    }
    return this.#prefix;
  }
}

/** What the subscriptions of all clients cost together. */
export interface SubscriptionBudgets {
  readonly subscriptions: Budget;
  readonly tokens: Budget;
}

/** What a SUB that was not taken is answered with. */
export type Refusal = 'maximum subscriptions exceeded' | 'Invalid Subject';

export class Subscriptions {
  readonly #broker: Broker;
  readonly #limits: Pick<NatsLimits, 'subscriptionsMax'>;
  readonly #budgets: SubscriptionBudgets;
  readonly #bySid = new Map<string, Subscription>();

  constructor(
    broker: Broker,
    limits: Pick<NatsLimits, 'subscriptionsMax'>,
    budgets: SubscriptionBudgets,
  ) {
    this.#broker = broker;
    this.#limits = limits;
    this.#budgets = budgets;
  }

  get count(): number {
    return this.#bySid.size;
  }

  get all(): Iterable<Subscription> {
    return this.#bySid.values();
  }

  /** Begins `subscription`. One with the same sid stays in its place. */
  add(subscription: Subscription): Refusal | undefined {
    const { subscriptions, tokens } = this.#budgets;
    if (this.#bySid.has(subscription.sid)) return undefined;
    if (this.#bySid.size >= this.#limits.subscriptionsMax || !subscriptions.take(1))
      return 'maximum subscriptions exceeded';
    const cost = subscription.subject.split('.').length;
    if (!tokens.take(cost)) {
      subscriptions.add(-1);
      return 'maximum subscriptions exceeded';
    }
    const ended = (): void => {
      subscriptions.add(-1);
      tokens.add(-cost);
      this.#bySid.delete(subscription.sid);
    };
    try {
      subscription.begin(this.#broker, ended);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      ended();
      return 'Invalid Subject';
    }
    this.#bySid.set(subscription.sid, subscription);
    return undefined;
  }

  /** Ends it after `max` messages since its SUB; at once where it had them, or where `max` is 0. */
  remove(sid: string, max: number): void {
    const subscription = this.#bySid.get(sid);
    if (subscription === undefined) return;
    if (max > subscription.delivered) subscription.max = max;
    else subscription.end();
  }

  /** The plain subscription of `owner` that gets what is published to `subject`. */
  covering(subject: string, owner: Receiver): Subscription | undefined {
    const mine = (subscriber: Subscriber): subscriber is Subscription =>
      subscriber instanceof Subscription && subscriber.owner === owner;
    return this.#broker.subscribers(subject).find(mine);
  }

  clear(): void {
    for (const subscription of this.#bySid.values()) subscription.end();
  }
}
