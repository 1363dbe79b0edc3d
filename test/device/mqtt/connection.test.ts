// The ends of connections, and what must still happen, or no longer, around them.

import { generate } from 'mqtt-packet';
import { pbkdf2Sync } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { PublishError } from '../../../src/message.ts';
import { connectPacket, TestClient } from '../../support/mqtt-client.ts';
import { Gateway, LOCAL_PEER } from '../../support/mqtt-gateway.ts';
import { until } from '../../support/until.ts';

function hashOf(password: string): string {
  const salt = Buffer.alloc(12, 's');
  const hash = pbkdf2Sync(password, salt, 100_000, 64, 'sha512');
  return `$7$100000$${salt.toString('base64')}$${hash.toString('base64')}`;
}

test('a client that does not hang up is cut off a second after our last words', async () => {
  using gateway = new Gateway();
  const [near, far] = duplexPair();
  gateway.listener.accept(near, LOCAL_PEER);
  const client = new TestClient(far, gateway.idle);
  gateway.clients.push(client);
  await client.connect({ protocolVersion: 5 });
  client.write(Buffer.from('0000', 'hex'));
  await client.expect('disconnect');
  gateway.clock.advance(900);
  await gateway.settle();
  expect(near.destroyed).toBe(false);
  gateway.clock.advance(700);
  await gateway.settle();
  expect(near.destroyed).toBe(true);
});

test('a client that is gone before its password was checked never gets a session', async () => {
  const users = [{ user: 'pump', hash: hashOf('secret') }];
  using gateway = new Gateway({ options: { users, allowAnonymous: false } });
  const login = { username: 'pump', password: Buffer.from('secret') };
  const [near, far] = duplexPair();
  gateway.listener.accept(near, LOCAL_PEER);
  new TestClient(far, gateway.idle).connectLater({ ...login, clean: false });
  await new Promise((resolve) => setImmediate(resolve));
  near.destroy();
  const other = gateway.client();
  other.connectLater({ ...login, clientId: 'other' });
  await until('the password of the other to be checked', async () => {
    await gateway.idle();
    return other.received.length > 0;
  });
  await gateway.settle();
  expect(gateway.listener.stats()).toMatchObject({ sessions: 1, connections: 1, connects: 1 });
});

test('a stop waits for the SUBACK of what the disk is about to have', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect({ clean: false });
  gateway.store.auto = false;
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] });
  await gateway.settle();
  const stopped = gateway.listener.stop(1000);
  await gateway.settle();
  expect([client.closed, client.pending]).toEqual([false, []]);
  gateway.store.sync();
  await client.expect('suback');
  await client.expectClosed();
  gateway.clock.advance(1000);
  await stopped;
});

test.each([
  ['PUBREC', 1, '5002'],
  ['PUBCOMP', 1, '7002'],
  ['PUBACK', 2, '4002'],
  ['PUBCOMP', 2, '7002'],
] as const)(
  '%s for a message of QoS %i that wants another breaks the protocol',
  async (_, qos, head) => {
    using gateway = new Gateway();
    const client = gateway.client();
    await client.connect({ protocolVersion: 5 });
    await client.subscribe({ a: qos });
    gateway.publish('a', 'x');
    const { messageId = 0 } = await client.expect('publish');
    client.write(
      Buffer.concat([Buffer.from(head, 'hex'), Buffer.of(messageId >> 8, messageId & 255)]),
    );
    expect((await client.expect('disconnect')).reasonCode).toBe(0x82);
    await client.expectClosed();
  },
);

test('DISCONNECT does not keep a session for longer than the gateway allows', async () => {
  using gateway = new Gateway({ limits: { sessionExpirySecondsMax: 100 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5, properties: { sessionExpiryInterval: 50 } });
  client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 5000 } });
  await client.expectClosed();
  const [session] = gateway.listener.sessions();
  expect(session?.expiryLeftMs).toBe(100_000);
});

test('where all clients together have much unread, each has room for little', async () => {
  const limits = { outputBytesTotalMax: 2000, outputBytesFair: 300 };
  using gateway = new Gateway({ limits });
  for (const clientId of ['a', 'b']) {
    const client = gateway.client();
    await client.connect({ clientId });
    await client.subscribe({ a: 0 });
    client.stream.pause();
  }
  for (let i = 0; i < 300; i++) {
    gateway.broker.publish({ subject: 'a', data: Buffer.alloc(1000) });
    await gateway.idle();
  }
  const { outMsgs, droppedSlowMsgs } = gateway.listener.stats();
  expect(outMsgs + droppedSlowMsgs).toBe(600);
  expect(outMsgs).toBeLessThan(200);
});

test.each([
  ['86 characters of three bytes', '\u20ac'.repeat(86), 0x85],
  ['85 characters of three bytes', '\u20ac'.repeat(85), 0],
  ['a separator of our keys in it', 'a\u001fb', 0x85],
])('an identifier with %s is answered with what it deserves', async (_, clientId, reasonCode) => {
  using gateway = new Gateway();
  const connack = await gateway.client().connect({ protocolVersion: 5, clientId });
  expect(connack.reasonCode).toBe(reasonCode);
});

test('a Will is what CONNECT said, whatever came into the same memory later', async () => {
  using gateway = new Gateway();
  const watcher = gateway.client();
  await watcher.connect({ clientId: 'watcher' });
  await watcher.subscribe({ gone: 0 });
  const client = gateway.client();
  const will = { topic: 'gone', payload: Buffer.from('farewell'), qos: 0 as const, retain: false };
  const bytes = generate(connectPacket({ will }));
  client.write(bytes);
  await client.expect('connack');
  bytes.fill(0);
  client.stream.end();
  expect(String((await watcher.expect('publish')).payload)).toBe('farewell');
});

test('the client gets no more Topic Aliases than we want to remember', async () => {
  using gateway = new Gateway({ limits: { topicAliasesMax: 1 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5, properties: { topicAliasMaximum: 10 } });
  await client.subscribe({ '#': 0 });
  for (const topic of ['a', 'b', 'a']) gateway.publish(topic, 'x');
  const aliases: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const { topic, properties } = await client.expect('publish');
    aliases.push([topic, properties?.topicAlias]);
  }
  expect(aliases).toEqual([
    ['a', 1],
    ['b', undefined],
    ['', 1],
  ]);
});

test('a QoS 2 message that was refused is no longer in flight', async () => {
  using gateway = new Gateway({ limits: { publishesInFlightMax: 2 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  for (let i = 1; i <= 5; i++) {
    client.publishTwo('$SYS/x', 'x', i);
    expect((await client.expect('pubrec')).reasonCode).toBe(0x87);
  }
});

test('what a stream refuses at once is neither retained nor taken for received', async () => {
  using gateway = new Gateway();
  let offered = 0;
  gateway.broker.subscribe('full', {
    store: (_, receipt) => {
      offered++;
      receipt?.(new PublishError(400, 10077, 'maximum messages exceeded'), null);
    },
  });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  client.publish('full', 'x', 1, true);
  expect((await client.expect('puback')).reasonCode).toBe(0x97);
  expect(gateway.listener.stats().retained).toBe(0);
  for (let i = 0; i < 2; i++) {
    client.publishTwo('full', 'x', 2, i === 1);
    expect((await client.expect('pubrec')).reasonCode).toBe(0x97);
  }
  expect(offered).toBe(3);
});
