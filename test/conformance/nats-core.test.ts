// The official client, unchanged, against an agent of ours over real sockets.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  connect,
  createInbox,
  deferred,
  headers,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  wsconnect,
  type ConnectionOptions,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NatsListener } from '../../src/nats/listener.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { freePort } from '../support/nats-server.ts';
import { until } from '../support/until.ts';

const CERTIFICATES = join(import.meta.dirname, '../fixtures/hub-certificates');
const certificate = (name: string): string => join(CERTIFICATES, name);

let dir: GatewayDir;
let agent: TestAgent | undefined;
const clients: NatsConnection[] = [];

beforeEach(() => {
  dir = new GatewayDir();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await agent?.stop();
  agent = undefined;
  dir.remove();
});

/** Starts an agent with `tables` of `[nats]`. */
async function start(tables = '[nats]\nlisten = "127.0.0.1:0"\n'): Promise<void> {
  dir.configure({ servers: ['nats://127.0.0.1:1'], tables });
  agent = await TestAgent.start(dir);
}

function listener(): NatsListener {
  const { nats } = agent?.agent.parts ?? {};
  if (!(nats instanceof NatsListener)) throw new Error('NATS does not listen');
  return nats;
}

async function client(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
  const port = listener().address?.port ?? 0;
  const connected = await connect({ servers: `127.0.0.1:${port}`, ...options });
  clients.push(connected);
  return connected;
}

/** Keeps what a subscription gets. */
function collect(connection: NatsConnection, subject: string, queue?: string): Msg[] {
  const got: Msg[] = [];
  connection.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (_error, message) => void got.push(message),
  });
  return got;
}

test('publish and subscribe, with wildcards, headers and groups', async () => {
  await start();
  const [a, b] = [await client(), await client()];
  const all = collect(a, 'site.>');
  const one = collect(a, 'site.*.temp');
  const groups = [collect(a, 'site.>', 'crew'), collect(b, 'site.>', 'crew')];
  await a.flush();
  const block = headers();
  block.append('Unit', 'C');
  block.append('Unit', 'K');
  for (let i = 0; i < 50; i++) b.publish('site.a.temp', `${i}`, { headers: block });
  b.publish('site.größe', 'x');
  await b.flush();
  await until('all of it', () => all.length === 51);
  expect(all.map((message) => message.string())).toEqual([
    ...Array.from({ length: 50 }, (_, i) => `${i}`),
    'x',
  ]);
  expect(all[0]?.headers?.values('Unit')).toEqual(['C', 'K']);
  expect(all[50]?.subject).toBe('site.größe');
  expect(one.length).toBe(50);
  await a.flush();
  expect(groups.map((got) => got.length).reduce((x, y) => x + y)).toBe(51);
  for (const got of groups) expect(got.length).toBeGreaterThan(5);
});

test('requests are answered, or at once refused where nobody is there', async () => {
  await start();
  const [asker, service] = [await client(), await client()];
  service.subscribe('double', {
    callback: (_error, message) => void message.respond(message.string().repeat(2)),
  });
  await service.flush();
  expect((await asker.request('double', 'ab')).string()).toBe('abab');
  expect((await asker.request('double', 'cd', { noMux: true, timeout: 2000 })).string()).toBe(
    'cdcd',
  );
  await expect(asker.request('nowhere', 'x', { timeout: 10_000 })).rejects.toThrow('no responders');
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => asker.request('double', `${i}`)),
  );
  expect(answers.map((answer) => answer.string())).toEqual(
    Array.from({ length: 200 }, (_, i) => `${i}${i}`),
  );
  expect(JSON.parse((await asker.request('$SYS.REQ.USER.INFO')).string())).toMatchObject({
    server: { name: 'gw7' },
    data: { account: '$G' },
  });
});

