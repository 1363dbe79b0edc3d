import { generate } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { connectPacket } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

const valid = generate(connectPacket());

test('a client connects and is told that it has no earlier session', async () => {
  using gateway = new Gateway();
  const connack = await gateway.client().connect();
  expect(connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  expect(gateway.listener.stats()).toMatchObject({
    connections: 1,
    halfOpen: 0,
    sessions: 1,
    connects: 1,
  });
});

test('CONNECT is understood byte by byte and split anywhere', async () => {
  using gateway = new Gateway();
  const slow = gateway.client();
  for (const byte of valid) slow.write(Buffer.from([byte]));
  expect((await slow.expect('connack')).returnCode).toBe(0);
  for (let at = 1; at < valid.length; at++) {
    const client = gateway.client();
    client.write(valid.subarray(0, at));
    await gateway.idle();
    client.write(valid.subarray(at));
    expect((await client.expect('connack')).returnCode).toBe(0);
  }
});

test.each([
  ['MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 }, '20020000'],
  ['MQTT 3.1.1', { protocolVersion: 4 }, '20020000'],
  // Receive Maximum 1,024, 32 Topic Aliases, Maximum Packet Size 1 MiB and its header.
  ['MQTT 5.0', { protocolVersion: 5 }, '200e00000b2104002200202700100004'],
] as const)('a client of %s is let in', async (_, options, answer) => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect(options);
  expect(Buffer.concat(client.bytes).toString('hex')).toBe(answer);
});

test.each([
  ['3.1', 0x83, 'MQIsdp'],
  ['3.1.1', 0x84, 'MQTT'],
] as const)('a bridge of mosquitto that speaks %s is let in', async (_, level, name) => {
  using gateway = new Gateway();
  const client = gateway.client();
  client.write(withLevel(level, name));
  expect((await client.expect('connack')).returnCode).toBe(0);
});

test.each([
  ['a level that is still to come', withLevel(6), /^20..0084/],
  ['a level that there never was', withLevel(2), '20020001'],
  ['the level of 3.1 under the name of 3.1.1', withLevel(3), '20020001'],
  [
    'another protocol name',
    Buffer.from(valid.toString('latin1').replace('MQTT', 'MQTS'), 'latin1'),
    '',
  ],
  [
    'a protocol name in small letters',
    Buffer.from(valid.toString('latin1').replace('MQTT', 'mqtt'), 'latin1'),
    '',
  ],
  ['no protocol at all', Buffer.from('1000', 'hex'), ''],
  ['a protocol name beyond the packet', Buffer.from('1003ffff4d', 'hex'), ''],
  ['the reserved connect flag', withFlags(0x03), ''],
  ['Will QoS without a Will', withFlags(0x0a), ''],
  ['Will Retain without a Will', withFlags(0x22), ''],
  ['a password without a user name', withFlags(0x42, Buffer.from('000178', 'hex')), ''],
  ['Will QoS 3', withFlags(0x1e, Buffer.from('00016100016d', 'hex')), ''],
  ['an invalid Will Topic', withFlags(0x06, Buffer.from('0003612f2b00016d', 'hex')), ''],
  ['an empty Will Topic', withFlags(0x06, Buffer.from('000000016d', 'hex')), ''],
  [
    'a Will Topic of the system',
    withFlags(0x06, Buffer.from('00042453595300016d', 'hex')),
    '20020005',
  ],
  [
    'an identifier beyond the packet',
    Buffer.concat([valid.subarray(0, 12), Buffer.from('ffff00', 'hex')]),
    '',
  ],
  [
    'no identifier but a session to keep',
    Buffer.from(generate(connectPacket({ clientId: '' }))).fill(0, 9, 10),
    '20020002',
  ],
  [
    'an identifier that is too long',
    generate(connectPacket({ clientId: 'x'.repeat(257) })),
    '20020002',
  ],
  ['an identifier with a line end', generate(connectPacket({ clientId: 'a\nb' })), '20020002'],
  ['no identifier in MQTT 3.1', Buffer.from('100e00064d51497364700302000a0000', 'hex'), '20020002'],
])('CONNECT with %s is refused', async (_, bytes, answer) => {
  using gateway = new Gateway();
  const client = gateway.client();
  bytes[1] = bytes.length - 2 < 128 ? bytes.length - 2 : (bytes[1] ?? 0);
  client.write(bytes);
  await client.expectClosed();
  const said = Buffer.concat(client.bytes).toString('hex');
  if (typeof answer === 'string') expect(said).toBe(answer);
  else expect(said).toMatch(answer);
  expect(gateway.listener.stats()).toMatchObject({ connections: 0, halfOpen: 0, sessions: 0 });
});

function withLevel(level: number, name: 'MQTT' | 'MQIsdp' = 'MQTT'): Buffer {
  const bytes = Buffer.from(
    name === 'MQTT' ? valid : generate(connectPacket({ protocolId: 'MQIsdp', protocolVersion: 3 })),
  );
  bytes[4 + name.length] = level;
  return bytes;
}

function withFlags(flags: number, more = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.concat([valid, more]);
  bytes[9] = flags;
  return bytes;
}

test('a client without an identifier gets one of its own', async () => {
  using gateway = new Gateway();
  const taken = gateway.client();
  await taken.connect({ clientId: 'auto-1' });
  for (let i = 0; i < 3; i++)
    expect((await gateway.client().connect({ clientId: '' })).returnCode).toBe(0);
  expect(gateway.listener.stats().connections).toBe(4);
  expect(taken.closed).toBe(false);
});

test.each([
  ['a first packet that is no CONNECT', generate({ cmd: 'pingreq' })],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['TLS', Buffer.from('16030100', 'hex')],
  ['a CONNECT of 1 MiB', Buffer.from('10ffff3f', 'hex')],
])('%s is closed at once', async (_, bytes) => {
  using gateway = new Gateway();
  const client = gateway.client();
  client.write(bytes);
  await client.expectClosed();
  expect(client.bytes).toEqual([]);
  expect(gateway.listener.counters.protocolErrors).toBe(1);
});

test('a second CONNECT is closed', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  client.send(connectPacket());
  await client.expectClosed();
});

