// The WAN as a TCP proxy between gateway and hub. It can refuse, reset, black-hole (both ways or one), delay the
// gateway's bytes on old connections while new ones pass, and cut at a byte. Delayed bytes arrive even after the gateway
// has closed its side: that is how a zombie of an old connection reaches the hub.

import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './nats-server.ts';

/** Bytes a black hole or a delay holds for one connection; beyond it the proxy stops reading, as a full network would. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;

export type Direction = 'up' | 'down';

interface Chunk {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

export class WanProxy {
  readonly #hubPort: () => number;
  readonly #server: Server;
  readonly #pipes = new Set<Pipe>();
  #refusing = false;
  #black: Direction[] = [];
  #cuts: { direction: Direction; bytes: number }[] = [];
  #port = 0;
  /** Connections taken so far, and bytes passed on. */
  readonly counters = { connections: 0, upBytes: 0, downBytes: 0 };

  /** `hubPort` is asked at each connection, so that a hub may move. */
  constructor(hubPort: number | (() => number)) {
    this.#hubPort = typeof hubPort === 'number' ? () => hubPort : hubPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  /** Open gateway-side connections. */
  get connections(): number {
    return [...this.#pipes].filter((pipe) => pipe.isOpen).length;
  }

  /** Bytes that a delay is holding back. */
  get held(): number {
    return [...this.#pipes].reduce((sum, pipe) => sum + pipe.heldBytes, 0);
  }

  async listen(): Promise<this> {
    // It must be ours again after refuse().
    if (this.#port === 0) this.#port = await freePort();
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return this;
  }

  async close(): Promise<void> {
    for (const pipe of this.#pipes) pipe.destroy();
    if (this.#server.listening)
      await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  /** New connections are refused by the kernel; open ones live on. */
  async refuse(): Promise<void> {
    this.#refusing = true;
    // close() ends listening at once; its callback would wait for the open connections.
    if (this.#server.listening) this.#server.close();
    await Promise.resolve();
  }

  /** RST to both sides of every connection; what was under way is lost. */
  resetAll(): void {
    for (const pipe of this.#pipes) pipe.reset();
  }

  /** Bytes vanish in the given directions, on open and new connections; nobody is told. */
  blackHole(...directions: Direction[]): void {
    this.#black = directions.length > 0 ? directions : ['up', 'down'];
    for (const pipe of this.#pipes) pipe.black = this.#black;
  }

  /** Gateway-to-hub bytes of the connections open now arrive `ms` late, even after the gateway closed; new ones pass. */
  delayOld(ms: number): void {
    for (const pipe of this.#pipes) pipe.delayUpMs = ms;
  }

  /** As delayOld, from `bytes` more on: what the hub has got of a batch by then is its first part. */
  delayAfter(bytes: number, ms: number): void {
    for (const pipe of this.#pipes) pipe.delayAfter = { bytes, ms };
  }

  /** The next connection to pass `bytes` more in `direction` is reset there; the bytes before it arrive. */
  cutAfter(direction: Direction, bytes: number): void {
    this.#cuts.push({ direction, bytes });
    for (const pipe of this.#pipes)
      if (pipe.isOpen && pipe.cut === undefined) pipe.cut = this.#cuts.pop();
  }

  /** Everything passes again. Connections that a black hole has swallowed bytes of are reset: a stream with a hole is none. */
  async restore(): Promise<void> {
    this.#black = [];
    this.#cuts = [];
    for (const pipe of this.#pipes) {
      pipe.black = [];
      pipe.cut = undefined;
      if (pipe.swallowed) pipe.reset();
    }
    if (this.#refusing) {
      this.#refusing = false;
      await this.listen();
    }
  }

  #accept(client: Socket): void {
    this.counters.connections++;
    const pipe = new Pipe(client, this.#hubPort(), this.counters, () => this.#pipes.delete(pipe));
    pipe.black = this.#black;
    pipe.cut = this.#cuts.pop();
    this.#pipes.add(pipe);
  }
}

class Pipe {
  readonly #client: Socket;
  readonly #hub: Socket;
  readonly #counters: WanProxy['counters'];
  readonly #done: () => void;
  readonly #late: Chunk[] = [];
  #lateBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #clientEnded = false;
  delayUpMs = 0;
  delayAfter: { bytes: number; ms: number } | undefined;
  black: Direction[] = [];
  cut: { direction: Direction; bytes: number } | undefined;
  swallowed = false;

  constructor(client: Socket, hubPort: number, counters: WanProxy['counters'], done: () => void) {
    this.#client = client;
    this.#counters = counters;
    this.#done = done;
    this.#hub = connect(hubPort, '127.0.0.1');
    client.setNoDelay(true);
    this.#hub.setNoDelay(true);
    client.on('data', (bytes: Buffer) => this.#up(bytes));
    this.#hub.on('data', (bytes: Buffer) => this.#down(bytes));
    for (const socket of [client, this.#hub]) socket.on('error', () => undefined);
    client.on('close', () => this.#clientGone());
    this.#hub.on('close', () => {
      if (!this.black.includes('down')) client.destroy();
      this.#end();
    });
  }

  get heldBytes(): number {
    return this.#lateBytes;
  }

  get isOpen(): boolean {
    return !this.#client.destroyed;
  }

  reset(): void {
    if (!this.#client.destroyed) this.#client.resetAndDestroy();
    if (!this.#hub.destroyed) this.#hub.resetAndDestroy();
    this.#end();
  }

  destroy(): void {
    this.#client.destroy();
    this.#hub.destroy();
    this.#end();
  }

  #up(bytes: Buffer): void {
    const later = this.delayAfter;
    if (later !== undefined && bytes.length >= later.bytes) {
      this.delayAfter = undefined;
      this.#up(bytes.subarray(0, later.bytes));
      this.delayUpMs = later.ms;
      return this.#up(bytes.subarray(later.bytes));
    }
    if (later !== undefined) later.bytes -= bytes.length;
    if (this.black.includes('up')) {
      this.swallowed = true;
    } else if (this.delayUpMs > 0 || this.#late.length > 0) {
      this.#hold(bytes);
    } else {
      this.#pass('up', this.#hub, this.#client, bytes);
    }
  }

  #down(bytes: Buffer): void {
    if (this.black.includes('down')) this.swallowed = true;
    else if (!this.#client.destroyed) this.#pass('down', this.#client, this.#hub, bytes);
  }

  #pass(direction: Direction, to: Socket, from: Socket, bytes: Buffer): void {
    const { cut } = this;
    if (cut?.direction === direction && bytes.length >= cut.bytes) {
      this.cut = undefined;
      const head = bytes.subarray(0, cut.bytes);
      this.#counters[direction === 'up' ? 'upBytes' : 'downBytes'] += head.length;
      // The head shall arrive: end() flushes it and says FIN; the other side gets a reset.
      to.end(head);
      from.resetAndDestroy();
      return;
    }
    if (cut?.direction === direction) cut.bytes -= bytes.length;
    this.#counters[direction === 'up' ? 'upBytes' : 'downBytes'] += bytes.length;
    if (!to.write(bytes)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  }

  #hold(bytes: Buffer): void {
    this.#late.push({ bytes, dueMs: performance.now() + this.delayUpMs });
    this.#lateBytes += bytes.length;
    if (this.#lateBytes > HELD_BYTES_MAX) this.#client.pause();
    this.#arm();
  }

  #arm(): void {
    const head = this.#late[0];
    if (this.#timer !== undefined || head === undefined) return;
    this.#timer = setTimeout(() => this.#release(), Math.max(0, head.dueMs - performance.now()));
  }

  #release(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (;;) {
      const head = this.#late[0];
      if (head === undefined || head.dueMs > nowMs) break;
      this.#late.shift();
      this.#lateBytes -= head.bytes.length;
      if (!this.#hub.destroyed) this.#pass('up', this.#hub, this.#client, head.bytes);
    }
    if (this.#lateBytes <= HELD_BYTES_MAX && !this.#client.destroyed) this.#client.resume();
    if (this.#late.length > 0) this.#arm();
    else if (this.#clientEnded) this.#hub.end();
  }

  /** The gateway has closed or reset its side. Late bytes are still delivered before the hub hears of it; a black hole swallows the FIN too. */
  #clientGone(): void {
    this.#clientEnded = true;
    if (this.black.includes('up')) this.swallowed = true;
    else if (this.#late.length === 0) this.#hub.end();
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#done();
  }
}
