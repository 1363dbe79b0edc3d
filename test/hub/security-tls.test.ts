// TLS to the hub: each thing that can be wrong with a certificate has a message with its remedy, nothing is ever sent in
// plain text where TLS is asked for, and a renewed file counts at the next dial.

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { TlsFiles } from '../../sync/credentials.ts';
import type { NatsHub } from '../../sync/nats-hub.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import {
  afterwards,
  connected,
  failure,
  logged,
  messages,
  newHub,
  publish,
  tearDown,
  throughWan,
  type Line,
} from '../sync/link-bench.ts';
import { InfoEditor } from './info-editor.ts';

const CERTIFICATES = join(import.meta.dirname, '../fixtures/hub-certificates');
const dir = mkdtempSync(join(tmpdir(), 'mangrove-tls-'));

function certificate(name: string): string {
  return join(CERTIFICATES, `${name}.pem`);
}

function pair(name: string): { certFile: string; keyFile: string } {
  return { certFile: certificate(name), keyFile: certificate(`${name}-key`) };
}

const CA: TlsFiles = { caFile: certificate('ca') };

/** The tls block of a server that shows `name`; `more` are further lines of it. */
function tlsBlock(name: string, more = ''): string {
  const { certFile, keyFile } = pair(name);
  return `tls { cert_file: "${certFile}", key_file: "${keyFile}"\n${more}\n}`;
}

const VERIFY = `ca_file: "${certificate('ca')}", verify: true`;

async function server(config: string): Promise<NatsServer> {
  const own = await startNatsServer({ config });
  afterwards(() => own.dispose());
  return own;
}

/** The first line that tells why there is no connection. */
function refusal(): Promise<Line> {
  return until('a refusal', () => logged('no connection')[0]);
}

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('a server', () => {
  let hubs: Record<'good' | 'wrongName' | 'expired' | 'future' | 'other' | 'first', NatsServer>;
  beforeAll(async () => {
    const start = (name: string, more?: string): Promise<NatsServer> =>
      startNatsServer({ config: tlsBlock(name, more) });
    const [good, wrongName, expired, future, other, first] = await Promise.all([
      start('server'),
      start('wrong-name'),
      start('expired'),
      start('future'),
      start('other-server'),
      start('server', 'handshake_first: true'),
    ]);
    hubs = { good, wrongName, expired, future, other, first };
  });
  afterAll(() => Promise.all(Object.values(hubs).map((hub) => hub.dispose())));

  function dialled(hub: NatsServer, tls: TlsFiles = CA, host = 'localhost'): NatsHub {
    return newHub({ servers: [`${host}:${hub.port}`], tls });
  }

  async function works(hub: NatsHub): Promise<void> {
    await connected(hub);
    await hub.stream('EDGE');
    await publish(hub, messages(1_000));
  }

  test.each(['localhost', '127.0.0.1'])('with the right certificate, as %s', async (host) => {
    await works(dialled(hubs.good, CA, host));
    expect(logged('connected to the hub')[0]).toMatchObject({ encrypted: true });
  });

  test('that begins with TLS, where we do so too', async () => {
    await works(dialled(hubs.first, { ...CA, handshakeFirst: true }));
    expect(logged('connected to the hub')[0]).toMatchObject({ encrypted: true });
  });

  test.each([
    ['wrongName', CA, /altnames|not in the cert/, /certificate of another name/],
    ['expired', CA, /expired/, /renew the certificate of the hub/],
    ['future', CA, /not yet valid/, /clock of this machine is probably behind/],
    ['other', CA, /certificate/, /let ca in \[hub.tls\] name/],
    ['good', {}, /certificate/, /let ca in \[hub.tls\] name/],
  ] as const)('%s: it is refused, with the remedy (%#)', async (name, tls, error, hint) => {
    const hub = dialled(hubs[name], tls);
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'tls' });
    expect(line.error).toMatch(error);
    expect(line.hint).toMatch(hint);
    await until('further attempts', () => hub.status().failures > 2);
    expect(hub.status().connects).toBe(0);
  });

  test('with another name is refused before TLS-first is over, too', async () => {
    const hub = await server(tlsBlock('wrong-name', 'handshake_first: true'));
    dialled(hub, { ...CA, handshakeFirst: true });
    expect(await refusal()).toMatchObject({ kind: 'tls', hint: /another name/ });
  });

  test('that begins with TLS, where we wait for its first word', async () => {
    dialled(hubs.first);
    const line = await refusal();
    expect(line.hint).toContain('handshake_first = true in [hub.tls]');
  });

  test('that does not begin with TLS, where we do', async () => {
    dialled(hubs.good, { ...CA, handshakeFirst: true });
    expect(await refusal()).toMatchObject({ kind: 'tls', hint: /remove handshake_first/ });
  });

  test.each([
    ['closed.port', '127.0.0.1:1', 'network'],
    ['a name that nobody has', 'nowhere.invalid:4222', 'name'],
  ])('that is not there, under TLS-first: %s', async (_, address, kind) => {
    const hub = newHub({ servers: [address], tls: { ...CA, handshakeFirst: true } });
    expect(await refusal()).toMatchObject({ kind });
    await until('further attempts', () => hub.status().failures > 3);
  });

  test('whose black hole is noticed under TLS-first, and no socket is left', async () => {
    const wan = await throughWan(hubs.first.port);
    const tls = { ...CA, handshakeFirst: true };
    const hub = await connected(newHub({ tls, keepAliveMs: 600 }));
    wan.blackHole();
    const before = wan.counters.connections;
    await until('a few attempts', () => wan.counters.connections >= before + 3);
    await until('old sockets to be closed', () => wan.connections <= 1);
    await wan.restore();
    await works(hub);
  });

  test('is checked, whatever the environment says', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      const hub = dialled(hubs.other);
      expect(await refusal()).toMatchObject({ kind: 'tls' });
      await until('further attempts', () => hub.status().failures > 2);
      expect(hub.status().connects).toBe(0);
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
  });

  test('with a private authority, where [hub] says nothing of TLS: never without a check', async () => {
    newHub({ servers: [`localhost:${hubs.good.port}`] });
    expect(await refusal()).toMatchObject({ kind: 'tls', hint: /let ca in \[hub.tls\] name/ });
  });
});