test('a publish to a stream is answered with a PubAck, and a duplicate with the first one', async () => {
  await start();
  const nc = await client();
  const publish = async (data: string, id: string): Promise<unknown> => {
    const block = headers();
    block.set('Nats-Msg-Id', id);
    return (await nc.request('plant1.a', data, { headers: block, timeout: 5000 })).json();
  };
  expect(await publish('1', 'a')).toEqual({ stream: 'SENSORS', seq: 1 });
  expect(await publish('2', 'b')).toEqual({ stream: 'SENSORS', seq: 2 });
  expect(await publish('1', 'a')).toEqual({ stream: 'SENSORS', seq: 1, duplicate: true });
  expect(agent?.agent.parts.jetstream.stream('SENSORS')?.state()).toMatchObject({
    messages: 2,
    durableSeq: 2,
  });
});

test('a subscription with a maximum ends by itself, and a drain loses nothing', async () => {
  await start();
  const [a, b] = [await client(), await client()];
  const limited = a.subscribe('a', { max: 3 });
  const got = (async () => {
    let count = 0;
    for await (const _ of limited) count++;
    return count;
  })();
  const drained = collect(a, 'b');
  await a.flush();
  for (let i = 0; i < 10; i++) b.publish('a');
  for (let i = 0; i < 1000; i++) b.publish('b', 'x'.repeat(100));
  await b.flush();
  expect(await got).toBe(3);
  await a.drain();
  expect(drained.length).toBe(1000);
});

test('a message over max_payload is refused by the client, who knows the limit', async () => {
  await start();
  const nc = await client();
  expect(nc.info?.max_payload).toBe(1024 * 1024);
  expect(() => nc.publish('a', Buffer.alloc(1024 * 1024 + 1))).toThrow(/max_payload/i);
  const got = collect(nc, 'a');
  nc.publish('a', Buffer.alloc(1024 * 1024, 7));
  await nc.flush();
  expect(got[0]?.data.length).toBe(1024 * 1024);
  expect(got[0]?.data.every((byte) => byte === 7)).toBe(true);
});

test('clients come back by themselves after a restart, with their subscriptions', async () => {
  const port = await freePort();
  const tables = `[nats]\nlisten = "127.0.0.1:${port}"\n`;
  await start(tables);
  const nc = await client({ reconnectTimeWait: 20, maxReconnectAttempts: -1 });
  const statuses: string[] = [];
  void (async () => {
    for await (const { type } of nc.status()) statuses.push(type);
  })();
  const got = collect(nc, 'a.>');
  await nc.flush();
  await agent?.stop();
  await until('ldm', () => statuses.includes('ldm'));
  await until('the loss', () => statuses.includes('disconnect'));
  await start(tables);
  await until('the return', () => statuses.includes('reconnect'));
  const other = await client();
  other.publish('a.b', 'back');
  await until('the message', () => got.length === 1);
});

const nkey = nkeys.createUser();
const USERS = `[nats]
listen = "127.0.0.1:0"
[[nats.users]]
user = "meter"
password = "sw0rdfish"
publish = ["site.>", "work"]
deny_publish = ["site.secret.>"]
subscribe = ["_INBOX.>", "site.>"]
deny_subscribe = ["site.secret.>"]
[[nats.users]]
user = "panel"
token_file = "panel.secret"
[[nats.users]]
user = "robot"
nkey = "${nkey.getPublicKey()}"
subscribe = ["work"]
allow_responses = true
`;

function secret(): void {
  writeFileSync(join(dir.path, 'panel.secret'), 'open sesame\n', { mode: 0o600 });
}

