// MQTT over WebSocket, with MQTT.js and with frames written by hand: packets in any division, the sub-protocol, origins,
// inside TLS and not.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import { certificate, MqttDoors } from '../../support/mqtt-doors.ts';
import { until } from '../../support/until.ts';

const rig = new MqttDoors();
afterEach(rig.end);

const PLAIN = '[mqtt]\nlisten = "127.0.0.1:0"\n[mqtt.websocket]\nlisten = "127.0.0.1:0"\n';
const TLS = '[mqtt.tls]\ncert = "cert.pem"\nkey = "key.pem"\n';
const CONNECT = Buffer.from('100c00044d5154540402003c0000', 'hex');
const WELCOME = '20020000';

const pem = (name: string): Buffer => readFileSync(certificate(name));

/** A WebSocket that is open, with what came as bytes; rejects with the answer of the server where it is refused. */
function open(
  protocols: string[],
  options: ClientOptions = {},
): Promise<{ socket: WebSocket; bytes: () => string }> {
  const socket = new WebSocket(
    `ws://127.0.0.1:${rig.port('websocketAddress')}/any`,
    protocols,
    options,
  );
  const chunks: Buffer[] = [];
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    expect(isBinary).toBe(true);
    chunks.push(data);
  });
  return new Promise((resolve, reject) => {
    socket.on('open', () =>
      resolve({ socket, bytes: () => Buffer.concat(chunks).toString('hex') }),
    );
    socket.on('error', reject);
  });
}

test.each([4, 5] as const)(
  'MQTT.js publishes and subscribes over WebSocket, protocol level %d',
  async (protocolVersion) => {
    await rig.start(PLAIN);
    const url = `ws://127.0.0.1:${rig.port('websocketAddress')}/mqtt`;
    const client = await rig.client(url, { protocolVersion });
    const got: string[] = [];
    client.on('message', (topic, data) => got.push(`${topic} ${data.length}`));
    await client.subscribeAsync('plant/#', { qos: 1 });
    for (const size of [0, 1, 100, 70_000, 900_000])
      await client.publishAsync('plant/a', Buffer.alloc(size, 'x'), { qos: 1 });
    await until('all of it', () => got.length === 5);
    expect(got.at(-1)).toBe('plant/a 900000');
    expect(rig.listener.stats().connections).toBe(1);
  },
);

test('packets are taken however frames divide them', async () => {
  await rig.start(PLAIN);
  const { socket, bytes } = await open(['mqtt']);
  for (const byte of CONNECT) socket.send(Buffer.from([byte]));
  await until('the welcome', () => bytes() === WELCOME);
  // Two in one frame, and one in fragments of a message.
  socket.send(Buffer.from('c000c000', 'hex'));
  socket.send(Buffer.from('c0', 'hex'), { fin: false });
  socket.send(Buffer.alloc(0), { fin: false });
  socket.send(Buffer.from('00', 'hex'), { fin: true });
  await until('three answers', () => bytes() === `${WELCOME}${'d000'.repeat(3)}`);
  socket.close();
});

test('the sub-protocol is answered, and who does not offer it is refused', async () => {
  await rig.start(PLAIN);
  for (const [offered, answered] of [
    [['mqtt'], 'mqtt'],
    [['mqttv3.1'], 'mqttv3.1'],
    [['mqttv3.1', 'mqtt'], 'mqtt'],
    [['chat', 'mqtt'], 'mqtt'],
  ] as const) {
    const { socket, bytes } = await open([...offered]);
    expect(socket.protocol).toBe(answered);
    socket.send(CONNECT);
    await until('the welcome', () => bytes() === WELCOME);
    socket.close();
  }
  for (const offered of [[], ['chat'], ['mqttv5'], ['MQTT']])
    await expect(open(offered), offered.join()).rejects.toThrow('400');
  const [line, ...more] = rig.agent.said('an MQTT client was refused its WebSocket');
  expect(line).toMatchObject({
    level: 40,
    ip: '127.0.0.1',
    reason: 'it offers no sub-protocol, not mqtt or mqttv3.1',
  });
  expect(more).toEqual([]); // What repeats is not said every time.
  await until('all to be gone', () => rig.listener.stats().connections === 0);
});

test('text is no packet: who sends it is closed with the code for it', async () => {
  await rig.start(PLAIN);
  const { socket, bytes } = await open(['mqtt']);
  let code = 0;
  socket.on('close', (found) => (code = found));
  socket.send(CONNECT);
  await until('the welcome', () => bytes() === WELCOME);
  socket.send('\u00c0\u0000');
  await until('it to be closed', () => code !== 0);
  expect([code, bytes()]).toEqual([1003, WELCOME]);
  await until('it to be gone', () => rig.listener.stats().connections === 0);
});

test('pages of elsewhere are refused, unless they are listed', async () => {
  await rig.start(`${PLAIN}origins = ["https://panel.example.com"]\n`);
  const port = rig.port('websocketAddress');
  for (const origin of ['https://panel.example.com', `http://127.0.0.1:${port}`]) {
    const { socket } = await open(['mqtt'], { origin });
    socket.close();
  }
  for (const origin of [
    'https://evil.example.com',
    'null',
    'https://panel.example.com.evil.com',
    'http://127.0.0.1:1',
  ])
    await expect(open(['mqtt'], { origin }), origin).rejects.toThrow('403');
  expect(rig.agent.said('an MQTT client was refused its WebSocket')).toEqual([
    expect.objectContaining({
      ip: '127.0.0.1',
      reason: 'a page of https://evil.example.com, which is not among origins',
    }),
  ]);
});