describe('somebody in between', () => {
  async function between(own: NatsServer, edit: (info: string) => string): Promise<InfoEditor> {
    const editor = await new InfoEditor(own.port, edit).listen();
    afterwards(() => editor.close());
    return editor;
  }

  const SECRET = 'tell-nobody';
  const credentials = { kind: 'user', user: 'gw7', passwordFile: join(dir, 'password') } as const;
  const users = `authorization { user: gw7, password: "${SECRET}" }`;

  beforeAll(async () => {
    const { writeFileSync } = await import('node:fs');
    writeFileSync(credentials.passwordFile, SECRET, { mode: 0o600 });
  });

  test.each([
    ['tls', ['127.0.0.1'], CA],
    ['the URL', ['tls://127.0.0.1'], undefined],
  ] as const)(
    'who takes TLS away from INFO gets nothing of us, where %s asks for it',
    async (_, [host], tls) => {
      // allow_non_tls: the server itself would take plain text.
      const own = await server(`${tlsBlock('server')}\nallow_non_tls: true\n${users}`);
      const editor = await between(own, (info) =>
        info
          .replace('"tls_required":true', '"tls_required":false')
          .replace(',"tls_available":true', ''),
      );
      const hub = newHub({ servers: [`${host}:${editor.port}`], tls, credentials });
      const line = await refusal();
      expect(line).toMatchObject({ kind: 'tls', hint: /no way back to plain text/ });
      await until('further attempts', () => hub.status().failures > 2);
      expect(editor.edited).toBeGreaterThan(0);
      expect(editor.fromGateway()).toBe('');
    },
  );

  test.each(['PONG\r\n', '-ERR ', 'INFO {"max_payload":7}\r\n', 'MSG _INBOX.gw7.x 1 900\r\n'])(
    'who adds words of their own before TLS (%j) is found out',
    async (words) => {
      const own = await server(`${tlsBlock('server')}\n${users}`);
      const editor = await between(own, (info) => `${info}${words}`);
      const hub = newHub({ servers: [`127.0.0.1:${editor.port}`], tls: CA, credentials });
      const line = await refusal();
      expect(line).toMatchObject({ kind: 'tls', hint: /somebody is in between/ });
      expect(hub.status().connects).toBe(0);
      expect(editor.fromGateway()).not.toContain(SECRET);
    },
  );

  test('who names other servers is not followed', async () => {
    const own = await server(`${tlsBlock('server')}\n${users}`);
    const trap = await between(own, (info) => info);
    const editor = await between(own, (info) =>
      info.replace('"port":', `"connect_urls":["127.0.0.1:${trap.port}"],"port":`),
    );
    const hub = newHub({ servers: [`127.0.0.1:${editor.port}`], tls: CA, credentials });
    await connected(hub);
    expect(editor.edited).toBe(1);
    hub.reconnect('a test');
    await until('the next connection', () => hub.status().connects === 2);
    expect(editor.edited).toBe(2);
    expect(trap.edited).toBe(0);
  });
});

