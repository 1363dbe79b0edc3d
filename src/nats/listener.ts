// The NATS listener: accepts sockets and bounds them. A socket that has to log in and has not costs little and lives
// shortly; when too many wait, the oldest goes. Relies on `connection.ts` for everything that a client says.

import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../assert.ts';
import { every, type Cancel } from '../clock.ts';
import { isLoopback } from '../config/values.ts';
import { remoteOf, TcpDoor } from '../net/doors.ts';
import type { TlsDoor } from '../net/tls.ts';
import type { WebSocketDoor, WebSocketOptions } from '../net/websocket.ts';
import type { NatsUser } from './auth.ts';
import { Connection, type Host } from './connection.ts';
import { infoLine } from './encoder.ts';
import { info, type Greeting, type Peer } from './info.ts';
import { newNonce } from './nkey.ts';
import {
  createShared,
  type NatsCounters,
  type NatsDeps,
  type NatsOptions,
  type Shared,
  type TlsFiles,
} from './shared.ts';

/** How often the connections' deadlines are looked at, while there are any. */
const TICK_MS = 500;
/** Time for a TLS handshake, as nats-server gives it. */
const HANDSHAKE_MS = 2000;
/** How long clients are served after they were told that the server stops: time to finish what they are at. */
const LAME_DUCK_MS = 300;

export interface NatsStats extends NatsCounters {
  connections: number;
  /** Sockets that have not logged in. */
  halfOpen: number;
  subscriptions: number;
  /** Bytes that clients have not read. */
  pendingBytes: number;
  /** Publishes that wait for the disk. */
  publishesInFlight: number;
  /** Bytes of begun messages beyond what each connection has free. */
  partialBytes: number;
}

export class NatsListener implements Host {
  readonly #shared: Shared;
  readonly #halfOpen = new Set<Connection>();
  readonly #open = new Set<Connection>();
  readonly #closing = new Set<Connection>();
  #door: TcpDoor | undefined;
  #tls: TlsDoor<Greeting> | undefined;
  #websocket: WebSocketDoor | undefined;
  #cancelTick: Cancel | undefined;
  #stopped: Promise<void> | undefined;
  #allGone: (() => void) | undefined;
  #clientId = 0;

  constructor(options: NatsOptions, deps: NatsDeps) {
    this.#shared = createShared(options, deps);
    this.#assertGuarded(options.users ?? [], options.allowAnonymous);
  }

  /** Where it listens; undefined before `start`. */
  get address(): AddressInfo | undefined {
    return this.#door?.address;
  }

  get websocketAddress(): AddressInfo | undefined {
    return this.#websocket?.address;
  }

  /** The clients, in the order in which they came. */
  get connections(): Iterable<Connection> {
    return this.#open;
  }

  /** Counters and present state, for /varz. */
  stats(): NatsStats {
    const { counters, budgets, pending, partials, window } = this.#shared;
    return {
      ...counters,
      connections: this.#open.size,
      halfOpen: this.#halfOpen.size,
      subscriptions: budgets.subscriptions.used,
      pendingBytes: pending.used,
      publishesInFlight: window.messages,
      partialBytes: partials.used,
    };
  }

