// From an address to a connection that is ready for the login: name, TCP, INFO, TLS. Nothing of ours is written before TLS
// stands, where it is asked for here or by the hub; and nothing is believed that came in the clear before it, but INFO,
// of which the hub says the same again behind the login. Where both want it, compression is agreed on. Every socket of an
// attempt that fails is closed.

import { connect as connectSocket, isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  type PeerCertificate,
  type TLSSocket,
} from 'node:tls';
import type { Clock } from '../../src/clock.ts';
import type { TlsSettings } from '../credentials.ts';
import { hungUp, linkError, plainTextError } from '../link-error.ts';
import type { LeafAddress } from './leaf-addresses.ts';
import {
  compressionLine,
  LeafCompression,
  wantsCompression,
  type Compression,
} from './leaf-compression.ts';
import { LeafError, saidByHub, withoutHeaders, wrongPort } from './leaf-error.ts';
import { readInfo, type LeafInfo } from './leaf-info.ts';
import { S2Error } from './s2/s2-reader.ts';

/** The first line of a hub; of a large cluster it has a few kilobytes. */
const FIRST_LINE_BYTES_MAX = 64 * 1024;
const MINUS = 0x2d;
/** Of several addresses of one name, each gets so long before the next one is tried as well. */
const ADDRESS_MS = 3_000;

export interface LeafDialOptions {
  readonly address: LeafAddress;
  /** Reads how TLS is made, where it is asked for, here or by the hub. */
  readonly tls: () => Promise<TlsSettings>;
  /** Without TLS there is no connection. */
  readonly tlsRequired: boolean;
  /** TLS begins before the first word of the hub. */
  readonly handshakeFirst: boolean;
  readonly compression: Compression;
  /** What the hub is told of us with it. */
  readonly serverId: string;
  readonly timeoutMs: number;
  /** Ends the attempt at once. */
  readonly signal: AbortSignal;
}

/** A connection on which the hub has said INFO, and we have said nothing, or how we compress. */
export interface LeafLine {
  /** What is read and written: the TLS socket where there is one. It is paused. */
  readonly socket: Socket;
  /** The TCP socket. */
  readonly tcp: Socket;
  readonly encrypted: boolean;
  readonly info: LeafInfo;
  /** What came behind INFO, in the clear. */
  readonly rest: Buffer;
  /** Undefined: both sides speak plainly. */
  readonly compression: LeafCompression | undefined;
}