describe('a certificate of ours', () => {
  // The reset may overtake the server's reason: then the message is a guess, with the same remedy.
  test.each([
    ['nobody', {}, /asks for a certificate of this gateway/, /set cert and key in \[hub.tls\]/],
    [
      'one of another authority',
      pair('client-other'),
      /refuses the cert/,
      /check cert in \[hub.tls\]/,
    ],
    ['an expired one', pair('client-expired'), /refuses the cert/, /check cert in \[hub.tls\]/],
  ])('the hub wants one and sees %s', async (_, files, error, hint) => {
    const own = await server(tlsBlock('server', VERIFY));
    const hub = newHub({ servers: [`localhost:${own.port}`], tls: { ...CA, ...files } });
    const line = await refusal();
    expect(line.hint).toMatch(line.kind === 'tls' ? hint : /check cert in \[hub.tls\]/);
    if (line.kind === 'tls') expect(line.error).toMatch(error);
    await until('the reason', () => error.test(hub.detail));
  });

  test('logs in by itself: verify_and_map', async () => {
    const own =
      await server(`${tlsBlock('server', `${VERIFY.replace('verify:', 'verify_and_map:')}`)}
      authorization { users: [{ user: "CN=gw7", permissions: { publish: ["nothing"], subscribe: ["_INBOX.gw7.>"] } }] }`);
    const hub = newHub({ servers: [`localhost:${own.port}`], tls: { ...CA, ...pair('client') } });
    await connected(hub);
    expect(await failure(hub.stream('EDGE'))).toMatchObject({ kind: 'configuration' });
  });

  test('is renewed by its files alone, and so is the authority', async () => {
    const own = await server(tlsBlock('server', VERIFY));
    const [caFile, certFile, keyFile] = ['ca.pem', 'cert.pem', 'key.pem'].map((file) =>
      join(dir, file),
    ) as [string, string, string];
    const put = (ca: string, client: string): void => {
      copyFileSync(certificate(ca), caFile);
      copyFileSync(certificate(client), certFile);
      copyFileSync(certificate(`${client}-key`), keyFile);
    };
    put('other-ca', 'client-expired');
    const hub = newHub({ servers: [`localhost:${own.port}`], tls: { caFile, certFile, keyFile } });
    expect(await refusal()).toMatchObject({ hint: /let ca in \[hub.tls\] name/ });
    put('ca', 'client-expired');
    await until('another refusal', () => /refuses the certificate/.test(hub.detail));
    put('ca', 'client');
    await connected(hub);
  });

  test.each([
    ['is not there', { certFile: join(dir, 'nowhere.pem') }, /nowhere.pem.*ENOENT/],
    ['is none', { caFile: certificate('server-key') }, /server-key.pem: holds no certificate/],
    [
      'is not for its key',
      { certFile: certificate('client'), keyFile: certificate('server-key') },
      /client.pem, .*server-key.pem: .*key values mismatch/,
    ],
  ])('that %s is named', async (_, files, error) => {
    const own = await server(tlsBlock('server'));
    newHub({ servers: [`localhost:${own.port}`], tls: { ...CA, ...files } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'files' });
    expect(line.error).toMatch(error);
  });
});
