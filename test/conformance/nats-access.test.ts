// Logins, permissions and TLS, with the official client against an agent of ours over real sockets.

import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  deferred,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  type ConnectionOptions,
  type NatsConnection,
} from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { collect, NatsClients } from '../support/nats-clients.ts';
import { until } from '../support/until.ts';

const CERTIFICATES = join(import.meta.dirname, '../fixtures/hub-certificates');
const certificate = (name: string): string => join(CERTIFICATES, name);

const rig = new NatsClients();
const { start, listener, client } = rig;
afterEach(rig.end);

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
  writeFileSync(join(rig.dir.path, 'panel.secret'), 'open sesame\n', { mode: 0o600 });
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
  rig.dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: USERS.replace(
      'user = "panel"\ntoken_file = "panel.secret"',
      'user = "boss"\npassword = "b"',
    ),
  });
  const prepared = await rig.agent?.agent.prepare(loadConfig(rig.dir.file, {}));
  expect(prepared?.needRestart).toEqual([]);
  expect(await prepared?.apply()).toEqual(['nats.users']);
  expect(String(await panel.closed())).toMatch(/authorization/i);
  await meter.flush();
  await (await client({ user: 'boss', pass: 'b' })).flush();
  rig.dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: USERS.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:4299"'),
  });
  const later = await rig.agent?.agent.prepare(loadConfig(rig.dir.file, {}));
  expect(later?.needRestart).toEqual(['nats.listen']);
  expect(await later?.apply(), 'the users wait with their address').toEqual([]);
});

test('other permissions hold for the clients that are there, and take what they may not have', async () => {
  const user = (lines: string): string =>
    `[nats]\nlisten = "127.0.0.1:0"\n[[nats.users]]\nuser = "a"\npassword = "a"\n${lines}`;
  await start(user(''));
  const nc = await client({ user: 'a', pass: 'a' });
  const statuses: string[] = [];
  void (async () => {
    for await (const status of nc.status()) statuses.push(status.type);
  })();
  const lost = deferred<Error | undefined>();
  nc.subscribe('secret.a', { callback: (error) => lost.resolve(error ?? undefined) });
  const kept = collect(nc, '>');
  await nc.flush();
  const servers = ['nats://127.0.0.1:1'];
  rig.dir.configure({
    servers,
    tables: user('deny_subscribe = ["secret.>"]\ndeny_publish = ["x"]\n'),
  });
  await (await rig.agent?.agent.prepare(loadConfig(rig.dir.file, {})))?.apply();
  expect((await lost)?.message).toMatch(/subscription to "secret.a" \(sid "1"\)/i);
  for (const subject of ['secret.b', 'x', 'y']) nc.publish(subject);
  await nc.flush();
  expect(kept.map(({ subject }) => subject)).toEqual(['y']);

  // Whose password is another now has to come again, and cannot.
  rig.dir.configure({ servers, tables: user('').replace('password = "a"', 'password = "b"') });
  await (await rig.agent?.agent.prepare(loadConfig(rig.dir.file, {})))?.apply();
  await until('the end', () => statuses.includes('disconnect'));
});

test('a subscription may be allowed or denied in a queue group alone', async () => {
  await start(`[nats]
listen = "127.0.0.1:0"
[[nats.users]]
user = "a"
password = "a"
subscribe = ["work.> crew", "work.> v1.*", "free", "secret.>"]
deny_subscribe = ["secret.> spies"]
`);
  const nc = await client({ user: 'a', pass: 'a' });
  const heard = async (subject: string, queue?: string): Promise<string> => {
    const outcome = deferred<string>();
    const subscription = nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error) => outcome.resolve(error?.message ?? 'a message'),
    });
    nc.publish(subject);
    await nc.flush();
    outcome.resolve('nothing');
    subscription.unsubscribe();
    return outcome;
  };
  expect(await heard('work.a', 'crew')).toBe('a message');
  expect(await heard('work.a', 'v1.x')).toBe('a message');
  expect(await heard('work.a', 'v2.x')).toMatch(/using queue "v2.x"/);
  expect(await heard('work.a')).toMatch(/subscription to "work.a"$/i);
  expect(await heard('free', 'any')).toBe('a message');
  expect(await heard('secret.a', 'crew')).toBe('a message');
  expect(await heard('secret.a')).toBe('a message');
  expect(await heard('secret.a', 'spies')).toMatch(/using queue "spies"/);
});

/** The lines of `[nats.tls]`. */
function tlsTable(lines: string): string {
  copyFileSync(certificate('server-key.pem'), join(rig.dir.path, 'server-key.pem'));
  chmodSync(join(rig.dir.path, 'server-key.pem'), 0o600);
  return `[nats]
listen = "127.0.0.1:0"
[nats.tls]
cert = "${certificate('server.pem')}"
key = "server-key.pem"
${lines}
`;
}

test('TLS begins before the first word where the file says so', async () => {
  await start(tlsTable('handshake_first = true'));
  const ca = readFileSync(certificate('ca.pem'), 'utf8');
  const nc = await client({ tls: { ca, handshakeFirst: true } });
  expect(nc.info).toMatchObject({ tls_required: true });
  const got = collect(nc, 'a');
  nc.publish('a', 'x');
  await nc.flush();
  expect(got.length).toBe(1);
  // Others hear nothing.
  await expect(client({ tls: { ca }, timeout: 500 })).rejects.toThrow(/timeout/i);
});

test('TLS begins behind INFO; with an authority only its clients come in', async () => {
  await start(tlsTable(`ca = "${certificate('ca.pem')}"`));
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
