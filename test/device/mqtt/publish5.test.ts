import { generate, type IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { PublishError } from '../../../src/message.ts';
import type { TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

type Properties = NonNullable<IPublishPacket['properties']>;

async function client5(
  gateway: Gateway,
  clientId: string,
  properties: object = {},
): Promise<TestClient> {
  const client = gateway.client();
  await client.connect({ protocolVersion: 5, clientId, properties });
  return client;
}

function publish(
  client: TestClient,
  topic: string,
  payload: string | Buffer,
  qos: 0 | 1 | 2,
  properties: Properties = {},
  retain = false,
): void {
  client.send({
    cmd: 'publish',
    topic,
    payload,
    qos,
    ...(qos === 0 ? {} : { messageId: 1 }),
    dup: false,
    retain,
    properties,
  });
}

test('what nobody takes is acknowledged with the reason that nobody was there', async () => {
  using gateway = new Gateway({ streamSubject: 'stored' });
  gateway.broker.subscribe('heard', { deliver: () => undefined });
  const client = await client5(gateway, 'a');
  for (const [topic, reasonCode] of [
    ['stored', 0],
    ['heard', 0],
    ['nobody', 0x10],
  ] as const) {
    publish(client, topic, 'x', 1);
    expect((await client.expect('puback')).reasonCode).toBe(reasonCode);
    publish(client, topic, 'x', 2);
    expect((await client.expect('pubrec')).reasonCode).toBe(reasonCode);
    client.pubrel(1);
    expect((await client.expect('pubcomp')).reasonCode).toBe(0);
  }
});

test('an acknowledgement of success is as short as in 3.1.1', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  client.bytes.length = 0;
  publish(client, 'a', 'x', 1);
  await client.expect('puback');
  expect(Buffer.concat(client.bytes).toString('hex')).toBe('40020001');
});

test.each([1, 2] as const)('at QoS %i a topic that is not permitted is refused', async (qos) => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  publish(client, '$JS/API/INFO', 'x', qos);
  const answer = await client.expect(qos === 1 ? 'puback' : 'pubrec');
  expect(answer.reasonCode).toBe(0x87);
  publish(client, 'b', 'y', 1);
  await client.expect('puback');
  expect(gateway.stream.data).toEqual(['y']);
  expect(gateway.listener.counters.notPermittedMsgs).toBe(1);
});

test('a topic that is too long for a subject is refused, and the connection kept', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  publish(client, 'x'.repeat(3000), 'x', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0x90);
  publish(client, 'b', 'y', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0);
});

test('data that is not the text it says it is gets reason 0x99; text is taken', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  const properties = { payloadFormatIndicator: true };
  publish(client, 'a', Buffer.from([0xff]), 1, properties);
  expect((await client.expect('puback')).reasonCode).toBe(0x99);
  publish(client, 'a', 'Öl', 1, properties);
  expect((await client.expect('puback')).reasonCode).toBe(0);
  publish(client, 'a', Buffer.from([0xff]), 1);
  expect((await client.expect('puback')).reasonCode).toBe(0);
  expect(gateway.stream.messages).toHaveLength(2);
});

test('a Topic Alias stands for its topic, and may be given another', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  publish(client, 'first', '1', 1, { topicAlias: 1 });
  publish(client, 'second', '2', 1, { topicAlias: 32 });
  publish(client, '', '3', 1, { topicAlias: 1 });
  publish(client, '', '4', 0, { topicAlias: 32 });
  publish(client, 'third', '5', 1, { topicAlias: 1 });
  publish(client, '', '6', 2, { topicAlias: 1 });
  await client.expect('pubrec');
  expect(gateway.stream.subjects).toEqual(['first', 'second', 'first', 'second', 'third', 'third']);
});

test('a Topic Alias ends with its connection', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const first = await client5(gateway, 'a', { sessionExpiryInterval: 100 });
  publish(first, 'a', '1', 1, { topicAlias: 1 });
  await first.expect('puback');
  const second = await client5(gateway, 'a', { sessionExpiryInterval: 100 });
  publish(second, '', '2', 1, { topicAlias: 1 });
  expect((await second.expect('disconnect')).reasonCode).toBe(0x82);
});

test.each([
  ['0', 'a', 0, 0x94],
  ['above the maximum', 'a', 33, 0x94],
  ['that nobody named', '', 5, 0x82],
])('a Topic Alias %s ends the connection', async (_, topic, alias, reasonCode) => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  const name = Buffer.from(topic);
  const bytes = Buffer.concat([
    Buffer.from([0x30, 2 + name.length + 4 + 1, 0, name.length]),
    name,
    Buffer.from([3, 0x23, 0, alias]),
    Buffer.from('x'),
  ]);
  client.write(bytes);
  expect((await client.expect('disconnect')).reasonCode).toBe(reasonCode);
  expect(gateway.stream.messages).toEqual([]);
});

