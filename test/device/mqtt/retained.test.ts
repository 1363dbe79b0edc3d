import { expect, test } from 'vitest';
import { Gateway } from '../../support/mqtt-gateway.ts';
import { randomInt, seededRandom } from '../../support/random.ts';
import { matches } from '../../../src/subject.ts';

async function publisher(gateway: Gateway) {
  const client = gateway.client();
  await client.connect({ clientId: 'publisher' });
  let id = 0;
  return {
    client,
    /** Publishes a retained message and waits for its PUBACK. */
    retain: async (topic: string, data: string): Promise<void> => {
      client.publish(topic, data, ++id, true);
      await client.expect('puback');
    },
  };
}

async function recalled(gateway: Gateway, filters: Record<string, 0 | 1>, clientId = 'sub') {
  const client = gateway.client();
  await client.connect({ clientId });
  await client.subscribe(filters);
  await gateway.settle();
  return client.received.splice(0).flatMap((packet) => (packet.cmd === 'publish' ? [packet] : []));
}

test('the last retained message of each matching topic follows the SUBACK, marked as retained', async () => {
  using gateway = new Gateway();
  const { retain } = await publisher(gateway);
  await retain('a/1', 'old');
  await retain('a/1', 'new');
  await retain('a', 'above');
  await retain('b', 'other');
  const got = await recalled(gateway, { 'a/#': 1 });
  expect(
    got
      .map(({ topic, payload, retain: r, qos }) => `${topic} ${String(payload)} ${r} ${qos}`)
      .sort(),
  ).toEqual(['a above true 1', 'a/1 new true 1']);
});

test('an established subscription gets it as an ordinary message', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ a: 1, b: 0 });
  const { retain } = await publisher(gateway);
  await retain('a', 'x');
  await retain('b', 'y');
  expect(await client.expect('publish')).toMatchObject({ retain: false });
  expect(await client.expect('publish')).toMatchObject({ retain: false });
});

test('empty data removes it, and is routed as any message', async () => {
  using gateway = new Gateway({ streamSubject: 'a' });
  const { retain } = await publisher(gateway);
  await retain('a', 'x');
  await retain('a', '');
  expect(await recalled(gateway, { '#': 0 })).toEqual([]);
  expect(gateway.stream.data).toEqual(['x', '']);
  expect(gateway.store.synced.retained.size).toBe(0);
  expect(gateway.listener.stats()).toMatchObject({ retained: 0, retainedBytes: 0 });
});

test('it comes with the lower of both QoS', async () => {
  using gateway = new Gateway();
  const { retain, client } = await publisher(gateway);
  await retain('one', 'x');
  client.publishPlain('zero', 'x', true);
  await gateway.settle();
  const qos = async (filter: string, subscribed: 0 | 1) =>
    (await recalled(gateway, { [filter]: subscribed })).map((packet) => packet.qos);
  expect(await qos('one', 1)).toEqual([1]);
  expect(await qos('one', 0)).toEqual([0]);
  expect(await qos('zero', 1)).toEqual([0]);
});

test('subscribing again brings it again; overlapping filters bring it once', async () => {
  using gateway = new Gateway();
  const { retain } = await publisher(gateway);
  await retain('a/b', 'x');
  const client = gateway.client();
  await client.connect({ clientId: 'sub' });
  for (let i = 0; i < 2; i++) {
    await client.subscribe({ 'a/+': 0, '#': 1, 'a/b': 0 });
    expect(await client.expect('publish')).toMatchObject({ retain: true, qos: 1 });
    await gateway.settle();
    expect(client.pending).toEqual([]);
  }
});

test('a retained message is acknowledged and shown when it is on disk, and survives a power cut', async () => {
  using gateway = new Gateway({ streamSubject: 'a' });
  const { client } = await publisher(gateway);
  gateway.store.auto = false;
  client.publish('a', 'x', 1, true);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(['x']);
  expect(client.pending).toEqual([]);
  expect(await recalled(gateway, { a: 0 })).toEqual([]);
  using cut = new Gateway({ clock: gateway.clock, store: gateway.store.afterPowerCut() });
  expect(await recalled(cut, { a: 0 })).toEqual([]);
  gateway.store.sync();
  await client.expect('puback');
  await gateway.settle();
  expect(gateway.clients[1]!.received.map(({ cmd }) => cmd)).toEqual(['publish']);
  using next = new Gateway({ clock: gateway.clock, store: gateway.store.afterPowerCut() });
  expect((await recalled(next, { '+': 0 })).map(({ payload }) => String(payload))).toEqual(['x']);
});

