// Who the hub lets in as a leaf node, with which proof, and over which TLS.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import { readUserSeed } from '../../sync/leaf/user-seed.ts';
import { Operator } from '../hub/operator.ts';
import { until } from '../support/until.ts';
import {
  at,
  connected,
  infoLine,
  logged,
  newLink,
  refusal,
  startHub,
  stub,
  tearDown,
} from './leaf-link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const dir = mkdtempSync(join(tmpdir(), 'mangrove-leaf-login-'));

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

describe('credentials', () => {
  test('none, where the hub asks for none: it shows us with our domain', async () => {
    const hub = await startHub();
    const link = await connected(newLink({ urls: [hub.url] }));
    const [leaf] = await hub.leafs();
    expect(leaf).toMatchObject({ name: 'gw7', account: '$G', is_isolated: true });
    expect(leaf?.subscriptions_list).toContain('$JS.gw7.API.>');
    expect(leaf?.subscriptions_list?.some((subject) => subject.startsWith('$LDS.'))).toBe(true);
    expect(hub.server.output).toContain('JetStream using domains: local "hub", remote "gw7"');
    expect(link.status()).toMatchObject({
      problem: null,
      hub: { name: 'hub', domain: 'hub', account: '$G', port: hub.port, tls: false },
      counters: { connects: 1 },
    });
  });

  test('a user and a password file, which may be put right without a restart', async () => {
    const hub = await startHub({ leafnodes: 'authorization { user: gw7, password: "s3cret" }' });
    const passwordFile = file('password', 'wrong\n');
    const link = newLink({
      urls: [hub.url],
      credentials: { kind: 'user', user: 'gw7', passwordFile },
    });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.error).toContain('refuses the credentials');
    expect(line.hint).toContain('[leaf]');
    expect(link.status().problem).toContain('refuses the credentials');
    expect(JSON.stringify(at.lines)).not.toContain('wrong');
    file('password', 's3cret\n');
    await connected(link);
    expect(link.status().problem).toBeNull();
  });

  test('a user of an account, and a user without a password', async () => {
    const hub = await startHub({
      config: 'accounts { ACME { users: [{ user: gw7, password: "s3cret" }] } }',
    });
    const passwordFile = file('acme', 's3cret');
    await connected(
      newLink({ urls: [hub.url], credentials: { kind: 'user', user: 'gw7', passwordFile } }),
    );
    expect((await hub.leafs())[0]).toMatchObject({ name: 'gw7', account: 'ACME' });
    const token = await startHub({ config: 'authorization { token: "t0ken" }' });
    await connected(newLink({ urls: [token.url], credentials: { kind: 'user', user: 't0ken' } }));
  });

  test('a token file', async () => {
    const hub = await startHub({ config: 'authorization { token: "t0ken" }' });
    const credentials = { kind: 'token', file: file('token', 't0ken') } as const;
    await connected(newLink({ urls: [hub.url], credentials }));
  });

  test('an nkey file', async () => {
    const user = nkeys.createUser();
    const seed = Buffer.from(user.getSeed()).toString();
    const hub = await startHub({
      config: `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`,
    });
    const credentials = { kind: 'nkey', file: file('gw7.nk', `${seed}\n`) } as const;
    await connected(newLink({ urls: [hub.url], credentials }));
  });

  test('a creds file, and one that has run out', async () => {
    const operator = new Operator();
    const hub = await startHub({ config: operator.config(join(dir, 'accounts')) });
    const expired = operator.user({ exp: Math.floor(Date.now() / 1000) - 60 });
    const credentials = { kind: 'creds', file: file('gw7.creds', expired.creds) } as const;
    const link = newLink({ urls: [hub.url], credentials });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.hint).toContain('ran out');
    expect(JSON.stringify(at.lines)).not.toContain(expired.seed);
    expect(JSON.stringify(at.lines)).not.toContain(expired.jwt);
    file('gw7.creds', operator.user().creds);
    await connected(link);
  });

  test('that run out while the link stands: it is said, and new ones count at once', async () => {
    const operator = new Operator();
    const hub = await startHub({ config: operator.config(join(dir, 'accounts2')) });
    const soon = operator.user({ exp: Math.floor(Date.now() / 1000) + 2 });
    const credentials = { kind: 'creds', file: file('soon.creds', soon.creds) } as const;
    const link = await connected(newLink({ urls: [hub.url], credentials }));
    await until('the end of the credentials', () => link.status().problem?.includes('run out'));
    expect(await refusal()).toMatchObject({ kind: 'authentication' });
    file('soon.creds', operator.user().creds);
    await connected(link);
  });

  test('none, where the hub asks for some: the keys are named', async () => {
    const hub = await startHub({ leafnodes: 'authorization { user: gw7, password: "s3cret" }' });
    newLink({ urls: [hub.url] });
    const line = await refusal('authentication');
    expect(line.hint).toContain('set credentials, user, token_file or nkey_file in [leaf]');
  });

  test('that are missing, damaged or something else are named with their file', async () => {
    const hub = await startHub();
    const seed = Buffer.from(nkeys.createUser().getSeed()).toString();
    const damaged = `${seed.slice(0, 20)}${seed.at(20) === 'A' ? 'B' : 'A'}${seed.slice(21)}`;
    for (const [name, credentials] of [
      ['nowhere', { kind: 'token', file: join(dir, 'nowhere') }],
      ['empty', { kind: 'token', file: file('empty', '') }],
      ['not.creds', { kind: 'creds', file: file('not.creds', 'hello') }],
      ['damaged.nk', { kind: 'nkey', file: file('damaged.nk', damaged) }],
    ] as const) {
      at.lines = [];
      const link = newLink({ urls: [hub.url], credentials });
      const line = await refusal();
      expect(line).toMatchObject({ kind: 'files' });
      expect(line.error).toContain(name);
      expect(JSON.stringify(at.lines)).not.toContain(damaged);
      await link.stop();
    }
    expect(await hub.leafs()).toEqual([]);
  });

  test('that are damaged: the hub hears nothing, and no connection is left open', async () => {
    const hub = await stub((socket) => socket.write(infoLine()));
    const seed = Buffer.from(nkeys.createUser().getSeed()).toString();
    const damaged = `${seed.slice(0, 20)}${seed.at(20) === 'A' ? 'B' : 'A'}${seed.slice(21)}`;
    newLink({ urls: [hub.url], credentials: { kind: 'nkey', file: file('bad.nk', damaged) } });
    await until('a few attempts', () => hub.sockets.length > 2);
    await until('the end of the first', () => hub.sockets[0]?.destroyed);
    expect(hub.heard()).toBe('');
  });

  test('what the seed of a user signs is what its public key belongs to', () => {
    for (let i = 0; i < 20; i++) {
      const pair = nkeys.createUser();
      const seed = readUserSeed(Buffer.from(pair.getSeed()).toString());
      expect(seed?.publicKey).toBe(pair.getPublicKey());
      const signature = Buffer.from(seed?.sign('nonce') ?? '', 'base64url');
      expect(pair.verify(Buffer.from('nonce'), signature)).toBe(true);
    }
    const account = Buffer.from(nkeys.createAccount().getSeed()).toString();
    expect(readUserSeed(account)).toBeUndefined();
    expect(readUserSeed(account.replace(/^SA/, 'SU'))).toBeUndefined();
  });
});

