// A stream with consumers on a real database, and clients that pull and acknowledge over the broker; the test moves the
// clock and lets the disk answer.

import { join } from 'node:path';
import type { Message } from '../../src/message.ts';
import { nextEndpoint } from '../../src/jetstream/consumers/next-endpoint.ts';
import type { Consumer } from '../../src/jetstream/consumers/consumer.ts';
import type { StreamConsumers } from '../../src/jetstream/consumers/consumers.ts';
import type { ConsumerConfig } from '../../src/jetstream/consumers/types.ts';
import type { StreamOrder } from '../../src/jetstream/jetstream.ts';
import { GatewayStore, streamOrder } from './gateway-store.ts';

export function consumerConfig(config: Partial<ConsumerConfig> = {}): ConsumerConfig {
  return {
    name: 'c',
    durable: true,
    deliverPolicy: 'all',
    ackPolicy: 'explicit',
    ackWaitMs: 30_000,
    maxDeliver: -1,
    filterSubjects: [],
    replayPolicy: 'instant',
    maxAckPending: 1000,
    pull: { maxWaiting: 512 },
    ...config,
  };
}

/** What came to an inbox: `s3` for the message with stream sequence 3, or a status such as `408 Request Timeout`. */
export class Inbox {
  readonly messages: Message[] = [];
  readonly subject: string;
  readonly #leave: () => void;

  constructor(lab: ConsumerLab, subject: string) {
    this.subject = subject;
    this.#leave = lab.store.broker.subscribe(subject, {
      deliver: (message) => void this.messages.push(message),
    });
  }

  leave(): void {
    this.#leave();
  }

  /** Takes what has come. */
  take(): Message[] {
    return this.messages.splice(0);
  }

  /** Takes what has come, in short: sequences, and statuses with their headers behind a bar. */
  takeShort(): string[] {
    return this.take().map((message) => short(message, this.subject));
  }
}

export function short(message: Message, inbox = ''): string {
  if (message.subject === inbox || message.reply === undefined)
    return (message.headers ?? Buffer.alloc(0))
      .toString()
      .replace('NATS/1.0 ', '')
      .trimEnd()
      .replaceAll('\r\n', ' | ');
  return `s${seqOf(message)}`;
}

/** The numbers of an ack subject. */
export function tokensOf({ reply = '' }: Message) {
  const [deliveries = 0, seq = 0, consumerSeq = 0, timeNs = 0, pending = 0] = reply
    .split('.')
    .slice(-5)
    .map(Number);
  return { deliveries, seq, consumerSeq, timeNs, pending };
}

export function seqOf(message: Message): number {
  return tokensOf(message).seq;
}

export class ConsumerLab {
  readonly store: GatewayStore;
  readonly #order: Partial<StreamOrder>;
  #inboxes = 0;

  private constructor(store: GatewayStore, order: Partial<StreamOrder>) {
    this.store = store;
    this.#order = order;
  }

  static async open(order: Partial<StreamOrder> = {}): Promise<ConsumerLab> {
    const store = new GatewayStore([streamOrder(order)]);
    const lab = new ConsumerLab(store, order);
    await store.open();
    await lab.settle();
    return lab;
  }

  /** What a start finds if the process dies now. */
  async crashed(): Promise<ConsumerLab> {
    const store = new GatewayStore([streamOrder(this.#order)]);
    this.store.jetstream.store.db.exec(`VACUUM INTO '${join(store.dir, 'mangrove.db')}'`);
    const lab = new ConsumerLab(store, this.#order);
    await store.open();
    await lab.settle();
    return lab;
  }

  get consumers(): StreamConsumers {
    const consumers = this.store.jetstream.consumers('DATA');
    if (consumers === undefined) throw new Error('no consumers');
    return consumers;
  }

  consumer(name = 'c'): Consumer {
    const consumer = this.consumers.get(name);
    if (consumer === undefined) throw new Error(`no consumer ${name}`);
    return consumer;
  }

  /** Lets the disk and everybody do what there is to do now. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) {
      this.store.settle();
      for (let j = 0; j < 5; j++) await Promise.resolve();
    }
  }

  async advance(ms: number): Promise<void> {
    this.store.clock.advance(ms);
    await this.settle();
  }

  /** Waits for a promise while the disk works. */
  async done<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => undefined);
    await this.settle();
    return await promise;
  }

  async create(config: Partial<ConsumerConfig> = {}): Promise<Consumer> {
    return await this.done(this.consumers.create(consumerConfig(config), ''));
  }

  async publish(count: number, subject = 'data.a', data = 'x'): Promise<void> {
    for (let i = 0; i < count; i++) this.store.publish(subject, data);
    await this.settle();
  }

  inbox(): Inbox {
    return new Inbox(this, `_INBOX.lab.${++this.#inboxes}`);
  }

  /** Asks for messages; false where nobody is there. Nothing has happened yet when it returns. */
  request(inbox: Inbox, request: object | string = '', consumer = 'c'): boolean {
    const data = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request));
    const endpoint = nextEndpoint({
      broker: this.store.broker,
      consumers: (stream) => this.store.jetstream.consumers(stream),
    });
    const subject = `$JS.API.CONSUMER.MSG.NEXT.DATA.${consumer}`;
    const message = { subject, reply: inbox.subject, data };
    return endpoint.offer({ tokens: ['DATA', consumer], data, message, from: undefined });
  }

  /** Asks for messages with an inbox of its own and gives what comes at once. */
  async pull(batch: number, consumer = 'c'): Promise<Message[]> {
    const inbox = this.inbox();
    this.request(inbox, { batch, no_wait: true }, consumer);
    await this.settle();
    inbox.leave();
    return inbox.take().filter(({ reply }) => reply !== undefined);
  }

  /** The sequences that `pull` gives. */
  async pullSeqs(batch: number, consumer = 'c'): Promise<number[]> {
    return (await this.pull(batch, consumer)).map(seqOf);
  }

  /** Says something about a delivery; with an inbox, wants to know that it is on the disk. */
  say(message: Message, data = '', reply?: string): string {
    const subject = message.reply ?? '';
    const said = { subject, data: Buffer.from(data) };
    return this.store.broker.publish(reply === undefined ? said : { ...said, reply });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
  }
}
