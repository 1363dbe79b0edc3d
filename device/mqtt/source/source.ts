// One existing broker as a source: keeps a connection to it with a session that the broker holds while we are away, and
// begins anew for ever when it is lost. It promises that a message of QoS 1 is acknowledged to that broker only when our
// disk has it, and that nothing is read from it that could not be held.

import type { Duplex } from 'node:stream';
import type { Broker } from '../../../src/broker.ts';
import type { Cancel, Clock } from '../../../src/clock.ts';
import { RepeatGuard, type Logger } from '../../../src/log.ts';
import type { Version } from '../wire/client-packets.ts';
import { Arrivals } from './source-arrivals.ts';
import { urlOf, type SourceConfig } from './source-config.ts';
import { SourceConnection, type SourceHost, type SourceParts } from './source-connection.ts';
import { dial, readPassword } from './source-dial.ts';
import { SourceError } from './source-error.ts';
import { Inflow } from './source-inflow.ts';
import { encodeConnect } from './source-packets.ts';
import { Subscriptions } from './source-subscriptions.ts';
import type { Table } from '../tables.ts';

/** A connection that held for this long was a success: the next pause is short again. */
const STABLE_MS = 5000;
/** When a refused subscription is asked for again. */
const RESUBSCRIBE_MS = 60_000;

/** How long to wait before the next attempt; `reset` after a success. */
export interface Pauses {
  nextMs(): number;
  reset(): void;
}

export interface SourceDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  /** Name of a source -> what it has subscribed. */
  readonly table: Table;
  readonly pauses: Pauses;
  /** Opens a connection; default TCP or TLS. */
  readonly dial?: (config: SourceConfig) => Duplex;
}

export interface SourceStats {
  readonly name: string;
  readonly url: string;
  readonly clientId: string;
  readonly connected: boolean;
  /** In a few words: how it stands. */
  readonly detail: string;
  /** What an operator must mend, or null. */
  readonly problem: string | null;
  /** Of the current or last connection. */
  readonly protocol: '5' | '3.1.1';
  readonly sessionPresent: boolean;
  readonly connects: number;
  /** Messages that the broker sent, and their data. */
  readonly received: number;
  readonly receivedBytes: number;
  /** On our disk; no stream took it; no stream ever will (too large for it, …). */
  readonly stored: number;
  readonly unrouted: number;
  readonly rejected: number;
  /** Refusals that are tried again; a message may count several times. */
  readonly refused: number;
  /** PUBACKs sent; messages that wait for theirs. */
  readonly acked: number;
  readonly unacked: number;
  /** Messages that the broker sent again before they had a PUBACK: stored once. */
  readonly redelivered: number;
  readonly droppedRetained: number;
  readonly droppedTopics: number;
  readonly droppedOversize: number;
  /** Not reading, because too much waits for the disk. */
  readonly paused: boolean;
}

export class MqttSource implements SourceHost {
  readonly #deps: SourceDeps;
  readonly #parts: SourceParts;
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  readonly #inflow: Inflow;
  #version: Version;
  #connection: SourceConnection | undefined;
  #cancelNext: Cancel | undefined;
  #connects = 0;
  #sessionPresent = false;
  #connectedMs = 0;
  #running = false;
  #failure: SourceError | null = null;
  #stopped: (() => void) | undefined;

  constructor(config: SourceConfig, deps: SourceDeps) {
    this.#deps = deps;
    const { broker, clock, table } = deps;
    this.#log = deps.log.child({ source: config.name });
    this.#guard = new RepeatGuard(clock);
    this.#version = config.protocol === '3.1.1' ? 4 : 5;
    this.#inflow = new Inflow({ broker, clock, log: this.#log }, () => this.#connection?.room());
    this.#parts = {
      config,
      clock,
      arrivals: new Arrivals(config, this.#inflow, (reason, topic) => this.#dropped(reason, topic)),
      subscriptions: new Subscriptions(config, table),
    };
  }

  /** Begins to connect. */
  start(): void {
    this.#running = true;
    this.#connect();
  }

