// A client of the NATS protocol that says bytes and writes down what it hears, over a real socket.

import { connect, type Socket } from 'node:net';
import { until } from './until.ts';

export class Wire {
  readonly socket: Socket;
  closed = false;
  #heard = '';
  #pongs = 0;
  readonly #waiting = new Set<() => void>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      // A PONG may come in two chunks: counted from the seam on.
      const from = Math.max(0, this.#heard.length - 5);
      this.#heard += chunk.toString('latin1');
      this.#pongs += this.#heard.slice(from).split('PONG\r\n').length - 1;
      this.#wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
    socket.on('error', () => undefined);
  }

  /** Connects and takes the INFO. */
  static async to(port: number): Promise<Wire> {
    const wire = new Wire(connect({ port, host: '127.0.0.1', noDelay: true }));
    await until('INFO', () => wire.closed || wire.#heard.includes('\r\n'));
    return wire;
  }

  get heard(): string {
    return this.#heard;
  }

  /** What was heard since the last time. */
  take(): string {
    const heard = this.#heard;
    this.#heard = '';
    return heard;
  }

  say(bytes: string | Buffer): void {
    this.socket.write(bytes, 'latin1');
  }

  /** Resolves when everything said before has had its effect: a PONG came, or the connection is closed. */
  async settled(): Promise<void> {
    const pongs = this.#pongs;
    this.say('PING\r\n');
    while (!this.closed && this.#pongs === pongs)
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  async hears(text: string): Promise<void> {
    await until(JSON.stringify(text), () => this.#heard.includes(text));
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
