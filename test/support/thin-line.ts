// A line to a hub in simulated time: so many bytes a second, a delay each way, a kernel that takes everything at once, and a
// hub that reads what arrives and answers PINGs.

import { Duplex } from 'node:stream';
import type { Message } from '../../src/message.ts';
import { LeafParser } from '../../sync/leaf/leaf-parser.ts';
import type { LeafListener } from '../../sync/leaf/types.ts';
import type { FakeClock } from './fake-clock.ts';

/** Time moves in steps of so much. */
const STEP_MS = 5;

export interface Arrival {
  readonly atMs: number;
  /** The line, or for a message its subject. */
  readonly what: string;
  readonly message?: Message;
}

export interface LineOptions {
  readonly bytesPerSecond: number;
  readonly delayMs: number;
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
  readonly #clock: FakeClock;
  readonly #options: LineOptions;
  readonly #parser: LeafParser;
  #queue: Buffer[] = [];
  #queued = 0;
  #credit = 0;
  /** On their way there, or acknowledgements on their way back. */
  #unacknowledged = 0;

  constructor(clock: FakeClock, options: LineOptions) {
    super();
    this.#clock = clock;
    this.#options = options;
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
      this.#credit = Math.min(
        this.#credit + (this.#options.bytesPerSecond * STEP_MS) / 1000,
        Math.max(1500, (this.#options.bytesPerSecond * STEP_MS) / 1000),
      );
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
    const { delayMs } = this.#options;
    const part = whole.subarray(0, bytes);
    this.#clock.after(delayMs, () => {
      if (this.cut) return;
      if (!this.hung) this.#parser.parse(part);
      this.#clock.after(delayMs, () => {
        if (!this.cut) this.#unacknowledged -= bytes;
      });
    });
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
