// Devices that never rest: MQTT publishers with QoS 1 and a serial-like source, each writing down in a ledger what it sent
// and what was acknowledged. A publisher whose connection broke does not repeat what was not acknowledged: that may be
// at the hub once or not at all.

import { connect, type Socket } from 'node:net';
import { generate, parser } from 'mqtt-packet';
import type { TestAgent } from '../support/agent.ts';
import type { Ledger } from '../support/audit.ts';
import { randomInt, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';

/** Publishes without an acknowledgement at once, as a busy gateway of sensors has. */
const WINDOW = 200;

export interface TrafficOptions {
  readonly source: string;
  readonly random: Random;
  /** Messages a second, about. */
  readonly rate: number;
}

/** What sensors send: mostly little, now and then a picture. */
export function size(random: Random): number {
  const draw = random();
  if (draw < 0.8) return 24 + randomInt(random, 200);
  return draw < 0.98 ? 200 + randomInt(random, 2_000) : 10_000 + randomInt(random, 20_000);
}

/** One MQTT client that publishes until `stop`, connecting again whenever it must. */
export class MqttTraffic {
  readonly #ledger: Ledger;
  readonly #port: () => number;
  readonly #options: TrafficOptions;
  readonly #unacked = new Map<number, string>();
  #socket: Socket | undefined;
  #ready = false;
  #nextId = 1;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(ledger: Ledger, port: number | (() => number), options: TrafficOptions) {
    this.#ledger = ledger;
    this.#port = typeof port === 'number' ? () => port : port;
    this.#options = options;
  }

  start(): this {
    this.#connect();
    this.#tick();
    return this;
  }

  /** Ends sending; resolves when everything sent is acknowledged or its connection is gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await until('the last PUBACK', () => this.#unacked.size === 0);
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect(this.#port(), '127.0.0.1');
    const reader = parser({ protocolVersion: 4 });
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => reader.parse(chunk));
    socket.on('error', () => undefined);
    socket.on('connect', () =>
      socket.write(
        generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clientId: this.#options.source,
          clean: true,
          keepalive: 0,
        }),
      ),
    );
    reader.on('packet', (packet) => {
      if (packet.cmd === 'connack') this.#ready = packet.returnCode === 0;
      if (packet.cmd === 'puback') this.#acked(packet.messageId ?? 0);
    });
    socket.on('close', () => {
      this.#ready = false;
      this.#unacked.clear();
      if (!this.#stopped) setTimeout(() => this.#stopped || this.#connect(), 20);
    });
  }

  #acked(messageId: number): void {
    const key = this.#unacked.get(messageId);
    if (key === undefined) return;
    this.#unacked.delete(messageId);
    this.#ledger.ack(key);
  }

  #tick(): void {
    const { random, rate } = this.#options;
    const burst = Math.max(1, Math.round(rate / 100));
    if (this.#ready) for (let i = 0; i < burst && this.#unacked.size < WINDOW; i++) this.#publish();
    this.#timer = setTimeout(() => this.#tick(), 5 + randomInt(random, 10));
  }

  #publish(): void {
    const { source, random } = this.#options;
    const { key, data } = this.#ledger.next(source, size(random));
    const messageId = this.#nextId;
    this.#nextId = (this.#nextId % 60_000) + 1;
    this.#unacked.set(messageId, key);
    const topic = `plant1/${source}/t${randomInt(random, 5)}`;
    this.#socket?.write(
      generate({
        cmd: 'publish',
        topic,
        payload: data,
        qos: 1,
        messageId,
        dup: false,
        retain: false,
      }),
    );
  }
}

/** A source inside of the agent, as a serial port is: it hears from the disk, not from a network. */
export class SerialTraffic {
  readonly #ledger: Ledger;
  readonly #options: TrafficOptions;
  readonly #agent: () => TestAgent;
  #timer: NodeJS.Timeout | undefined;
  #waiting = 0;

  constructor(ledger: Ledger, agent: TestAgent | (() => TestAgent), options: TrafficOptions) {
    this.#ledger = ledger;
    this.#agent = typeof agent === 'function' ? agent : () => agent;
    this.#options = options;
  }

  start(): this {
    this.#tick();
    return this;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await until('the last receipt', () => this.#waiting === 0);
  }

  #tick(): void {
    const { source, random, rate } = this.#options;
    const burst = Math.max(1, Math.round(rate / 100));
    for (let i = 0; i < burst; i++) {
      const { key, data } = this.#ledger.next(source, 20 + randomInt(random, 80));
      this.#waiting++;
      void this.#agent()
        .publish(`serial.${source}`, data)
        .then(() => this.#ledger.ack(key))
        .finally(() => this.#waiting--);
    }
    this.#timer = setTimeout(() => this.#tick(), 5 + randomInt(random, 10));
  }
}

/** Publishes `count` messages of `source` at once, and resolves when all are on the disk. */
export async function burst(
  agent: TestAgent,
  ledger: Ledger,
  count: number,
  { source = 'burst', bytes = 100 }: { source?: string; bytes?: number } = {},
): Promise<void> {
  const receipts: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const { key, data } = ledger.next(source, bytes);
    receipts.push(agent.publish(`serial.${source}`, data).then(() => ledger.ack(key)));
  }
  await Promise.all(receipts);
}
