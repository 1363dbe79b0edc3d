// TLS for MQTT clients, with the real programs of mosquitto, MQTT.js and openssl; certificates that are replaced while
// clients are connected.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { certificate, MqttDoors } from '../../support/mqtt-doors.ts';
import { until } from '../../support/until.ts';

const rig = new MqttDoors();
afterEach(rig.end);

const pem = (name: string): Buffer => readFileSync(certificate(name));
const CA = ['--cafile', certificate('ca')];
const CLIENT = ['--cert', certificate('client'), '--key', certificate('client-key')];

const OWN_PORT = `[mqtt]
listen = "127.0.0.1:0"
[mqtt.tls]
cert = "cert.pem"
key = "key.pem"
listen = "127.0.0.1:0"
`;
const ONLY = OWN_PORT.replace(/listen = "127.0.0.1:0"\n$/, '');

/** The certificate that a new connection is shown; rejects where the handshake fails. */
function shown(port: number, options: object = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connectTls(
      { host: '127.0.0.1', port, rejectUnauthorized: false, ...options },
      () => {
        resolve(String(socket.getPeerCertificate().issuer.CN));
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}

test('mosquitto’s clients publish and subscribe inside TLS, on a port of its own beside the plain one', async () => {
  rig.use('server');
  await rig.start(OWN_PORT);
  const port = rig.port('tlsAddress');
  expect(port).not.toBe(rig.port('address'));
  const retained = ['-t', 'plant/a', '-m', 'inside', '-q', '1', '-r'];
  for (const version of ['mqttv311', 'mqttv5'])
    await rig.mosquitto('pub', port, ...CA, ...retained, '-V', version);
  expect(await rig.mosquitto('sub', port, ...CA, '-t', 'plant/#', '-C', '1', '-W', '5')).toBe(
    'inside\n',
  );
  expect(
    await rig.mosquitto('sub', rig.port('address'), '-t', 'plant/#', '-C', '1', '-W', '5'),
  ).toBe('inside\n');
  // Who trusts another authority does not connect, and who speaks no TLS neither.
  const other = ['--cafile', certificate('other-ca'), ...retained];
  await expect(rig.mosquitto('pub', port, ...other)).rejects.toThrow(
    /certificate verify failed|TLS/i,
  );
  await expect(rig.mosquitto('pub', port, ...retained)).rejects.toThrow(/lost|Error/);
});

test('without a port of its own the listener speaks TLS and nothing else', async () => {
  rig.use('server');
  await rig.start(ONLY);
  const port = rig.port('address');
  expect(rig.port('tlsAddress')).toBe(port);
  const client = await rig.client(`mqtts://localhost:${port}`, { ca: pem('ca') });
  await client.publishAsync('plant/a', 'x', { qos: 1 });
  const plain = connectPlain(port, '127.0.0.1');
  plain.write(Buffer.from('100c00044d5154540402003c0000', 'hex'));
  let bytes = 0;
  plain.on('data', (chunk) => (bytes += chunk.length));
  plain.on('error', () => undefined);
  await until('the plain socket to be closed', () => plain.closed);
  expect(rig.listener.stats().connects).toBe(1);
  expect(bytes).toBeLessThan(16); // An alert at most.
  await until(
    'the log to say so',
    () => rig.agent.said('did not get through the TLS handshake').length === 1,
  );
});

test('TLS 1.2 and 1.3 are spoken, and nothing older', async () => {
  rig.use('server');
  await rig.start(ONLY);
  const port = rig.port('address');
  const only = (version: SecureVersion) => ({
    minVersion: version,
    maxVersion: version,
    ciphers: 'DEFAULT@SECLEVEL=0',
  });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
    expect(await shown(port, only(version)), version).toBe('Mangrove test authority');
  for (const version of ['TLSv1', 'TLSv1.1'] as const)
    await expect(shown(port, only(version)), version).rejects.toThrow(/alert|protocol/i);
  const { stdout } = await promisify(execFile)(
    'sh',
    [
      '-c',
      `openssl s_client -connect 127.0.0.1:${port} -CAfile ${certificate('ca')} -verify_return_error </dev/null 2>&1`,
    ],
    { timeout: 10_000 },
  );
  expect(stdout).toMatch(/Verify return code: 0 \(ok\)/);
});

test('with an authority only its clients come in, and their certificate can be their user', async () => {
  rig.use('server');
  rig.copy('ca', 'ca.pem');
  await rig.start(
    `${ONLY}ca = "ca.pem"\nuser_from_certificate = true\n[[mqtt.acl]]\nusers = ["gw7"]\npublish = ["plant/%u"]\n`,
  );
  const port = rig.port('address');
  const publish = ['-q', '1', '-V', 'mqttv5', '-m', 'x', '-t'];
  await rig.mosquitto('pub', port, ...CA, ...CLIENT, ...publish, 'plant/gw7');
  // What CONNECT says does not count.
  await rig.mosquitto(
    'pub',
    port,
    ...CA,
    ...CLIENT,
    '-u',
    'root',
    '-P',
    'x',
    ...publish,
    'plant/gw7',
  );
  const { jetstream } = rig.agent.agent.parts;
  const stored = (): number => jetstream.stream('ALL')?.state().messages ?? -1;
  expect(stored()).toBe(2);
  for (const topic of ['plant/root', 'plant/other'])
    await rig
      .mosquitto('pub', port, ...CA, ...CLIENT, '-u', 'root', ...publish, topic)
      .catch(() => '');
  expect(stored()).toBe(2);
  const own = (name: string): string[] => [
    '--cert',
    certificate(name),
    '--key',
    certificate(`${name}-key`),
  ];
  for (const strangers of [[], own('client-other'), own('client-expired')])
    await expect(
      rig.mosquitto('pub', port, ...CA, ...strangers, ...publish, 'plant/gw7'),
    ).rejects.toThrow();
  expect(stored()).toBe(2);
});

test('a certificate is replaced under load, and nobody who is connected notices', async () => {
  rig.use('server');
  await rig.start(OWN_PORT);
  const port = rig.port('tlsAddress');
  const url = `mqtts://localhost:${port}`;
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => rig.client(url, { ca: pem('ca') })),
  );
  let closed = 0;
  for (const client of clients) client.on('close', () => closed++);
  let running = true;
  let published = 0;
  const load = clients.map(async (client, i) => {
    while (running) {
      await client.publishAsync(`plant/${i}`, 'x', { qos: 1 });
      published++;
    }
  });
  await until('the load', () => published > 200);
  expect(await shown(port)).toBe('Mangrove test authority');
  rig.use('other-server');
  expect(await rig.reload()).toEqual(['mqtt.tls']);
  expect(await shown(port)).toBe('Another authority');
  const after = published;
  await until('the load to go on', () => published > after + 200);
  expect(await rig.reload()).toEqual([]);
  running = false;
  await Promise.all(load);
  expect([closed, rig.listener.stats().connections]).toEqual([0, 20]);
  expect(rig.agent.agent.parts.jetstream.stream('ALL')?.state().messages).toBe(published);
  await expect(rig.client(url, { ca: pem('ca') })).rejects.toThrow(/certificate/);
});