test('a page of a host that only its name makes the same is refused: who owns the name may point it here', async () => {
  await rig.start(PLAIN);
  const port = rig.port('websocketAddress');
  const page = (host: string) =>
    open(['mqtt'], { origin: `http://${host}:${port}`, headers: { Host: `${host}:${port}` } });
  for (const host of ['localhost', '127.0.0.1', '[::1]', '192.168.1.5']) {
    const { socket } = await page(host);
    socket.close();
  }
  for (const host of ['evil.example.com', 'localhost.example.com', '127.0.0.1.example.com'])
    await expect(page(host), host).rejects.toThrow('403');
});

test('sockets that do not become WebSockets make room for those that do', async () => {
  await rig.start(PLAIN);
  const port = rig.port('websocketAddress');
  const { socket: early, bytes: heard } = await open(['mqtt']);
  early.send(CONNECT);
  await until('the first welcome', () => heard() === WELCOME);
  const silent: Socket[] = [];
  let closed = 0;
  for (let i = 0; i < 270; i++) {
    const socket = connect(port, '127.0.0.1');
    socket.on('close', () => closed++);
    socket.on('error', () => undefined);
    silent.push(socket);
    await once(socket, 'connect');
  }
  const { socket, bytes } = await open(['mqtt']);
  socket.send(CONNECT);
  await until('the welcome', () => bytes() === WELCOME);
  await until('the oldest to be closed', () => closed >= 14);
  expect(silent[269]?.destroyed).toBe(false);
  // Who is a WebSocket already is not among them.
  early.send(Buffer.from('c000', 'hex'));
  await until('the answer', () => heard() === `${WELCOME}d000`);
  for (const each of silent) each.destroy();
  for (const each of [early, socket]) each.close();
});

test('begun messages of all clients together are bounded, before CONNECT too', async () => {
  await rig.start(PLAIN);
  const { socket: other, bytes } = await open(['mqtt']);
  other.send(CONNECT);
  await until('the welcome', () => bytes() === WELCOME);
  let closed = 0;
  const greedy: WebSocket[] = [];
  for (let i = 0; i < 20; i++) {
    const { socket } = await open(['mqtt']);
    socket.on('close', () => closed++);
    socket.on('error', () => undefined);
    greedy.push(socket);
    socket.send(Buffer.alloc(1_000_000), { fin: false });
  }
  await until('some to be closed', () => closed >= 3);
  expect(greedy.filter(({ readyState }) => readyState === WebSocket.OPEN).length).toBeGreaterThan(
    10,
  );
  // A small one is never the one who would exceed it.
  other.send(Buffer.from('c0', 'hex'), { fin: false });
  other.send(Buffer.from('00', 'hex'), { fin: true });
  await until('the answer', () => bytes() === `${WELCOME}d000`);
  for (const each of greedy) each.terminate();
  await until('all to be closed', () => closed === greedy.length);
  // What they held is free again.
  for (let i = 0; i < 5; i++) {
    const { socket, bytes: answers } = await open(['mqtt']);
    socket.send(CONNECT);
    socket.send(Buffer.concat([Buffer.from('32bbf736000161', 'hex'), Buffer.from([0, 1])]), {
      fin: false,
    });
    socket.send(Buffer.alloc(899_998), { fin: false });
    greedy.push(socket);
    expect(answers().startsWith('21')).toBe(false);
  }
  await until('all of them to be clients', () => rig.listener.stats().connections === 6);
  for (const each of [...greedy, other]) each.terminate();
});

test('a message that is larger than any packet closes its connection, and no other', async () => {
  await rig.start(PLAIN);
  const { socket: other } = await open(['mqtt']);
  const { socket, bytes } = await open(['mqtt']);
  socket.on('error', () => undefined);
  let code = 0;
  socket.on('close', (found) => (code = found));
  socket.send(CONNECT);
  await until('the welcome', () => bytes() === WELCOME);
  socket.send(Buffer.alloc(2 * 1024 * 1024));
  await until('it to be closed', () => code !== 0);
  expect([code, other.readyState]).toEqual([1009, WebSocket.OPEN]);
  other.close();
});

test('inside TLS, with the certificates of [mqtt.tls], which are replaced without anybody noticing', async () => {
  rig.use('server');
  rig.copy('ca', 'ca.pem');
  await rig.start(`${PLAIN}${TLS}ca = "ca.pem"\nuser_from_certificate = true\n`);
  const url = `wss://localhost:${rig.port('websocketAddress')}`;
  const own = { cert: pem('client'), key: pem('client-key') };
  const client = await rig.client(url, { ca: pem('ca'), ...own });
  await client.publishAsync('plant/a', 'x', { qos: 1 });
  await expect(rig.client(url, { ca: pem('ca') })).rejects.toThrow();
  rig.use('other-server');
  expect(await rig.reload()).toEqual(['mqtt.tls']);
  await client.publishAsync('plant/a', 'x', { qos: 1 });
  await expect(rig.client(url, { ca: pem('ca'), ...own })).rejects.toThrow(/certificate/);
  const later = await rig.client(url, { ca: pem('other-ca'), ...own });
  await later.publishAsync('plant/a', 'x', { qos: 1 });
  expect(client.connected).toBe(true);
});

test('beside a TLS port of its own it is plain, unless it is said otherwise', async () => {
  rig.use('server');
  await rig.start(`${PLAIN}${TLS}listen = "127.0.0.1:0"\n`);
  const client = await rig.client(`ws://localhost:${rig.port('websocketAddress')}`);
  await client.publishAsync('plant/a', 'x', { qos: 1 });
  await rig.end();
  rig.use('server');
  await rig.start(`${PLAIN}tls = true\n${TLS}listen = "127.0.0.1:0"\n`);
  const secure = await rig.client(`wss://localhost:${rig.port('websocketAddress')}`, {
    ca: pem('ca'),
  });
  await secure.publishAsync('plant/a', 'x', { qos: 1 });
});
