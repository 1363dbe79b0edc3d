// A listener with the real broker, a fake clock, tables in memory and clients on pairs of streams: no ports, no waiting.

import { pino } from 'pino';
import { duplexPair } from 'node:stream';
import type { Peer } from '../../device/mqtt/access/types.ts';
import type { MqttLimits } from '../../device/mqtt/limits.ts';
import { MqttListener } from '../../device/mqtt/listener.ts';
import type { MqttOptions } from '../../device/mqtt/shared.ts';
import { Broker } from '../../src/broker.ts';
import type { Message, Receipt } from '../../src/message.ts';
import { FakeClock } from './fake-clock.ts';
import { TestClient } from './mqtt-client.ts';
import { MemoryStore } from './mqtt-store.ts';

/** Where a client is that comes over a pair of streams: on this machine. */
export const LOCAL_PEER: Peer = {
  ip: '127.0.0.1',
  port: 40_000,
  door: 'tcp',
  local: true,
  tls: false,
};

/** A stream that takes what comes and answers when told. */
export class FakeStream {
  readonly #store: MemoryStore | undefined;
  readonly messages: Message[] = [];
  readonly receipts: Receipt[] = [];
  /** Answers at once that the message is stored. */
  auto = true;

  constructor(store?: MemoryStore) {
    this.#store = store;
  }

  readonly store = (message: Message, receipt: Receipt | undefined): void => {
    this.messages.push(message);
    this.#store?.queueMessage();
    if (receipt === undefined) return;
    if (this.auto) receipt(null, { stream: 'S', seq: this.messages.length });
    else this.receipts.push(receipt);
  };

  get subjects(): string[] {
    return this.messages.map(({ subject }) => subject);
  }

  get data(): string[] {
    return this.messages.map(({ data }) => data.toString());
  }
}

export interface GatewayOptions {
  limits?: Partial<MqttLimits>;
  options?: Partial<MqttOptions>;
  store?: MemoryStore;
  clock?: FakeClock;
  /** What the stream takes; nothing by default. */
  streamSubject?: string;
}

export class Gateway implements Disposable {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly broker = new Broker();
  readonly stream: FakeStream;
  readonly listener: MqttListener;
  readonly warnings: string[] = [];
  readonly clients: TestClient[] = [];

  constructor({ limits = {}, options = {}, store, clock, streamSubject }: GatewayOptions = {}) {
    this.clock = clock ?? new FakeClock();
    this.store = store ?? new MemoryStore(this.clock);
    this.stream = new FakeStream(this.store);
    if (streamSubject !== undefined) this.broker.subscribe(streamSubject, this.stream);
    const log = pino({ level: 'warn' }, { write: (line: string) => void this.warnings.push(line) });
    this.listener = new MqttListener(
      { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: true, limits, ...options },
      { broker: this.broker, clock: this.clock, log, store: this.store },
    );
    this.listener.load();
  }

  /** A new client on a fresh pair of streams. */
  client(peer: Partial<Peer> = {}): TestClient {
    const [near, far] = duplexPair();
    this.listener.accept(near, { ...LOCAL_PEER, ...peer });
    const client = new TestClient(far, this.idle);
    this.clients.push(client);
    return client;
  }

  /** Publishes as a NATS client would, and a stream stores it. */
  publish(subject: string, data: string): void {
    this.store.queueMessage();
    this.broker.publish({ subject, data: Buffer.from(data) });
  }

  /** Lets both sides do what they can without time passing. */
  readonly idle = async (): Promise<void> => {
    for (let round = 0; round < 3; round++) {
      this.clock.turn();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  /** Lets both sides do everything they can: after it, what has not left will not. */
  async settle(): Promise<void> {
    for (let round = 0; round < 20; round++) await this.idle();
  }

  [Symbol.dispose](): void {
    for (const client of this.clients) client.stream.destroy();
  }
}