test('a new authority for clients is in force for the next handshake, also for who comes back with a ticket', async () => {
  rig.use('server');
  rig.copy('ca', 'ca.pem');
  await rig.start(`${OWN_PORT}ca = "ca.pem"\n`);
  const port = rig.port('tlsAddress');
  const credentials = {
    ca: pem('ca'),
    cert: pem('client'),
    key: pem('client-key'),
    host: 'localhost',
    port,
  };
  /** The first bytes of the answer to CONNECT; empty where the connection is closed before. */
  const greet = (
    options: object = {},
  ): Promise<{ answer: string; ticket: Buffer | undefined; reused: boolean }> =>
    new Promise((resolve) => {
      let ticket: Buffer | undefined;
      const socket: TLSSocket = connectTls({ ...credentials, ...options });
      const done = (answer: string): void => {
        resolve({ answer, ticket, reused: socket.isSessionReused() });
        socket.destroy();
      };
      socket.on('session', (session: Buffer) => (ticket = session));
      socket.on('error', () => done(''));
      socket.on('close', () => done(''));
      socket.on('data', (data: Buffer) => done(data.toString('hex')));
      socket.write(Buffer.from('100c00044d5154540402003c0000', 'hex'));
    });
  const first = await greet();
  expect(first.answer).toBe('20020000');
  const again = await greet({ session: first.ticket });
  expect([again.answer, again.reused]).toEqual(['20020000', true]);
  rig.copy('other-ca', 'ca.pem');
  expect(await rig.reload()).toEqual(['mqtt.tls']);
  expect((await greet()).answer).toBe('');
  expect((await greet({ session: first.ticket })).answer).toBe('');
  const other = { cert: pem('client-other'), key: pem('client-other-key') };
  expect((await greet(other)).answer).toBe('20020000');
});

