// One connection to a nats-server of the hub, from dialling to its end; never used again after. The only file that
// knows the NATS client library. What the library leaves open is closed here: sockets of a dial that hangs, a link that
// is silent, and the bytes of an old connection, which must not outlive it when it can be helped.

import { connect as connectSocket, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import {
  connect,
  jwtAuthenticator,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  type Authenticator,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { assert } from '../src/assert.ts';
import type { Clock } from '../src/clock.ts';
import type { Secret, TlsSettings } from './credentials.ts';
import { Dial } from './dial.ts';
import { KeepAlive, type Wire } from './keep-alive.ts';
import {
  fileError,
  hungUp,
  linkError,
  loginError,
  notEncrypted,
  plainTextError,
  type LinkError,
} from './link-error.ts';

/** Bytes that the library gathers before it writes to the socket: fewer, larger writes of a batch. */
const WRITE_BYTES = 128 * 1024;
/** The library's own pings are too slow and count data as silence; ours replace them. */
const NO_PING_MS = 24 * 60 * 60 * 1000;

export interface DialOptions {
  /** `host:port`, or the same with a scheme, which does not count: `tls` decides. */
  readonly server: string;
  /** Shown in the hub's connection list. */
  readonly name: string;
  readonly secret: Secret;
  /** Undefined: no TLS, unless the server asks for it. Otherwise never without. */
  readonly tls?: TlsSettings | undefined;
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

/** Dials one server. Rejects with a LinkError, after which no socket of the attempt is left. */
export async function dial(options: DialOptions, clock: Clock): Promise<LinkConnection> {
  const { server, secret, tls, timeoutMs, signal } = options;
  const attempt = new Dial({ startTls: tls !== undefined && !tls.handshakeFirst });
  const expired = Promise.withResolvers<never>();
  const abort = (): void => expired.reject(new Error('stopped'));
  signal.addEventListener('abort', abort, { once: true });
  const cancel = clock.after(timeoutMs, () => {
    const what = attempt.heard ? 'no answer to the login in time' : 'no answer in time';
    expired.reject(new Error(what));
  });
  attempt.onFault = (fault) => expired.reject(faultError(fault, server));
  let connecting: Promise<NatsConnection> | undefined;
  try {
    const authenticator = authenticatorOf(secret);
    connecting = attempt.run(() => connect(libraryOptions(options, authenticator)));
    const connection = await Promise.race([connecting, expired.promise]);
    return new LinkConnection(connection, attempt, options, clock);
  } catch (error) {
    attempt.destroy();
    // It may still succeed, when a name is resolved late.
    void connecting?.then((open) => open.close()).catch(() => undefined);
    const reason = linkError(error, server);
    const late = tls !== undefined && attempt.heard;
    throw loginError(late ? hungUp(reason) : reason, secret, clock.wallMs());
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}

function faultError(fault: Parameters<Dial['onFault']>[0], server: string): LinkError {
  return fault === 'unreadable'
    ? linkError(new Error('unexpected response from server'), server)
    : plainTextError(server);
}

function libraryOptions(
  { server, name, tls, timeoutMs }: DialOptions,
  authenticator: Authenticator | undefined,
): NodeConnectionOptions {
  const address = server.replace(/^[a-z]+:\/\//i, '');
  const options: NodeConnectionOptions & { pendingLimit: number } = {
    servers: [address],
    name,
    reconnect: false,
    ignoreClusterUpdates: true,
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    pingInterval: NO_PING_MS,
    timeout: timeoutMs,
    pendingLimit: WRITE_BYTES,
  };
  if (authenticator !== undefined) options.authenticator = authenticator;
  if (tls !== undefined) {
    const { context: secureContext, handshakeFirst } = tls;
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
    const bare = host.replace(/^\[|\]$/g, '');
    // The library checks the name in a certificate only for servers given by name: `host` is for the others.
    const settings = { secureContext, host: bare, handshakeFirst };
    // A socket of our own can be reset; the library would make one that is itself TLS, which cannot.
    const socket = handshakeFirst ? { socket: ownSocket(Number(port), bare) } : {};
    options.tls = { ...settings, ...socket } as NonNullable<NodeConnectionOptions['tls']>;
  }
  return options;
}

/** A socket that the library finds already dialled. It may fail before the library looks at it. */
function ownSocket(port: number, host: string): Socket {
  return connectSocket({ port, host, noDelay: true }).on('error', () => undefined);
}

/** Throws a LinkError where a seed is none: the library would only fall silent. */
function authenticatorOf(secret: Secret): Authenticator | undefined {
  switch (secret.kind) {
    case 'none':
      return undefined;
    case 'user':
      return usernamePasswordAuthenticator(secret.user, secret.password);
    case 'token':
      return tokenAuthenticator(secret.token);
    case 'nkey':
    case 'creds': {
      const seed = Buffer.from(secret.seed);
      try {
        nkeys.fromSeed(seed);
      } catch {
        // Its own error may say too much.
        throw fileError(secret.file, new Error('the nkey seed (SU…) in it is damaged'));
      }
      return secret.kind === 'nkey' ? nkeyAuthenticator(seed) : jwtAuthenticator(secret.jwt, seed);
    }
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
  readonly encrypted: boolean;
  readonly keepAlive: KeepAlive;
  readonly wire: Wire;
  /** Resolves when the connection has ended, with why; undefined for destroy(). */
  readonly ended: Promise<LinkError | undefined>;
  /** Called with each subject that the hub does not let us publish to. */
  onDenied: (subject: string) => void = () => undefined;
  readonly #connection: NatsConnection;
  readonly #attempt: Dial;
  readonly #endWith: (error: LinkError | undefined) => void;
  readonly #explain: (error: LinkError) => LinkError;
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
    this.encrypted = this.#outer() instanceof TLSSocket;
    if (options.tls !== undefined && !this.encrypted) throw notEncrypted(options.server);
    this.#explain = (error) => loginError(error, options.secret, clock.wallMs());
    attempt.onFault = (fault) => this.#end(faultError(fault, options.server));
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

  /** Hands over messages that are encoded already, as one piece. After the end it throws. */
  write(wire: Buffer): void {
    if (this.#connection.isClosed()) throw new Error('the connection is closed');
    // Not public: the library's publish() takes one message at a time, and as long for it as all else together.
    const { protocol } = this.#connection as {
      protocol?: { sendCommand?(wire: Uint8Array): void };
    };
    assert(typeof protocol?.sendCommand === 'function', 'the NATS library has sendCommand()');
    protocol.sendCommand(wire);
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
    this.#endWith(error === undefined ? undefined : this.#explain(linkError(error, this.server)));
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
