// TLS for sockets that came in already: at once, or behind a greeting. A handshake has a deadline, and there are never
// more than `halfOpenMax` under way. Certificates can be replaced while clients are connected: they notice nothing.

import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import {
  isSame,
  readCertificates,
  type CertificateFiles,
  type Certificates,
} from './certificates.ts';

export interface TlsOptions extends CertificateFiles {
  /** Time for a handshake. */
  readonly handshakeMs: number;
}

/** What a server with `options` needs to know beside the certificates. */
export function serverOptions({ caFile, handshakeMs }: TlsOptions): {
  requestCert: boolean;
  rejectUnauthorized: boolean;
  handshakeTimeout: number;
} {
  return {
    requestCert: caFile !== undefined,
    rejectUnauthorized: caFile !== undefined,
    handshakeTimeout: handshakeMs,
  };
}

/** The certificates of one server, and how others take their place. */
export class Renewal {
  readonly #files: CertificateFiles;
  #present: Certificates;

  /** Throws a CertificateError when the files cannot be used. */
  constructor(files: CertificateFiles) {
    this.#files = files;
    this.#present = readCertificates(files);
  }

  get present(): Certificates {
    return this.#present;
  }

  /**
   * Reads the files again. The result hands them to `server`, and tells whether they are others: handshakes from then on
   * use them. Throws a CertificateError, with nothing changed, when they cannot be used.
   */
  prepare(server: { setSecureContext(options: Certificates): void }): () => boolean {
    const next = readCertificates(this.#files);
    return () => {
      if (isSame(this.#present, next)) return false;
      this.#present = next;
      server.setSecureContext(next);
      return true;
    };
  }
}

interface Entering<Greeting> {
  readonly socket: Socket;
  readonly greeting: Greeting;
  readonly ip: string;
}

export class TlsDoor<Greeting> {
  /** A server that never listens: sockets are handed to it. */
  readonly #server: Server;
  readonly #renewal: Renewal;
  readonly #halfOpenMax: number;
  readonly #failed: (error: Error, ip: string) => void;
  readonly #unfinished: string;
  /** Handshakes under way, by the client's address and port: what node:tls gives back is another object. */
  readonly #entering = new Map<string, Entering<Greeting>>();

  /**
   * `entered` gets each client whose handshake is done, `failed` hears of the others. Throws a CertificateError when the
   * files cannot be used.
   */
  constructor(
    options: TlsOptions,
    { halfOpenMax }: { readonly halfOpenMax: number },
    entered: (socket: TLSSocket, greeting: Greeting) => void,
    failed: (error: Error, ip: string) => void,
  ) {
    this.#halfOpenMax = halfOpenMax;
    this.#unfinished =
      options.caFile === undefined
        ? 'it was not finished'
        : 'it was not finished, or its certificate is not valid here: expired, or of another authority';
    this.#renewal = new Renewal(options);
    const settings = { ...serverOptions(options), ...this.#renewal.present };
    this.#server = createServer(settings, (socket) => {
      const entering = this.#entering.get(keyOf(socket));
      this.#entering.delete(keyOf(socket));
      if (entering === undefined) socket.destroy();
      else entered(socket, entering.greeting);
    });
    this.#server.on('tlsClientError', (error, socket) => {
      const entering = this.#entering.get(keyOf(socket));
      this.#entering.delete(keyOf(socket));
      socket.destroy();
      if (entering !== undefined) failed(plain(error), entering.ip);
    });
    this.#failed = failed;
  }

  /** Begins TLS on a socket. `greeting` is what its client has been told, or will be. */
  enter(socket: Socket, greeting: Greeting): void {
    if (socket.remoteAddress === undefined) return void socket.destroy(); // It is gone already.
    const key = keyOf(socket);
    for (const [oldest, entering] of this.#entering) {
      if (this.#entering.size < this.#halfOpenMax) break;
      this.#entering.delete(oldest);
      entering.socket.destroy();
    }
    this.#entering.set(key, { socket, greeting, ip: socket.remoteAddress });
    socket.on('close', () => this.#closed(key, socket));
    socket.on('error', () => socket.destroy());
    this.#server.emit('connection', socket);
  }

  /** Reads the files again: see `Renewal.prepare`. */
  prepare(): () => boolean {
    return this.#renewal.prepare(this.#server);
  }

  stop(): void {
    const entering = [...this.#entering.values()];
    this.#entering.clear(); // Nobody is told that these failed.
    for (const { socket } of entering) socket.destroy();
  }

  /** node:tls closes who shows a certificate that is not valid here without saying whom, or why. */
  #closed(key: string, socket: Socket): void {
    const entering = this.#entering.get(key);
    if (entering?.socket !== socket) return;
    this.#entering.delete(key);
    this.#failed(new Error(this.#unfinished), entering.ip);
  }
}

/** The Common Name of the client's certificate; undefined for none, for more than one, and where none was asked for. */
export function certificateName(socket: TLSSocket): string | undefined {
  if (!socket.authorized) return undefined;
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' ? name : undefined;
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** An error of OpenSSL's without its numbers and files. */
function plain(error: Error): Error {
  return 'reason' in error && typeof error.reason === 'string' ? new Error(error.reason) : error;
}
