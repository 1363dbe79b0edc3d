// An MQTT client of any version that says whatever bytes a test wants and writes down, packet by packet, what it hears.
// It answers nothing by itself. What breaks the standard on the way to it ends up in `faults`.

import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { decodeRaw, type RawPacket } from './mqtt-raw-decode.ts';
import { RAW_PINGREQ, rawConnect, type RawConnect, type RawVersion } from './mqtt-raw-encode.ts';

/** How long an answer may take on a busy machine. */
const ANSWER_MS = 40_000;

/** The packet of one type, also where several types look alike. */
export type PacketOf<T extends RawPacket['type'], P = RawPacket> = P extends { type: infer U }
  ? T extends U
    ? P
    : never
  : never;

export class RawClient {
  readonly stream: Duplex;
  readonly version: RawVersion;
  /** What came and was not taken, without PINGRESP. */
  received: RawPacket[] = [];
  readonly faults: string[] = [];
  closed = false;
  /** Hears of each packet before it is written down. */
  onPacket: ((packet: RawPacket) => void) | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #pongs = 0;
  readonly #waiting = new Set<() => void>();

  constructor(stream: Duplex, version: RawVersion) {
    this.stream = stream;
    this.version = version;
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('error', () => this.#close());
    stream.on('end', () => this.#close());
    stream.on('close', () => this.#close());
  }

  /** Opens a connection without saying anything. Rejects where nobody listens. */
  static async to(port: number, version: RawVersion): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket, version);
  }

  /** Opens a connection, says CONNECT and waits for CONNACK. */
  static async connect(
    port: number,
    options: RawConnect,
  ): Promise<{ client: RawClient; connack: PacketOf<'connack'> }> {
    const client = await RawClient.to(port, options.version);
    client.send(rawConnect(options));
    return { client, connack: await client.expect('connack') };
  }

  /** Ignored when the connection is closed. */
  send(...packets: readonly Buffer[]): void {
    if (this.closed || this.stream.destroyed || this.stream.writableEnded) return;
    this.stream.write(packets.length === 1 ? packets[0] : Buffer.concat(packets));
  }

  /** What came since the last time. */
  take(): RawPacket[] {
    const { received } = this;
    this.received = [];
    return received;
  }

  /** Takes the next packet of this type, waiting for it. */
  async expect<T extends RawPacket['type']>(type: T): Promise<PacketOf<T>> {
    await this.until(`a ${type}`, () => this.received.some((each) => each.type === type));
    const at = this.received.findIndex((each) => each.type === type);
    const [packet] = at < 0 ? [] : this.received.splice(at, 1);
    if (packet === undefined) throw new Error(`closed while waiting for a ${type}`);
    return packet as PacketOf<T>;
  }

  async expectClosed(withinMs = ANSWER_MS): Promise<void> {
    await this.until('the end of the connection', () => false, withinMs);
  }

  /** Resolves with true when everything said before was read: PINGRESP came. With false when the connection is closed. */
  async ping(): Promise<boolean> {
    const pongs = this.#pongs;
    this.send(RAW_PINGREQ);
    await this.until('a PINGRESP', () => this.#pongs > pongs);
    return !this.closed;
  }

  destroy(): void {
    this.stream.destroy();
  }

  /** Resolves when `done()`, looked at after each packet, or when the connection is closed. */
  async until(what: string, done: () => boolean, withinMs = ANSWER_MS): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, withinMs);
    while (!done() && !this.closed && !late)
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    clearTimeout(timer);
    if (late) throw new Error(`gave up waiting for ${what}`);
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    try {
      for (;;) {
        const found = decodeRaw(this.version, this.#rest);
        if (found === undefined) break;
        this.#rest = this.#rest.subarray(found.length);
        this.#took(found.packet);
      }
    } catch (error) {
      this.faults.push(`${String(error)}: ${this.#rest.subarray(0, 64).toString('hex')}`);
      this.#rest = Buffer.alloc(0);
      this.stream.destroy();
    }
    this.#wake();
  }

  #took(packet: RawPacket): void {
    this.onPacket?.(packet);
    if (packet.type === 'pingresp') this.#pongs++;
    else this.received.push(packet);
  }

  #close(): void {
    this.closed = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