test.each([
  [
    'no certificate',
    () => rig.put('cert.pem', '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n'),
    /cert.pem holds no certificate/,
  ],
  ['the key of another', () => rig.copy('other-server-key', 'key.pem'), /cannot be used together/],
  [
    'half a key',
    () => rig.put('key.pem', '-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n'),
    /key.pem holds no private key that can be read/,
  ],
  [
    'no authority',
    () => rig.put('ca.pem', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'),
    /ca.pem holds no certificate/,
  ],
  ['nothing', () => rig.put('cert.pem', ''), /cert/],
])(
  'new files with %s are refused, and the old ones stay in force',
  async (_name, spoil, message) => {
    rig.use('server');
    rig.copy('ca', 'ca.pem');
    await rig.start(
      `${OWN_PORT}ca = "ca.pem"\n[nats]\nlisten = "127.0.0.1:0"\n[nats.tls]\ncert = "cert.pem"\nkey = "key.pem"\nhandshake_first = true\n`,
    );
    const port = rig.port('tlsAddress');
    const options = { ca: pem('ca'), cert: pem('client'), key: pem('client-key') };
    const client = await rig.client(`mqtts://localhost:${port}`, options);
    spoil();
    await expect(rig.reload()).rejects.toThrow(message);
    await client.publishAsync('plant/a', 'x', { qos: 1 });
    const later = await rig.client(`mqtts://localhost:${port}`, options);
    await later.publishAsync('plant/a', 'x', { qos: 1 });
  },
);

test('files that cannot be used end the start, and say why', async () => {
  rig.use('server');
  rig.copy('other-server-key', 'key.pem');
  await expect(rig.start(OWN_PORT)).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringMatching(
      /agent.toml:\d+: mqtt.tls.key: .*key.pem and .*cert.pem of cert .* cannot be used together/,
    ),
  });
});

test('handshakes that are begun and not ended are bounded: the oldest go', async () => {
  rig.use('server');
  await rig.start(ONLY);
  const port = rig.port('address');
  const silent = Array.from({ length: 257 }, () => connectPlain(port, '127.0.0.1'));
  for (const socket of silent) socket.on('error', () => undefined);
  await until('one to be closed', () => silent.some((socket) => socket.closed));
  const client = await rig.client(`mqtts://localhost:${port}`, { ca: pem('ca') });
  await client.publishAsync('plant/a', 'x', { qos: 1 });
  expect(silent.filter((socket) => !socket.closed).length).toBeGreaterThan(250);
  for (const socket of silent) socket.destroy();
});

test('a reload closes who may no longer connect, and gives the others their new rights', async () => {
  rig.put(
    'users',
    'ann:$7$101$fnk/zY3hc2dxZydj$lo1Zv8UlR0lc8CpMDOKESAOiOAOQ5id+ufnYGmFDdvmd5AZS1/tkA1NRLlhkKPOzGG+NguTaFw+ZImn2vbna3w==\n',
  );
  const tables = (users: string, topic: string): string =>
    `[mqtt]\nlisten = "127.0.0.1:0"\npassword_file = "users"\nusers = [${users}]\n[[mqtt.acl]]\npublish = ["${topic}"]\nsubscribe = ["${topic}"]\n`;
  const bob = '{ user = "bob", password = "b" }';
  await rig.start(tables(`${bob}, { user = "carl", password = "c" }`, 'plant/old'));
  const url = `mqtt://localhost:${rig.port('address')}`;
  const five = { protocolVersion: 5 } as const;
  const ann = await rig.client(url, { ...five, username: 'ann', password: 'secret' });
  const carl = await rig.client(url, { ...five, username: 'carl', password: 'c' });
  const other = await rig.client(url, { ...five, username: 'bob', password: 'b' });
  await ann.publishAsync('plant/old', 'x', { qos: 1 });
  await expect(ann.publishAsync('plant/new', 'x', { qos: 1 })).rejects.toThrow(/not authorized/i);
  rig.configure(tables(bob.replace('"b"', '"changed"'), 'plant/new'));
  expect(await rig.reload()).toEqual(['mqtt.users', 'mqtt.acl']);
  await until('two to be closed', () => !carl.connected && !other.connected);
  expect(ann.connected).toBe(true);
  await ann.publishAsync('plant/new', 'x', { qos: 1 });
  await expect(ann.publishAsync('plant/old', 'x', { qos: 1 })).rejects.toThrow(/not authorized/i);
  rig.put(
    'users',
    '# ann is gone\nzoe:$7$101$fnk/zY3hc2dxZydj$lo1Zv8UlR0lc8CpMDOKESAOiOAOQ5id+ufnYGmFDdvmd5AZS1/tkA1NRLlhkKPOzGG+NguTaFw+ZImn2vbna3w==\n',
  );
  expect(await rig.reload()).toEqual(['mqtt.users']);
  await until('her to be closed', () => !ann.connected);
  await expect(rig.client(url, { username: 'ann', password: 'secret' })).rejects.toThrow(
    /not authorized|bad user/i,
  );
  await rig.client(url, { username: 'zoe', password: 'secret' });
});
