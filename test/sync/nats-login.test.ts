// Who the hub lets in, and who may do what there: credentials, permissions, certificates.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import type { NatsHub } from '../../sync/nats-hub.ts';
import { Operator } from '../hub/operator.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import {
  afterwards,
  at,
  connected,
  disconnected,
  failure,
  FILTER,
  logged,
  messages,
  newHub,
  publish,
  throughWan,
  start,
  stop,
  tearDown,
} from './link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const dir = mkdtempSync(join(tmpdir(), 'mangrove-login-'));

beforeAll(start);
afterEach(tearDown);
afterAll(async () => {
  await stop();
  rmSync(dir, { recursive: true, force: true });
});

describe('credentials', () => {
  async function guarded(config: string): Promise<NatsServer> {
    const own = await startNatsServer({ config });
    afterwards(() => own.dispose());
    return own;
  }

  function file(name: string, content: string): string {
    const path = join(dir, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  test('a user and a password file, which may be put right without a restart', async () => {
    const own = await guarded('authorization { user: gw7, password: "s3cret" }');
    const passwordFile = file('password', 'wrong\n');
    const credentials = { kind: 'user', user: 'gw7', passwordFile } as const;
    const hub = newHub({ servers: [own.url], credentials });
    await until('a refusal', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]).toMatchObject({ kind: 'authentication' });
    expect(JSON.stringify(at.lines)).not.toContain('wrong');
    file('password', 's3cret\n');
    await connected(hub);
  });

  test('a token file', async () => {
    const own = await guarded('authorization { token: "t0ken" }');
    const credentials = { kind: 'token', file: file('token', 't0ken') } as const;
    await connected(newHub({ servers: [own.url], credentials }));
  });

  test('an nkey file', async () => {
    const user = nkeys.createUser();
    const own = await guarded(`authorization { users: [{ nkey: ${user.getPublicKey()} }] }`);
    const seed = Buffer.from(user.getSeed()).toString();
    const credentials = { kind: 'nkey', file: file('gw7.nk', `${seed}\n`) } as const;
    await connected(newHub({ servers: [own.url], credentials }));
  });

  test('a creds file', async () => {
    const operator = new Operator();
    const own = await guarded(operator.config(join(dir, 'accounts')));
    const credentials = { kind: 'creds', file: file('gw7.creds', operator.user().creds) } as const;
    await connected(newHub({ servers: [own.url], credentials }));
  });

  test('that are missing, empty or something else are named with their file', async () => {
    for (const [name, credentials] of [
      ['nowhere', { kind: 'token', file: join(dir, 'nowhere') }],
      ['empty', { kind: 'token', file: file('empty', '') }],
      ['not.creds', { kind: 'creds', file: file('not.creds', 'hello') }],
      ['not.nk', { kind: 'nkey', file: file('not.nk', 'hello') }],
    ] as const) {
      at.lines = [];
      const hub = newHub({ credentials });
      await until('an attempt', () => logged('no connection').length > 0);
      expect(logged('no connection')[0]).toMatchObject({ kind: 'files' });
      expect(logged('no connection')[0]?.error).toContain(name);
      await hub.stop();
    }
  });

  test('that do not allow what is needed: the subject is named', async () => {
    const own = await guarded(`
      accounts { A { jetstream: enabled, users: [
        { user: admin, password: a },
        { user: noapi, password: a, permissions: { publish: ["edge.>"] } },
        { user: noinbox, password: a, permissions: { subscribe: ["nothing"] } },
        { user: nodata, password: a, permissions: { publish: ["$JS.API.>"] } },
      ] } }`);
    const passwordFile = file('a', 'a');
    const as = (user: string): NatsHub =>
      newHub({ servers: [own.url], credentials: { kind: 'user', user, passwordFile } });
    const admin = await connected(as('admin'));
    await admin.stream('EDGE');
    const api = await failure((await connected(as('noapi'))).stream('EDGE'));
    expect(api).toMatchObject({ kind: 'configuration' });
    expect(api.hint).toContain('publish to "$JS.API.STREAM.INFO.EDGE"');
    at.lines = [];
    as('noinbox');
    await until('a refusal', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]?.hint).toContain('subscribe to "_INBOX.gw7.>"');
    const nodata = await connected(as('nodata'));
    const options = { stream: 'EDGE', fence: { kind: 'filter' as const, filter: FILTER, seq: 0 } };
    for (const count of [1, 10]) {
      const data = await failure(nodata.publish(messages(count), options));
      expect(data).toMatchObject({ kind: 'configuration' });
      expect(data.hint).toContain('publish to "edge.gw7.telemetry.plant1.temp"');
    }
  });
});

describe('TLS', () => {
  const config = (verify: boolean): string => `tls {
    cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem"
    ${verify ? `ca_file: "${TLS}/ca.pem", verify: true` : ''}
  }`;

  test('with the right authority, by name and by address', async () => {
    const own = await startNatsServer({ config: config(false) });
    afterwards(() => own.dispose());
    for (const host of ['localhost', '127.0.0.1']) {
      const tls = { caFile: `${TLS}/ca.pem` };
      const hub = await connected(newHub({ servers: [`${host}:${own.port}`], tls }));
      await hub.stream('EDGE');
      await publish(hub, messages(1_000));
      await hub.stop();
    }
  });

  test('without it there is no connection, and the certificates are named', async () => {
    const own = await startNatsServer({ config: config(false) });
    afterwards(() => own.dispose());
    newHub({ servers: [`tls://localhost:${own.port}`] });
    await until('an attempt', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]).toMatchObject({ kind: 'tls' });
  });

  test('where the hub wants to see our certificate', async () => {
    const own = await startNatsServer({ config: config(true) });
    afterwards(() => own.dispose());
    const tls = {
      caFile: `${TLS}/ca.pem`,
      certFile: `${TLS}/client.pem`,
      keyFile: `${TLS}/client-key.pem`,
    };
    await connected(newHub({ servers: [`localhost:${own.port}`], tls }));
  });

  test('where the hub has none', async () => {
    newHub({ servers: [at.server.url], tls: { caFile: `${TLS}/ca.pem` } });
    await until('an attempt', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]).toMatchObject({ kind: 'tls' });
  });

  test('a black hole is found out all the same, and no socket is left', async () => {
    const own = await startNatsServer({ config: config(false) });
    afterwards(() => own.dispose());
    const wan = await throughWan(own.port);
    const hub = await connected(newHub({ tls: { caFile: `${TLS}/ca.pem` }, keepAliveMs: 600 }));
    wan.blackHole();
    const before = wan.counters.connections;
    await disconnected(hub);
    await until('a few attempts', () => wan.counters.connections >= before + 3);
    await until('old sockets to be closed', () => wan.connections <= 1);
    await wan.restore();
    await connected(hub);
    await hub.stream('EDGE');
  });
});
