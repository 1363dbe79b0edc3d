import type { IConnectPacket, ISubscription } from 'mqtt-packet';
import { expect, test } from 'vitest';
import type { TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

/** A 5.0 client; `say` sends a SUBSCRIBE with options and returns its codes. */
async function five(gateway: Gateway, clientId: string, options: Partial<IConnectPacket> = {}) {
  const client = gateway.client();
  await client.connect({ protocolVersion: 5, clientId, ...options });
  let messageId = 0;
  const say = async (
    subscriptions: ISubscription | ISubscription[],
    subscriptionIdentifier?: number,
  ): Promise<unknown> => {
    const list = [subscriptions].flat();
    const properties = subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier };
    client.send({ cmd: 'subscribe', messageId: ++messageId, subscriptions: list, properties });
    return (await client.expect('suback')).granted;
  };
  return { client, say };
}

async function taken(gateway: Gateway, client: TestClient) {
  await gateway.settle();
  return client.received.splice(0).flatMap((each) => (each.cmd === 'publish' ? [each] : []));
}

test('5.0: a message carries the identifiers of all matching subscriptions', async () => {
  using gateway = new Gateway();
  const { client, say } = await five(gateway, 'sub');
  await say({ topic: 'a/#', qos: 0 }, 1);
  await say({ topic: 'a/+', qos: 2 }, 268_435_455);
  await say({ topic: 'a/b', qos: 1 });
  gateway.publish('a.b', 'x');
  gateway.publish('a', 'y');
  const got = await taken(gateway, client);
  const said = got.map(({ payload, qos, properties }) => [
    String(payload),
    qos,
    [properties?.subscriptionIdentifier ?? []].flat(),
  ]);
  expect(said).toEqual([
    ['y', 0, [1]],
    ['x', 2, [1, 268_435_455]],
  ]);
  await say({ topic: 'a/#', qos: 0 });
  gateway.publish('a', 'z');
  expect((await taken(gateway, client))[0]?.properties).toBeUndefined();
});

test('5.0: No Local keeps the own messages away, those of others come', async () => {
  using gateway = new Gateway();
  const { client, say } = await five(gateway, 'one');
  const other = await five(gateway, 'two');
  await say({ topic: 'a', qos: 0, nl: true });
  client.publishPlain('a', 'own');
  other.client.publishPlain('a', 'other');
  expect((await taken(gateway, client)).map(({ payload }) => String(payload))).toEqual(['other']);
  await say({ topic: '+', qos: 0 });
  client.publishPlain('a', 'own');
  expect(await taken(gateway, client)).toHaveLength(1);
});

test('5.0: No Local on a shared subscription ends the connection', async () => {
  using gateway = new Gateway();
  const { client } = await five(gateway, 'one');
  client.send({
    cmd: 'subscribe',
    messageId: 9,
    subscriptions: [{ topic: '$share/g/a', qos: 0, nl: true }],
  });
  expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
  await client.expectClosed();
});

test('5.0: the RETAIN flag stays only where the subscription wants it as published', async () => {
  using gateway = new Gateway();
  const { client, say } = await five(gateway, 'sub');
  const source = await five(gateway, 'source');
  await say([
    { topic: 'a', qos: 0, rap: true },
    { topic: 'b', qos: 0 },
  ]);
  for (const retain of [true, false])
    for (const topic of ['a', 'b']) source.client.publishPlain(topic, 'x', retain);
  const got = await taken(gateway, client);
  expect(got.map(({ topic, retain }) => [topic, retain])).toEqual([
    ['a', true],
    ['b', false],
    ['a', false],
    ['b', false],
  ]);
});

