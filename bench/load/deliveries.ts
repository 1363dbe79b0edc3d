// What JetStream delivers to a raw socket: counted, and acknowledged where that is wanted, with as little work as can be.
// Subscription 1 is for answers, every other for deliveries.

import type { Socket } from 'node:net';

/** Splits what comes into messages, and acknowledges those of subscription 2. */
export class Deliveries {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #wake = (): void => undefined;
  received = 0;
  answers = 0;
  lastAnswer = '';
  acks = false;
  onChunk = (): void => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  subscribe(subject: string, sid: number): void {
    this.#socket.write(`SUB ${subject} ${sid}\r\n`);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    let out = '';
    for (;;) {
      const end = bytes.indexOf(10, at);
      if (end < 0) break;
      const line = bytes.toString('latin1', at, end - 1);
      if (!line.startsWith('MSG') && !line.startsWith('HMSG')) {
        if (line === 'PING') out += 'PONG\r\n';
        else if (line.startsWith('-ERR')) throw new Error(line);
        at = end + 1;
        continue;
      }
      const size = Number(line.slice(line.lastIndexOf(' ') + 1));
      if (bytes.length < end + 1 + size + 2) break;
      out += this.#message(line, bytes, end + 1, size);
      at = end + 1 + size + 2;
    }
    this.#rest = bytes.subarray(at);
    if (out !== '') this.#socket.write(out, 'latin1');
    this.onChunk();
    this.#wake();
  }

  /** What is to be said to it. */
  #message(line: string, bytes: Buffer, from: number, size: number): string {
    const parts = line.split(' ');
    if (parts[2] === '1') {
      this.answers++;
      this.lastAnswer = bytes.toString('latin1', from, from + size);
      return '';
    }
    const reply = parts[3] ?? '';
    if (reply.startsWith('$JS.ACK.')) {
      this.received++;
      return this.acks ? `PUB ${reply} 0\r\n\r\n` : '';
    }
    // Flow control, or a heartbeat that asks for it.
    return reply.startsWith('$JS.FC.') ? `PUB ${reply} 0\r\n\r\n` : '';
  }
}
