// An MQTT client that says exactly what a test wants, packet by packet or byte by byte, over any Duplex.

import { setTimeout } from 'node:timers/promises';
import { generate, parser, type IConnectPacket, type Packet } from 'mqtt-packet';
import type { Duplex } from 'node:stream';

export type Received = Packet & { cmd: string };

/** Turns of the loop that are waited for something, and rounds in all, the later ones of 5 ms. */
const TURNS = 1000;
const ROUNDS = TURNS + 2000;

export class TestClient {
  readonly stream: Duplex;
  readonly received: Received[] = [];
  readonly bytes: Buffer[] = [];
  readonly #idle: () => Promise<void>;
  closed = false;
  /** What comes is kept as bytes only. */
  deaf = false;
  /** The protocol level that is spoken: that of the last `connect`. */
  version: 3 | 4 | 5 = 4;

  /** `idle` lets the other side work. */
  constructor(stream: Duplex, idle: () => Promise<void>) {
    this.stream = stream;
    this.#idle = idle;
    let reader = this.#parser();
    let version = this.version;
    stream.on('data', (chunk: Buffer) => {
      this.bytes.push(chunk);
      if (version !== this.version) reader = this.#parser();
      version = this.version;
      if (!this.deaf) reader.parse(chunk);
    });
    stream.on('error', () => undefined);
    stream.on('end', () => (this.closed = true));
    stream.on('close', () => (this.closed = true));
  }

  #parser(): ReturnType<typeof parser> {
    const reader = parser({ protocolVersion: this.version });
    reader.on('packet', (packet: Received) => this.received.push(packet));
    return reader;
  }

  send(...packets: Packet[]): void {
    const options = { protocolVersion: this.version };
    this.write(Buffer.concat(packets.map((packet) => generate(packet, options))));
  }

  write(bytes: Buffer): void {
    if (!this.stream.destroyed && !this.stream.writableEnded) this.stream.write(bytes);
  }

  /** CONNECT, whose answer may take its time. */
  connectLater(options: Partial<IConnectPacket> = {}): void {
    const { protocolVersion = 4 } = options;
    this.version = protocolVersion === 5 ? 5 : protocolVersion === 3 ? 3 : 4;
    this.send(connectPacket(options));
  }

  /** CONNECT, and its CONNACK. */
  async connect(options: Partial<IConnectPacket> = {}): Promise<Received & { cmd: 'connack' }> {
    this.connectLater(options);
    return this.expect('connack');
  }

  /** QoS 1. */
  publish(topic: string, data: string | Buffer, messageId: number, retain = false): void {
    this.send({ cmd: 'publish', topic, payload: data, qos: 1, messageId, dup: false, retain });
  }

  /** QoS 2, as far as PUBLISH. */
  publishTwo(topic: string, data: string | Buffer, messageId: number, dup = false): void {
    this.send({ cmd: 'publish', topic, payload: data, qos: 2, messageId, dup, retain: false });
  }

  /** QoS 0. */
  publishPlain(topic: string, data: string | Buffer, retain = false): void {
    this.send({ cmd: 'publish', topic, payload: data, qos: 0, dup: false, retain });
  }

  async subscribe(
    filters: Record<string, 0 | 1 | 2>,
    messageId = 1,
  ): Promise<Received & { cmd: 'suback' }> {
    const subscriptions = Object.entries(filters).map(([topic, qos]) => ({ topic, qos }));
    this.send({ cmd: 'subscribe', messageId, subscriptions });
    return this.expect('suback');
  }

  puback(messageId: number): void {
    this.send({ cmd: 'puback', messageId });
  }

  pubrel(messageId: number): void {
    this.send({ cmd: 'pubrel', messageId });
  }

  pubrec(messageId: number): void {
    this.send({ cmd: 'pubrec', messageId });
  }

  pubcomp(messageId: number): void {
    this.send({ cmd: 'pubcomp', messageId });
  }

  /** Takes the next packet of this kind out of what was received, waiting for it. */
  async expect<C extends Packet['cmd']>(cmd: C): Promise<Extract<Received, { cmd: C }>> {
    for (let round = 0; round < ROUNDS; round++) {
      const at = this.received.findIndex((packet) => packet.cmd === cmd);
      const packet = at < 0 ? undefined : this.received.splice(at, 1)[0];
      if (packet !== undefined) return packet as Extract<Received, { cmd: C }>;
      if (this.closed) throw new Error(`closed while waiting for ${cmd}`);
      await this.#wait(round);
    }
    throw new Error(`no ${cmd} came`);
  }

  /** Takes `count` PUBLISHes, and returns what they carried. */
  async expectData(count: number): Promise<string[]> {
    const data: string[] = [];
    for (let i = 0; i < count; i++) data.push(String((await this.expect('publish')).payload));
    return data;
  }

  async expectClosed(): Promise<void> {
    for (let round = 0; round < ROUNDS && !this.closed; round++) await this.#wait(round);
    if (!this.closed) throw new Error('still open');
  }

  /** Most comes in some turns; what other threads do, a password looked at, takes its time where the machine is busy. */
  async #wait(round: number): Promise<void> {
    if (round >= TURNS) await setTimeout(5);
    await this.#idle();
  }

  /** The kinds of what was received and not taken. */
  get pending(): string[] {
    return this.received.map(({ cmd }) => cmd);
  }
}

export function connectPacket(options: Partial<IConnectPacket> = {}): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'meter-1',
    clean: true,
    keepalive: 0,
    ...options,
  };
}
