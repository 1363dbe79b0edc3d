import { expect, test } from 'vitest';
import { Gateway } from '../../support/mqtt-gateway.ts';

const filters = {
  'a/+': 0,
  'a/#': 1,
  b: 2,
  'a#': 1,
  'a/+b': 1,
  '$SYS/#': 0,
  '$share/g/a': 1,
  '$share/g': 1,
  '$share//a': 1,
  '$share/g+/a': 1,
  '$share/#/a': 1,
  '$share/g/': 1,
  '$share/g/a#': 1,
  '_INBOX/#': 1,
  '$JS/API/#': 1,
  c: 1,
} as const;

test.each([
  [4, [0, 1, 2, 128, 128, 0, 1, ...Array<number>(9).fill(128)]],
  [3, [0, 1, 2, 128, 128, 0, 1, ...Array<number>(9).fill(128)]],
  [5, [0, 1, 2, 0x8f, 0x8f, 0, 1, ...Array<number>(6).fill(0x8f), 0x87, 0x87, 0x97]],
] as const)(
  'level %i: each QoS is granted, and what cannot be is refused one by one',
  async (protocolVersion, codes) => {
    using gateway = new Gateway({ limits: { sessionSubscriptionsMax: 5 } });
    const client = gateway.client();
    await client.connect({
      protocolVersion,
      protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT',
    });
    const { granted } = await client.subscribe(filters);
    expect(granted).toEqual(codes);
    expect(gateway.listener.stats().subscriptions).toBe(5);
  },
);

test('5.0: a refusal says why, unless the client wants no reasons', async () => {
  using gateway = new Gateway();
  for (const requestProblemInformation of [true, false]) {
    const client = gateway.client();
    await client.connect({ protocolVersion: 5, properties: { requestProblemInformation } });
    const { properties } = await client.subscribe({ a: 1, 'a#': 1 });
    expect(properties?.reasonString !== undefined).toBe(requestProblemInformation);
  }
});

test.each([
  ['a/b', ['a.b'], ['a', 'a.c', 'a.b.c']],
  ['a/+', ['a.b', 'a.c'], ['a', 'a.b.c', 'b.a']],
  ['a/#', ['a', 'a.b', 'a.b.c'], ['b', 'ab']],
  ['+/b', ['a.b', '/.b'], ['a.c', '$SYS.b', 'a.b.c']],
  ['#', ['a', 'a.b.c', '/.a'], ['$SYS.a', '$JS.API.x', '_INBOX.x.y']],
  ['/+', ['/.a'], ['a']],
  ['a//b', ['a./.b'], ['a.b']],
])('the filter %s matches what it should', async (filter, yes, no) => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  for (const qos of [0, 1] as const) {
    await client.subscribe({ [filter]: qos });
    for (const subject of [...no, ...yes]) gateway.publish(subject, subject);
    expect(await client.expectData(yes.length)).toEqual(yes);
    await gateway.settle();
    expect(client.pending).toEqual([]);
  }
});

test.each([
  [0, 0, 0],
  [0, 1, 0],
  [1, 0, 0],
  [1, 1, 1],
] as const)(
  'published with QoS %i and subscribed with %i is delivered with %i',
  async (published, subscribed, qos) => {
    using gateway = new Gateway();
    const client = gateway.client();
    await client.connect();
    await client.subscribe({ a: subscribed });
    if (published === 0) client.publishPlain('a', 'x');
    else client.publish('a', 'x', 9);
    const delivered = await client.expect('publish');
    expect(delivered).toMatchObject({ topic: 'a', qos, dup: false, retain: false });
  },
);

test('what a NATS client publishes comes with the granted QoS', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ 'a/#': 1, b: 0 });
  gateway.publish('a.b//c', 'x');
  gateway.publish('b', 'y');
  const first = await client.expect('publish');
  const second = await client.expect('publish');
  expect([first, second].map(({ topic, qos }) => [topic, qos])).toEqual([
    ['b', 0],
    ['a/b.c', 1],
  ]);
});

test('overlapping subscriptions deliver once, with the highest QoS', async () => {
  using gateway = new Gateway();
  for (const filters of [
    { '#': 0, 'a/+': 1, 'a/b': 0, 'a/#': 0 },
    { 'a/+': 1, '#': 0 },
    { 'a/b': 1, 'a/*': 1, '+/b': 1 },
  ] as const) {
    const client = gateway.client();
    await client.connect();
    await client.subscribe(filters);
    gateway.publish('a.b', 'x');
    expect(await client.expect('publish')).toMatchObject({ qos: 1 });
    await gateway.settle();
    expect(client.pending).toEqual([]);
  }
});

test('subscribing again replaces the QoS', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  await client.subscribe({ a: 0 });
  gateway.publish('a', 'x');
  expect(await client.expect('publish')).toMatchObject({ qos: 0 });
  await client.subscribe({ a: 1 });
  gateway.publish('a', 'y');
  expect(await client.expect('publish')).toMatchObject({ qos: 1 });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect(gateway.broker.subscriptions).toBe(1);
});

test('UNSUBSCRIBE ends what was named and nothing else', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ 'a/#': 1, a: 1, b: 1 });
  client.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['a', 'never', 'bad#'] });
  expect((await client.expect('unsuback')).messageId).toBe(5);
  gateway.publish('a', 'by a/#');
  gateway.publish('b', 'by b');
  expect(await client.expectData(2)).toEqual(['by a/#', 'by b']);
  client.send({ cmd: 'unsubscribe', messageId: 6, unsubscriptions: ['a/#', 'b'] });
  await client.expect('unsuback');
  gateway.publish('a', 'x');
  gateway.publish('a.c', 'x');
  gateway.publish('b', 'x');
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect(gateway.broker.subscriptions).toBe(0);
  expect(gateway.listener.stats().subscriptions).toBe(0);
});

