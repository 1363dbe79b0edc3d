// A NATS client that keeps every message as it came over the wire, one box a subscription: headers as bytes, replies and
// subjects untouched. It is what two servers are compared with, so it interprets as little as can be.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Frame {
  readonly subject: string;
  readonly reply: string;
  /** The header block as it came, status line and blank line included; empty for none. */
  readonly headers: string;
  readonly data: string;
}

export interface Publication {
  readonly reply?: string | undefined;
  readonly headers?: readonly (readonly [string, string])[] | undefined;
  readonly data?: string | undefined;
}

const HELLO =
  'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\nPING\r\n';

export class FrameClient {
  readonly #socket: Socket;
  readonly #boxes = new Map<string, Frame[]>();
  readonly #waiting = new Set<() => void>();
  #rest: Buffer = Buffer.alloc(0);
  #sid = 0;
  #pongs = 0;
  #frames = 0;
  closed = false;
  /** What the server complained about. */
  readonly errors: string[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  static async to(port: number): Promise<FrameClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const client = new FrameClient(socket);
    socket.write(HELLO);
    await client.until(() => client.#pongs > 0, 10_000);
    return client;
  }

  /** Messages that came so far, over all subscriptions. */
  get frames(): number {
    return this.#frames;
  }

  /** Subscribes; the box fills as messages come. */
  subscribe(subject: string, queue = ''): { sid: string; box: Frame[] } {
    const sid = String(++this.#sid);
    const box: Frame[] = [];
    this.#boxes.set(sid, box);
    this.#socket.write(`SUB ${subject} ${queue}${queue === '' ? '' : ' '}${sid}\r\n`);
    return { sid, box };
  }

  unsubscribe(sid: string): void {
    this.#socket.write(`UNSUB ${sid}\r\n`);
  }

  publish(subject: string, { reply = '', headers, data = '' }: Publication = {}): void {
    const to = `${subject} ${reply}${reply === '' ? '' : ' '}`;
    if (headers === undefined) {
      this.#socket.write(`PUB ${to}${Buffer.byteLength(data)}\r\n${data}\r\n`);
      return;
    }
    const block = `NATS/1.0\r\n${headers.map(([key, value]) => `${key}: ${value}\r\n`).join('')}\r\n`;
    const size = Buffer.byteLength(block);
    this.#socket.write(
      `HPUB ${to}${size} ${size + Buffer.byteLength(data)}\r\n${block}${data}\r\n`,
    );
  }

  /** Resolves when the server has read everything that was said before. */
  async flush(): Promise<void> {
    const pongs = this.#pongs;
    this.#socket.write('PING\r\n');
    await this.until(() => this.#pongs > pongs, 20_000);
  }

  /** Resolves true when `condition` holds (looked at whenever something came), false after `ms` or at the end. */
  until(condition: () => boolean, ms: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition() && !this.closed) return;
        done(condition());
      };
      const done = (held: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(held);
      };
      const timer = setTimeout(() => done(false), ms);
      this.#waiting.add(look);
    });
  }

  /** Resolves when nothing has come for `ms`. */
  async quiet(ms: number): Promise<void> {
    await this.flush();
    for (let seen = -1; seen !== this.#frames && !this.closed;) {
      seen = this.#frames;
      await this.until(() => this.#frames !== seen, ms);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #wake(): void {
    for (const look of this.#waiting) look();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const used = this.#frame(bytes);
      if (used === 0) break;
      bytes = bytes.subarray(used);
    }
    this.#rest = bytes;
    this.#wake();
  }

  /** Takes one line, with its data, from the front of `bytes`; how many bytes it was, 0 where it has not all come yet. */
  #frame(bytes: Buffer): number {
    const lineEnd = bytes.indexOf('\r\n');
    if (lineEnd < 0) return 0;
    const line = bytes.toString('utf8', 0, lineEnd);
    const parts = line.split(' ');
    if (line.startsWith('MSG ') || line.startsWith('HMSG ')) {
      const total = Number(parts.at(-1));
      const start = lineEnd + 2;
      if (bytes.length < start + total + 2) return 0;
      const withHeaders = parts[0] === 'HMSG';
      const headerBytes = withHeaders ? Number(parts.at(-2)) : 0;
      const [, subject = '', sid = ''] = parts;
      const reply = parts.length === (withHeaders ? 6 : 5) ? (parts[3] ?? '') : '';
      this.#frames++;
      this.#boxes.get(sid)?.push({
        subject,
        reply,
        headers: bytes.toString('utf8', start, start + headerBytes),
        data: bytes.toString('utf8', start + headerBytes, start + total),
      });
      return start + total + 2;
    }
    if (line === 'PONG') this.#pongs++;
    else if (line === 'PING') this.#socket.write('PONG\r\n');
    else if (line.startsWith('-ERR')) this.errors.push(line);
    return lineEnd + 2;
  }
}
