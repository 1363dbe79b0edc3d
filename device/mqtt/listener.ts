// The MQTT listener: accepts sockets and bounds them. A socket that has not sent its CONNECT costs little and lives
// shortly; when too many wait, the oldest goes: whoever means it sends CONNECT at once. Relies on `connection.ts` for
// everything a client says.

import { createServer, type AddressInfo, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../../src/assert.ts';
import { every, type Cancel } from '../../src/clock.ts';
import type { MqttDeps } from './base.ts';
import { Connection, type Host } from './connection.ts';
import type { MqttUser } from './connect.ts';
import type { MqttCounters } from './counters.ts';
import { createShared, type MqttOptions, type Shared } from './shared.ts';

/** How often the connections' deadlines are looked at, while there are any. */
const TICK_MS = 500;
/** Notices a peer that vanished although its keep-alive is 0. */
const TCP_KEEP_ALIVE_MS = 60_000;

export interface MqttStats extends MqttCounters {
  connections: number;
  /** Sockets without a CONNECT. */
  halfOpen: number;
  /** Sessions, clean and persistent, connected and away. */
  sessions: number;
  subscriptions: number;
  /** Queued bytes of persistent sessions on the disk, and of all in memory. */
  queuedBytes: number;
  memoryBytes: number;
  retained: number;
  retainedBytes: number;
  /** PUBLISHes that wait for the disk. */
  publishesInFlight: number;
  /** Bytes of begun packets beyond what each connection has free. */
  partialBytes: number;
}

export class MqttListener implements Host {
  readonly #options: MqttOptions;
  readonly #shared: Shared;
  readonly #halfOpen = new Set<Connection>();
  readonly #connected = new Set<Connection>();
  readonly #closing = new Set<Connection>();
  #server: Server | undefined;
  #cancelTick: Cancel | undefined;
  #loaded = false;
  #stopped: Promise<void> | undefined;
  #allGone: (() => void) | undefined;

  constructor(options: MqttOptions, deps: MqttDeps) {
    this.#options = options;
    this.#assertGuarded(options.users ?? [], options.allowAnonymous);
    this.#shared = createShared(options, deps);
  }

  /** Totals since start. */
  get counters(): Readonly<MqttCounters> {
    return this.#shared.counters;
  }

  /** Where it listens; undefined before `start`. */
  get address(): AddressInfo | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address : undefined;
  }

  /** Counters and present state, for /varz. */
  stats(): MqttStats {
    const { counters, sessions, retained, partials, window } = this.#shared;
    return {
      ...counters,
      connections: this.#connected.size,
      halfOpen: this.#halfOpen.size,
      ...sessions.stats,
      retained: retained.count,
      retainedBytes: retained.bytes,
      publishesInFlight: window.messages,
      partialBytes: partials.used,
    };
  }

  /** Brings back sessions and retained messages: from now on they receive. `start` does it; once. */
  load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    this.#shared.retained.load();
    this.#shared.sessions.load();
  }

  /** Loads, binds and accepts. Rejects with the system's error when the address cannot be had. */
  async start(): Promise<void> {
    this.load();
    const server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS },
      (socket) => this.accept(socket),
    );
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#options.listen, () => {
        server.off('error', reject);
        resolve();
      });
    });
    // Out of file descriptors, mostly: the connections that are there go on.
    server.on('error', (error) =>
      this.#shared.warn('the MQTT listener cannot accept', { err: error }),
    );
  }

  #assertGuarded(users: readonly MqttUser[], allowAnonymous: boolean): void {
    const open = allowAnonymous || users.length > 0;
    assert(
      open || isLoopback(this.#options.listen.host),
      'an MQTT listener off loopback needs users',
    );
  }

  /** Others may connect from now on. Clients that could not connect any more are closed; the others notice nothing. */
  admitOnly(users: readonly MqttUser[], allowAnonymous: boolean): void {
    this.#assertGuarded(users, allowAnonymous);
    this.#shared.users.replace(users, allowAnonymous);
    for (const connection of [...this.#halfOpen, ...this.#connected]) connection.checkUser();
  }

  /** Serves one client on `stream`. */
  accept(stream: Duplex): void {
    assert(this.#loaded, 'an MQTT client before the sessions were loaded');
    if (this.#stopped !== undefined) {
      stream.destroy();
      return;
    }
    this.#makeRoom();
    this.#halfOpen.add(new Connection(stream, this.#shared, this));
    this.#cancelTick ??= every(this.#shared.clock, TICK_MS, () => this.#tick());
  }

  /**
   * Accepts and reads no more, lets the PUBACKs of what was taken leave, publishes the Wills and closes. Resolves when
   * all is closed and settled, at the latest after `graceMs`. Sessions stay subscribed: what comes still queues.
   */
  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  admits(instead: boolean): boolean {
    return instead || this.#connected.size < this.#shared.limits.connectionsMax;
  }

  connected(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#connected.add(connection);
  }

  closed(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#connected.delete(connection);
    this.#closing.add(connection);
  }

  gone(connection: Connection): void {
    this.#closing.delete(connection);
    if (this.#open() > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#allGone?.();
  }

  #open(): number {
    return this.#halfOpen.size + this.#connected.size + this.#closing.size;
  }

  /** Closes the oldest where too many have not connected, or are not done with closing. */
  #makeRoom(): void {
    const { halfOpenMax } = this.#shared.limits;
    for (const oldest of this.#halfOpen) {
      if (this.#halfOpen.size < halfOpenMax) break;
      this.#shared.counters.halfOpenEvicted++;
      this.#shared.warn('too many MQTT sockets without a CONNECT: the oldest are closed', {});
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
    for (const connections of [this.#halfOpen, this.#connected, this.#closing])
      for (const connection of connections) connection.tick(nowMs);
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock, gate } = this.#shared;
    const closed = this.#closeServer();
    let cancelLate: Cancel = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancelLate = clock.after(graceMs, resolve);
    });
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
      if (this.#open() === 0) resolve();
    });
    for (const connection of [...this.#halfOpen, ...this.#connected]) connection.drain();
    await Promise.race([gone, late]);
    for (const connection of [...this.#halfOpen, ...this.#connected, ...this.#closing])
      connection.destroy();
    // The Wills that were just published, too.
    const settled = new Promise<void>((resolve) => {
      gate.after(() => resolve());
    });
    await Promise.race([settled, late]);
    await closed;
    cancelLate();
    this.#cancelTick?.();
    this.#cancelTick = undefined;
  }

  #closeServer(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      server.close(() => resolve());
    });
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
