import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TcpDoor } from '../../../src/net/doors.ts';
import { TlsDoor } from '../../../src/net/tls.ts';
import { until } from '../../support/until.ts';

const CERTIFICATES = join(import.meta.dirname, '../../fixtures/hub-certificates');
const file = (name: string): string => join(CERTIFICATES, `${name}.pem`);
const pem = (name: string): Buffer => readFileSync(file(name));

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A door on loopback that writes down who came in and who did not. */
async function open({ handshakeMs = 10_000, caFile = undefined as string | undefined }) {
  const entered: string[] = [];
  const failed: string[] = [];
  const tls = new TlsDoor<string>(
    { certFile: file('server'), keyFile: file('server-key'), caFile, handshakeMs },
    { halfOpenMax: 8 },
    (socket, greeting) => {
      entered.push(greeting);
      socket.on('error', () => undefined);
      socket.end('welcome');
    },
    (error, ip) => failed.push(`${ip}: ${error.message}`),
  );
  const tcp = new TcpDoor(
    { host: '127.0.0.1', port: 0 },
    (socket) => tls.enter(socket, 'hello'),
    () => undefined,
  );
  await tcp.start();
  ends.push(async () => {
    const gone = tcp.stop();
    tls.stop();
    await gone;
  });
  return { tls, entered, failed, port: tcp.address?.port ?? 0 };
}

/** An error on the way is what the test expects. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('close', () => resolve());
  });
}

/** A client, and what it heard until its connection was closed. */
async function heard(port: number, options: ConnectionOptions = {}): Promise<string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: pem('ca'),
    servername: 'localhost',
    ...options,
  });
  let text = '';
  socket.on('data', (chunk) => (text += String(chunk)));
  socket.on('error', () => undefined);
  await closed(socket);
  return text;
}

test('whoever opens a socket and begins no handshake is closed at the deadline, and it is said who', async () => {
  const { port, entered, failed } = await open({ handshakeMs: 50 });
  const socket = connectPlain(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await closed(socket);
  await until('it to be said', () => failed.length > 0);
  expect(failed).toEqual([expect.stringMatching(/^127\.0\.0\.1: ./)]);
  expect(await heard(port)).toBe('welcome');
  expect(entered).toEqual(['hello']);
});

test('a client with a certificate that is not valid here stays outside, and it is said who', async () => {
  const { port, entered, failed } = await open({ caFile: file('ca') });
  const client = (name: string) => ({ cert: pem(name), key: pem(`${name}-key`) });
  expect(await heard(port, client('client'))).toBe('welcome');
  for (const [i, wrong] of [client('client-expired'), client('client-other'), {}].entries()) {
    expect(await heard(port, wrong)).toBe('');
    await until('it to be said', () => failed.length > i);
  }
  expect(failed.map((each) => /certificate/.test(each) && each.startsWith('127.0.0.1: '))).toEqual([
    true,
    true,
    true,
  ]);
  expect(failed.join()).not.toMatch(/openssl|:SSL routines:/);
  expect(entered).toHaveLength(1);
});

test('who has no certificate does not come in with the ticket of a handshake that failed', async () => {
  const { port, entered } = await open({ caFile: file('ca') });
  const options = { host: '127.0.0.1', port, ca: pem('ca'), servername: 'localhost' };
  const first = connectTls(options);
  const tickets: Buffer[] = [];
  first.on('session', (ticket) => tickets.push(ticket));
  first.on('error', () => undefined);
  await closed(first);
  for (const session of [...tickets, undefined])
    expect(await heard(port, session === undefined ? {} : { session })).toBe('');
  expect(entered).toEqual([]);
});

test('the end of the listener closes handshakes that are under way, and nobody is blamed', async () => {
  const { port, tls, failed } = await open({ handshakeMs: 600_000 });
  const socket = connectPlain(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  expect(await heard(port)).toBe('welcome'); // The other one was accepted before.
  tls.stop();
  await closed(socket);
  expect(failed).toEqual([]);
});