describe('TLS', () => {
  const server = (more = ''): string => `tls {
    cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem"
    ${more}
  }`;
  const verify = `ca_file: "${TLS}/ca.pem", verify: true`;
  const caFile = `${TLS}/ca.pem`;

  test('with the right authority, by name and by address', async () => {
    const hub = await startHub({ leafnodes: server() });
    for (const host of ['localhost', '127.0.0.1']) {
      const link = await connected(newLink({ urls: [`${host}:${hub.port}`], tls: { caFile } }));
      expect(link.status().hub?.tls).toBe(true);
      await link.stop();
    }
  });

  test('that begins before the first word', async () => {
    const hub = await startHub({ leafnodes: server('handshake_first: true') });
    const tls = { caFile, handshakeFirst: true };
    const link = await connected(newLink({ urls: [`localhost:${hub.port}`], tls }));
    expect(link.status().hub?.tls).toBe(true);
  });

  test('that begins before the first word, which was not configured here', async () => {
    const hub = await startHub({ leafnodes: server('handshake_first: true') });
    newLink({ urls: [`localhost:${hub.port}`], tls: { caFile }, keepAliveMs: 400 });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'network' });
    expect(line.hint).toContain('handshake_first = true in [leaf.tls]');
  });

  test('the same, where the hub is the first to lose patience', async () => {
    const hub = await stub((socket) => void socket.destroy());
    newLink({ urls: [hub.url], tls: { caFile } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'network' });
    expect(line.error).toContain('closed the connection before its first word');
    expect(line.hint).toContain('handshake_first = true in [leaf.tls]');
  });

  test('that does not begin before the first word, though it was configured here', async () => {
    const hub = await startHub({ leafnodes: server() });
    newLink({ urls: [`localhost:${hub.port}`], tls: { caFile, handshakeFirst: true } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'tls' });
    expect(line.hint).toContain('remove handshake_first from [leaf.tls]');
  });

  test('where the hub wants to see our certificate', async () => {
    const hub = await startHub({ leafnodes: server(verify) });
    const tls = { caFile, certFile: `${TLS}/client.pem`, keyFile: `${TLS}/client-key.pem` };
    await connected(newLink({ urls: [`localhost:${hub.port}`], tls }));
    at.lines = [];
    newLink({ urls: [`localhost:${hub.port}`], name: 'gw8', tls: { caFile } });
    expect(await refusal('tls')).toMatchObject({ kind: 'tls' });
    at.lines = [];
    const other = { certFile: `${TLS}/client-other.pem`, keyFile: `${TLS}/client-other-key.pem` };
    newLink({ urls: [`localhost:${hub.port}`], name: 'gw9', tls: { caFile, ...other } });
    const refused = await until('a refusal', () => logged('no leafnode connection')[0]);
    expect(refused.hint).toContain('check cert in [leaf.tls]');
  });

  test('as the hub asks for it, with the authorities of the system: ours is not one of them', async () => {
    const hub = await startHub({ leafnodes: server() });
    for (const url of [`localhost:${hub.port}`, `tls://localhost:${hub.port}`]) {
      at.lines = [];
      const link = newLink({ urls: [url] });
      const line = await refusal();
      expect(line).toMatchObject({ kind: 'tls' });
      expect(line.hint).toContain('let ca in [leaf.tls] name the file');
      expect(link.status().problem).toContain('[leaf.tls]');
      await link.stop();
    }
  });

  test('of another name than the configured one', async () => {
    const certificate = `cert_file: "${TLS}/wrong-name.pem", key_file: "${TLS}/wrong-name-key.pem"`;
    const hub = await startHub({ leafnodes: `tls { ${certificate} }` });
    newLink({ urls: [`localhost:${hub.port}`], tls: { caFile } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'tls' });
    expect(line.hint).toContain('another name');
  });

  test('over which the hub hangs up without a word: our certificate may be the reason', async () => {
    const key = readFileSync(`${TLS}/server-key.pem`);
    const cert = readFileSync(`${TLS}/server.pem`);
    const hub = await stub((socket) => {
      socket.removeAllListeners('data');
      socket.write(infoLine({ tls_required: true }), () => {
        const secure = new TLSSocket(socket, { isServer: true, key, cert });
        secure.on('error', () => undefined);
        secure.once('data', () => socket.resetAndDestroy());
      });
    });
    newLink({ urls: [hub.url], tls: { caFile } });
    const line = await refusal();
    expect(line.hint).toContain('the hub does not accept the certificate of this gateway');
    expect(line.hint).toContain('[leaf.tls]');
  });

  test('where the hub has none: nothing of ours is sent', async () => {
    const hub = await startHub();
    newLink({ urls: [hub.url], tls: { caFile } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'tls' });
    expect(line.error).toContain('nothing was sent');
    expect(await hub.leafs()).toEqual([]);
  });
});
