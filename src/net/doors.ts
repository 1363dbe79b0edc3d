// What the doors of all listeners have in common: an address that is bound, sockets that come in, and an end.

import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Notices a peer that vanished although nothing is sent to it. */
export const TCP_KEEP_ALIVE_MS = 60_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a client is, as its socket tells. */
export interface Remote {
  readonly ip: string;
  readonly port: number;
}

/** Plain sockets. */
export class TcpDoor {
  readonly #listen: Address;
  readonly #server: Server;

  /** `failed` hears of sockets that could not be accepted: out of file descriptors, mostly. Those that are there go on. */
  constructor(address: Address, accept: (socket: Socket) => void, failed: (error: Error) => void) {
    this.#listen = address;
    this.#server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS },
      accept,
    );
    this.#server.on('error', (error) => {
      if (this.#server.listening) failed(error);
    });
  }

  /** Undefined before `start`. */
  get address(): AddressInfo | undefined {
    return addressOf(this.#server);
  }

  /** Binds. Rejects with the system's error when the address cannot be had. */
  start(): Promise<void> {
    return listen(this.#server, this.#listen);
  }

  /** Accepts no more; resolves when the last socket is gone. */
  stop(): Promise<void> {
    return close(this.#server);
  }
}

export function addressOf(
  server: { address(): AddressInfo | string | null } | undefined,
): AddressInfo | undefined {
  const address = server?.address();
  return typeof address === 'object' && address !== null ? address : undefined;
}

export function remoteOf({ remoteAddress: ip = '', remotePort: port = 0 }: Socket): Remote {
  return { ip, port };
}

/** Resolves when `server` has the address; rejects with the system's error. */
export function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Resolves when the last connection is gone; at once where it never listened. */
export function close(server: Server | undefined): Promise<void> {
  if (server?.listening !== true) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
