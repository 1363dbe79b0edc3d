// A line between gateway and hub that is long, and that once in a while damages what it carries: a TCP proxy.

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Direction } from './wan-proxy.ts';

/** One bit is another one, one byte is gone, or both sides are hung up on in the middle. */
export type Damage = 'flip' | 'drop' | 'cut';

export class MeddlingLine {
  /** One way, from now on; a new connection takes it, too. */
  delayMs = 0;
  readonly #port: () => number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #spoil: { direction: Direction; damage: Damage; bytes: number } | undefined;

  constructor(port: number | (() => number)) {
    this.#port = typeof port === 'number' ? () => port : port;
    this.#server = createServer({ noDelay: true }, (client) => void this.#accept(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:port` */
  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What spoil() asked for has not happened yet. */
  get lies(): boolean {
    return this.#spoil !== undefined;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  /** Damages what comes after `bytes` more in this direction: the next letter, or everything from there on. */
  spoil(direction: Direction, damage: Damage, bytes: number): void {
    this.#spoil = { direction, damage, bytes };
  }

  async #accept(client: Socket): Promise<void> {
    this.#keep(client);
    client.pause();
    await passed(this.delayMs);
    const hub = connect({ port: this.#port(), host: '127.0.0.1', noDelay: true });
    this.#keep(hub);
    this.#carry('up', client, hub);
    this.#carry('down', hub, client);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #carry(direction: Direction, from: Socket, to: Socket): void {
    let before = Promise.resolve();
    const later = (what: () => void): void => {
      const dueMs = performance.now() + this.delayMs;
      before = before.then(async () => {
        await passed(dueMs - performance.now());
        what();
      });
    };
    from.on('data', (bytes: Buffer) =>
      later(() => {
        if (!to.destroyed) this.#pass(direction, bytes, from, to);
      }),
    );
    from.on('close', () => later(() => to.destroy()));
    from.resume();
  }

  #pass(direction: Direction, bytes: Buffer, from: Socket, to: Socket): void {
    const spoil = this.#spoil;
    if (spoil?.direction !== direction) return void to.write(bytes);
    const { damage } = spoil;
    const at = damage === 'cut' ? spoil.bytes : letterFrom(bytes, spoil.bytes);
    spoil.bytes = Math.max(0, spoil.bytes - bytes.length);
    if (at >= bytes.length) return void to.write(bytes);
    this.#spoil = undefined;
    if (damage === 'cut') {
      to.end(bytes.subarray(0, at));
      from.resetAndDestroy();
    } else {
      const rest = bytes.subarray(damage === 'drop' ? at + 1 : at);
      if (damage === 'flip') rest[0] = (rest[0] as number) ^ 1;
      to.write(Buffer.concat([bytes.subarray(0, at), rest]));
    }
  }
}

/** Where the next letter is: no type of an S2 chunk, which could become one that may be skipped, and nobody would notice. */
function letterFrom(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && !/[ -~]/.test(String.fromCharCode(bytes[at] as number))) at++;
  return at;
}

function passed(ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}