  /** Binds and accepts. Rejects with the system's error when an address cannot be had or a certificate not be used. */
  async start(): Promise<void> {
    const { options } = this.#shared;
    if (options.tls !== undefined) await this.#openTls(options.tls);
    if (options.websocket !== undefined) await this.#openWebSocket(options.websocket);
    this.#door = new TcpDoor(
      options.listen,
      (socket) => this.#acceptSocket(socket),
      (error) => this.#shared.warn('the NATS listener cannot accept', { err: error }),
    );
    await this.#door.start();
    const { host, port } = options.listen;
    this.#shared.address = { host, port: this.address?.port ?? port };
  }

  async #openTls(tls: TlsFiles): Promise<void> {
    const { TlsDoor } = await import('../net/tls.ts');
    this.#tls = new TlsDoor(
      { ...tls, handshakeMs: HANDSHAKE_MS },
      this.#shared.limits,
      (socket, greeting) =>
        this.accept(socket, peerOf(socket, true), greeting, !tls.handshakeFirst),
      (error, ip) =>
        this.#shared.warn('a NATS client did not get through the TLS handshake', {
          ip,
          reason: error.message,
        }),
    );
  }

  async #openWebSocket(websocket: WebSocketOptions): Promise<void> {
    const { WebSocketDoor } = await import('../net/websocket.ts');
    const { options, limits } = this.#shared;
    const settings = {
      tls: options.tls === undefined ? undefined : { ...options.tls, handshakeMs: HANDSHAKE_MS },
      messageBytesMax: limits.payloadBytesMax,
      connectionsMax: limits.webSocketsMax,
    };
    this.#websocket = new WebSocketDoor(
      websocket,
      settings,
      (stream, { ip, port, tls }) => this.accept(stream, { ip, port, type: 'websocket', tls }),
      (reason, ip) => this.#shared.warn('a NATS client was refused its WebSocket', { ip, reason }),
    );
    await this.#websocket.start();
  }

  /**
   * Reads the files of TLS again. The result puts them in force, for handshakes from then on, and tells whether they are
   * others. Throws a CertificateError, with nothing changed, when they cannot be used.
   */
  prepareTls(): () => boolean {
    const steps = [this.#tls?.prepare(), this.#websocket?.prepare()];
    return () => steps.map((step) => step?.()).includes(true);
  }

  #assertGuarded(users: readonly NatsUser[], allowAnonymous: boolean): void {
    const { listen: address, websocket } = this.#shared.options;
    const local = isLoopback(address.host) && isLoopback(websocket?.listen.host ?? 'localhost');
    assert(allowAnonymous || users.length > 0 || local, 'a NATS listener off loopback needs users');
  }

  /** Others may connect from now on. Clients that could not connect any more are closed; the others go on, with their new permissions. */
  admitOnly(users: readonly NatsUser[], allowAnonymous: boolean): void {
    this.#assertGuarded(users, allowAnonymous);
    this.#shared.users.replace(users, allowAnonymous);
    for (const connection of this.#open) connection.checkUser();
    // They were greeted for other users, maybe without a nonce.
    for (const connection of this.#halfOpen) connection.destroy();
  }

  #acceptSocket(socket: Socket): void {
    const tls = this.#tls;
    if (tls === undefined) return this.accept(socket, peerOf(socket, false));
    if (this.#stopped !== undefined) return void socket.destroy();
    const greeting = this.#greeting();
    if (!this.#shared.options.tls?.handshakeFirst)
      socket.write(infoLine(info(this.#shared, greeting, peerOf(socket, true))));
    tls.enter(socket, greeting);
  }

  /** Serves one client on `stream`, which may have been `greeted` already. */
  accept(stream: Duplex, peer: Peer, greeting = this.#greeting(), greeted = false): void {
    if (this.#stopped !== undefined) return void stream.destroy();
    const { counters, limits, users } = this.#shared;
    this.#makeRoom();
    const connection = new Connection(stream, this.#shared, this, {
      peer,
      greeting,
      greeted,
    });
    this.#cancelTick ??= every(this.#shared.clock, TICK_MS, () => this.#tick());
    this.#halfOpen.add(connection);
    counters.totalConnections++;
    if (this.#open.size >= limits.connectionsMax) {
      counters.refusedConnections++;
      this.#shared.warn('too many NATS clients: further ones are refused', { ip: peer.ip });
      return connection.close('too many clients', 'maximum connections exceeded');
    }
    if (!users.required) connection.enter();
  }

  #greeting(): Greeting {
    return {
      clientId: ++this.#clientId,
      nonce: this.#shared.users.usesNkeys ? newNonce() : '',
    };
  }

  /**
   * Accepts no more, tells the clients (`ldm`), serves them for a moment, then reads no more, lets the answers to what was
   * taken leave, and closes. Resolves when all is closed, at the latest after `graceMs`.
   */
  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  entered(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#open.add(connection);
  }

  closed(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#open.delete(connection);
    this.#closing.add(connection);
  }

  gone(connection: Connection): void {
    this.#closing.delete(connection);
    if (this.#count() > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#allGone?.();
  }

  /** Cuts off whoever has most to read. */
  overfull(): void {
    let largest: Connection | undefined;
    for (const each of this.#open)
      if (largest === undefined || each.pendingBytes > largest.pendingBytes) largest = each;
    largest?.cut('too much waits for all clients together, and most of it for this one');
  }

  #count(): number {
    return this.#halfOpen.size + this.#open.size + this.#closing.size;
  }

  /** Closes the oldest where too many have not logged in, or are not done with closing. */
  #makeRoom(): void {
    const { halfOpenMax } = this.#shared.limits;
    for (const oldest of this.#halfOpen) {
      if (this.#halfOpen.size < halfOpenMax) break;
      this.#shared.warn('too many NATS sockets without a login: the oldest are closed', {});
      oldest.destroy();
    }
    for (const oldest of this.#closing) {
      if (this.#closing.size < halfOpenMax) break;
      this.#closing.delete(oldest);
      oldest.destroy();
    }
  }

  #tick(): void {
    const nowMs = this.#shared.clock.monotonicMs();
    for (const connections of [this.#halfOpen, this.#open, this.#closing])
      for (const connection of connections) connection.tick(nowMs);
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock, turn } = this.#shared;
    this.#tls?.stop();
    const closed = Promise.all([this.#door?.stop(), this.#websocket?.stop()]);
    let cancelLate: Cancel = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancelLate = clock.after(graceMs, resolve);
    });
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
      if (this.#count() === 0) resolve();
    });
    for (const connection of this.#open) connection.announceStop();
    turn.flush();
    const cancelDuck = clock.after(Math.min(LAME_DUCK_MS, graceMs / 2), () => {
      for (const connection of [...this.#halfOpen, ...this.#open]) connection.drain();
    });
    await Promise.race([gone, late]);
    cancelDuck();
    for (const connection of [...this.#halfOpen, ...this.#open, ...this.#closing])
      connection.destroy();
    await closed;
    cancelLate();
    this.#cancelTick?.();
    this.#cancelTick = undefined;
  }
}

function peerOf(socket: Socket, tls: boolean): Peer {
  return { ...remoteOf(socket), type: 'nats', tls };
}
