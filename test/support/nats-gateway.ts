// A NATS listener with the real broker, a fake clock and clients on pairs of streams: no ports, no waiting. A stream, where
// one is wanted, answers when the test says so.

import { duplexPair, type Duplex } from 'node:stream';
import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import type { Message, PublishError, Receipt } from '../../src/message.ts';
import type { NatsLimits } from '../../src/nats/limits.ts';
import { NatsListener } from '../../src/nats/listener.ts';
import type { NatsOptions } from '../../src/nats/shared.ts';
import { FakeClock } from './fake-clock.ts';

/** The parameters that most clients connect with. */
export const CONNECT =
  'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n';

export interface GatewayOptions {
  readonly limits?: Partial<NatsLimits>;
  readonly users?: NatsOptions['users'];
  readonly allowAnonymous?: boolean;
  readonly domain?: string;
}

export class NatsGateway {
  readonly clock = new FakeClock();
  readonly broker = new Broker();
  readonly log: { level: number; msg: string }[] = [];
  readonly listener: NatsListener;
  readonly #clients: RawClient[] = [];

  constructor({ limits = {}, users = [], allowAnonymous = false, domain }: GatewayOptions = {}) {
    this.listener = new NatsListener(
      {
        listen: { host: '127.0.0.1', port: 0 },
        allowAnonymous: allowAnonymous || users.length === 0,
        users,
        serverId: 'NTEST',
        serverName: 'gw7',
        domain,
        limits,
      },
      {
        broker: this.broker,
        clock: this.clock,
        log: pino({ level: 'debug' }, { write: (line: string) => this.log.push(JSON.parse(line)) }),
      },
    );
  }

  /** A client that has had its INFO and sent `hello`. */
  async client(hello = CONNECT): Promise<RawClient> {
    const [mine, theirs] = duplexPair();
    const client = new RawClient(mine, this);
    this.#clients.push(client);
    this.listener.accept(theirs, { ip: '127.0.0.1', port: 1, type: 'nats', tls: false });
    await client.settle();
    client.greeting = client.take();
    await client.says(hello);
    return client;
  }

  /** A stream on `filter` that keeps what it gets; `ack` answers the oldest. */
  stream(filter: string): StoredMessages {
    const stored = new StoredMessages();
    this.broker.subscribe(filter, stored);
    return stored;
  }

  destroy(): void {
    for (const client of this.#clients) client.stream.destroy();
  }
}

/** A stream, as the broker sees one. */
export class StoredMessages {
  readonly messages: Message[] = [];
  #receipts: (Receipt | undefined)[] = [];
  #seq = 0;

  store(message: Message, receipt: Receipt | undefined): void {
    this.messages.push(message);
    this.#receipts.push(receipt);
  }

  get waiting(): number {
    return this.#receipts.length;
  }

  ack(count = 1, error: PublishError | null = null): void {
    for (let i = 0; i < count; i++)
      this.#receipts.shift()?.(error, error === null ? { stream: 'DATA', seq: ++this.#seq } : null);
  }
}

/** Says bytes and hears bytes. */
export class RawClient {
  greeting = '';
  ended = false;
  readonly stream: Duplex;
  readonly #gateway: { readonly clock: FakeClock };
  #heard = '';

  constructor(stream: Duplex, gateway: { readonly clock: FakeClock }) {
    this.stream = stream;
    this.#gateway = gateway;
    stream.on('data', (chunk: Buffer) => (this.#heard += chunk.toString('latin1')));
    stream.on('end', () => (this.ended = true));
    stream.on('close', () => (this.ended = true));
    stream.on('error', () => undefined);
  }

  /** Sends, and lets all of it have its effect. */
  async says(bytes: string | Buffer): Promise<void> {
    if (bytes.length > 0) this.stream.write(bytes, 'latin1');
    await this.settle();
  }

  /** Sends and returns what was answered. */
  async asks(bytes: string | Buffer): Promise<string> {
    await this.says(bytes);
    return this.take();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#gateway.clock.turn();
    }
  }

  /** What was heard since the last time. */
  take(): string {
    const heard = this.#heard;
    this.#heard = '';
    return heard;
  }
}
