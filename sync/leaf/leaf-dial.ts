// From an address to a connection that is ready for the login: name, TCP, INFO, TLS. Nothing of ours is written before TLS
// stands, where it is asked for here or by the hub; and nothing is believed that came in the clear before it, but INFO,
// of which the hub says the same again behind the login. Every socket of an attempt that fails is closed.

import { connect as connectSocket, isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  type PeerCertificate,
  type TLSSocket,
} from 'node:tls';
import type { Clock } from '../../src/clock.ts';
import type { TlsSettings } from '../credentials.ts';
import { plainTextError } from '../link-error.ts';
import type { LeafAddress } from './leaf-addresses.ts';
import { withoutHeaders, wrongPort } from './leaf-error.ts';
import { readInfo, type LeafInfo } from './leaf-info.ts';

/** The first line of a hub; of a large cluster it has a few kilobytes. */
const FIRST_LINE_BYTES_MAX = 64 * 1024;
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
  readonly timeoutMs: number;
  /** Ends the attempt at once. */
  readonly signal: AbortSignal;
}

/** A connection on which the hub has said INFO, and we have said nothing. */
export interface LeafLine {
  /** What is read and written: the TLS socket where there is one. It is paused. */
  readonly socket: Socket;
  /** The TCP socket. */
  readonly tcp: Socket;
  readonly encrypted: boolean;
  readonly info: LeafInfo;
  /** What came behind INFO. */
  readonly rest: Buffer;
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
  const cancel = clock.after(timeoutMs, () => failed.reject(new Error('no answer in time')));
  try {
    if (signal.aborted) throw new Error('stopped');
    return await establish(attempt, options);
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

async function establish(attempt: Attempt, options: LeafDialOptions): Promise<LeafLine> {
  const { tcp } = attempt;
  const { handshakeFirst, tlsRequired, address } = options;
  if (handshakeFirst) {
    await once(attempt, tcp, 'connect');
    const socket = await encrypt(attempt, options);
    return { socket, tcp, encrypted: true, ...(await firstInfo(attempt, socket, address)) };
  }
  const first = await firstInfo(attempt, tcp, address);
  if (!tlsRequired && !first.info.tlsRequired)
    return { socket: tcp, tcp, encrypted: false, ...first };
  if (!first.info.tlsRequired) throw new Error("server does not support 'tls'");
  if (first.rest.length > 0) throw plainTextError(address.text);
  const socket = await encrypt(attempt, options);
  return { socket, tcp, encrypted: true, info: first.info, rest: Buffer.alloc(0) };
}

/** Waits for INFO, and checks that it is that of a leafnode port. */
async function firstInfo(
  attempt: Attempt,
  socket: Socket,
  address: LeafAddress,
): Promise<{ info: LeafInfo; rest: Buffer }> {
  const { line, rest } = await Promise.race([firstLine(socket), attempt.failed]);
  const [, json] = /^info\s+(\{.*\})\s*$/is.exec(line) ?? [];
  if (json === undefined) throw new Error('unexpected response from server');
  const info = readInfo(json, address.text);
  if (!info.leafnodePort) throw wrongPort(address.text);
  if (!info.headers) throw withoutHeaders(address.text);
  return { info, rest };
}

/** The first line, without its end, and what came behind it; the socket is paused then. */
function firstLine(socket: Socket): Promise<{ line: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let held = Buffer.alloc(0);
    const take = (bytes: Buffer): void => {
      held = Buffer.concat([held, bytes]);
      const end = held.indexOf('\n');
      if (end < 0 && held.length <= FIRST_LINE_BYTES_MAX && speaksNats(held)) return;
      socket.off('data', take);
      socket.pause();
      if (end < 0) reject(new Error('unexpected response from server'));
      else resolve({ line: held.toString('utf8', 0, end), rest: held.subarray(end + 1) });
    };
    socket.on('data', take);
  });
}

/** Something else is not waited for. */
function speaksNats(bytes: Buffer): boolean {
  return 'info '.startsWith(bytes.toString('latin1', 0, 5).toLowerCase());
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