  /** Takes nothing more and resolves when what was taken is acknowledged, or after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    this.#running = false;
    this.#cancelNext?.();
    this.#inflow.leave();
    const connection = this.#connection;
    if (connection === undefined) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#deps.clock.after(withinMs, () => connection.destroy());
      this.#stopped = () => {
        cancel();
        resolve();
      };
      connection.drain();
    });
  }

  stats(): SourceStats {
    const { config, subscriptions, arrivals } = this.#parts;
    const { stored, unrouted, droppedRejected, refused } = this.#inflow.fates;
    const [firstRefused] = subscriptions.refused;
    const problem =
      this.#failure?.standing === true
        ? this.#failure.message
        : firstRefused === undefined
          ? null
          : `the broker refuses the subscription ${firstRefused}`;
    return {
      name: config.name,
      url: urlOf(config),
      clientId: config.clientId,
      connected: this.#connection?.connected === true,
      detail: this.#detail(),
      problem,
      protocol: this.#version === 5 ? '5' : '3.1.1',
      sessionPresent: this.#sessionPresent,
      connects: this.#connects,
      ...arrivals.counters,
      stored,
      unrouted,
      rejected: droppedRejected,
      refused,
      ...this.#inflow.counters,
      unacked: this.#inflow.unacked,
      paused: this.#connection?.paused === true,
    };
  }

  connected(sessionPresent: boolean, sessionLost: boolean): void {
    this.#connects++;
    this.#sessionPresent = sessionPresent;
    this.#connectedMs = this.#deps.clock.monotonicMs();
    this.#failure = null;
    this.#guard.clear('away');
    const protocol = this.#version === 5 ? '5' : '3.1.1';
    this.#log.info(
      { url: urlOf(this.#parts.config), protocol, sessionPresent },
      'connected to the MQTT source',
    );
    if (!sessionLost) return;
    this.#log.warn(
      { hint: 'let the broker keep its sessions over a restart (mosquitto: persistence true)' },
      'the MQTT source has lost our session, and what it had received for it since',
    );
  }

  subscribed(topic: string, code: number): void {
    if (code >= 0x80) {
      this.#guard.run(`refused ${topic}`, (times) =>
        this.#log.warn(
          { topic, code, times, hint: 'check what the broker allows this user; see its log' },
          'the MQTT source refuses a subscription; asking again every minute',
        ),
      );
      this.#cancelNext ??= this.#deps.clock.after(RESUBSCRIBE_MS, () => {
        this.#cancelNext = undefined;
        this.#connection?.resubscribe();
      });
    } else if (code < this.#parts.config.qos)
      this.#log.warn(
        { topic, hint: 'raise the maximum QoS of the broker' },
        'the MQTT source grants a subscription without acknowledgements only (QoS 0)',
      );
  }

  ended(error: SourceError | null): void {
    const { clock, pauses } = this.#deps;
    const wasConnected = this.#connects > 0 && this.#failure === null;
    this.#connection = undefined;
    this.#cancelNext?.();
    this.#cancelNext = undefined;
    this.#stopped?.();
    if (error === null || !this.#running) return;
    this.#failure = error;
    if (wasConnected && clock.monotonicMs() - this.#connectedMs >= STABLE_MS) pauses.reset();
    if (error.wrongVersion && this.#parts.config.protocol === 'auto') this.#changeVersion(error);
    else this.#warnAway(error);
    this.#cancelNext = clock.after(pauses.nextMs(), () => this.#connect());
  }

  #warnAway({ message, hint }: SourceError): void {
    this.#guard.run('away', (times) =>
      this.#log.warn(
        { url: urlOf(this.#parts.config), error: message, hint, times },
        'the MQTT source is away; trying again',
      ),
    );
  }

  #connect(): void {
    this.#cancelNext = undefined;
    const { config } = this.#parts;
    const version = this.#version;
    let password: Buffer | undefined;
    let stream: Duplex;
    try {
      if (config.passwordFile !== undefined) password = readPassword(config.passwordFile);
      stream = (this.#deps.dial ?? dial)(config);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      return this.ended(error);
    }
    const order = { version, connect: encodeConnect(config, version, password) };
    this.#connection = new SourceConnection(stream, order, this.#parts, this);
  }

  /** A broker of before 2019 may not have MQTT 5, and may only hang up on hearing it; so may one that is ending. */
  #changeVersion(error: SourceError): void {
    this.#version = this.#version === 5 ? 4 : 5;
    if (!error.standing) return this.#warnAway(error);
    this.#failure = null;
    this.#log.info({ error: error.message }, 'trying the other version of MQTT');
  }

  #detail(): string {
    if (this.#failure !== null) return this.#failure.message;
    if (this.#connection?.connected !== true) return this.#running ? 'connecting' : 'stopped';
    return this.#connection.paused ? 'waiting for the disk or the stream' : 'connected';
  }

  #dropped(reason: string, topic: string): void {
    this.#guard.run(`dropped ${reason}`, (times) =>
      this.#log.warn(
        { reason, topic: topic.slice(0, 256), times },
        'a message of the MQTT source is dropped',
      ),
    );
  }
}