test('a login by password, token or NKey; nobody else comes in', async () => {
  secret();
  await start(USERS);
  const meter = await client({ user: 'meter', pass: 'sw0rdfish' });
  expect(meter.info?.auth_required).toBe(true);
  const panel = await client({ token: 'open sesame' });
  const robot = await client({ authenticator: nkeyAuthenticator(nkey.getSeed()) });
  for (const nc of [meter, panel, robot]) await nc.flush();
  const whoami = async (nc: NatsConnection): Promise<unknown> =>
    ((await nc.request('$SYS.REQ.USER.INFO')).json() as { data: unknown }).data;
  expect(await whoami(panel)).toEqual({ user: 'panel', account: '$G' });
  expect([...listener().connections].map(({ user }) => user?.user)).toEqual([
    'meter',
    'panel',
    'robot',
  ]);
  const wrong: ConnectionOptions[] = [
    {},
    { user: 'meter', pass: 'swordfish' },
    { user: 'nobody', pass: 'sw0rdfish' },
    { user: 'robot', pass: '' },
    { token: 'sw0rdfish' },
    { authenticator: nkeyAuthenticator(nkeys.createUser().getSeed()) },
    { authenticator: usernamePasswordAuthenticator('panel', 'open sesame') },
    { authenticator: tokenAuthenticator('') },
    // Knows whose key it is, and does not have it.
    {
      authenticator: () => ({
        nkey: nkey.getPublicKey(),
        sig: Buffer.from(nkeys.createUser().sign(Buffer.from('nonce'))).toString('base64url'),
      }),
    },
  ];
  for (const options of wrong)
    await expect(client(options), JSON.stringify(options)).rejects.toThrow(/authorization/i);
  expect(listener().stats()).toMatchObject({ connections: 3 });
});

test('permissions are kept, and who oversteps them is told and stays connected', async () => {
  secret();
  await start(USERS);
  const panel = await client({ token: 'open sesame' });
  const meter = await client({ user: 'meter', pass: 'sw0rdfish' });
  const errors: string[] = [];
  void (async () => {
    for await (const status of meter.status())
      if (status.type === 'error') errors.push(status.error.message);
  })();
  const seen = collect(panel, 'site.>');
  await panel.flush();
  meter.publish('site.a', '1');
  meter.publish('site.secret.a', '2');
  meter.publish('elsewhere', '3');
  await meter.flush();
  await until('the errors', () => errors.length === 2);
  expect(errors.map((error) => error.toLowerCase())).toEqual([
    expect.stringContaining('publish to "site.secret.a"'),
    expect.stringContaining('publish to "elsewhere"'),
  ]);
  await panel.flush();
  expect(seen.map((message) => message.string())).toEqual(['1']);

  const refused = deferred<Error | undefined>();
  meter.subscribe('>', { callback: (error) => refused.resolve(error ?? undefined) });
  expect((await refused)?.message).toMatch(/subscription to ">"/i);
  const sifted = collect(meter, 'site.>');
  await meter.flush();
  panel.publish('site.a', 'yes');
  panel.publish('site.secret.b', 'no');
  panel.publish('site.c', 'yes');
  await panel.flush();
  await until('the rest', () => sifted.length === 2);
  expect(sifted.map((message) => message.string())).toEqual(['yes', 'yes']);
});

test('who may answer requests may do so once, and nothing else', async () => {
  secret();
  await start(USERS);
  const robot = await client({ authenticator: nkeyAuthenticator(nkey.getSeed()) });
  const meter = await client({ user: 'meter', pass: 'sw0rdfish' });
  const panel = await client({ token: 'open sesame' });
  const violations: string[] = [];
  void (async () => {
    for await (const status of robot.status())
      if (status.type === 'error') violations.push(status.error.message);
  })();
  const all = collect(panel, '>');
  await panel.flush();
  robot.subscribe('work', {
    callback: (_error, message) => {
      message.respond('done');
      message.respond('done again');
      robot.publish('site.a', 'unasked');
    },
  });
  await robot.flush();
  expect((await meter.request('work', 'x')).string()).toBe('done');
  await until('the violations', () => violations.length === 2);
  await panel.flush();
  expect(all.filter((message) => message.string() !== 'x').map((m) => m.string())).toEqual([
    'done',
  ]);
});

