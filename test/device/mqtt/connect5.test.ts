import { generate, type IConnectPacket } from 'mqtt-packet';
import { pbkdf2Sync } from 'node:crypto';
import { expect, test } from 'vitest';
import type { MqttLimits } from '../../../device/mqtt/limits.ts';
import { connectPacket, type TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

type Properties = NonNullable<IConnectPacket['properties']>;

function connect5(client: TestClient, options: Partial<IConnectPacket> = {}) {
  return client.connect({ protocolVersion: 5, ...options });
}

test('CONNACK names what the client has to keep to', async () => {
  using gateway = new Gateway({ limits: { publishesInFlightMax: 20, packetBytesMax: 100 } });
  const connack = await connect5(gateway.client());
  expect(connack).toMatchObject({
    reasonCode: 0,
    sessionPresent: false,
    properties: { receiveMaximum: 20, maximumPacketSize: 102, topicAliasMaximum: 32 },
  });
});

test.each([
  ['a new session', true],
  ['whatever there is', false],
])('a client without an identifier that wants %s is told the one it gets', async (_, clean) => {
  using gateway = new Gateway();
  const nameless = async (): Promise<string> => {
    const packet = connectPacket({ protocolVersion: 5, clientId: '', clean: true });
    const bytes = generate(packet, { protocolVersion: 5 });
    bytes[9] = clean ? 2 : 0;
    const client = gateway.client();
    client.version = 5;
    client.write(bytes);
    return (await client.expect('connack')).properties?.assignedClientIdentifier ?? '';
  };
  const clientId = await nameless();
  expect(clientId).toMatch(/^auto-/);
  expect(await nameless()).not.toBe(clientId);
  // It is the name of a session like any other.
  await connect5(gateway.client(), { clientId });
  expect(gateway.listener.counters.takeovers).toBe(1);
});

test.each([
  [0, 60, 60],
  [61, 60, 60],
  [60, 60, undefined],
  [61, 0, undefined],
])(
  'of a keep-alive of %i s and a maximum of %i the client is told %s',
  async (keepalive, keepAliveSecondsMax, told) => {
    using gateway = new Gateway({ limits: { keepAliveSecondsMax } });
    const client = gateway.client();
    const connack = await connect5(client, { keepalive });
    expect(connack.properties?.serverKeepAlive).toBe(told);
    gateway.clock.advance(91_000);
    await gateway.settle();
    expect(client.closed).toBe(keepAliveSecondsMax === 60);
  },
);

test('a silent client is told why it is closed', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await connect5(client, { keepalive: 10 });
  gateway.clock.advance(15_500);
  expect((await client.expect('disconnect')).reasonCode).toBe(0x8d);
  await client.expectClosed();
});

test('a session lasts no longer than the gateway allows, and the client is told', async () => {
  using gateway = new Gateway({ limits: { sessionExpirySecondsMax: 100 } });
  const properties = { sessionExpiryInterval: 1000 };
  const connack = await connect5(gateway.client(), { properties });
  expect(connack.properties?.sessionExpiryInterval).toBe(100);
  const modest = await connect5(gateway.client(), {
    clientId: 'b',
    properties: { sessionExpiryInterval: 99 },
  });
  expect(modest.properties?.sessionExpiryInterval).toBeUndefined();
});

test('packets that follow CONNECT at once are taken behind it, in their order', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  client.version = 5;
  client.send(
    connectPacket({
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: 100 },
    }),
    { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] },
    { cmd: 'publish', topic: 'a', payload: 'x', qos: 1, messageId: 2, dup: false, retain: false },
    { cmd: 'pingreq' },
  );
  await client.expect('pingresp');
  await client.expect('puback');
  expect(client.pending).toEqual(['connack', 'suback', 'publish']);
});

test('CONNACK of a session that stays leaves when the disk has it', async () => {
  using gateway = new Gateway();
  gateway.store.auto = false;
  const client = gateway.client();
  client.version = 5;
  client.send(connectPacket({ protocolVersion: 5, properties: { sessionExpiryInterval: 1 } }));
  client.send({ cmd: 'pingreq' });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await client.expect('connack');
  await client.expect('pingresp');
});