test('what the disk refuses is not retained; the message before it is', async () => {
  using gateway = new Gateway();
  const { client, retain } = await publisher(gateway);
  await retain('a', 'before');
  gateway.store.full = true;
  client.publish('a', 'refused', 7, true);
  client.publish('b', 'refused', 8, true);
  await gateway.settle();
  gateway.store.full = false;
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect((await recalled(gateway, { '#': 0 })).map(({ payload }) => String(payload))).toEqual([
    'before',
  ]);
  expect(gateway.listener.stats()).toMatchObject({
    retained: 1,
    retainedRefused: 2,
    refusedMsgs: 2,
  });
});

test.each([
  ['messages', { retainedMax: 2 }],
  ['bytes', { retainedBytesMax: 2 * ('x0'.length + 13 + 10) }],
])('beyond the limit of %s a message is routed and not retained', async (_, limits) => {
  using gateway = new Gateway({ limits, streamSubject: '>' });
  const { retain } = await publisher(gateway);
  for (const topic of ['x0', 'x1', 'x2']) await retain(topic, 'ten bytes!');
  await retain('x1', 'again ten!');
  expect(gateway.stream.messages).toHaveLength(4);
  const got = await recalled(gateway, { '#': 0 });
  expect(got.map(({ topic, payload }) => `${topic} ${String(payload)}`).sort()).toEqual([
    'x0 ten bytes!',
    'x1 again ten!',
  ]);
  expect(gateway.listener.stats()).toMatchObject({ retained: 2, retainedRefused: 1 });
});

test('when a newer message finds no room, the stale one goes', async () => {
  using gateway = new Gateway({ limits: { retainedBytesMax: 30 } });
  const { retain } = await publisher(gateway);
  await retain('a', 'small');
  await retain('a', 'far too large to be retained');
  expect(await recalled(gateway, { '#': 0 })).toEqual([]);
});

test('hundreds of retained messages reach a slow reader, QoS 0 and 1, none dropped', async () => {
  using gateway = new Gateway({
    limits: { outputBytesMax: 2000, deliveriesInFlightMax: 5, cleanQueuedMessagesMax: 10 },
  });
  const { client: source } = await publisher(gateway);
  for (let i = 0; i < 300; i++) {
    if (i % 2 === 0) source.publishPlain(`t/${i}`, 'x'.repeat(100), true);
    else source.publish(`t/${i}`, 'x'.repeat(100), i, true);
  }
  await gateway.settle();
  const client = gateway.client();
  await client.connect({ clientId: 'sub' });
  await client.subscribe({ '#': 1 });
  const topics = new Set<string>();
  while (topics.size < 300) {
    const packet = await client.expect('publish');
    topics.add(packet.topic);
    if (packet.qos === 1) client.puback(packet.messageId!);
  }
  expect(gateway.listener.stats()).toMatchObject({ droppedSlowMsgs: 0, droppedQueueMsgs: 0 });
});

test('a newer message on the way takes the place of the retained one that still waits', async () => {
  using gateway = new Gateway();
  const { client, retain } = await publisher(gateway);
  await retain('a', 'old');
  gateway.store.auto = false;
  client.publish('a', 'newer', 5, true);
  await gateway.settle();
  const sub = gateway.client();
  await sub.connect({ clientId: 'sub' });
  await sub.subscribe({ a: 0 });
  await gateway.settle();
  expect(sub.pending).toEqual([]);
  client.publish('a', 'newest', 6, true);
  await gateway.settle();
  gateway.store.auto = true;
  gateway.store.sync();
  await gateway.settle();
  expect(await sub.expectData(1)).toEqual(['newest']);
  expect(sub.pending).toEqual([]);
});

test('the index finds exactly what the filter matches', async () => {
  using gateway = new Gateway();
  const { client } = await publisher(gateway);
  const random = seededRandom(5);
  const name = (tokens: string): string =>
    Array.from({ length: 1 + randomInt(random, 4) }, () =>
      tokens.charAt(randomInt(random, tokens.length)),
    ).join('/');
  const topics = new Set(Array.from({ length: 200 }, () => name('abc')));
  for (const topic of topics) client.publishPlain(topic, 'x', true);
  for (const topic of [...topics].slice(0, 20)) {
    client.publishPlain(topic, '', true);
    topics.delete(topic);
  }
  await gateway.settle();
  const subjects = [...topics].map((topic) => topic.replaceAll('/', '.'));
  for (let i = 0; i < 60; i++) {
    const filter = i % 3 === 0 ? `${name('abc+')}/#` : name('abc+');
    const subject = filter.replaceAll('/', '.').replaceAll('+', '*').replace('#', '>');
    const wanted = subjects.filter(
      (each) =>
        matches(subject, each) || (subject.endsWith('.>') && matches(subject.slice(0, -2), each)),
    );
    const got = (await recalled(gateway, { [filter]: 0 })).map(({ topic }) =>
      topic.replaceAll('/', '.'),
    );
    expect(got.sort(), filter).toEqual(wanted.sort());
  }
});