test('a Subscription Identifier from a client ends the connection', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = await client5(gateway, 'a');
  client.write(Buffer.from('300700016102 0b0178'.replace(' ', ''), 'hex'));
  expect((await client.expect('disconnect')).reasonCode).toBe(0x82);
});

test('topics get aliases as far as the client takes them', async () => {
  using gateway = new Gateway();
  const client = await client5(gateway, 'a', { topicAliasMaximum: 2 });
  await client.subscribe({ '#': 1 });
  for (const subject of ['a', 'b', 'c', 'a', 'c', 'b']) gateway.publish(subject, 'x');
  const got: unknown[] = [];
  for (let i = 0; i < 6; i++) {
    const { topic, properties, messageId } = await client.expect('publish');
    got.push([topic, properties?.topicAlias]);
    client.puback(messageId!);
  }
  expect(got).toEqual([
    ['a', 1],
    ['b', 2],
    ['c', undefined],
    ['', 1],
    ['c', undefined],
    ['', 2],
  ]);
});

test('what is sent keeps its properties, and what is left of its time', async () => {
  using gateway = new Gateway();
  const subscriber = await client5(gateway, 'sub', { sessionExpiryInterval: 1000 });
  await subscriber.subscribe({ '#': 1 });
  const publisher = await client5(gateway, 'pub');
  const properties: Properties = {
    contentType: 'text/plain',
    correlationData: Buffer.from([1, 2, 3]),
    messageExpiryInterval: 100,
    payloadFormatIndicator: true,
    responseTopic: 'answers/here',
    userProperties: { unit: '°C', 'of: it': ['a', 'b'] },
  };
  publish(publisher, 'a', '21.5', 1, properties);
  await publisher.expect('puback');
  const first = await subscriber.expect('publish');
  expect({ ...first.properties, userProperties: { ...first.properties?.userProperties } }).toEqual(
    properties,
  );
  subscriber.stream.destroy();
  await gateway.settle();
  gateway.clock.advance(30_500);
  const again = await client5(gateway, 'other');
  again.stream.destroy();
  const back = gateway.client();
  await back.connect({
    protocolVersion: 5,
    clientId: 'sub',
    clean: false,
    properties: { sessionExpiryInterval: 1000 },
  });
  const second = await back.expect('publish');
  expect([second.dup, second.properties?.messageExpiryInterval]).toEqual([true, 70]);
});

test('an older client gets the same message without its properties', async () => {
  using gateway = new Gateway();
  const old = gateway.client();
  await old.connect({ clientId: 'old' });
  await old.subscribe({ a: 0 });
  const young = await client5(gateway, 'young');
  await young.subscribe({ a: 0 });
  const publisher = await client5(gateway, 'pub');
  publish(publisher, 'a', 'x', 0, { contentType: 'text' });
  expect(String((await old.expect('publish')).payload)).toBe('x');
  expect((await young.expect('publish')).properties?.contentType).toBe('text');
});

test('a packet larger than the client takes is dropped and counted, the next one comes', async () => {
  using gateway = new Gateway();
  const client = await client5(gateway, 'a', { maximumPacketSize: 50 });
  await client.subscribe({ '#': 1 });
  gateway.publish('a', 'x'.repeat(43)); // 51 bytes.
  gateway.publish('a', 'y'.repeat(42)); // 50.
  expect(String((await client.expect('publish')).payload)).toBe('y'.repeat(42));
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect(gateway.listener.counters.droppedLargeMsgs).toBe(1);
});

test('a client may answer where it was asked, for a while', async () => {
  const acl = [
    { users: undefined, subscribe: ['ask/#'], publish: [], denyPublish: [], denySubscribe: [] },
  ];
  using gateway = new Gateway({ streamSubject: '_INBOX.>', options: { acl } });
  const client = await client5(gateway, 'a');
  await client.subscribe({ 'ask/#': 0 });
  publish(client, '_INBOX/1', 'early', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0x87);
  gateway.broker.publish({ subject: 'ask.x', reply: '_INBOX.1', data: Buffer.from('how warm?') });
  expect((await client.expect('publish')).properties?.responseTopic).toBe('_INBOX/1');
  publish(client, '_INBOX/1', '21.5', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0);
  publish(client, '_INBOX/2', 'elsewhere', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0x87);
  gateway.clock.advance(121_000);
  publish(client, '_INBOX/1', 'late', 1);
  expect((await client.expect('puback')).reasonCode).toBe(0x87);
  expect(gateway.stream.data).toEqual(['21.5']);
});

