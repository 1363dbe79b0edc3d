// A wire to the hub that is cut exactly between "the hub has stored it" and "the gateway has heard of it": it waits for
// the hub's PubAck of a publish, swallows it, and resets the gateway's side.

import { connect, createServer, type Server, type Socket } from 'node:net';

const PUB_ACK = '{"stream":"EDGE","seq":';

export class AckCutter {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  /** PubAcks still to be swallowed. */
  #armed = 0;
  /** While down, new connections are refused by a reset. */
  down = false;
  swallowed = 0;
  /** Called when one was swallowed. */
  onCut: () => void = () => undefined;

  constructor(hubPort: number) {
    this.#server = createServer((client) => this.#accept(client, hubPort));
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    return this;
  }

  /** Swallows the next `count` PubAcks, with a reset each. */
  arm(count = 1): void {
    this.#armed += count;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #accept(client: Socket, hubPort: number): void {
    if (this.down) return void client.resetAndDestroy();
    const hub = connect(hubPort, '127.0.0.1');
    for (const [socket, other] of [
      [client, hub],
      [hub, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes: Buffer) => void hub.write(bytes));
    hub.on('data', (bytes: Buffer) => {
      if (this.#armed > 0 && bytes.includes(PUB_ACK)) {
        this.#armed--;
        this.swallowed++;
        client.resetAndDestroy();
        this.onCut();
      } else if (!client.destroyed) client.write(bytes);
    });
  }
}
