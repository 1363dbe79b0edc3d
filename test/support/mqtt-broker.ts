// A broker that does exactly what a test wants, at the far end of a source: packets are sent and expected one by one. The
// source is the real one, its stream answers as told, its clock is the test's.

import { parser, type IPublishPacket, type Packet } from 'mqtt-packet';
import { duplexPair, type Duplex } from 'node:stream';
import { encode, type Version } from '../../device/mqtt/wire/client-packets.ts';
import type { SourceConfig } from '../../device/mqtt/source/source-config.ts';
import { MqttSource } from '../../device/mqtt/source/source.ts';
import { Broker } from '../../src/broker.ts';
import { readLog, ScriptedStream } from '../device/serial/setup.ts';
import { FakeClock } from './fake-clock.ts';
import type { Received } from './mqtt-client.ts';
import { MemoryStore } from './mqtt-store.ts';

export function sourceConfig(config: Partial<SourceConfig> = {}): SourceConfig {
  return {
    name: 'zigbee',
    host: '127.0.0.1',
    port: 1883,
    tls: undefined,
    topics: ['plant1/#'],
    qos: 1,
    prefix: undefined,
    clientId: 'mangrove-gw7-zigbee',
    retained: false,
    protocol: 'auto',
    user: undefined,
    passwordFile: undefined,
    keepAliveMs: 15_000,
    ...config,
  };
}

export interface PublishOptions {
  readonly dup?: boolean;
  readonly retain?: boolean;
  /** MQTT 5.0 only. */
  readonly properties?: NonNullable<IPublishPacket['properties']>;
}

/** The broker's end of one connection. */
export class BrokerEnd {
  readonly stream: Duplex;
  readonly received: Received[] = [];
  closed = false;
  version: Version = 5;
  readonly #idle: () => Promise<void>;

  constructor(stream: Duplex, idle: () => Promise<void>) {
    this.stream = stream;
    this.#idle = idle;
    const reader = parser();
    reader.on('packet', (packet: Received) => {
      if (packet.cmd === 'connect') this.version = packet.protocolVersion === 5 ? 5 : 4;
      this.received.push(packet);
    });
    stream.on('data', (chunk: Buffer) => reader.parse(chunk));
    stream.on('error', () => undefined);
    stream.on('end', () => (this.closed = true));
    stream.on('close', () => (this.closed = true));
  }

  send(...packets: Packet[]): void {
    this.write(Buffer.concat(packets.map((packet) => encode(packet, this.version))));
  }

  write(bytes: Buffer): void {
    if (!this.stream.destroyed) this.stream.write(bytes);
  }

  /** Takes the next packet of this kind out of what was received, waiting for it. */
  async expect<C extends Packet['cmd']>(cmd: C): Promise<Extract<Received, { cmd: C }>> {
    for (let round = 0; round < 500; round++) {
      const at = this.received.findIndex((packet) => packet.cmd === cmd);
      const packet = at < 0 ? undefined : this.received.splice(at, 1)[0];
      if (packet !== undefined) return packet as Extract<Received, { cmd: C }>;
      await this.#idle();
    }
    throw new Error(`no ${cmd} came`);
  }

  /** Takes the CONNECT and answers it. */
  async welcome(sessionPresent = false, properties?: { serverKeepAlive?: number }) {
    const connect = await this.expect('connect');
    this.send({
      cmd: 'connack',
      sessionPresent,
      returnCode: 0,
      reasonCode: 0,
      ...(properties === undefined ? {} : { properties }),
    });
    return connect;
  }

  /** Takes a SUBSCRIBE and grants it, or answers with `code`. */
  async grant(code = 1) {
    const subscribe = await this.expect('subscribe');
    this.send({ cmd: 'suback', messageId: subscribe.messageId ?? 0, granted: [code] });
    return subscribe;
  }

  /** QoS 1; QoS 0 where `messageId` is 0. */
  publish(
    topic: string,
    data: string | Buffer,
    messageId: number,
    { dup = false, retain = false, properties }: PublishOptions = {},
  ): void {
    const packet = {
      cmd: 'publish',
      topic,
      payload: data,
      dup,
      retain,
      ...(properties === undefined ? {} : { properties }),
    } as const;
    this.send(messageId === 0 ? { ...packet, qos: 0 } : { ...packet, qos: 1, messageId });
  }

  /** The Packet Identifiers of the PUBACKs so far, taken out. */
  takePubacks(): number[] {
    const pubacks = this.received.filter(({ cmd }) => cmd === 'puback');
    for (const puback of pubacks) this.received.splice(this.received.indexOf(puback), 1);
    return pubacks.map(({ messageId }) => messageId ?? 0);
  }

  get pending(): string[] {
    return this.received.map(({ cmd }) => cmd);
  }
}

export class SourceRig implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly broker = new Broker();
  readonly stream = new ScriptedStream();
  readonly store = new MemoryStore(this.clock);
  readonly ends: BrokerEnd[] = [];
  readonly logged = readLog();
  source: MqttSource;
  #near: Duplex | undefined;
  pauseMs = 1000;
  resets = 0;

  constructor(config: Partial<SourceConfig> = {}, taken = '>') {
    this.broker.subscribe(taken, this.stream);
    this.source = this.#create(config);
  }

  /** Starts the source, as the process does. */
  start(): this {
    this.source.start();
    return this;
  }

  /** Another process with the same disk; the old one is not told. Returns the broker's end of its connection. */
  async restart(config: Partial<SourceConfig> = {}): Promise<BrokerEnd> {
    this.source = this.#create(config);
    const count = this.ends.length + 1;
    this.source.start();
    return this.end(count);
  }

  #create(config: Partial<SourceConfig>): MqttSource {
    return new MqttSource(sourceConfig(config), {
      broker: this.broker,
      clock: this.clock,
      log: this.logged.log,
      table: this.store.sessions,
      pauses: { nextMs: () => this.pauseMs, reset: () => this.resets++ },
      dial: () => {
        const [near, far] = duplexPair();
        this.ends.push(new BrokerEnd(far, this.idle));
        this.#near = near;
        return near;
      },
    });
  }

  /** The broker's end of connection number `count`, once it is there. */
  async end(count: number): Promise<BrokerEnd> {
    for (let round = 0; round < 500 && this.ends.length < count; round++) await this.idle();
    const end = this.ends[count - 1];
    if (end === undefined) throw new Error(`there is no connection ${count}`);
    return end;
  }

  /** The first connection, welcomed and subscribed. */
  async ready(): Promise<BrokerEnd> {
    this.start();
    const end = await this.end(1);
    await end.welcome();
    await end.grant();
    await this.settle();
    return end;
  }

  /** Cuts the connection and returns the next one, welcomed. */
  async reconnect(sessionPresent = true): Promise<BrokerEnd> {
    const count = this.ends.length;
    this.ends[count - 1]?.stream.destroy();
    // Who does not read, does not see the end: on a socket, the next write fails.
    this.#near?.destroy(new Error('read ECONNRESET'));
    await this.settle();
    this.clock.advance(this.pauseMs);
    const end = await this.end(count + 1);
    await end.welcome(sessionPresent);
    await this.settle();
    return end;
  }

  /** Lets both sides do what they can without time passing. */
  readonly idle = async (): Promise<void> => {
    for (let round = 0; round < 3; round++) {
      this.clock.turn();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  async settle(): Promise<void> {
    for (let round = 0; round < 10; round++) await this.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.ends) end.stream.destroy();
    await this.settle();
  }
}
