// What a client with credentials can do to the agent and to others, and must not: each of these once ended the process or
// took what belongs to everybody.

import { expect, test } from 'vitest';
import { encodeHeaders } from '../../../src/headers.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

test.each([4, 5] as const)(
  'messages that are refused count in the window, protocol level %d: the agent goes on',
  async (protocolVersion) => {
    using gateway = new Gateway({ limits: { publishesInFlightMax: 8 }, streamSubject: 'plant.>' });
    gateway.stream.auto = false;
    const client = gateway.client();
    await client.connect({ protocolVersion });
    const packet = { cmd: 'publish', payload: 'x', qos: 1, dup: false, retain: false } as const;
    const first = { ...packet, topic: 'plant/a', messageId: 1 };
    const refused = Array.from({ length: 7 }, (_, i) => ({
      ...packet,
      topic: '$SYS/x',
      messageId: i + 2,
    }));
    const more = Array.from({ length: 20 }, (_, i) => ({
      ...packet,
      topic: '$SYS/x',
      messageId: i + 9,
    }));
    client.send(first, ...refused, ...(protocolVersion === 5 ? [] : more), { cmd: 'pingreq' });
    await gateway.settle();
    gateway.stream.receipts.shift()?.(null, { stream: 'S', seq: 1 });
    for (let i = 1; i <= (protocolVersion === 5 ? 8 : 28); i++)
      expect((await client.expect('puback')).messageId).toBe(i);
    if (protocolVersion !== 5) await client.expect('pingresp');
  },
);

test('a NATS message with more headers than a packet of a client may have properties is delivered', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  await client.subscribe({ 'a/#': 0 });
  const lines = Array.from({ length: 1500 }, (_, i): [string, string] => [`K${i}`, '_INBOX/x']);
  const headers = encodeHeaders(lines);
  if (headers === undefined) throw new Error('no headers');
  gateway.broker.publish({ subject: 'a.b', headers, data: Buffer.from('x') });
  expect(
    Object.keys((await client.expect('publish')).properties?.userProperties ?? {}),
  ).toHaveLength(1500);
});

test.each([0, 1] as const)(
  'a NATS subject whose topic is too long to be published to is delivered at QoS %i',
  async (qos) => {
    using gateway = new Gateway();
    const client = gateway.client();
    await client.connect();
    await client.subscribe({ '#': qos });
    const subject = `a.${'+'.repeat(900)}`;
    gateway.publish(subject, 'x');
    const { topic } = await client.expect('publish');
    expect(topic).toBe(`a/${'%2B'.repeat(900)}`);
  },
);

test('so is one that waited in the queue of a client that was away', async () => {
  using gateway = new Gateway();
  const first = gateway.client();
  await first.connect({ clean: false });
  await first.subscribe({ '#': 1 });
  first.stream.end();
  await gateway.settle();
  gateway.publish(`a.${'+'.repeat(900)}`, 'x');
  const { topic } = await (async () => {
    const second = gateway.client();
    await second.connect({ clean: false });
    return second.expect('publish');
  })();
  expect(topic).toBe(`a/${'%2B'.repeat(900)}`);
});

test('a client that was taken out of an access list does not get what waited for it under an odd name', async () => {
  const list = (subscribe: string[]) => [
    { users: undefined, publish: [], subscribe, denyPublish: [], denySubscribe: ['a/#'] },
  ];
  using gateway = new Gateway();
  const first = gateway.client();
  await first.connect({ clean: false });
  await first.subscribe({ '#': 1 });
  first.stream.end();
  await gateway.settle();
  gateway.publish(`a.${'+'.repeat(900)}`, 'x');
  gateway.publish('b', 'y');
  gateway.listener.admitOnly({ allowAnonymous: true, acl: list(['#']) });
  const second = gateway.client();
  await second.connect({ clean: false });
  expect((await second.expect('publish')).topic).toBe('b');
});

