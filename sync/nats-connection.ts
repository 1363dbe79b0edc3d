// One connection to a nats-server of the hub, from dialling to its end; never used again after. The only file that
// knows the NATS client library. What the library leaves open is closed here: sockets of a dial that hangs, a link that
// is silent, and the bytes of an old connection, which must not outlive it when it can be helped.

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe as subscribeChannel } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import {
  connect,
  credsAuthenticator,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  type Authenticator,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import type { Clock } from '../src/clock.ts';
import type { Secret } from './credentials.ts';
import { linkError, type LinkError } from './link-error.ts';
import { KeepAlive, type Wire } from './keep-alive.ts';

/** Bytes that the library gathers before it writes to the socket: fewer, larger writes of a batch. */
const WRITE_BYTES = 128 * 1024;
/** The library's own pings are too slow and count data as silence; ours replace them. */
const NO_PING_MS = 24 * 60 * 60 * 1000;

export interface TlsFiles {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly handshakeFirst?: boolean;
}

export interface DialOptions {
  /** `host:port` or a nats:// or tls:// URL. */
  readonly server: string;
  /** Shown in the hub's connection list. */
  readonly name: string;
  readonly secret: Secret;
  readonly tls?: TlsFiles | undefined;
  readonly timeoutMs: number;
  readonly keepAliveMs: number;
  /** Ends the attempt at once. */
  readonly signal: AbortSignal;
}

/** What a reply or a delivered message brought. */
export interface Reply {
  readonly subject: string;
  readonly reply: string;
  readonly data: Buffer;
  /** The status of a message without content (503 …), else 0. */
  readonly status: number;
  readonly description: string;
  /** The value of a header; throws where the library cannot read the block. */
  header(name: string): string;
}

/** The sockets of one dial. They are found by its asynchronous context: the library shows none before it is done. */
class Dial {
  readonly sockets = new Set<Socket>();
  #over = false;

  add(socket: Socket): void {
    this.sockets.add(socket);
    if (this.#over) queueMicrotask(() => this.destroy());
  }

  /** Resets every socket, and every one that still comes. */
  destroy(): void {
    this.#over = true;
    for (const socket of this.sockets) {
      // The library may just have taken its own listeners off.
      socket.on('error', () => undefined);
      try {
        // RST: the kernel forgets what it has not delivered. A socket that is itself TLS cannot.
        if (!socket.destroyed) socket.resetAndDestroy();
      } catch {
        // destroy() below is for those.
      }
      socket.destroy();
    }
  }
}

const dialling = new AsyncLocalStorage<Dial>();
let watching = false;

function watchSockets(): void {
  if (watching) return;
  watching = true;
  subscribeChannel('net.client.socket', (published) => {
    const { socket } = published as { socket: unknown };
    if (socket instanceof Socket) dialling.getStore()?.add(socket);
  });
}

/** Dials one server. Rejects with a LinkError, after which no socket of the attempt is left. */
export async function dial(options: DialOptions, clock: Clock): Promise<LinkConnection> {
  watchSockets();
  const attempt = new Dial();
  const expired = Promise.withResolvers<never>();
  const abort = (): void => expired.reject(new Error('stopped'));
  options.signal.addEventListener('abort', abort, { once: true });
  const cancel = clock.after(options.timeoutMs, () =>
    expired.reject(new Error('no answer in time')),
  );
  const connecting = dialling.run(attempt, () => connect(libraryOptions(options)));
  try {
    const connection = await Promise.race([connecting, expired.promise]);
    return new LinkConnection(connection, attempt, options, clock);
  } catch (error) {
    attempt.destroy();
    // It may still succeed, when a name is resolved late.
    void connecting.then((late) => late.close()).catch(() => undefined);
    throw linkError(error, options.server);
  } finally {
    cancel();
    options.signal.removeEventListener('abort', abort);
  }
}

function libraryOptions({
  server,
  name,
  secret,
  tls,
  timeoutMs,
}: DialOptions): NodeConnectionOptions {
  const withTls = tls !== undefined || /^tls:\/\//i.test(server);
  // The library checks the name in a certificate only for servers given by name.
  const host = server
    .replace(/^[a-z]+:\/\//i, '')
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '');
  const options: NodeConnectionOptions & { pendingLimit: number } = {
    servers: [server.replace(/^[a-z]+:\/\//i, '')],
    name,
    reconnect: false,
    ignoreClusterUpdates: true,
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    pingInterval: NO_PING_MS,
    timeout: timeoutMs,
    pendingLimit: WRITE_BYTES,
  };
  const authenticator = authenticatorOf(secret);
  if (authenticator !== undefined) options.authenticator = authenticator;
  if (withTls) options.tls = { ...tls, host } as NonNullable<NodeConnectionOptions['tls']>;
  return options;
}

function authenticatorOf(secret: Secret): Authenticator | undefined {
  switch (secret.kind) {
    case 'none':
      return undefined;
    case 'user':
      return usernamePasswordAuthenticator(secret.user, secret.password);
    case 'token':
      return tokenAuthenticator(secret.token);
    case 'nkey':
      return nkeyAuthenticator(secret.seed);
    case 'creds':
      return credsAuthenticator(secret.creds);
  }
}

/** A header block of ours in the shape that the library asks to encode itself. */
class RawHeaders {
  readonly #block: Buffer;

  constructor(block: Buffer) {
    this.#block = block;
  }

  encode(): Uint8Array {
    return this.#block;
  }
}

export class LinkConnection {
  readonly server: string;
  readonly version: string;
  readonly maxPayload: number;
  readonly clustered: boolean;
  readonly keepAlive: KeepAlive;
  readonly wire: Wire;
  /** Resolves when the connection has ended, with why; undefined for destroy(). */
  readonly ended: Promise<LinkError | undefined>;
  /** Called with each subject that the hub does not let us publish to. */
  onDenied: (subject: string) => void = () => undefined;
  readonly #connection: NatsConnection;
  readonly #attempt: Dial;
  readonly #endWith: (error: LinkError | undefined) => void;
  #over = false;
  #lastError: unknown;

  constructor(connection: NatsConnection, attempt: Dial, options: DialOptions, clock: Clock) {
    const { promise, resolve } = Promise.withResolvers<LinkError | undefined>();
    this.ended = promise;
    this.#endWith = resolve;
    this.#connection = connection;
    this.#attempt = attempt;
    this.server = options.server;
    this.version = connection.info?.version ?? '0.0.0';
    this.maxPayload = connection.info?.max_payload ?? 1024 * 1024;
    this.clustered = connection.info?.cluster !== undefined;
    this.wire = this.#wire();
    this.keepAlive = new KeepAlive(clock, this.wire, options.keepAliveMs, (silentMs) => {
      this.#end(new Error(`nothing heard for ${Math.round(silentMs / 1000)} s`));
    });
    void this.#watch();
  }

  /** Subscribes until the returned function is called, or the hub denies it. The functions must not throw. */
  subscribe(
    subject: string,
    deliver: (reply: Reply) => void,
    denied: () => void = () => undefined,
  ): () => void {
    const subscription = this.#connection.subscribe(subject, {
      callback: (error: Error | null, message: Msg) => {
        if (error === null) deliver(replyOf(message));
        else denied();
      },
    });
    return () => subscription.unsubscribe();
  }

  /** Hands a message to the socket. Nothing is kept for a later connection: after the end it throws. */
  publish(subject: string, data: Buffer, headers?: Buffer, reply?: string): void {
    // The library only ever calls encode() on the headers it is given.
    const raw = headers === undefined ? undefined : (new RawHeaders(headers) as unknown as MsgHdrs);
    this.#connection.publish(subject, data, {
      ...(raw === undefined ? {} : { headers: raw }),
      ...(reply === undefined ? {} : { reply }),
    });
  }

  /** Resolves when the hub has read everything published before; rejects when the connection ends first. */
  flush(): Promise<void> {
    return this.#connection.flush();
  }

  /** Ends it at once and resets its sockets: what they have not sent yet is not sent. */
  destroy(): void {
    this.#end(undefined);
  }

  async #watch(): Promise<void> {
    void this.#connection
      .closed()
      .then((error) =>
        this.#end(error ?? this.#lastError ?? new Error('the hub closed the connection')),
      );
    for await (const status of this.#connection.status()) {
      if (status.type !== 'error') continue;
      const { error } = status;
      if (error.name === 'PermissionViolationError') {
        const denied = error as Error & { operation: 'publish' | 'subscription'; subject: string };
        if (denied.operation === 'publish') this.onDenied(denied.subject);
      } else {
        this.#lastError = error;
      }
    }
  }

  #end(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.keepAlive.stop();
    this.#attempt.destroy();
    void this.#connection.close().catch(() => undefined);
    this.#endWith(error === undefined ? undefined : linkError(error, this.server));
  }

  #wire(): Wire {
    return {
      receivedBytes: () => this.#plain()?.bytesRead ?? 0,
      unsentBytes: () => (this.#outer() ?? this.#plain())?.writableLength ?? 0,
      ping: () => void this.#connection.flush().catch(() => undefined),
    };
  }

  /** The TCP socket. */
  #plain(): Socket | undefined {
    return this.#attempt.sockets.values().find((socket) => !socket.destroyed);
  }

  /** Under TLS what is unsent waits in the library's own socket. Not public there: without it we see only what comes in. */
  #outer(): Socket | undefined {
    const { protocol } = this.#connection as { protocol?: { transport?: { socket?: unknown } } };
    const socket = protocol?.transport?.socket;
    return socket instanceof Socket ? socket : undefined;
  }
}

function replyOf(message: Msg): Reply {
  const data = Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength);
  // Only messages of the hub itself are empty and have a status; headers of stored ones may be unreadable.
  let status = 0;
  let description = '';
  if (data.length === 0) {
    try {
      status = message.headers?.code ?? 0;
      description = message.headers?.description ?? '';
    } catch {
      status = 0;
    }
  }
  return {
    subject: message.subject,
    reply: message.reply ?? '',
    data,
    status,
    description,
    header: (name) => message.headers?.get(name) ?? '',
  };
}