test.each<[string, Partial<IConnectPacket>, Partial<MqttLimits>, number]>([
  ['an authentication method', { properties: { authenticationMethod: 'SCRAM' } }, {}, 0x8c],
  ['a Will Topic of the system', { will: will('$SYS/x') }, {}, 0x87],
  ['a Will Topic with a wildcard', { will: will('a/+') }, {}, 0x90],
  ['an identifier too long', { clientId: 'x'.repeat(300) }, {}, 0x85],
  ['no room for a connection', {}, { connectionsMax: 0 }, 0x89],
  ['no room for a session', { properties: { sessionExpiryInterval: 5 } }, { sessionsMax: 0 }, 0x97],
])('CONNECT with %s is refused by its reason', async (_, options, limits, reasonCode) => {
  using gateway = new Gateway({ limits });
  const client = gateway.client();
  const connack = await connect5(client, options);
  expect(connack.reasonCode).toBe(reasonCode);
  expect(connack.properties?.reasonString).not.toBe('');
  await client.expectClosed();
  expect(gateway.listener.stats()).toMatchObject({ connections: 0, sessions: 0, wills: 0 });
});

function will(topic: string): NonNullable<IConnectPacket['will']> {
  return { topic, payload: Buffer.from('gone'), qos: 1, retain: false };
}

test.each([
  ['a reserved flag', 9, 0x03, 0x81],
  ['Will QoS 3', 9, 0x1e, 0x81],
])('a malformed CONNECT with %s is answered', async (_, at, byte, reasonCode) => {
  using gateway = new Gateway();
  const client = gateway.client();
  client.version = 5;
  const bytes = Buffer.from(
    generate(connectPacket({ protocolVersion: 5 }), { protocolVersion: 5 }),
  );
  bytes[at] = byte;
  client.write(bytes);
  expect((await client.expect('connack')).reasonCode).toBe(reasonCode);
  await client.expectClosed();
});

test('a wrong password is answered by name', async () => {
  using gateway = new Gateway({
    options: { users: [{ user: 'meter', password: 'secret' }], allowAnonymous: false },
  });
  const wrong = await connect5(gateway.client(), { username: 'meter', password: Buffer.from('x') });
  expect(wrong.reasonCode).toBe(0x86);
  expect((await connect5(gateway.client())).reasonCode).toBe(0x87);
  const right = { username: 'meter', password: Buffer.from('secret') };
  expect((await connect5(gateway.client(), right)).reasonCode).toBe(0);
});

test('what a client sends while its password is looked at waits', async () => {
  // PBKDF2 takes its time in another thread.
  const salt = Buffer.from('salt of the user');
  const key = pbkdf2Sync('secret', salt, 101, 64, 'sha512');
  const hash = `$7$101$${salt.toString('base64')}$${key.toString('base64')}`;
  using gateway = new Gateway({
    options: { users: [{ user: 'meter', hash }], allowAnonymous: false },
    streamSubject: '>',
  });
  const client = gateway.client();
  client.send(connectPacket({ username: 'meter', password: Buffer.from('secret') }));
  client.publish('a', 'x', 1);
  await client.expect('puback');
  expect(client.pending).toEqual(['connack']);
  const wrong = gateway.client();
  wrong.send(connectPacket({ clientId: 'b', username: 'meter', password: Buffer.from('x') }));
  wrong.publish('a', 'y', 1);
  expect((await wrong.expect('connack')).returnCode).toBe(4);
  await wrong.expectClosed();
  expect(gateway.stream.data).toEqual(['x']);
});

