// NATS over WebSocket, for browsers: the same protocol, as bytes in binary frames. A page of another origin is refused, as
// any page that is open on this machine could reach the loopback otherwise.

import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { addressOf, close, listen } from './doors.ts';
import type { Peer } from './info.ts';
import type { NatsLimits } from './limits.ts';
import type { TlsFiles, WebSocketOptions } from './shared.ts';
import { tlsOptions } from './tls.ts';

/** A request without cookies needs less than 1 KB. */
const REQUEST_HEADER_BYTES = 8 * 1024;
/** Time for the whole request to arrive. */
const REQUEST_MS = 5000;
/** Framing costs a little beside the largest message and its line. */
const FRAME_OVERHEAD_BYTES = 64 * 1024;

export class WebSocketDoor {
  readonly #options: WebSocketOptions;
  readonly #server: Server;
  readonly #tls: boolean;
  readonly #framing: WebSocketServer;

  /** `entered` gets a stream of bytes for each client. Throws when the files of TLS cannot be used. */
  constructor(
    options: WebSocketOptions,
    tls: TlsFiles | undefined,
    { payloadBytesMax, webSocketsMax }: Pick<NatsLimits, 'payloadBytesMax' | 'webSocketsMax'>,
    entered: (stream: Duplex, peer: Peer) => void,
  ) {
    this.#options = options;
    this.#tls = tls !== undefined;
    this.#framing = new WebSocketServer({
      noServer: true,
      maxPayload: payloadBytesMax + FRAME_OVERHEAD_BYTES,
      perMessageDeflate: false,
      clientTracking: false,
    });
    this.#server = createHttp(tls);
    this.#server.maxConnections = webSocketsMax;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      if (!this.#isWelcome(request)) return void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      this.#framing.handleUpgrade(request, socket, head, (webSocket) => {
        const { remoteAddress: ip = '', remotePort: port = 0 } = request.socket;
        entered(createWebSocketStream(webSocket), { ip, port, type: 'websocket', tls: this.#tls });
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

  async stop(): Promise<void> {
    const closed = close(this.#server);
    this.#server.closeAllConnections(); // Those that are WebSockets by now are not among them.
    await closed;
  }

  /** Programs send no Origin; browsers always do. */
  #isWelcome({ headers }: IncomingMessage): boolean {
    const { origin, host } = headers;
    if (origin === undefined || this.#options.origins.includes(origin)) return true;
    return URL.parse(origin)?.host === host;
  }
}

// An `import` of values from node:http reads every export, a WebSocket client among them: 7 MB for nothing.
function createHttp(tls: TlsFiles | undefined): Server {
  const limits = { maxHeaderSize: REQUEST_HEADER_BYTES, requestTimeout: REQUEST_MS };
  const answer = (_request: unknown, response: { writeHead(status: number): { end(): void } }) =>
    response.writeHead(426).end();
  return tls === undefined
    ? process.getBuiltinModule('node:http').createServer(limits, answer)
    : process
        .getBuiltinModule('node:https')
        .createServer({ ...limits, ...tlsOptions(tls) }, answer);
}
