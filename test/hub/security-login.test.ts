// Credentials that are wrong, run out or are taken back, at the login and while the link is up: each has a message with
// its remedy, and a file put right is enough.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import type { Credentials } from '../../sync/credentials.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import {
  afterwards,
  at,
  connected,
  logged,
  messages,
  newHub,
  publish,
  tearDown,
  type Line,
} from '../sync/link-bench.ts';
import { Operator } from './operator.ts';

const dir = mkdtempSync(join(tmpdir(), 'mangrove-login-'));
const { creds } = new Operator().user();
const USER = nkeys.createUser();
const SEED = Buffer.from(USER.getSeed()).toString();
const ACCOUNT_SEED = Buffer.from(nkeys.createAccount().getSeed()).toString();

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;

/** A file of its own for each test. */
function file(content: string, mode = 0o600): string {
  const path = join(dir, `secret-${++files}`);
  writeFileSync(path, content, { mode });
  return path;
}

function replace(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
}

async function server(config: string): Promise<NatsServer> {
  const own = await startNatsServer({ config });
  afterwards(() => own.dispose());
  return own;
}

/** The first line that tells why there is no connection, and whose hint matches. */
function refusal(hint = /./): Promise<Line> {
  return until(`a refusal with ${String(hint)}`, () =>
    logged('no connection').find((line) => hint.test(line.hint ?? '')),
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(logged('no connection'))}`);
  });
}

const WAYS: [string, string, (content: string) => Credentials, string, string][] = [
  [
    'a password',
    'authorization { user: gw7, password: "right one" }',
    (content) => ({ kind: 'user', user: 'gw7', passwordFile: file(content) }),
    'right one',
    'wrong one',
  ],
  [
    'a token',
    'authorization { token: "right-one" }',
    (content) => ({ kind: 'token', file: file(content) }),
    'right-one',
    'wrong-one',
  ],
  [
    'an nkey',
    `authorization { users: [{ nkey: ${USER.getPublicKey()} }] }`,
    (content) => ({ kind: 'nkey', file: file(content) }),
    SEED,
    Buffer.from(nkeys.createUser().getSeed()).toString(),
  ],
];

describe.each(WAYS)('%s', (_, config, credentials, right, wrong) => {
  test.each(['', '\n', '\r\n'])('logs in, with %j behind it', async (end) => {
    const own = await server(config);
    const hub = newHub({ servers: [own.url], credentials: credentials(`${right}${end}`) });
    await connected(hub);
    await hub.stream('EDGE');
    await publish(hub, messages(10));
  });

  test('that is wrong is named by its file, and put right there', async () => {
    const own = await server(config);
    const secret = credentials(wrong);
    const path =
      'passwordFile' in secret ? secret.passwordFile : 'file' in secret ? secret.file : '';
    const hub = newHub({ servers: [own.url], credentials: secret });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.hint).toContain(path);
    expect(JSON.stringify(at.lines)).not.toContain(wrong);
    replace(path ?? '', right);
    await connected(hub);
  });
});

test('none at all, where the hub asks for one', async () => {
  const own = await server('authorization { token: "t0ken" }');
  newHub({ servers: [own.url] });
  expect(await refusal()).toMatchObject({
    kind: 'authentication',
    hint: expect.stringContaining('set credentials, user, token_file or nkey_file'),
  });
});

describe('a file', () => {
  const FIFO_OR_DIR = join(dir, 'directory');
  mkdirSync(FIFO_OR_DIR);

  test.each<[string, () => Credentials, RegExp]>([
    ['that is missing', () => ({ kind: 'creds', file: join(dir, 'nowhere') }), /ENOENT/],
    ['that is a directory', () => ({ kind: 'nkey', file: FIFO_OR_DIR }), /EISDIR/],
    ['that is empty', () => ({ kind: 'token', file: file('') }), /is empty/],
    ['with an empty line', () => ({ kind: 'token', file: file('\n') }), /is empty/],
    ['too large', () => ({ kind: 'token', file: file('x'.repeat(2_000_000)) }), /too large/],
    [
      '.creds for an nkey',
      () => ({ kind: 'nkey', file: file(creds) }),
      /a \.creds file, for hub.cred/,
    ],
    [
      '.creds for a password',
      () => ({ kind: 'user', user: 'gw7', passwordFile: file(creds) }),
      /\.creds/,
    ],
    ['an nkey for .creds', () => ({ kind: 'creds', file: file(SEED) }), /for hub.nkey_file/],
    [
      'an nkey for a token',
      () => ({ kind: 'token', file: file(`${SEED}\n`) }),
      /for hub.nkey_file/,
    ],
    ['an account for an nkey', () => ({ kind: 'nkey', file: file(ACCOUNT_SEED) }), /must not lie/],
    ['a public key', () => ({ kind: 'nkey', file: file(USER.getPublicKey()) }), /a public key/],
    [
      'a key of TLS',
      () => ({ kind: 'token', file: file('-----BEGIN PRIVATE KEY-----\nx\n') }),
      /tls.key/,
    ],
    [
      'a damaged seed',
      () => ({
        kind: 'nkey',
        file: file(`${SEED.slice(0, -3)}${SEED.endsWith('AAA') ? 'BBB' : 'AAA'}`),
      }),
      /is damaged/,
    ],
    [
      'damaged .creds',
      () => ({ kind: 'creds', file: file(creds.replace(/(SU[A-Z2-7]{53})[A-Z2-7]{3}/, '$1AAA')) }),
      /is damaged/,
    ],
  ])('%s is named, and nothing is sent', async (_, credentials, error) => {
    const own = await server('authorization { token: "t0ken" }');
    newHub({ servers: [own.url], credentials: credentials() });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'files' });
    expect(line.error).toMatch(error);
    expect(line.error).toContain(dir);
    for (const secret of [SEED, ACCOUNT_SEED])
      expect(JSON.stringify(at.lines)).not.toContain(secret);
  });

  test('that others may read counts, with a warning', async () => {
    const own = await server('authorization { token: "t0ken" }');
    const path = file('t0ken', 0o644);
    await connected(newHub({ servers: [own.url], credentials: { kind: 'token', file: path } }));
    expect(logged('a secret for the hub can be read by others')).toMatchObject([
      { file: path, mode: '0644', hint: `chmod 600 ${path}` },
    ]);
  });
});

describe('.creds', () => {
  async function withOperator(): Promise<{ operator: Operator; own: NatsServer }> {
    const operator = new Operator();
    const own = await server(operator.config(join(dir, `accounts-${++files}`)));
    return { operator, own };
  }

  const nowS = (): number => Math.floor(Date.now() / 1000);

  test.each(['as they are', 'with CRLF'])('%s', async (how) => {
    const { operator, own } = await withOperator();
    const text = operator.user().creds;
    const path = file(how === 'with CRLF' ? text.replaceAll('\n', '\r\n') : text);
    const hub = newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    await connected(hub);
    await hub.stream('EDGE');
    await publish(hub, messages(10));
  });

  test('that have run out say when, and new ones are enough', async () => {
    const { operator, own } = await withOperator();
    const exp = nowS() - 60;
    const path = file(operator.user({ exp }).creds);
    const hub = newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.hint).toContain(`${path} ran out on ${new Date(exp * 1000).toISOString()}`);
    replace(path, operator.user().creds);
    await connected(hub);
  });

  test('that run out while the link is up', async () => {
    const { operator, own } = await withOperator();
    const path = file(operator.user({ exp: nowS() + 2 }).creds);
    const hub = newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    await connected(hub);
    expect(await refusal()).toMatchObject({
      kind: 'authentication',
      hint: expect.stringContaining('ran out on'),
    });
    replace(path, operator.user().creds);
    await connected(hub);
    await hub.stream('EDGE');
  });

  test('that are taken back while the link is up, and then at the login', async () => {
    const { operator, own } = await withOperator();
    const { creds: text, key } = operator.user();
    const path = file(text);
    const hub = newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    await connected(hub);
    operator.revoke(key);
    await operator.push(own.url);
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.error).toMatch(/revoked/i);
    expect(line.hint).toMatch(/taken these credentials back.*no restart/);
    await until('refusals at the login', () => hub.status().failures > 2);
    expect(hub.detail).toMatch(/Authorization Violation/);
    replace(path, operator.user().creds);
    await connected(hub);
    await hub.stream('EDGE');
  });

  test('of an account that has run out', async () => {
    const { operator, own } = await withOperator();
    const path = file(operator.user().creds);
    const hub = newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    await connected(hub);
    operator.accountExp = nowS() + 2;
    await operator.push(own.url);
    const line = await refusal();
    expect(line).toMatchObject({
      kind: 'authentication',
      hint: expect.stringContaining('run out'),
    });
    operator.accountExp = undefined;
    await operator.push(own.url);
    await connected(hub);
  });

  test('of another account of another operator', async () => {
    const { own } = await withOperator();
    const path = file(new Operator().user().creds);
    newHub({ servers: [own.url], credentials: { kind: 'creds', file: path } });
    await refusal(/does not know the account of the credentials/);
  });

  test('of an account that the hub does not know, where there is time to say so', async () => {
    const { own } = await withOperator();
    const path = file(new Operator().user().creds);
    const credentials = { kind: 'creds', file: path } as const;
    newHub({ servers: [own.url], credentials, keepAliveMs: 9_000 });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication', hint: expect.stringContaining(path) });
  });
});
