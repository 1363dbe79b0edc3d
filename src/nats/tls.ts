// TLS for NATS clients: it begins behind INFO, on the same socket, or at once. A handshake has a deadline, and there are never more
// than `halfOpenMax` under way.

import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Greeting } from './info.ts';
import type { TlsFiles } from './shared.ts';

/** Time for a handshake, as nats-server gives it. */
const HANDSHAKE_MS = 2000;

/** What a server needs to know of the files. */
export function tlsOptions({ certFile, keyFile, caFile }: Omit<TlsFiles, 'handshakeFirst'>): {
  cert: Buffer;
  key: Buffer;
  ca?: Buffer;
  requestCert: boolean;
  rejectUnauthorized: boolean;
  minVersion: 'TLSv1.2';
  handshakeTimeout: number;
} {
  return {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    requestCert: caFile !== undefined,
    rejectUnauthorized: caFile !== undefined,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_MS,
  };
}

interface Entering {
  readonly socket: Socket;
  readonly greeting: Greeting;
}

export class TlsDoor {
  /** A server that never listens: sockets are handed to it. */
  readonly #server: Server;
  readonly #halfOpenMax: number;
  /** Handshakes under way, by the client's address and port: what node:tls gives back is another object. */
  readonly #entering = new Map<string, Entering>();

  /** `entered` gets each client whose handshake is done. Throws the system's or OpenSSL's error about the files. */
  constructor(
    files: TlsFiles,
    { halfOpenMax }: { readonly halfOpenMax: number },
    entered: (socket: TLSSocket, greeting: Greeting) => void,
  ) {
    this.#halfOpenMax = halfOpenMax;
    this.#server = createServer(tlsOptions(files), (socket) => {
      const entering = this.#entering.get(keyOf(socket));
      this.#entering.delete(keyOf(socket));
      if (entering === undefined) socket.destroy();
      else entered(socket, entering.greeting);
    });
    // A client that fails the handshake is closed by node:tls.
    this.#server.on('tlsClientError', (_error, socket) => void socket.destroy());
  }

  /** Begins TLS on a socket. `greeting` is what its client has been told, or will be. */
  enter(socket: Socket, greeting: Greeting): void {
    const key = keyOf(socket);
    for (const [oldest, entering] of this.#entering) {
      if (this.#entering.size < this.#halfOpenMax) break;
      this.#entering.delete(oldest);
      entering.socket.destroy();
    }
    this.#entering.set(key, { socket, greeting });
    socket.on('close', () => {
      if (this.#entering.get(key)?.socket === socket) this.#entering.delete(key);
    });
    socket.on('error', () => socket.destroy());
    this.#server.emit('connection', socket);
  }

  stop(): void {
    for (const { socket } of this.#entering.values()) socket.destroy();
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