test.each<[string, (client: TestClient) => void, number]>([
  ['a second CONNECT', (client) => client.send(connectPacket({ protocolVersion: 5 })), 0x82],
  [
    'AUTH',
    (client) => client.write(Buffer.from('f00818061500034142430000'.slice(0, 20), 'hex')),
    0x82,
  ],
  ['a packet that only servers send', (client) => client.write(Buffer.from('d000', 'hex')), 0x82],
  ['reserved flags', (client) => client.write(Buffer.from('c100', 'hex')), 0x81],
  ['a packet larger than we take', (client) => client.write(Buffer.from('30ffff7f', 'hex')), 0x95],
  ['a topic with a wildcard', (client) => client.publishPlain('a/#', 'x'), 0x90],
  ['QoS 3', (client) => client.write(Buffer.from('3605000161000100', 'hex')), 0x81],
  [
    'DISCONNECT that would keep what was to end',
    (client) =>
      client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 5 } }),
    0x82,
  ],
])('%s is answered with DISCONNECT', async (_, misbehave, reasonCode) => {
  using gateway = new Gateway();
  const client = gateway.client();
  await connect5(client);
  misbehave(client);
  const disconnect = await client.expect('disconnect');
  expect(disconnect.reasonCode).toBe(reasonCode);
  expect(disconnect.properties?.['reasonString']).toBeTruthy();
  await client.expectClosed();
  expect(gateway.listener.counters.protocolErrors).toBe(1);
});

test('a client whose place is taken is told so', async () => {
  using gateway = new Gateway();
  const first = gateway.client();
  await connect5(first);
  await connect5(gateway.client());
  expect((await first.expect('disconnect')).reasonCode).toBe(0x8e);
  await first.expectClosed();
});

test('when the gateway stops, clients are told so after their answers', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await connect5(client);
  client.publish('a', 'x', 1);
  await gateway.settle();
  void gateway.listener.stop(5000);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  await client.expect('puback');
  expect((await client.expect('disconnect')).reasonCode).toBe(0x8b);
  await client.expectClosed();
});

test('a client whose user is gone is told so; others keep their connection', async () => {
  const users = [
    { user: 'a', password: '1' },
    { user: 'b', password: '2' },
  ];
  using gateway = new Gateway({ options: { users, allowAnonymous: false } });
  const [a, b] = [gateway.client(), gateway.client()];
  await connect5(a, { clientId: 'a', username: 'a', password: Buffer.from('1') });
  await connect5(b, { clientId: 'b', username: 'b', password: Buffer.from('2') });
  gateway.listener.admitOnly({ users: users.slice(1), allowAnonymous: false });
  expect((await a.expect('disconnect')).reasonCode).toBe(0x87);
  b.send({ cmd: 'pingreq' });
  await b.expect('pingresp');
});

test.each<[string, Properties, boolean]>([
  ['that wants reasons', {}, true],
  ['that does not', { requestProblemInformation: false }, false],
  ['that takes small packets only', { maximumPacketSize: 20 }, false],
])('a client %s', async (_, properties, wanted) => {
  using gateway = new Gateway();
  const client = gateway.client();
  await connect5(client, {
    properties: { ...properties, maximumPacketSize: properties.maximumPacketSize ?? 500 },
  });
  client.publish('$JS/x', 'x', 1);
  const { reasonCode, properties: said } = await client.expect('puback');
  expect(reasonCode).toBe(0x87);
  expect(said?.['reasonString'] !== undefined).toBe(wanted);
});

test.each([
  ['takes its Will back with reason 0', 0, 0],
  ['leaves it with reason 4', 4, 1],
  ['leaves it with an error', 0x83, 1],
])('DISCONNECT %s', async (_, reasonCode, wills) => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await connect5(client, { will: will('w') });
  client.send({ cmd: 'disconnect', reasonCode });
  await client.expectClosed();
  await gateway.settle();
  expect(gateway.stream.subjects).toEqual(Array(wills).fill('w'));
});

test('DISCONNECT may change when the session ends', async () => {
  using gateway = new Gateway();
  const first = gateway.client();
  await connect5(first, { properties: { sessionExpiryInterval: 1000 } });
  first.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
  await first.expectClosed();
  await gateway.settle();
  expect(gateway.listener.stats().sessions).toBe(0);
});