test('a reload lets others in, and puts out whose login is gone', async () => {
  secret();
  await start(USERS);
  const panel = await client({ token: 'open sesame', reconnect: false });
  const meter = await client({ user: 'meter', pass: 'sw0rdfish' });
  dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: USERS.replace(
      'user = "panel"\ntoken_file = "panel.secret"',
      'user = "boss"\npassword = "b"',
    ),
  });
  const { loadConfig } = await import('../../src/config.ts');
  const prepared = await agent?.agent.prepare(loadConfig(dir.file, {}));
  expect(prepared?.needRestart).toEqual([]);
  expect(await prepared?.apply()).toEqual(['nats.users']);
  expect(String(await panel.closed())).toMatch(/authorization/i);
  await meter.flush();
  await (await client({ user: 'boss', pass: 'b' })).flush();
  dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: USERS.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:4299"'),
  });
  const later = await agent?.agent.prepare(loadConfig(dir.file, {}));
  expect(later?.needRestart).toEqual(['nats.listen']);
  expect(await later?.apply(), 'the users wait with their address').toEqual([]);
});

test('TLS begins behind INFO; with an authority only its clients come in', async () => {
  const tls = `[nats]
listen = "127.0.0.1:0"
[nats.tls]
cert = "${certificate('server.pem')}"
key = "server-key.pem"
ca = "${certificate('ca.pem')}"
`;
  const { copyFileSync, chmodSync, readFileSync } = await import('node:fs');
  copyFileSync(certificate('server-key.pem'), join(dir.path, 'server-key.pem'));
  chmodSync(join(dir.path, 'server-key.pem'), 0o600);
  await start(tls);
  const ca = readFileSync(certificate('ca.pem'), 'utf8');
  const mine = {
    cert: readFileSync(certificate('client.pem'), 'utf8'),
    key: readFileSync(certificate('client-key.pem'), 'utf8'),
  };
  const others = {
    cert: readFileSync(certificate('client-other.pem'), 'utf8'),
    key: readFileSync(certificate('client-other-key.pem'), 'utf8'),
  };
  const nc = await client({ tls: { ca, ...mine } });
  expect(nc.info).toMatchObject({ tls_required: true, tls_verify: true });
  const got = collect(nc, 'a');
  nc.publish('a', 'x'.repeat(200_000));
  await nc.flush();
  expect(got.length).toBe(1);
  await expect(client({ tls: { ca, ...others }, timeout: 500 })).rejects.toThrow();
  await expect(client({ tls: { ca }, timeout: 500 })).rejects.toThrow();
  await nc.flush();
});

test('the same client over WebSocket, but not from pages of elsewhere', async () => {
  await start(`[nats]
listen = "127.0.0.1:0"
[nats.websocket]
listen = "127.0.0.1:0"
origins = ["https://panel.example.com"]
`);
  const port = listener().websocketAddress?.port ?? 0;
  const nc = await wsconnect({ servers: `ws://127.0.0.1:${port}` });
  clients.push(nc);
  const tcp = await client();
  const got = collect(nc, 'a.>');
  await nc.flush();
  tcp.publish('a.b', 'x'.repeat(100_000));
  tcp.publish('a.c', 'y');
  await until('both', () => got.length === 2);
  expect(got.map((message) => message.data.length)).toEqual([100_000, 1]);
  expect((await tcp.request('a.d', '', { timeout: 500 }).catch(String)) as string).toMatch(
    /timeout/i,
  );
  const { WebSocket } = await import('ws');
  const opens = (origin: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { origin });
      socket.on('open', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('message', () => socket.terminate());
    });
  expect(await opens('https://panel.example.com')).toBe(true);
  expect(await opens(`http://127.0.0.1:${port}`)).toBe(true);
  expect(await opens('https://evil.example.com')).toBe(false);
});

test('an inbox of the client’s own is heard, and /connz tells of the client', async () => {
  await start();
  const nc = await client({ name: 'panel', inboxPrefix: '_INBOX.panel' });
  const inbox = createInbox('_INBOX.panel');
  const got = collect(nc, inbox);
  nc.publish(inbox, 'x');
  await nc.flush();
  expect(got.length).toBe(1);
  const [view] = [...listener().connections];
  expect(view?.options).toMatchObject({ name: 'panel', lang: 'nats.js', headers: true });
  expect(view?.counters).toMatchObject({ inMsgs: 1, outMsgs: 1 });
});