test.each([
  [0, [1, 1, 1]],
  [1, [1, 0, 1]],
  [2, [0, 0, 0]],
] as const)(
  '5.0: Retain Handling %i at a first, a second and a new subscription',
  async (rh, expected) => {
    using gateway = new Gateway();
    const { client, say } = await five(gateway, 'sub');
    client.publishPlain('a', 'x', true);
    const counts: number[] = [];
    for (const round of [0, 1, 2]) {
      if (round === 2) {
        client.send({ cmd: 'unsubscribe', messageId: 70, unsubscriptions: ['a'] });
        await client.expect('unsuback');
      }
      await say({ topic: 'a', qos: 1, rh });
      const got = await taken(gateway, client);
      expect(got.every(({ retain }) => retain)).toBe(true);
      counts.push(got.length);
    }
    expect(counts).toEqual(expected);
  },
);

test('5.0: UNSUBACK says for each filter whether there was such a subscription', async () => {
  using gateway = new Gateway();
  const { client, say } = await five(gateway, 'sub');
  await say([
    { topic: 'a', qos: 0 },
    { topic: '$share/g/a', qos: 0 },
  ]);
  const unsubscriptions = ['a', 'a', 'never', '$share/g/a', '$share/h/a', 'bad#'];
  client.send({ cmd: 'unsubscribe', messageId: 7, unsubscriptions });
  const { granted } = await client.expect('unsuback');
  expect(granted).toEqual([0, 0x11, 0x11, 0, 0x11, 0x8f]);
  expect(gateway.broker.subscriptions).toBe(0);
});

test('a shared subscription gives each message to one client, and no retained ones', async () => {
  using gateway = new Gateway();
  const members = [];
  for (const name of ['one', 'two']) {
    const member = await five(gateway, name);
    if (name === 'one') member.client.publishPlain('a', 'kept', true);
    expect(await member.say({ topic: '$share/g/a', qos: 1 }, 4)).toEqual([1]);
    members.push(member.client);
  }
  for (let i = 0; i < 4; i++) gateway.publish('a', String(i));
  const got = await Promise.all(members.map((client) => taken(gateway, client)));
  expect(got.map((each) => each.map(({ payload }) => String(payload)))).toEqual([
    ['0', '2'],
    ['1', '3'],
  ]);
  expect(got[0]?.[0]).toMatchObject({ retain: false, properties: { subscriptionIdentifier: 4 } });
});

test('what a shared subscriber left without an answer goes to another when its session ends', async () => {
  using gateway = new Gateway();
  const one = await five(gateway, 'one');
  await one.say({ topic: '$share/g/a', qos: 1 });
  gateway.publish('a', 'x');
  expect(await taken(gateway, one.client)).toHaveLength(1);
  const two = await five(gateway, 'two');
  await two.say({ topic: '$share/g/a', qos: 1 });
  one.client.stream.destroy();
  const got = await taken(gateway, two.client);
  expect(got.map(({ payload, dup }) => [String(payload), dup])).toEqual([['x', false]]);
});

test('the disk is full: SUBACK says so, and what was subscribed before holds', async () => {
  using gateway = new Gateway();
  const properties = { sessionExpiryInterval: 1000 };
  const { client, say } = await five(gateway, 'sub', { properties, clean: false });
  await say({ topic: 'a', qos: 0 });
  gateway.store.full = true;
  expect(
    await say([
      { topic: 'a', qos: 1 },
      { topic: 'b', qos: 1 },
      { topic: 'bad#', qos: 1 },
    ]),
  ).toEqual([0x97, 0x97, 0x8f]);
  expect(await say({ topic: 'a', qos: 0 })).toEqual([0]);
  client.send({ cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['a', 'b'] });
  expect((await client.expect('unsuback')).granted).toEqual([0x80, 0x11]);
  gateway.publish('a', 'x');
  gateway.publish('b', 'y');
  const got = await taken(gateway, client);
  expect(got.map(({ topic, qos }) => [topic, qos])).toEqual([['a', 0]]);
});

test('the SUBACK of a session that stays waits for the disk; one that changes nothing does not', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect({ clean: false });
  gateway.store.auto = false;
  const subscriptions = [{ topic: 'a', qos: 1 as const }];
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await client.expect('suback');
  client.send({ cmd: 'subscribe', messageId: 2, subscriptions });
  await client.expect('suback');
});