test('an old client is closed in silence where 5.0 would be told', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  client.send(connectPacket());
  await client.expectClosed();
  expect(client.pending).toEqual([]);
});

test.each([
  [2, ''],
  [5, '2003009500'],
  [15, '2003009500'],
])('no CONNACK fits into %i bytes', async (maximumPacketSize, answer) => {
  using gateway = new Gateway();
  const client = gateway.client();
  client.deaf = true;
  client.version = 5;
  client.send(connectPacket({ protocolVersion: 5, properties: { maximumPacketSize } }));
  await client.expectClosed();
  expect(Buffer.concat(client.bytes).toString('hex')).toBe(answer);
  expect(gateway.listener.stats()).toMatchObject({ sessions: 0, connectsRefused: 1 });
});

test('a SUBACK without its Reason String fits where the whole does not; one that does not fit ends the connection', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await connect5(client, { properties: { maximumPacketSize: 20 } });
  expect((await client.subscribe({ 'a/#/b': 1 })).granted).toEqual([0x8f]);
  const many = Array.from({ length: 20 }, (_, i): [string, 0] => [`a${i}`, 0]);
  client.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: many.map(([topic, qos]) => ({ topic, qos })),
  });
  expect((await client.expect('disconnect')).reasonCode).toBe(0x95);
});

test('a client whose password is looked at when we stop is not let in', async () => {
  const salt = Buffer.from('salt of the user');
  const key = pbkdf2Sync('secret', salt, 101, 64, 'sha512');
  const hash = `$7$101$${salt.toString('base64')}$${key.toString('base64')}`;
  const users = [{ user: 'meter', hash }];
  using gateway = new Gateway({ options: { users, allowAnonymous: false } });
  // Others before it: passwords are looked at one after the other.
  for (let i = 0; i < 20; i++) {
    const wrong = { username: 'meter', password: Buffer.from(`wrong ${i}`) };
    gateway.client().send(connectPacket({ ...wrong, clientId: `wrong-${i}` }));
  }
  const client = gateway.client();
  const credentials = { username: 'meter', password: Buffer.from('secret') };
  client.send(connectPacket({ ...credentials, clientId: 'first', clean: false }));
  await gateway.idle();
  let stopped = false;
  void gateway.listener.stop(5000).then(() => (stopped = true));
  for (let round = 0; round < 100 && !stopped; round++) {
    gateway.clock.advance(100);
    await gateway.idle();
  }
  await gateway.settle();
  expect([stopped, client.closed, client.pending]).toEqual([true, true, []]);
  expect(gateway.listener.stats()).toMatchObject({ sessions: 0, connects: 0 });
});

test('a client that never got its CONNACK leaves no Will', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.store.auto = false;
  const first = gateway.client();
  first.send(connectPacket({ clean: false, will: will('never') }));
  await gateway.settle();
  const second = gateway.client();
  second.send(connectPacket({ clean: false }));
  await first.expectClosed();
  gateway.store.auto = true;
  gateway.store.sync();
  await second.expect('connack');
  gateway.clock.advance(60_000);
  await gateway.settle();
  expect([first.pending, gateway.stream.subjects]).toEqual([[], []]);
});

test('clients that wait for their CONNACK count as connected', async () => {
  using gateway = new Gateway({ limits: { connectionsMax: 1 } });
  gateway.store.auto = false;
  const first = gateway.client();
  first.send(connectPacket({ clientId: 'first', clean: false }));
  await gateway.settle();
  const second = gateway.client();
  expect((await second.connect({ clientId: 'second' })).returnCode).toBe(3);
  gateway.store.sync();
  expect((await first.expect('connack')).returnCode).toBe(0);
});

test('a session ends when its time is over', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await connect5(client, { properties: { sessionExpiryInterval: 10 } });
  client.stream.destroy();
  await gateway.settle();
  gateway.clock.advance(9_000);
  await gateway.settle();
  expect(gateway.listener.stats().sessions).toBe(1);
  gateway.clock.advance(2_000);
  await gateway.settle();
  expect(gateway.listener.stats().sessions).toBe(0);
});
