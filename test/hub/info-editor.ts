// Somebody between gateway and hub: a proxy that edits the server's first line (INFO, in plain text) and passes all the
// rest. It keeps what the gateway sent, so that a test can look for secrets in it.

import { connect, createServer, type Server, type Socket } from 'node:net';

export class InfoEditor {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #hubPort: number;
  readonly #edit: (info: string) => string;
  #seen = '';
  /** First lines edited so far. */
  edited = 0;
  port = 0;

  /** `edit` gets the line with its CRLF. */
  constructor(hubPort: number, edit: (info: string) => string) {
    this.#hubPort = hubPort;
    this.#edit = edit;
    this.#server = createServer((gateway) => this.#accept(gateway));
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    return this;
  }

  /** All that gateways have sent, one character a byte. */
  fromGateway(): string {
    return this.#seen;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #accept(gateway: Socket): void {
    const hub = connect(this.#hubPort, '127.0.0.1');
    for (const [socket, other] of [
      [gateway, hub],
      [hub, gateway],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    gateway.on('data', (bytes: Buffer) => {
      this.#seen += bytes.toString('latin1');
      hub.write(bytes);
    });
    let first = '';
    hub.on('data', (bytes: Buffer) => {
      if (first.endsWith('\r\n')) return void gateway.write(bytes);
      first += bytes.toString('latin1');
      if (!first.endsWith('\r\n')) return;
      this.edited++;
      gateway.write(Buffer.from(this.#edit(first), 'latin1'));
    });
  }
}