test('a clean session leaves nothing behind', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ 'a/#': 1, '+': 0 });
  for (let i = 0; i < 10; i++) gateway.publish('a', 'x');
  await client.expect('publish');
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.broker.subscriptions).toBe(0);
  expect(gateway.store.synced).toEqual({
    sessions: new Map(),
    queue: new Map(),
    retained: new Map(),
    received: new Map(),
    wills: new Map(),
  });
  expect(gateway.listener.stats()).toMatchObject({ connections: 0, sessions: 0, memoryBytes: 0 });
});

test('a QoS 1 delivery waits for the disk, a QoS 0 one does not', async () => {
  using gateway = new Gateway();
  const careful = gateway.client();
  const quick = gateway.client();
  await careful.connect({ clientId: 'careful' });
  await quick.connect({ clientId: 'quick' });
  await careful.subscribe({ a: 1 });
  await quick.subscribe({ a: 0 });
  gateway.store.auto = false;
  gateway.publish('a', 'x');
  expect(await quick.expectData(1)).toEqual(['x']);
  await gateway.settle();
  expect(careful.pending).toEqual([]);
  gateway.store.sync();
  expect(await careful.expectData(1)).toEqual(['x']);
});

test.each([
  ['clean', true, {}],
  ['persistent, at hand', false, {}],
  ['persistent, read back from the table', false, { memoryBytesTotalMax: 0 }],
])(
  'nothing that happens meanwhile brings a QoS 1 delivery before the disk has it: %s',
  async (_, clean, limits) => {
    using gateway = new Gateway({ limits });
    const client = gateway.client();
    await client.connect({ clean });
    await client.subscribe({ a: 1 });
    gateway.publish('a', 'safe');
    const safe = await client.expect('publish');
    gateway.store.auto = false;
    gateway.publish('a', 'not yet');
    await gateway.settle();
    client.puback(safe.messageId!);
    client.send({ cmd: 'pingreq' });
    await client.expect('pingresp');
    await gateway.settle();
    expect(client.pending).toEqual([]);
    gateway.store.sync();
    expect(await client.expectData(1)).toEqual(['not yet']);
  },
);

test('a full disk does not keep messages from a session that needs no disk', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  gateway.store.full = true;
  gateway.publish('a', 'x');
  expect(await client.expectData(1)).toEqual(['x']);
});

test('at most a window of deliveries is in flight; PUBACKs move it, in order', async () => {
  using gateway = new Gateway({ limits: { deliveriesInFlightMax: 10 } });
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  for (let i = 0; i < 50; i++) gateway.publish('a', String(i));
  await gateway.settle();
  expect(client.received).toHaveLength(10);
  const got: string[] = [];
  while (got.length < 50) {
    const { messageId, payload } = await client.expect('publish');
    got.push(String(payload));
    client.puback(messageId!);
    client.puback(messageId!);
    client.puback(60_000);
  }
  expect(got).toEqual(Array.from({ length: 50 }, (_, i) => String(i)));
});

test('Packet Identifiers are not used twice at a time: the window stops before it would', async () => {
  using gateway = new Gateway({
    limits: { deliveriesInFlightMax: 3, cleanQueuedMessagesMax: 200_000 },
  });
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  gateway.publish('a', 'held');
  const held = await client.expect('publish');
  for (let i = 0; i < 66_000; i++) gateway.publish('a', 'x');
  const seen = new Set<number | undefined>();
  const take = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const packet = client.received.shift() ?? (await client.expect('publish'));
      if (packet.cmd !== 'publish') throw new Error(packet.cmd);
      seen.add(packet.messageId);
      client.puback(packet.messageId ?? 0);
    }
  };
  await take(65_534);
  expect(seen.size).toBe(65_534);
  expect(seen).not.toContain(held.messageId);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  client.puback(held.messageId ?? 0);
  await take(66_000 - 65_534);
  expect(seen).toContain(held.messageId);
});

test('beyond the queue of a clean session the newest are dropped and counted', async () => {
  using gateway = new Gateway({ limits: { deliveriesInFlightMax: 2, cleanQueuedMessagesMax: 5 } });
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  for (let i = 0; i < 8; i++) gateway.publish('a', String(i));
  const got: string[] = [];
  for (let i = 0; i < 5; i++) {
    const { messageId, payload } = await client.expect('publish');
    got.push(String(payload));
    client.puback(messageId!);
  }
  expect(got).toEqual(['0', '1', '2', '3', '4']);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect(gateway.listener.stats()).toMatchObject({ droppedQueueMsgs: 3, memoryBytes: 0 });
  expect(gateway.warnings.join()).toContain('queue of an MQTT client is full');
});

test('the queues in memory share one budget', async () => {
  using gateway = new Gateway({ limits: { memoryBytesTotalMax: 200, deliveriesInFlightMax: 1 } });
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1 });
  for (let i = 0; i < 20; i++) gateway.publish('a', 'sixteen bytes ..');
  await gateway.settle();
  expect(gateway.listener.stats().droppedQueueMsgs).toBe(15);
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.listener.stats().memoryBytes).toBe(0);
});
