// A thin line with a modem in front: bytes pass at so many a second each way, and what waits for that waits in a buffer
// that says nothing. Unlike a real path it takes bytes over from either side before they have crossed, so that only what
// comes back from the far side tells of progress.

import { connect, createServer, type Server, type Socket } from 'node:net';

const TICK_MS = 20;
/** Bytes that wait in front of the line in one direction, beside what the kernel holds. */
const WAITING_MAX = 256 * 1024;

export class ThinLine implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Connections so far, and bytes that crossed, from and to the gateway. */
  readonly counters = { connections: 0, upBytes: 0, downBytes: 0 };

  private constructor(hubPort: number, kbit: number) {
    this.#server = createServer((near) => {
      this.counters.connections++;
      const far = connect(hubPort, '127.0.0.1');
      this.#carry(near, far, kbit, (bytes) => (this.counters.upBytes += bytes));
      this.#carry(far, near, kbit, (bytes) => (this.counters.downBytes += bytes));
    });
  }

  static async listen(hubPort: number, kbit: number): Promise<ThinLine> {
    const line = new ThinLine(hubPort, kbit);
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(from: Socket, to: Socket, kbit: number, crossed: (bytes: number) => void): void {
    const waiting: Buffer[] = [];
    let waitingBytes = 0;
    let ended = false;
    let allowed = 0;
    let beforeMs = performance.now();
    this.#sockets.add(from);
    from.setNoDelay(true);
    const timer = setInterval(() => {
      const nowMs = performance.now();
      // What was not used is gone: a line has no memory.
      allowed = Math.min(allowed, 0) + ((nowMs - beforeMs) * kbit) / 8;
      beforeMs = nowMs;
      while (allowed > 0 && waiting.length > 0) {
        const [head = Buffer.alloc(0)] = waiting;
        const slice = head.subarray(0, Math.ceil(allowed));
        if (slice.length === head.length) waiting.shift();
        else waiting[0] = head.subarray(slice.length);
        allowed -= slice.length;
        waitingBytes -= slice.length;
        crossed(slice.length);
        if (!to.destroyed) to.write(slice);
      }
      if (waitingBytes < WAITING_MAX) from.resume();
      if (ended && waiting.length === 0) to.end();
    }, TICK_MS);
    this.#timers.add(timer);
    from.on('data', (bytes: Buffer) => {
      waiting.push(bytes);
      waitingBytes += bytes.length;
      if (waitingBytes >= WAITING_MAX) from.pause();
    });
    from.on('end', () => (ended = true));
    from.on('error', () => to.destroy());
    to.on('close', () => from.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      if (from.errored !== null || ended) ended = true;
      else to.destroy();
    });
    to.on('close', () => {
      clearInterval(timer);
      this.#timers.delete(timer);
    });
  }
}
