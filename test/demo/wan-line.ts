// A slow line behind the WAN proxy: bytes from the gateway pass at so many a second, so that a backlog takes its time to
// drain, and what has not passed when the line breaks is lost.

import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes that pass at once; their time is waited for afterwards. */
const SLICE_BYTES = 8 * 1024;

export class WanLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #bytesPerMs: number;
  #port = 0;

  constructor(hubPort: number, kbitPerS: number) {
    this.#bytesPerMs = kbitPerS / 8;
    this.#server = createServer((near) => {
      const far = connect(hubPort, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => undefined);
        socket.on('close', () => this.#sockets.delete(socket));
      }
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      far.pipe(near);
      void this.#carry(near, far).catch(() => far.destroy());
    });
  }

  get port(): number {
    return this.#port;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    return this;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #carry(near: Socket, far: Socket): Promise<void> {
    for await (const chunk of near as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
        const slice = chunk.subarray(at, at + SLICE_BYTES);
        if (far.destroyed) return;
        far.write(slice);
        await sleep(slice.length / this.#bytesPerMs);
      }
    }
    far.end();
  }
}