test.each([
  ['a bridge of mosquitto', 0x84, [], 'retained'],
  ['another client', 4, ['mine'], 'live'],
] as const)('%s', async (_, level, echo, flag) => {
  using gateway = new Gateway();
  const client = gateway.client();
  const connect = Buffer.from('100d00044d51545404020000000162', 'hex');
  connect[8] = level;
  client.write(connect);
  await client.expect('connack');
  await client.subscribe({ 'a/#': 1 });
  client.publish('a/b', 'mine', 1);
  await client.expect('puback');
  await gateway.settle();
  expect(client.pending).toEqual(echo.map(() => 'publish'));
  if (echo.length > 0) expect(await client.expectData(1)).toEqual(echo);
  const other = gateway.client();
  await other.connect({ clientId: 'other' });
  other.publish('a/c', 'other', 1, true);
  expect((await client.expect('publish')).retain).toBe(flag === 'retained');
});

test('a stream that refuses is named to the client, which stays connected', async () => {
  using gateway = new Gateway();
  const client = await client5(gateway, 'sub', { sessionExpiryInterval: 100 });
  await client.subscribe({ a: 1 });
  gateway.store.full = true;
  const publisher = await client5(gateway, 'pub');
  publish(publisher, 'a', 'x', 1);
  expect(await publisher.expect('puback')).toMatchObject({
    reasonCode: 0x97,
    properties: { reasonString: 'the disk is full' },
  });
  gateway.store.full = false;
  gateway.clock.advance(5000);
  await gateway.settle();
  expect(publisher.closed).toBe(false);
  expect(gateway.warnings.join()).toContain('MQTT messages were refused');
});

test('a PUBACK in answer to QoS 2 breaks the protocol', async () => {
  using gateway = new Gateway();
  const client = await client5(gateway, 'a');
  await client.subscribe({ a: 2 });
  const publisher = await client5(gateway, 'pub');
  publish(publisher, 'a', 'x', 2);
  const { messageId, qos } = await client.expect('publish');
  expect(qos).toBe(2);
  client.puback(messageId!);
  expect((await client.expect('disconnect')).reasonCode).toBe(0x82);
});

test('one message to many at QoS 0 is the same for all of a version', async () => {
  using gateway = new Gateway();
  const clients = await Promise.all(
    [4, 4, 5, 5].map(async (protocolVersion, i) => {
      const client = gateway.client();
      await client.connect({ protocolVersion: protocolVersion as 4 | 5, clientId: `c${i}` });
      await client.subscribe({ a: 0 });
      client.bytes.length = 0;
      return client;
    }),
  );
  gateway.publish('a', 'x');
  gateway.publish('a', 'y');
  await gateway.settle();
  const old = ['x', 'y'].map((payload) =>
    generate({ cmd: 'publish', topic: 'a', payload, qos: 0, dup: false, retain: false }),
  );
  const said = clients.map(({ bytes }) => Buffer.concat(bytes).toString('hex'));
  expect(said.slice(0, 2)).toEqual(Array(2).fill(Buffer.concat(old).toString('hex')));
  expect(said[2]).toBe('300500016100783005000161 0079'.replace(' ', ''));
  expect(said[3]).toBe(said[2]);
});

test('a retained message goes to each as it has asked for', async () => {
  using gateway = new Gateway();
  const flags: unknown[] = [];
  const clients = [];
  for (const rap of [true, false, true]) {
    const client = await client5(gateway, `c${clients.length}`);
    const subscriptions = [{ topic: 'a', qos: 0, rap, rh: 2 }] as const;
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [...subscriptions] });
    await client.expect('suback');
    clients.push(client);
  }
  const publisher = await client5(gateway, 'pub');
  publish(publisher, 'a', 'x', 0, {}, true);
  for (const client of clients) flags.push((await client.expect('publish')).retain);
  expect(flags).toEqual([true, false, true]);
});

test('what a stream refuses is not retained', async () => {
  using gateway = new Gateway();
  gateway.broker.subscribe('a', {
    store: (_, receipt) => receipt?.(new PublishError(503, 10_077, 'full'), null),
  });
  const publisher = await client5(gateway, 'pub');
  publish(publisher, 'a', 'x', 1, {}, true);
  expect((await publisher.expect('puback')).reasonCode).toBe(0x97);
  expect(gateway.listener.stats().retained).toBe(0);
});