/** Dials one address. Rejects with what went wrong; the caller gives it words. */
export async function dialLeaf(options: LeafDialOptions, clock: Clock): Promise<LeafLine> {
  const { address, timeoutMs, signal } = options;
  const { host, port } = address;
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const tcp = connectSocket({
    host,
    port,
    noDelay: true,
    autoSelectFamilyAttemptTimeout: ADDRESS_MS,
  });
  const attempt = { tcp, failed: failed.promise, fail: failed.reject };
  tcp.on('error', failed.reject);
  tcp.on('close', () => {
    // A server that waits for TLS says nothing, and hangs up before our time is over.
    const isSilent = tcp.bytesRead === 0 && !options.handshakeFirst;
    const when = isSilent ? ' before its first word' : '';
    failed.reject(new Error(`the server closed the connection${when}`));
  });
  const abort = (): void => failed.reject(new Error('stopped'));
  signal.addEventListener('abort', abort, { once: true });
  const cancel = clock.after(timeoutMs, () => {
    const more = tcp.bytesRead === 0 ? '' : 'further ';
    failed.reject(new Error(`no ${more}answer in time`));
  });
  try {
    if (signal.aborted) throw new Error('stopped');
    return await establish(attempt, options, clock);
  } catch (error) {
    tcp.destroy();
    throw error;
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}

interface Attempt {
  readonly tcp: Socket;
  readonly failed: Promise<never>;
  readonly fail: (error: unknown) => void;
}

async function establish(
  attempt: Attempt,
  options: LeafDialOptions,
  clock: Clock,
): Promise<LeafLine> {
  const { tcp } = attempt;
  const { handshakeFirst, address } = options;
  await once(attempt, tcp, 'connect');
  const ready = handshakeFirst ? await encrypt(attempt, options) : tcp;
  // A server speaks first: when all is ready it knows so half a turn later, and its word takes the other half.
  const readyMs = clock.monotonicMs();
  const first = await firstInfo(attempt, ready, address);
  const rttMs = clock.monotonicMs() - readyMs;
  const line = handshakeFirst
    ? { socket: ready, tcp, encrypted: true, ...first }
    : await encryptWhereAsked(attempt, options, first);
  if (!wantsCompression(options.compression, first.info, rttMs))
    return { ...line, compression: undefined };
  return compress(attempt, options, line);
}

type PlainLine = Omit<LeafLine, 'compression'>;
type First = Pick<LeafLine, 'info' | 'rest'>;

async function encryptWhereAsked(
  attempt: Attempt,
  options: LeafDialOptions,
  first: First,
): Promise<PlainLine> {
  const { tcp } = attempt;
  const { tlsRequired, address } = options;
  if (!tlsRequired && !first.info.tlsRequired)
    return { socket: tcp, tcp, encrypted: false, ...first };
  if (!first.info.tlsRequired) throw new Error("server does not support 'tls'");
  if (first.rest.length > 0) throw plainTextError(address.text);
  const socket = await encrypt(attempt, options);
  return { socket, tcp, encrypted: true, info: first.info, rest: Buffer.alloc(0) };
}

/** Tells the hub so, and waits for its next INFO: what it says before it has our word would be taken for compressed. */
async function compress(
  attempt: Attempt,
  { serverId, address }: LeafDialOptions,
  line: PlainLine,
): Promise<LeafLine> {
  if (line.rest.length > 0) throw new Error('unexpected response from server');
  const compression = new LeafCompression();
  line.socket.write(compressionLine(serverId));
  try {
    const { info, rest } = await firstInfo(attempt, line.socket, address, compression);
    return { ...line, info, rest, compression };
  } catch (error) {
    if (!line.encrypted || error instanceof LeafError) throw error;
    // These are our first words over TLS: what the hub thinks of our certificate comes now.
    throw hungUp(linkError(error, address.text));
  }
}

/** Waits for INFO, and checks that it is that of a leafnode port. */
async function firstInfo(
  attempt: Attempt,
  socket: Socket,
  address: LeafAddress,
  compression?: LeafCompression,
): Promise<First> {
  const { line, rest } = await Promise.race([firstLine(socket, compression), attempt.failed]);
  const [, said] = /^-err\s+'?(.*?)'?\s*$/is.exec(line) ?? [];
  if (said !== undefined) throw saidByHub(said, address.text).error;
  const [, json] = /^info\s+(\{.*\})\s*$/is.exec(line) ?? [];
  if (json === undefined) throw new Error('unexpected response from server');
  const info = readInfo(json, address.text);
  if (!info.leafnodePort) throw wrongPort(address.text);
  if (!info.headers) throw withoutHeaders(address.text);
  return { info, rest };
}

/** The first line, without its end, and what came behind it; the socket is paused then. */
function firstLine(
  socket: Socket,
  compression: LeafCompression | undefined,
): Promise<{ line: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0);
    let decode = compression?.decode;
    let isFirst = true;
    const take = (bytes: Buffer): void => {
      // Who gives us up before he has read how we compress says so in the clear.
      if (isFirst && bytes[0] === MINUS) decode = undefined;
      isFirst = false;
      let error: Error | undefined;
      try {
        held = decode === undefined ? Buffer.concat([held, bytes]) : gathered(held, decode(bytes));
      } catch (thrown) {
        error = thrown instanceof S2Error ? notCompressed(thrown) : (thrown as Error);
      }
      const end = held.indexOf('\n');
      const isBegun = end < 0 && held.length <= FIRST_LINE_BYTES_MAX && speaksNats(held);
      if (error === undefined && isBegun) return;
      socket.off('data', take);
      socket.pause();
      if (error !== undefined || end < 0)
        reject(error ?? new Error('unexpected response from server'));
      else resolve({ line: held.toString('utf8', 0, end), rest: held.subarray(end + 1) });
    };
    socket.on('data', take);
    socket.resume();
  });
}

/** A few bytes can stand for megabytes, of which no hub says anything yet. */
function gathered(held: Buffer, parts: Iterable<Buffer>): Buffer {
  const all = [held];
  let bytes = held.length;
  for (const part of parts) {
    all.push(part);
    bytes += part.length;
    if (bytes > FIRST_LINE_BYTES_MAX) throw new Error('unexpected response from server');
  }
  return Buffer.concat(all);
}

function notCompressed(error: S2Error): Error {
  return new Error(`parse error: ${error.message}`, { cause: error });
}

/** Something else is not waited for. */
function speaksNats(bytes: Buffer): boolean {
  const begin = bytes.toString('latin1', 0, 5).toLowerCase();
  return 'info '.startsWith(begin) || '-err '.startsWith(begin);
}

async function encrypt(attempt: Attempt, options: LeafDialOptions): Promise<TLSSocket> {
  const { address, tls } = options;
  const { context } = await Promise.race([tls(), attempt.failed]);
  const { host, tlsName } = address;
  const servername = isIP(host) === 0 ? host : tlsName;
  const socket = connectTls({
    socket: attempt.tcp,
    secureContext: context,
    host,
    ...(servername === undefined ? {} : { servername }),
    checkServerIdentity: (_, certificate) => identityError(address, certificate),
  });
  socket.on('error', attempt.fail);
  await once(attempt, socket, 'secureConnect');
  return socket;
}

/** An address that the hub told may be that of the name which is configured: either may stand in the certificate. */
function identityError(
  { host, tlsName }: LeafAddress,
  certificate: PeerCertificate,
): Error | undefined {
  const error = checkServerIdentity(host, certificate);
  if (error === undefined || tlsName === undefined) return error;
  return checkServerIdentity(tlsName, certificate) === undefined ? undefined : error;
}

function once(attempt: Attempt, socket: Socket, event: string): Promise<void> {
  const happened = new Promise<void>((resolve) => void socket.once(event, () => resolve()));
  return Promise.race([happened, attempt.failed]);
}
