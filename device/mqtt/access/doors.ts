// The doors of the MQTT listener: plain sockets, TLS, WebSocket. Each client comes through one of them with what is known
// of it by then. Relies on `src/net`, which has them for every listener.

import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../../../src/assert.ts';
import { isLoopback } from '../../../src/config/values.ts';
import type { CertificateFiles } from '../../../src/net/certificates.ts';
import { remoteOf, TcpDoor, type Address } from '../../../src/net/doors.ts';
import type { TlsDoor } from '../../../src/net/tls.ts';
import type { WebSocketDoor, WebSocketOptions } from '../../../src/net/websocket.ts';
import type { MqttLimits } from '../limits.ts';
import type { Peer } from './types.ts';

/** Time for a TLS handshake: a small device on a slow line takes seconds for one. */
const HANDSHAKE_MS = 10_000;
/** The first is what MQTT 3.1.1 and 5.0 ask for [MQTT-6.0.0-3], the other is older. */
const PROTOCOLS = ['mqtt', 'mqttv3.1'];

export interface DoorOptions {
  readonly listen: Address;
  /** Undefined: no TLS. */
  readonly tls?: TlsDoorOptions | undefined;
  /** Undefined: no WebSocket. */
  readonly websocket?: WebSocketDoorOptions | undefined;
}

export interface TlsDoorOptions extends CertificateFiles {
  /** Undefined: TLS is spoken at the address of the listener, and nothing else there. */
  readonly listen: Address | undefined;
}

export interface WebSocketDoorOptions extends WebSocketOptions {
  readonly tls: boolean;
}

interface DoorDeps {
  readonly limits: Pick<MqttLimits, 'halfOpenMax' | 'packetBytesMax' | 'connectionsMax'>;
  warn(condition: string, fields: Record<string, unknown>): void;
}

export class Doors {
  readonly #options: DoorOptions;
  readonly #deps: DoorDeps;
  readonly #accept: (stream: Duplex, peer: Peer) => void;
  readonly #tcp: TcpDoor[] = [];
  #tls: TlsDoor<boolean> | undefined;
  #websocket: WebSocketDoor | undefined;

  constructor(options: DoorOptions, accept: (stream: Duplex, peer: Peer) => void, deps: DoorDeps) {
    this.#options = options;
    this.#accept = accept;
    this.#deps = deps;
  }

  /** Where it listens; undefined before `start`. */
  get address(): AddressInfo | undefined {
    return this.#tcp[0]?.address;
  }

  /** Where TLS is spoken; undefined without TLS. */
  get tlsAddress(): AddressInfo | undefined {
    const { tls } = this.#options;
    if (tls === undefined) return undefined;
    return tls.listen === undefined ? this.address : this.#tcp[1]?.address;
  }

  get websocketAddress(): AddressInfo | undefined {
    return this.#websocket?.address;
  }

  /** Opens all doors. Rejects with the system's error or a CertificateError; those that are open by then are for `stop`. */
  async start(): Promise<void> {
    const { listen, tls, websocket } = this.#options;
    if (tls !== undefined) await this.#openTls(tls);
    if (websocket !== undefined) await this.#openWebSocket(websocket);
    if (tls === undefined || tls.listen !== undefined)
      await this.#open(listen, (socket) =>
        this.#accept(socket, {
          ...remoteOf(socket),
          door: 'tcp',
          local: isLoopback(listen.host),
          tls: false,
        }),
      );
    if (tls !== undefined) {
      const address = tls.listen ?? listen;
      const local = isLoopback(address.host);
      await this.#open(address, (socket) => this.#tls?.enter(socket, local));
    }
  }

  /**
   * Reads the files of TLS again. The result puts them in force, for handshakes from then on, and tells whether they are
   * others. Throws a CertificateError, with nothing changed, when they cannot be used.
   */
  prepareTls(): () => boolean {
    const steps = [this.#tls?.prepare(), this.#websocket?.prepare()];
    return () => steps.map((step) => step?.()).includes(true);
  }

  /** Nobody comes in any more; resolves when the last socket is gone. */
  async stop(): Promise<void> {
    const closed = this.#tcp.map((door) => door.stop());
    if (this.#websocket !== undefined) closed.push(this.#websocket.stop());
    this.#tls?.stop();
    await Promise.all(closed);
  }

  async #open(address: Address, accept: (socket: Socket) => void): Promise<void> {
    const door = new TcpDoor(address, accept, (error) =>
      this.#deps.warn('the MQTT listener cannot accept', { err: error }),
    );
    this.#tcp.push(door);
    await door.start();
  }

  /** Loaded only where there is TLS. */
  async #openTls(tls: TlsDoorOptions): Promise<void> {
    const { TlsDoor, certificateName } = await import('../../../src/net/tls.ts');
    this.#tls = new TlsDoor(
      { ...tls, handshakeMs: HANDSHAKE_MS },
      this.#deps.limits,
      (socket, local: boolean) =>
        this.#accept(socket, {
          ...remoteOf(socket),
          door: 'tls',
          local,
          tls: true,
          certificateName: certificateName(socket),
        }),
      (error, ip) =>
        this.#deps.warn('an MQTT client did not get through the TLS handshake', {
          ip,
          reason: error.message,
        }),
    );
  }

  /** Loaded only where there is WebSocket. */
  async #openWebSocket(websocket: WebSocketDoorOptions): Promise<void> {
    const { WebSocketDoor } = await import('../../../src/net/websocket.ts');
    const { limits } = this.#deps;
    const { tls } = this.#options;
    assert(!websocket.tls || tls !== undefined, 'WebSocket inside TLS has certificates');
    const local = isLoopback(websocket.listen.host);
    const settings = {
      tls: websocket.tls && tls !== undefined ? { ...tls, handshakeMs: HANDSHAKE_MS } : undefined,
      protocols: PROTOCOLS,
      binaryOnly: true, // [MQTT-6.0.0-1]
      messageBytesMax: limits.packetBytesMax,
      connectionsMax: limits.connectionsMax,
    };
    this.#websocket = new WebSocketDoor(
      websocket,
      settings,
      (stream, client) => this.#accept(stream, { ...client, door: 'websocket', local }),
      (reason, ip) => this.#deps.warn('an MQTT client was refused its WebSocket', { ip, reason }),
    );
    await this.#websocket.start();
  }
}
