// A protocol of bytes over WebSocket, for browsers: the same bytes in frames, however they are divided. A page of another
// origin is refused, as any page that is open on this machine could reach the loopback otherwise; and so is one of a host
// that only its name makes the same, which whoever owns the name can let point to us. What a client costs before it has
// said who it is, is bounded.

import type { IncomingMessage, Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { createWebSocketStream, WebSocketServer, type WebSocket } from 'ws';
import { addressOf, close, listen, TCP_KEEP_ALIVE_MS, type Address, type Remote } from './doors.ts';
import { certificateName, Renewal, serverOptions, type TlsOptions } from './tls.ts';

/** A request without cookies needs less than 1 KB. */
const REQUEST_HEADER_BYTES = 8 * 1024;
/** Time for the whole request to arrive. */
const REQUEST_MS = 5000;
/** Framing costs a little beside the largest message and its line. */
const FRAME_OVERHEAD_BYTES = 64 * 1024;
/** Sockets that are no WebSocket yet; beyond it the oldest is closed: an honest client asks at once. */
const REQUESTS_MAX = 256;
/** How often their deadlines are looked at. */
const REQUESTS_CHECK_MS = 1000;
/** Bytes of one message that is not whole yet which are not charged to what all have together. */
const PARTIAL_FREE_BYTES = 64 * 1024;
/** Bytes of begun messages of all WebSockets beyond those. Whoever would exceed it is closed. */
const PARTIAL_BYTES_MAX = 16 * 1024 * 1024;
/** Characters of a header that the log repeats: an origin has fewer. */
const SHOWN_MAX = 128;
/** The data are of a kind that cannot be accepted [RFC 6455, 7.4.1]. */
const UNSUPPORTED_DATA = 1003;

export interface WebSocketOptions {
  readonly listen: Address;
  /** Web pages that may connect, besides those of the same host. */
  readonly origins: readonly string[];
}

export interface WebSocketSettings {
  /** Undefined: no TLS. */
  readonly tls: TlsOptions | undefined;
  /** Sub-protocols, of which a client must offer one; undefined: it need not offer any. */
  readonly protocols?: readonly string[];
  /** Text is no data: who sends it is closed. */
  readonly binaryOnly?: boolean;
  /** The largest message of the protocol. */
  readonly messageBytesMax: number;
  readonly connectionsMax: number;
}

export interface WebSocketClient extends Remote {
  readonly tls: boolean;
  readonly certificateName: string | undefined;
}

export class WebSocketDoor {
  readonly #options: WebSocketOptions;
  readonly #settings: WebSocketSettings;
  readonly #server: Server | SecureServer;
  readonly #renewal: Renewal | undefined;
  readonly #framing: WebSocketServer;
  /** Sockets that are no WebSocket yet, by the client's address and port: TLS hands on another object. */
  readonly #requests = new Map<string, Socket>();
  #partialBytes = 0;

  /**
   * `entered` gets a stream of bytes for each client, `refused` hears of those that ask for a WebSocket and get none.
   * Throws a CertificateError when the files of TLS cannot be used.
   */
  constructor(
    options: WebSocketOptions,
    settings: WebSocketSettings,
    entered: (stream: Duplex, client: WebSocketClient) => void,
    refused: (reason: string, ip: string) => void,
  ) {
    this.#options = options;
    this.#settings = settings;
    const { tls, protocols, messageBytesMax, connectionsMax } = settings;
    this.#framing = new WebSocketServer({
      noServer: true,
      maxPayload: messageBytesMax + FRAME_OVERHEAD_BYTES,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) =>
        protocols === undefined
          ? (offered.values().next().value ?? false)
          : (protocols.find((protocol) => offered.has(protocol)) ?? false),
    });
    this.#renewal = tls === undefined ? undefined : new Renewal(tls);
    this.#server = createHttp(
      tls === undefined ? undefined : { ...serverOptions(tls), ...this.#renewal?.present },
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.on('connection', (socket: Socket) => this.#awaitRequest(socket));
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const refusal = this.#refusalOf(request);
      if (refusal !== undefined) {
        refused(refusal.reason, request.socket.remoteAddress ?? '');
        return void socket.end(`HTTP/1.1 ${refusal.status}\r\n\r\n`);
      }
      this.#framing.handleUpgrade(request, socket, head, (webSocket) => {
        this.#requests.delete(keyOf(request.socket));
        this.#meter(webSocket, socket);
        entered(this.#streamOf(webSocket), clientOf(request));
      });
    });
  }

  get address(): AddressInfo | undefined {
    return addressOf(this.#server);
  }

  async start(): Promise<void> {
    await listen(this.#server, this.#options.listen);
    // Later errors are failed accepts: they must not end the agent.
    this.#server.on('error', () => {});
  }

  /** Reads the files of TLS again: see `Renewal.prepare`. */
  prepare(): () => boolean {
    const server = this.#server;
    return this.#renewal === undefined || !('setSecureContext' in server)
      ? () => false
      : this.#renewal.prepare(server);
  }

  async stop(): Promise<void> {
    const closed = close(this.#server);
    this.#server.closeAllConnections(); // Those that are WebSockets by now are not among them.
    await closed;
  }

  #awaitRequest(socket: Socket): void {
    const key = keyOf(socket);
    for (const [oldest, waiting] of this.#requests) {
      if (this.#requests.size < REQUESTS_MAX) break;
      this.#requests.delete(oldest);
      waiting.destroy();
    }
    this.#requests.set(key, socket);
    socket.on('close', () => {
      if (this.#requests.get(key) === socket) this.#requests.delete(key);
    });
  }

  /** Bounds what `ws` collects until a message is whole. What came in the same piece as the end of one is not counted. */
  #meter(webSocket: WebSocket, socket: Duplex): void {
    let held = 0;
    let isWhole = false;
    const count = (bytes: number): void => {
      const charged = Math.max(0, held - PARTIAL_FREE_BYTES);
      held = bytes;
      this.#partialBytes += Math.max(0, held - PARTIAL_FREE_BYTES) - charged;
    };
    webSocket.on('message', () => {
      isWhole = true;
      count(0);
    });
    socket.on('data', (chunk: Buffer) => {
      if (!isWhole) count(held + chunk.length);
      isWhole = false;
      if (held > PARTIAL_FREE_BYTES && this.#partialBytes > PARTIAL_BYTES_MAX)
        webSocket.terminate();
    });
    socket.on('close', () => count(0));
  }

  /** The status line for a client that does not come in, and why, for the log. */
  #refusalOf({ headers }: IncomingMessage): { status: string; reason: string } | undefined {
    const { origin, host } = headers;
    // Programs send no Origin; browsers always do.
    const isWelcome =
      origin === undefined ||
      this.#options.origins.includes(origin) ||
      isSameHost(URL.parse(origin), host);
    if (!isWelcome)
      return {
        status: '403 Forbidden',
        reason: `a page of ${shown(origin)}, which is not among origins`,
      };
    const { protocols } = this.#settings;
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim());
    if (protocols === undefined || protocols.some((each) => offered.includes(each)))
      return undefined;
    return {
      status: '400 Bad Request',
      reason: `it offers ${shown(offered.join(', '), 'no sub-protocol')}, not ${protocols.join(' or ')}`,
    };
  }

  #streamOf(webSocket: WebSocket): Duplex {
    const stream = createWebSocketStream(webSocket);
    if (this.#settings.binaryOnly === true)
      webSocket.prependListener('message', (_data, isBinary: boolean) => {
        if (isBinary) return;
        stream.pause(); // The text itself goes nowhere.
        webSocket.close(UNSUPPORTED_DATA);
        stream.destroy();
      });
    return stream;
  }
}

/** What a client says of itself, for the log. */
function shown(found: string, none = '""'): string {
  if (found === '') return none;
  return found.length > SHOWN_MAX ? `${found.slice(0, SHOWN_MAX)}…` : found;
}

/** A name alone proves nothing: its owner may let it point to this machine, under a page of his own. */
function isSameHost(origin: URL | null, host: string | undefined): boolean {
  if (origin === null || origin.host !== host) return false;
  const name = origin.hostname;
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function clientOf({ socket }: IncomingMessage): WebSocketClient {
  const { remoteAddress: ip = '', remotePort: port = 0 } = socket;
  const tls = socket instanceof TLSSocket;
  return { ip, port, tls, certificateName: tls ? certificateName(socket) : undefined };
}

// An `import` of values from node:http reads every export, a WebSocket client among them: 7 MB for nothing.
function createHttp(tls: object | undefined): Server | SecureServer {
  const limits = {
    maxHeaderSize: REQUEST_HEADER_BYTES,
    headersTimeout: REQUEST_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: REQUESTS_CHECK_MS,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
  };
  const answer = (_request: unknown, response: { writeHead(status: number): { end(): void } }) =>
    response.writeHead(426).end();
  return tls === undefined
    ? process.getBuiltinModule('node:http').createServer(limits, answer)
    : process.getBuiltinModule('node:https').createServer({ ...limits, ...tls }, answer);
}
