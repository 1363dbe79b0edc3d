// The link to the hub: at most one connection, made again for ever, each time anew. Nothing that was handed to an old
// connection is ever sent by a new one, and nothing is kept while there is none: requests fail, and their owner decides.

import { delay, type Cancel, type Clock } from '../src/clock.ts';
import { RepeatGuard, type Logger } from '../src/log.ts';
import { Backoff, type Random } from './backoff.ts';
import { deadline } from './deadline.ts';
import { readCredentials, readTls, type Credentials, type TlsFiles } from './credentials.ts';
import { HubError, localError } from './hub-error.ts';
import { inboxDenied, linkError, type LinkError } from './link-error.ts';
import { randomToken } from './random-token.ts';
import { dial, type LinkConnection, type Reply } from './nats-connection.ts';

/** The longest time to set up a connection: name, TCP, TLS and login. */
const DIAL_MS = 10_000;
/** The first delay before dialling again is drawn from this. */
const RECONNECT_BASE_MS = 500;
/** A connection that lasted this long was a good one: the next delays begin anew. */
const GOOD_MS = 10_000;
/** Requests under way at once: a forwarder with a chain or a window has 500, and the link room for eight of them. */
const PENDING_MAX = 4_096;
export interface LinkConfig {
  readonly servers: readonly string[];
  /** Shown in the hub's connection list. */
  readonly name: string;
  readonly credentials?: Credentials | undefined;
  /** Answers of the hub go to subjects under this (`_INBOX`): with one of its own, no other gateway need hear them. */
  readonly inboxPrefix?: string;
  /** Undefined: no TLS, unless the server asks for it, or its URL says tls:// */
  readonly tls?: TlsFiles | undefined;
  /** A hole in the WAN is noticed within this time. */
  readonly keepAliveMs: number;
  readonly reconnectMaxMs: number;
}

export interface LinkParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
}

/** A request or a batch that waits for replies. */
export interface Exchange<T> {
  /** The subjects it publishes to, for a denial by the hub. */
  readonly covers: (subject: string) => boolean;
  /** Publishes; `reply(n)` is the n-th reply subject. Runs at once, and synchronously. */
  readonly send: (connection: LinkConnection, reply: (n: number) => string) => void;
  /** Given each reply with its n; an answer other than undefined ends the exchange. May throw a HubError. */
  readonly receive: (reply: Reply, n: number) => T | undefined;
  readonly timeoutMs: number;
  /** Silence of the link to bear beyond the keep-alive. */
  readonly patienceMs?: number | undefined;
  /** Deliveries of a consumer are expected: they carry the stream's subjects, so it needs a subscription of its own. */
  readonly deliveries?: boolean;
  /** Further tokens that the one reply subject must have; they too need a subscription of its own. */
  readonly tokens?: string | undefined;
}

/** A long exchange with subjects of its own. */
export interface Conversation {
  /** Token that its reply subjects begin with, behind the inbox of the connection. */
  readonly id: string;
  /** The subjects it publishes to, for a denial by the hub. */
  readonly covers: (subject: string) => boolean;
  /** Given each reply. Must not throw. */
  readonly receive: (reply: Reply) => void;
  /** Called when the connection has ended, or the hub denies a subject. */
  readonly fail: (error: HubError) => void;
}

/** What a conversation may use until it calls end(). */
export interface Line {
  readonly connection: LinkConnection;
  /** Reply subjects are this and further tokens. */
  readonly inbox: string;
  end(): void;
}

interface Pending {
  readonly covers: (subject: string) => boolean;
  readonly receive: (reply: Reply, n: number) => void;
  readonly reject: (error: HubError) => void;
}

export class NatsLink {
  readonly #config: LinkConfig;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #random: Random;
  readonly #guard: RepeatGuard;
  readonly #backoff: Backoff;
  readonly #listeners = new Set<() => void>();
  readonly #pending = new Map<string, Pending>();
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #connection: LinkConnection | undefined;
  #inbox = '';
  #nextId = 0;
  #nextServer: number;
  #detail = 'not started';
  /** `answers` counts replies, and the looks at a late one that still moves. */
  readonly counters = { connects: 0, failures: 0, answers: 0 };

