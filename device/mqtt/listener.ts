// The MQTT listener: takes clients from its doors and bounds them. A socket that has not sent its CONNECT costs little and
// lives shortly; when too many wait, the oldest goes: whoever means it sends CONNECT at once. Relies on `connection.ts` for
// everything a client says, and on `access/doors.ts` for how it comes in.

import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../../src/assert.ts';
import { every, type Cancel } from '../../src/clock.ts';
import { Doors } from './access/doors.ts';
import type { LoginOptions } from './access/logins.ts';
import type { Peer } from './access/types.ts';
import type { MqttDeps } from './base.ts';
import { Connection, type Host } from './connection.ts';
import { clientView, type ClientView } from './client-view.ts';
import type { MqttCounters } from './counters.ts';
import type { SessionView } from './session/session-view.ts';
import { createShared, type MqttOptions, type Shared } from './shared.ts';
import type { SysFigures } from './sys-topics.ts';

/** How often the deadlines of connections and sessions are looked at. */
const TICK_MS = 500;

export interface MqttStats extends MqttCounters {
  connections: number;
  /** Sockets without a CONNECT. */
  halfOpen: number;
  /** Sessions, clean and persistent, connected and away. */
  sessions: number;
  subscriptions: number;
  sharedSubscriptions: number;
  /** Messages at QoS 1 and 2 for clients that have not acknowledged them. */
  queuedMessages: number;
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
  /** They wait for a password to be hashed (256 at most) or for the disk; counted as connections then. */
  readonly #entering = new Set<Connection>();
  readonly #connected = new Set<Connection>();
  readonly #closing = new Set<Connection>();
  readonly #doors: Doors;
  #lastId = 0;
  #cancelTick: Cancel | undefined;
  #loaded = false;
  #stopped: Promise<void> | undefined;
  #allGone: (() => void) | undefined;

  constructor(options: MqttOptions, deps: MqttDeps) {
    this.#options = options;
    this.#shared = createShared({ ...options, ...this.#logins(options) }, deps, () =>
      this.#figures(),
    );
    this.#doors = new Doors(options, (stream, peer) => this.accept(stream, peer), this.#shared);
  }

  /** Totals since start. */
  get counters(): Readonly<MqttCounters> {
    return this.#shared.counters;
  }

  /** Where it listens; undefined before `start`. */
  get address(): AddressInfo | undefined {
    return this.#doors.address;
  }

  /** Where TLS and WebSocket are spoken; undefined without them. */
  get tlsAddress(): AddressInfo | undefined {
    return this.#doors.tlsAddress;
  }

  get websocketAddress(): AddressInfo | undefined {
    return this.#doors.websocketAddress;
  }

  /** Who is connected, in the order in which they came. */
  *clients(): Iterable<ClientView> {
    for (const connection of this.#connected) {
      const view = clientView(connection);
      if (view !== undefined) yield view;
    }
  }

  /** All sessions, also of clients that are away. */
  sessions(): Iterable<SessionView> {
    return this.#shared.sessions.views();
  }

  /** Counters and present state, for /varz. */
  stats(): MqttStats {
    const { counters, sessions, retained, partials, window } = this.#shared;
    return {
      ...counters,
      connections: this.#connected.size,
      halfOpen: this.#halfOpen.size,
      ...sessions.stats,
      retained: retained.stored,
      retainedBytes: retained.bytes,
      publishesInFlight: window.messages,
      partialBytes: partials.used,
    };
  }

  /**
   * Brings back sessions, retained messages and Wills: from now on they receive, expire and are published. `start` does it;
   * once.
   */
  load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    const { retained, sessions, wills, clock } = this.#shared;
    retained.load();
    sessions.load();
    wills.load();
    this.#shared.sys.start();
    this.#cancelTick = every(clock, TICK_MS, () => this.#tick());
  }

  /** Loads, binds and accepts. Rejects with the system's error when an address cannot be had, or a CertificateError. */
  async start(): Promise<void> {
    this.load();
    await this.#doors.start();
  }

  /**
   * Reads the certificates again. The result puts them in force, and tells whether they are others; nobody is disconnected.
   * Throws a CertificateError when they cannot be used.
   */
  prepareTls(): () => boolean {
    return this.#doors.prepareTls();
  }

  /** Where only this machine can come in, nobody needs to be known. */
  #logins(options: LoginOptions): LoginOptions {
    const { users = [], allowAnonymous, userFromCertificate } = options;
    if (allowAnonymous || userFromCertificate === true || users.length > 0) return options;
    const { listen, tls, websocket } = this.#options;
    const hosts = [listen.host, tls?.listen?.host, websocket?.listen.host];
    const local = hosts.every((host) => host === undefined || isLoopback(host));
    assert(local, 'an MQTT listener off loopback needs users');
    return { ...options, allowAnonymous: true };
  }

  /**
   * Others may connect from now on, or do other things. Clients that could not connect any more are closed; the others
   * notice nothing.
   */
  admitOnly(options: LoginOptions): void {
    this.#shared.logins.replace(this.#logins(options));
    for (const connection of [...this.#entering, ...this.#connected]) connection.renewAccess();
  }

  /** Serves one client on `stream`. */
  accept(stream: Duplex, peer: Peer): void {
    assert(this.#loaded, 'an MQTT client before the sessions were loaded');
    if (this.#stopped !== undefined) {
      stream.destroy();
      return;
    }
    this.#makeRoom();
    this.#halfOpen.add(new Connection(stream, peer, this.#shared, this));
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
    const others = this.#entering.size - 1 + this.#connected.size;
    return instead || others < this.#shared.limits.connectionsMax;
  }

  entering(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#entering.add(connection);
  }

  connected(connection: Connection): void {
    this.#entering.delete(connection);
    connection.id = ++this.#lastId;
    this.#connected.add(connection);
  }

  closed(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#entering.delete(connection);
    this.#connected.delete(connection);
    this.#closing.add(connection);
  }

  gone(connection: Connection): void {
    this.#closing.delete(connection);
    if (this.#open() === 0) this.#allGone?.();
  }

  #figures(): SysFigures {
    const stats = this.stats();
    const droppedMsgs =
      stats.droppedSlowMsgs +
      stats.droppedQueueMsgs +
      stats.droppedRefusedMsgs +
      stats.droppedExpiredMsgs +
      stats.droppedLargeMsgs +
      stats.droppedForbiddenMsgs +
      stats.sharedDroppedMsgs;
    return { ...stats, droppedMsgs, diskFull: this.#shared.store.hasRoom?.() === false };
  }

  get #all(): readonly ReadonlySet<Connection>[] {
    return [this.#halfOpen, this.#entering, this.#connected, this.#closing];
  }

  #open(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0);
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
    for (const connections of this.#all)
      for (const connection of connections) connection.tick(nowMs);
    this.#shared.sessions.tick();
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock, gate } = this.#shared;
    const closed = this.#doors.stop();
    let cancelLate: Cancel = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancelLate = clock.after(graceMs, resolve);
    });
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
      if (this.#open() === 0) resolve();
    });
    for (const connections of this.#all) for (const connection of connections) connection.drain();
    await Promise.race([gone, late]);
    for (const connections of this.#all) for (const connection of connections) connection.destroy();
    // The Wills that were just published, too.
    const settled = new Promise<void>((resolve) => {
      gate.after(() => resolve());
    });
    await Promise.race([settled, late]);
    await closed;
    cancelLate();
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#shared.sys.stop();
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