test('a socket that has not sent its whole CONNECT within 5 s is closed', async () => {
  using gateway = new Gateway();
  const silent = gateway.client();
  const slow = gateway.client();
  slow.write(valid.subarray(0, 10));
  await gateway.settle();
  gateway.clock.advance(4000);
  slow.write(valid.subarray(10, 12));
  await gateway.settle();
  expect([silent.closed, slow.closed]).toEqual([false, false]);
  gateway.clock.advance(1500);
  await silent.expectClosed();
  await slow.expectClosed();
  expect(gateway.listener.counters.connectTimeouts).toBe(2);
});

test('a client that is silent for one and a half times its keep-alive is closed, one that pings is not', async () => {
  using gateway = new Gateway();
  const silent = gateway.client();
  const alive = gateway.client();
  const carefree = gateway.client();
  await silent.connect({ clientId: 'silent', keepalive: 10 });
  await alive.connect({ clientId: 'alive', keepalive: 10 });
  await carefree.connect({ clientId: 'carefree', keepalive: 0 });
  for (let s = 0; s < 14; s += 2) {
    gateway.clock.advance(2000);
    alive.send({ cmd: 'pingreq' });
    await alive.expect('pingresp');
  }
  expect(silent.closed).toBe(false);
  gateway.clock.advance(2000);
  await silent.expectClosed();
  gateway.clock.advance(3_600_000);
  await gateway.settle();
  expect(alive.closed).toBe(true);
  expect(carefree.closed).toBe(false);
  expect(gateway.listener.counters.keepAliveTimeouts).toBe(2);
});

test.each([
  [true, true],
  [false, false],
  [true, false],
  [false, true],
])('a second connection of the same client takes the place of the first: %j, %j', async (a, b) => {
  using gateway = new Gateway();
  const first = gateway.client();
  await first.connect({ clean: a });
  const second = gateway.client();
  await second.connect({ clean: b });
  await first.expectClosed();
  expect(gateway.listener.stats()).toMatchObject({ connections: 1, sessions: 1, takeovers: 1 });
  second.send({ cmd: 'pingreq' });
  await second.expect('pingresp');
});

const users = [
  { user: 'meter', password: 'secret' },
  { user: 'gauge', password: 'other' },
];

test.each([
  ['the right password', { username: 'gauge', password: Buffer.from('other') }, false, 0],
  ['a wrong password', { username: 'meter', password: Buffer.from('other') }, false, 4],
  ['no password', { username: 'meter' }, false, 4],
  ['an unknown name', { username: 'nobody', password: Buffer.from('secret') }, false, 4],
  ['no name', {}, false, 5],
  ['no name, where that is allowed', {}, true, 0],
  [
    'a wrong password, where no name is allowed',
    { username: 'meter', password: Buffer.from('x') },
    true,
    4,
  ],
])('a client with %s is answered %#', async (_, credentials, allowAnonymous, returnCode) => {
  using gateway = new Gateway({ options: { users, allowAnonymous } });
  const client = gateway.client();
  expect((await client.connect(credentials)).returnCode).toBe(returnCode);
  if (returnCode !== 0) await client.expectClosed();
});

test('clients beyond the limit are told so; one that comes again takes its own place', async () => {
  using gateway = new Gateway({ limits: { connectionsMax: 2 } });
  const first = gateway.client();
  await first.connect({ clientId: 'a' });
  await gateway.client().connect({ clientId: 'b' });
  const third = gateway.client();
  expect((await third.connect({ clientId: 'c' })).returnCode).toBe(3);
  await third.expectClosed();
  expect((await gateway.client().connect({ clientId: 'a' })).returnCode).toBe(0);
  await first.expectClosed();
  expect(gateway.listener.stats().connections).toBe(2);
});

test('of too many sockets without a CONNECT the oldest go', async () => {
  using gateway = new Gateway({ limits: { halfOpenMax: 3 } });
  const waiting = Array.from({ length: 5 }, () => gateway.client());
  await gateway.settle();
  expect(waiting.map(({ closed }) => closed)).toEqual([true, true, false, false, false]);
  expect(gateway.listener.stats()).toMatchObject({ halfOpen: 3, halfOpenEvicted: 2 });
  expect((await waiting[4]!.connect()).returnCode).toBe(0);
});

test('persistent sessions beyond the limit are refused, known ones and clean ones are not', async () => {
  using gateway = new Gateway({ limits: { sessionsMax: 1 } });
  expect((await gateway.client().connect({ clientId: 'a', clean: false })).returnCode).toBe(0);
  expect((await gateway.client().connect({ clientId: 'b', clean: false })).returnCode).toBe(3);
  expect((await gateway.client().connect({ clientId: 'b', clean: true })).returnCode).toBe(0);
  expect((await gateway.client().connect({ clientId: 'a', clean: false })).returnCode).toBe(0);
});