  constructor(config: LinkConfig, { clock, log, random }: LinkParts) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#random = random;
    this.#guard = new RepeatGuard(clock);
    this.#backoff = new Backoff(
      { baseMs: RECONNECT_BASE_MS, capMs: config.reconnectMaxMs },
      random,
    );
    // A fleet shall not fill the first server first.
    this.#nextServer = Math.floor(random() * config.servers.length);
  }

  get connection(): LinkConnection | undefined {
    return this.#connection;
  }

  /** Why there is no connection; empty when there is one. */
  get detail(): string {
    return this.#connection === undefined ? this.#detail : '';
  }

  onChange(fn: () => void): Cancel {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  /** Begins to connect, for ever. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Drops the connection; every request under way fails. Resolves soon. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#connection?.destroy();
    await this.#running;
  }

  /** Drops the connection and dials the next server. */
  reconnect(reason: string): void {
    if (this.#connection === undefined) return;
    this.#log.warn(
      { server: this.#connection.server, reason },
      'dropping the connection to the hub',
    );
    this.#detail = reason;
    this.#connection.destroy();
  }

  /** A request with one reply. Rejects with a HubError: link down, no responders, timeout, permission. */
  request(subject: string, data: Buffer, timeoutMs: number): Promise<Reply> {
    return this.exchange({
      covers: (denied) => denied === subject,
      send: (connection, reply) => connection.publish(subject, data, undefined, reply(1)),
      receive: (reply) => {
        if (reply.status === 503) throw noResponders(subject);
        return reply;
      },
      timeoutMs,
    });
  }

  /** Sends and waits for the replies. Rejects with a HubError; what the hub made of it is unknown then. */
  exchange<T>(exchange: Exchange<T>): Promise<T> {
    const connection = this.#connection;
    if (connection === undefined)
      return Promise.reject(localError('linkDown', `no connection to the hub: ${this.#detail}`));
    if (this.#pending.size >= PENDING_MAX)
      return Promise.reject(localError('timeout', 'too many requests to the hub are under way'));
    const id = (this.#nextId++).toString(36);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const patient = exchange.patienceMs ?? 0;
    const release = patient > 0 ? connection.keepAlive.bear(patient) : undefined;
    let cancel: Cancel = () => undefined;
    let unsubscribe = (): void => undefined;
    const end = (): void => {
      cancel();
      release?.();
      unsubscribe();
      this.#pending.delete(id);
    };
    const fail = (error: HubError): void => {
      end();
      reject(error);
    };
    this.#pending.set(id, {
      covers: exchange.covers,
      reject: fail,
      receive: (reply, n) => {
        const answer = exchange.receive(reply, n);
        if (answer === undefined) return;
        end();
        resolve(answer);
      },
    });
    try {
      if (exchange.deliveries === true || exchange.tokens !== undefined) {
        const inbox = `${this.#inbox}.${id}.${exchange.tokens ?? '1'}`;
        unsubscribe = connection.subscribe(inbox, (reply) => this.#deliver(id, 1, reply));
        exchange.send(connection, () => inbox);
      } else {
        exchange.send(connection, (n) => `${this.#inbox}.${id}-${n}`);
      }
      const timeoutMs = exchange.timeoutMs + patient;
      const looked = (): void => void this.counters.answers++;
      cancel = deadline(this.#clock, connection.wire, { timeoutMs, looked, expired: fail });
    } catch (error) {
      fail(asHubError(error));
    }
    return promise;
  }

  /** Begins a conversation, which lasts until end() or its connection's end. Throws a HubError. */
  converse({ id, covers, receive, fail }: Conversation): Line {
    const connection = this.#connection;
    if (connection === undefined)
      throw localError('linkDown', `no connection to the hub: ${this.#detail}`);
    if (this.#pending.size >= PENDING_MAX)
      throw localError('timeout', 'too many requests to the hub are under way');
    const inbox = `${this.#inbox}.${id}`;
    const unsubscribe = connection.subscribe(`${inbox}.>`, (reply) => {
      this.counters.answers++;
      receive(reply);
    });
    const pending = { covers, receive: () => undefined, reject: fail };
    this.#pending.set(inbox, pending);
    const end = (): void => {
      if (this.#pending.get(inbox) !== pending) return;
      this.#pending.delete(inbox);
      unsubscribe();
    };
    return { connection, inbox, end };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const lived = await this.#connectOnce();
      if (lived >= GOOD_MS) this.#backoff.reset();
      // A timer may run before its time is up by a fraction; the loop must not spin whatever the delay.
      if (!signal.aborted) await delay(this.#clock, Math.max(1, this.#backoff.nextMs()), signal);
    }
  }

  /** One connection from dialling to its end; returns how long it lasted in ms. */
  async #connectOnce(): Promise<number> {
    const { servers, credentials, name, keepAliveMs } = this.#config;
    const server = servers[this.#nextServer++ % servers.length] ?? '';
    const { signal } = this.#stopped;
    let connection: LinkConnection;
    try {
      const exposed = (file: string, mode: string): void => this.#exposed(file, mode);
      const secret = await readCredentials(credentials, exposed);
      const files = this.#config.tls ?? (/^tls:/i.test(server) ? {} : undefined);
      const tls = files === undefined ? undefined : await readTls(files, exposed);
      connection = await dial(
        {
          server,
          name,
          secret,
          tls,
          keepAliveMs,
          signal,
          timeoutMs: Math.min(DIAL_MS, keepAliveMs),
        },
        this.#clock,
      );
    } catch (error) {
      if (!signal.aborted) this.#failed(linkError(error, server));
      return 0;
    }
    const sinceMs = this.#clock.monotonicMs();
    const refusal = signal.aborted ? undefined : await this.#login(connection);
    if (signal.aborted || refusal !== undefined) connection.destroy();
    else this.#up(connection);
    const error = (await connection.ended) ?? refusal;
    this.#down(error);
    return this.#clock.monotonicMs() - sinceMs;
  }

  /** Subscribes to the replies. Returns why there can be none: without them the link is of no use. */
  async #login(connection: LinkConnection): Promise<LinkError | undefined> {
    const { inboxPrefix = '_INBOX' } = this.#config;
    this.#inbox = `${inboxPrefix}.${randomToken(this.#random)}`;
    let denied = false;
    connection.subscribe(
      `${this.#inbox}.*`,
      (reply) => this.#receive(reply),
      () => (denied = true),
    );
    const { signal } = this.#stopped;
    const stop = (): void => connection.destroy();
    signal.addEventListener('abort', stop, { once: true });
    // The library's flush never settles when the connection ends before its answer.
    const flushed = connection.flush().then(
      () => undefined,
      (error: unknown) => linkError(error, connection.server),
    );
    const error = await Promise.race([flushed, connection.ended]);
    signal.removeEventListener('abort', stop);
    if (error !== undefined) return error;
    connection.onDenied = (subject) => this.#denied(subject);
    return denied ? inboxDenied(connection.server, `${inboxPrefix}.>`) : undefined;
  }

  #up(connection: LinkConnection): void {
    this.#connection = connection;
    this.counters.connects++;
    const { server, version, encrypted } = connection;
    this.#log.info({ server, version, encrypted }, 'connected to the hub');
    this.#changed();
  }

  #down(error: LinkError | undefined): void {
    const was = this.#connection;
    this.#connection = undefined;
    if (was === undefined) {
      if (error !== undefined) this.#failed(error);
      return;
    }
    const why = error?.message ?? this.#detail;
    this.#detail = why;
    for (const pending of this.#pending.values())
      pending.reject(
        localError('linkDown', `the connection to the hub ended: ${why}`, { cause: error }),
      );
    if (error !== undefined) this.#failed(error);
    this.#changed();
  }

  #failed(error: LinkError): void {
    this.counters.failures++;
    this.#detail = error.message;
    this.#guard.run(`down ${error.kind}`, (times) => {
      const { kind, hint } = error;
      this.#log.warn({ kind, error: error.message, times, hint }, 'no connection to the hub');
    });
  }

  #exposed(file: string, mode: string): void {
    this.#guard.run(`exposed ${file}`, (times) => {
      const hint = `chmod 600 ${file}`;
      this.#log.warn({ file, mode, times, hint }, 'a secret for the hub can be read by others');
    });
  }

  #receive(reply: Reply): void {
    const [id = '', n = ''] = reply.subject.slice(this.#inbox.length + 1).split('-');
    this.#deliver(id, Number(n), reply);
  }

  /** Must not throw: it runs inside the library's parser. */
  #deliver(id: string, n: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    this.counters.answers++;
    try {
      pending?.receive(reply, n);
    } catch (error) {
      pending?.reject(asHubError(error));
    }
  }

  #denied(subject: string): void {
    const error = localError('permission', `the hub denies "${subject}" to this gateway`, {
      hint: `allow this gateway to publish to "${subject}" at the hub`,
    });
    for (const pending of this.#pending.values())
      if (pending.covers(subject)) pending.reject(error);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

export function noResponders(subject: string): HubError {
  return localError('noResponders', `nobody at the hub takes "${subject}"`, {
    hint: 'the hub stream has no leader just now, or JetStream is not enabled for this account',
  });
}

function asHubError(error: unknown): HubError {
  if (error instanceof HubError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return localError('linkDown', message, { cause: error });
}
