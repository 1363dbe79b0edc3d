// What one dial of the NATS client library does behind our back: the sockets that it opens, what comes in on them before
// TLS, and what it would write to stdout. All of it is found by its asynchronous context: the library shows none of it.

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe as subscribeChannel } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A server's first line may be this long; INFO of a large cluster has a few kilobytes. */
const FIRST_LINE_BYTES_MAX = 64 * 1024;

export class Dial {
  readonly sockets = new Set<Socket>();
  /** Called when the dial, or the connection that came of it, is no longer to be trusted. */
  onFault: (fault: 'plain text before TLS' | 'unreadable') => void = () => undefined;
  readonly #startTls: boolean;
  #over = false;

  /** `startTls`: after the server's first line, which is INFO in plain text, TLS must begin. */
  constructor({ startTls }: { startTls: boolean }) {
    this.#startTls = startTls;
  }

  /** Runs `fn`; what comes of it, however late, belongs to this dial. */
  run<T>(fn: () => T): T {
    watch();
    return dialling.run(this, fn);
  }

  add(socket: Socket): void {
    this.sockets.add(socket);
    if (this.#over) queueMicrotask(() => this.destroy());
    // The library takes all listeners off when it is connected, and puts its own on only a moment later.
    else if (this.#startTls && !(socket instanceof TLSSocket))
      socket.once('connect', () => queueMicrotask(() => this.#watchFirstLine(socket)));
  }

  /** Whether the server has said anything. */
  get heard(): boolean {
    return this.sockets.values().some((socket) => socket.bytesRead > 0);
  }

  /** Resets every socket, and every one that still comes. */
  destroy(): void {
    this.#over = true;
    for (const socket of this.sockets) {
      // The library may just have taken its own listeners off.
      socket.on('error', () => undefined);
      try {
        // RST: the kernel forgets what it has not delivered. A socket that is itself TLS cannot.
        if (!socket.destroyed) socket.resetAndDestroy();
      } catch {
        // destroy() below is for those.
      }
      socket.destroy();
    }
  }

  /**
   * The library keeps what arrives behind the first line, and reads it later as if it had come through TLS. Somebody in
   * between could so put words into the hub's mouth. The listener goes with the library's own, when TLS begins.
   */
  #watchFirstLine(socket: Socket): void {
    let line = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      line = Buffer.concat([line, bytes]);
      const end = line.indexOf('\r\n');
      const more = end >= 0 && line.length > end + 2;
      if (more || line.length > FIRST_LINE_BYTES_MAX) this.onFault('plain text before TLS');
    });
  }
}

const dialling = new AsyncLocalStorage<Dial>();
let watching = false;

function watch(): void {
  if (watching) return;
  watching = true;
  subscribeChannel('net.client.socket', (published) => {
    const { socket } = published as { socket: unknown };
    if (socket instanceof Socket) dialling.getStore()?.add(socket);
  });
  // The library writes bytes that it cannot read to the console, and stops reading. They may be an echo of our login,
  // and nothing but the log may write to stdout.
  const { console: target } = globalThis;
  const log = target.log.bind(target);
  target.log = (...args: unknown[]): void => {
    const dial = dialling.getStore();
    if (dial === undefined) log(...args);
    else dial.onFault('unreadable');
  };
}