test('a filter of many levels counts as many subscriptions, and so does a long ShareName', async () => {
  using gateway = new Gateway({ limits: { subscriptionsMax: 600 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  const deep = (name: string): string => `${name}${'/a'.repeat(511)}`;
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const filters = Object.fromEntries(names.map((name) => [deep(name), 0 as const]));
  expect((await client.subscribe(filters)).granted).toEqual([0, 0, 0, 0, 0, 0, 0, 0x97]);
  const long = `$share/${'n'.repeat(60_000)}/x`;
  expect((await client.subscribe({ [long]: 0 })).granted).toEqual([0x97]);
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [deep('a')] });
  await client.expect('unsuback');
  expect((await client.subscribe({ [deep('h')]: 0 })).granted).toEqual([0]);
  // The same for all together; what a client had is free again when it is gone.
  const other = gateway.client();
  await other.connect({ protocolVersion: 5, clientId: 'other' });
  const more = { [deep('a')]: 0 as const, [deep('b')]: 0 as const, [deep('c')]: 0 as const };
  expect((await other.subscribe(more)).granted).toEqual([0, 0, 0x97]);
  client.stream.end();
  await gateway.settle();
  expect((await other.subscribe({ [deep('c')]: 0 })).granted).toEqual([0]);
  expect(gateway.listener.stats().subscriptions).toBe(3);
});

test('retained messages of many levels take room by their levels', async () => {
  using gateway = new Gateway({ limits: { retainedBytesMax: 128 * 1024 } });
  const client = gateway.client();
  await client.connect();
  client.publish(`a${'/a'.repeat(7)}`, 'x', 1, true);
  client.publish(`b${'/a'.repeat(511)}`, 'x', 2, true);
  client.publish(`c${'/a'.repeat(255)}`, 'x', 3, true);
  for (let i = 0; i < 3; i++) await client.expect('puback');
  expect(gateway.listener.stats()).toMatchObject({ retained: 2, retainedRefused: 1 });
  expect(gateway.listener.stats().retainedBytes).toBe(29 + 1037 + 504 * 256);
  using next = new Gateway({ store: gateway.store.afterKill(), clock: gateway.clock });
  expect(next.listener.stats().retainedBytes).toBe(gateway.listener.stats().retainedBytes);
});

test('a SUBSCRIBE with many filters under $SYS looks at the figures once', async () => {
  using gateway = new Gateway();
  const watcher = gateway.client();
  await watcher.connect({ clientId: 'watcher' });
  await watcher.subscribe({ '$SYS/broker/subscriptions/count': 0 });
  await gateway.settle();
  watcher.received.length = 0;
  const client = gateway.client();
  await client.connect();
  await client.subscribe(
    Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`$SYS/none/${i}`, 0 as const])),
  );
  await gateway.settle();
  expect(watcher.pending).toHaveLength(1);
});

test('a client does not have a NATS program answer where it may neither publish nor listen', async () => {
  const acl = [
    {
      users: undefined,
      publish: ['ask/#', 'mine/out'],
      subscribe: ['mine/in'],
      denyPublish: [],
      denySubscribe: [],
    },
  ];
  using gateway = new Gateway({ options: { acl } });
  const replies: (string | undefined)[] = [];
  gateway.broker.subscribe('ask.time', { deliver: ({ reply }) => void replies.push(reply) });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  for (const responseTopic of ['plant/valve', 'mine/in', 'mine/out', '_INBOX/other/1'])
    client.send({
      cmd: 'publish',
      topic: 'ask/time',
      payload: 'x',
      qos: 0,
      dup: false,
      retain: false,
      properties: { responseTopic },
    });
  await gateway.settle();
  expect(replies).toEqual([undefined, 'mine.in', 'mine.out', undefined]);
});

const rules = (publish: string[], subscribe: string[] = []) => [
  { users: undefined, publish, subscribe, denyPublish: [], denySubscribe: [] },
];

test('a Will has NATS programs say nothing that its client may not say', async () => {
  using gateway = new Gateway({ options: { acl: rules(['ask/#', 'mine']) } });
  const replies: (string | undefined)[] = [];
  gateway.broker.subscribe('ask.time', { deliver: ({ reply }) => void replies.push(reply) });
  for (const responseTopic of ['plant/valve', 'mine']) {
    const client = gateway.client();
    const properties = { responseTopic };
    const will = { topic: 'ask/time', payload: Buffer.from('?'), qos: 0, retain: false } as const;
    await client.connect({ protocolVersion: 5, will: { ...will, properties } });
    client.stream.destroy();
    await gateway.settle();
  }
  expect(replies).toEqual([undefined, 'mine']);
});

test('a Will that its client may not publish any more is not published', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const clients = ['a', 'b'].map((clientId) => ({ clientId, client: gateway.client() }));
  for (const { clientId, client } of clients)
    await client.connect({
      clientId,
      will: { topic: `gone/${clientId}`, payload: Buffer.from('x'), qos: 1, retain: false },
    });
  gateway.listener.admitOnly({ allowAnonymous: true, acl: rules(['gone/a']) });
  for (const { client } of clients) client.stream.destroy();
  await gateway.settle();
  expect(gateway.stream.subjects).toEqual(['gone.a']);
});
