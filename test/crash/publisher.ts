// An MQTT publisher that outlives its broker. It keeps a window of QoS 1 messages in flight, writes down each PUBACK that
// reaches it, and connects again for as long as it runs. A message is sent once only: what an ended connection left
// unacknowledged is not repeated, so a message that is stored twice was stored twice by the agent.

import { connect, type Socket } from 'node:net';

/** How long to wait before connecting again. */
const RECONNECT_MS = 10;

export interface PublisherOptions {
  /** Unacknowledged messages at a time. */
  readonly window: number;
  /** Bytes of a message; its ID comes first, dots fill the rest. */
  readonly bytes: number;
  /** Messages in all; default no end. At most 65,535 when Packet Identifiers shall name messages. */
  readonly total?: number;
  /** Sends one message each time, as a sensor does, instead of filling the window. */
  readonly everyMs?: number;
}

/** The ID that a stored message begins with, and the rest of it. */
export function parseMessage(data: Buffer): { publisher: string; n: number; life: number } {
  const [, publisher = '', n, life] =
    /^([a-z0-9]+):(\d+):(\d+):/.exec(data.toString('latin1')) ?? [];
  return { publisher, n: Number(n), life: Number(life) };
}

export class Publisher {
  readonly name: string;
  readonly #port: number;
  readonly #options: PublisherOptions;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pace: NodeJS.Timeout | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #connected = false;
  #stopped = true;
  /** Messages on their way, by Packet Identifier. */
  readonly #inFlight = new Map<number, number>();
  /** The numbers of all messages that were acknowledged, in that order. */
  readonly acked: number[] = [];
  /** Messages acknowledged at a moment when an acknowledgement means nothing; see `disown`. */
  readonly disowned: number[] = [];
  /** Messages sent so far, acknowledged or not: the number of the last one. */
  sent = 0;
  /** PUBACKs that no message in flight was waiting for, in the words of a complaint. */
  readonly strange: string[] = [];
  /** Which start of the agent the messages are sent to; part of each message. */
  life = 0;
  /** Ports of this side, one a connection. */
  readonly localPorts: number[] = [];

  constructor(name: string, port: number, options: PublisherOptions) {
    this.name = name;
    this.#port = port;
    this.#options = options;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  start(): this {
    this.#stopped = false;
    this.#connect();
    const { everyMs } = this.#options;
    if (everyMs !== undefined) this.#pace = setInterval(() => this.#send(1), everyMs);
    return this;
  }

  /** Takes all acknowledgements but the first `count` for void. */
  disown(count: number): void {
    this.disowned.push(...this.acked.splice(count));
  }

  /** Closes the connection without a word. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#pace);
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect(this.#port, '127.0.0.1');
    this.#socket = socket;
    this.#rest = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.on('connect', () => {
      this.localPorts.push(socket.localPort ?? 0);
      socket.write(connectPacket(this.name));
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#connected = false;
      this.#inFlight.clear();
      if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    // CONNACK and PUBACK are all that comes, of four bytes each.
    for (; bytes.length >= 4; bytes = bytes.subarray(4)) {
      if (bytes[0] === 0x20 && bytes[3] === 0) this.#connected = true;
      else if (bytes[0] === 0x40) this.#puback(bytes.readUInt16BE(2));
      else this.strange.push(`${this.name} got ${bytes.subarray(0, 4).toString('hex')}`);
    }
    this.#rest = bytes;
    this.#pump();
  }

  #puback(packetId: number): void {
    const n = this.#inFlight.get(packetId);
    if (n === undefined) {
      this.strange.push(`${this.name} got a PUBACK for ${packetId}, which is not in flight`);
      return;
    }
    this.#inFlight.delete(packetId);
    this.acked.push(n);
  }

  /** Fills the window; a paced publisher sends when it is time instead. */
  #pump(): void {
    if (this.#options.everyMs === undefined) this.#send(Infinity);
  }

  #send(most: number): void {
    const socket = this.#socket;
    const { window, bytes, total = Infinity } = this.#options;
    if (socket === undefined || !this.#connected || socket.destroyed) return;
    const packets: Buffer[] = [];
    while (packets.length < most && this.#inFlight.size < window && this.sent < total) {
      const n = ++this.sent;
      const packetId = ((n - 1) % 65_535) + 1;
      this.#inFlight.set(packetId, n);
      const id = `${this.name}:${n}:${this.life}:`;
      packets.push(publishPacket(`data/${this.name}`, packetId, id.padEnd(bytes, '.')));
    }
    if (packets.length > 0) socket.write(Buffer.concat(packets));
  }
}

function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId);
  const body = [0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, id.length >> 8, id.length & 255, ...id];
  return Buffer.from([0x10, body.length, ...body]);
}

function publishPacket(topic: string, packetId: number, data: string): Buffer {
  const remaining = 2 + topic.length + 2 + data.length;
  const length: number[] = [];
  for (let rest = remaining; ; rest >>= 7) {
    length.push((rest & 127) | (rest > 127 ? 128 : 0));
    if (rest <= 127) break;
  }
  return Buffer.concat([
    Buffer.from([0x32, ...length, topic.length >> 8, topic.length & 255]),
    Buffer.from(topic),
    Buffer.from([packetId >> 8, packetId & 255]),
    Buffer.from(data),
  ]);
}
