// A line to a hub in simulated time: so many bytes a second, a delay each way, packets that are lost and sent again, a
// kernel that takes everything at once, and a hub that reads what arrives and answers PINGs.

import { Duplex } from 'node:stream';
import type { Message } from '../../src/message.ts';
import { LeafParser } from '../../sync/leaf/leaf-parser.ts';
import type { LeafListener } from '../../sync/leaf/types.ts';
import type { FakeClock } from './fake-clock.ts';

/** Time moves in steps of so much. */
const STEP_MS = 5;
const PACKET_BYTES = 1400;

export interface Arrival {
  readonly atMs: number;
  /** The line, or for a message its subject. */
  readonly what: string;
  readonly message?: Message;
}

export interface LineOptions {
  readonly bytesPerSecond: number;
  readonly delayMs: number;
  /** A line that was idle lets so many pass at once, as a token bucket does; default: one packet. */
  readonly burstBytes?: number;
  /** Whether the next packet is lost: it takes one more turn there and back, and those behind it wait. */
  readonly loses?: () => boolean;
  /** Somebody between takes everything at once, and acknowledges it. */
  readonly proxy?: boolean;
}

export class ThinLine extends Duplex implements LeafListener {
  readonly arrivals: Arrival[] = [];
  /** Nothing gets through, and nobody is told. */
  cut = false;
  /** The hub's kernel takes what comes, and the hub does nothing. */
  hung = false;
  /** Called for each PONG that is back. */
  ponged: () => void = () => undefined;
  receivedBytes = 0;
  writtenBytes = 0;
  /** Have left the queue in front of the line. */
  passedBytes = 0;
  readonly #clock: FakeClock;
  readonly #options: LineOptions;
  readonly #decode: (bytes: Buffer) => Iterable<Buffer>;
  readonly #parser: LeafParser;
  #queue: Buffer[] = [];
  #queued = 0;
  #credit: number;
  #arrivesMs = 0;
  /** On their way there, or acknowledgements on their way back. */
  #unacknowledged = 0;

  /** `decode` undoes what the sender's `encode` did. */
  constructor(
    clock: FakeClock,
    options: LineOptions,
    decode: (bytes: Buffer) => Iterable<Buffer> = (bytes) => [bytes],
  ) {
    super();
    this.#clock = clock;
    this.#options = options;
    this.#decode = decode;
    this.#credit = options.burstBytes ?? 0;
    this.#parser = new LeafParser(this, {
      messageBytesMax: 1 << 26,
      controlLineBytesMax: 1 << 16,
    });
    this.#step();
  }

  /** What the kernel would say is not acknowledged. */
  bytes(): Promise<number> {
    return Promise.resolve(this.#options.proxy === true ? 0 : this.#unacknowledged);
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#queue.push(chunk);
    this.#queued += chunk.length;
    this.#unacknowledged += chunk.length;
    this.writtenBytes += chunk.length;
    done();
  }

  override _read(): void {}

  /** Lets the hub read bytes that came another way. */
  hear(chunk: Buffer): void {
    this.#parser.parse(chunk);
  }

  #step(): void {
    this.#clock.after(STEP_MS, () => {
      const { bytesPerSecond, burstBytes = 1500 } = this.#options;
      const more = (bytesPerSecond * STEP_MS) / 1000;
      this.#credit = Math.min(this.#credit + more, Math.max(burstBytes, more));
      this.#pass(Math.min(this.#queued, Math.floor(this.#credit)));
      this.#step();
    });
  }

  #pass(bytes: number): void {
    if (bytes === 0 || this.cut) return;
    const whole =
      this.#queue.length === 1 ? (this.#queue[0] as Buffer) : Buffer.concat(this.#queue);
    this.#queue = [whole.subarray(bytes)];
    this.#queued -= bytes;
    this.#credit -= bytes;
    this.passedBytes += bytes;
    const { loses } = this.#options;
    const packet = loses === undefined ? bytes : PACKET_BYTES;
    for (let at = 0; at < bytes; at += packet)
      this.#carry(whole.subarray(at, Math.min(bytes, at + packet)), loses?.() === true);
  }

  #carry(part: Buffer, lost: boolean): void {
    const { delayMs } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    this.#arrivesMs = Math.max(this.#arrivesMs, nowMs + (lost ? 3 : 1) * delayMs);
    this.#clock.after(this.#arrivesMs - nowMs, () => {
      if (this.cut) return;
      if (!this.hung) this.#hear(part);
      this.#clock.after(delayMs, () => {
        if (!this.cut) this.#unacknowledged -= part.length;
      });
    });
  }

  #hear(part: Buffer): void {
    for (const bytes of this.#decode(part)) this.#parser.parse(bytes);
  }

  #arrived(what: string, message?: Message): void {
    const atMs = this.#clock.monotonicMs();
    this.arrivals.push({ atMs, what, ...(message === undefined ? undefined : { message }) });
  }

  info(): void {
    this.#arrived('INFO');
  }
  subscribe(subject: string): void {
    this.#arrived(`LS+ ${subject}`);
  }
  unsubscribe(subject: string): void {
    this.#arrived(`LS- ${subject}`);
  }
  message(message: Message): void {
    this.#arrived(message.subject, message);
  }
  error(text: string): void {
    this.#arrived(`-ERR ${text}`);
  }
  pong(): void {
    this.#arrived('PONG');
  }
  ping(): void {
    this.#arrived('PING');
    this.#clock.after(this.#options.delayMs, () => {
      if (this.cut) return;
      this.receivedBytes += 6;
      this.ponged();
    });
  }
}
