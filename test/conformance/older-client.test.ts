// The JavaScript client of the years before (the package `nats`, 2.x), unchanged, against an agent of ours: streams,
// consumers in every way it knows, key-value and object store.

import {
  AckPolicy,
  connect,
  consumerOpts,
  DeliverPolicy,
  headers,
  nanos,
  RetentionPolicy,
  StorageType,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type KvEntry,
  type NatsConnection,
} from 'nats';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientAgent } from '../support/client-agent.ts';
import { until } from '../support/until.ts';

let server: ClientAgent;
let nc: NatsConnection;
let jsm: JetStreamManager;
let js: JetStreamClient;

beforeEach(async () => {
  server = await ClientAgent.start();
  nc = await connect({ servers: `127.0.0.1:${server.port}` });
  jsm = await nc.jetstreamManager();
  js = nc.jetstream();
  await jsm.streams.add({ name: 'S', subjects: ['s.>'], max_msgs_per_subject: 100 });
});
afterEach(async () => {
  await nc.close();
  await server.dispose();
});

async function publish(count: number, subject = 's.a'): Promise<void> {
  const acks: Promise<unknown>[] = [];
  for (let i = 1; i <= count; i++) acks.push(js.publish(subject, `${i}`));
  await Promise.all(acks);
}

/** Takes `count` messages, all as strings. */
async function take(messages: AsyncIterable<JsMsg>, count: number): Promise<string[]> {
  const got: string[] = [];
  for await (const message of messages) {
    got.push(message.string());
    message.ack();
    if (got.length === count) break;
  }
  return got;
}

test('streams are made, changed, listed, read, purged and deleted', async () => {
  const info = await jsm.getAccountInfo();
  expect(info.streams).toBeGreaterThanOrEqual(1);
  const made = await jsm.streams.add({
    name: 'W',
    subjects: ['w.>'],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.Memory,
    max_age: nanos(60_000),
  });
  expect(made.config).toMatchObject({ retention: 'workqueue', storage: 'memory' });
  expect(
    (await jsm.streams.update('W', { subjects: ['w.>', 'x.>'] })).config.subjects,
  ).toHaveLength(2);
  expect(await jsm.streams.find('x.1')).toBe('W');
  await publish(3);
  await publish(2, 's.b');
  const state = (await jsm.streams.info('S', { subjects_filter: '>' })).state;
  expect(state.subjects).toEqual({ 's.a': 3, 's.b': 2 });
  expect((await jsm.streams.getMessage('S', { seq: 2 })).string()).toBe('2');
  expect((await jsm.streams.getMessage('S', { last_by_subj: 's.a' })).seq).toBe(3);
  expect(await jsm.streams.deleteMessage('S', 2)).toBe(true);
  await expect(jsm.streams.getMessage('S', { seq: 2 })).rejects.toThrow('no message found');
  expect(await jsm.streams.purge('S', { filter: 's.a' })).toMatchObject({
    success: true,
    purged: 2,
  });
  expect((await jsm.streams.list().next()).map(({ config }) => config.name)).toContain('W');
  expect(await jsm.streams.delete('W')).toBe(true);
  await expect(jsm.streams.info('W')).rejects.toThrow('stream not found');
});

test('a publish is acknowledged, recognised when it is repeated, and refused where it expects something else', async () => {
  expect(await js.publish('s.a', 'x', { msgID: 'one' })).toMatchObject({ stream: 'S', seq: 1 });
  expect(await js.publish('s.a', 'x', { msgID: 'one' })).toMatchObject({ seq: 1, duplicate: true });
  const wrong = js.publish('s.a', 'x', { expect: { lastSequence: 7 } });
  await expect(wrong).rejects.toThrow('wrong last sequence: 1');
  await expect(js.publish('s.a', 'x', { expect: { streamName: 'T' } })).rejects.toThrow(
    'expected stream does not match',
  );
  await expect(js.publish('nobody.there', 'x')).rejects.toThrow('503');
});

test('a pull consumer fetches and consumes; a double ack is known to be there', async () => {
  await publish(20);
  await jsm.consumers.add('S', { durable_name: 'd', ack_policy: AckPolicy.Explicit });
  const consumer = await js.consumers.get('S', 'd');
  const first = await consumer.next({ expires: 5_000 });
  expect(first?.string()).toBe('1');
  expect(await first?.ackAck()).toBe(true);
  expect((await consumer.info()).ack_floor.stream_seq).toBe(1);
  expect(await take(await consumer.fetch({ max_messages: 9, expires: 5_000 }), 9)).toHaveLength(9);
  const messages = await consumer.consume({ max_messages: 4 });
  expect((await take(messages, 10)).at(-1)).toBe('20');
  await nc.flush();
  expect(await consumer.info()).toMatchObject({ num_pending: 0, num_ack_pending: 0 });
});

test('what is refused comes again at once or later, and what is given up does not', async () => {
  await publish(3);
  await jsm.consumers.add('S', { durable_name: 'd', ack_policy: AckPolicy.Explicit });
  const consumer = await js.consumers.get('S', 'd');
  const answers = [
    (message: JsMsg): void => message.nak(),
    (message: JsMsg): void => message.nak(50),
    (message: JsMsg): void => message.term(),
  ];
  let at = 0;
  for await (const message of await consumer.fetch({ max_messages: 3, expires: 5_000 }))
    answers[at++]?.(message);
  const again: [string, number][] = [];
  for await (const message of await consumer.fetch({ max_messages: 2, expires: 5_000 })) {
    again.push([message.string(), message.info.redeliveryCount]);
    await message.ackAck();
  }
  expect(again).toEqual([
    ['1', 2],
    ['2', 2],
  ]);
});

test('the pull subscription of old is answered in the same way', async () => {
  await publish(5);
  const opts = consumerOpts().durable('old').ackExplicit().deliverAll();
  const subscription = await js.pullSubscribe('s.a', opts);
  subscription.pull({ batch: 5, expires: 5_000 });
  expect(await take(subscription, 5)).toEqual(['1', '2', '3', '4', '5']);
  await publish(1);
  const one = await js.pull('S', 'old', 5_000);
  expect([one.string(), one.info.streamSequence]).toEqual(['1', 6]);
  await one.ackAck();
});

test('a push consumer delivers with flow control, to one or to a group', async () => {
  await publish(50);
  const opts = consumerOpts()
    .durable('p')
    .deliverTo('to.me')
    .ackExplicit()
    .flowControl()
    .idleHeartbeat(500);
  expect(await take(await js.subscribe('s.a', opts), 50)).toHaveLength(50);
  const group = (): ReturnType<typeof consumerOpts> =>
    consumerOpts().durable('q').deliverTo('to.us').queue('crew').ackExplicit().manualAck();
  const seen: string[] = [];
  const gather = async (messages: AsyncIterable<JsMsg>): Promise<void> => {
    for await (const message of messages) {
      seen.push(message.string());
      message.ack();
    }
  };
  void gather(await js.subscribe('s.a', group()));
  void gather(await js.subscribe('s.a', group()));
  await until('all are delivered', () => seen.length >= 50);
  expect(new Set(seen).size).toBe(50);
});

test('ordered consumers read everything in order, both kinds', async () => {
  await publish(100);
  const numbers = Array.from({ length: 100 }, (_, i) => `${i + 1}`);
  const push = await js.subscribe('s.>', consumerOpts().orderedConsumer());
  expect(await take(push, 100)).toEqual(numbers);
  const pull = await js.consumers.get('S', { filterSubjects: 's.>' });
  expect(await take(await pull.consume(), 100)).toEqual(numbers);
  const last = await js.consumers.get('S', { deliver_policy: DeliverPolicy.Last });
  expect((await last.next())?.string()).toBe('100');
});

test('keys are put, updated against their revision, watched, listed and purged', async () => {
  const kv = await js.views.kv('b', { history: 5 });
  const first = await kv.put('k', 'one');
  expect(await kv.update('k', 'two', first)).toBe(2);
  await expect(kv.update('k', 'three', first)).rejects.toThrow('wrong last sequence: 2');
  await expect(kv.create('k', 'x')).rejects.toThrow('wrong last sequence: 2');
  expect((await kv.get('k'))?.string()).toBe('two');
  const seen: KvEntry[] = [];
  const watch = await kv.watch();
  void (async () => {
    for await (const entry of watch) seen.push(entry);
  })();
  await kv.put('l', 'x');
  await kv.delete('k');
  await until('all changes are seen', () => seen.length >= 3);
  expect(seen.map(({ key, operation }) => `${key} ${operation}`)).toEqual([
    'k PUT',
    'l PUT',
    'k DEL',
  ]);
  watch.stop();
  const keys: string[] = [];
  for await (const key of await kv.keys()) keys.push(key);
  expect(keys).toEqual(['l']);
  await kv.purge('k');
  const history: string[] = [];
  for await (const entry of await kv.history({ key: 'k' })) history.push(entry.operation);
  expect(history).toEqual(['PURGE']);
  expect(await kv.status()).toMatchObject({ bucket: 'b', values: 2, history: 5 });
  expect(await kv.destroy()).toBe(true);
});

test('objects go in and come out whole, with links and without', async () => {
  const objects = await js.views.os('o');
  const data = new Uint8Array(500_000).map((_, i) => i % 251);
  const info = await objects.putBlob({ name: 'f', options: { max_chunk_size: 64 * 1024 } }, data);
  expect(info).toMatchObject({ size: 500_000, chunks: 8 });
  expect(await objects.getBlob('f')).toEqual(data);
  await objects.link('l', info);
  expect(await objects.getBlob('l')).toEqual(data);
  expect((await objects.list()).map(({ name }) => name).toSorted()).toEqual(['f', 'l']);
  expect(await objects.delete('f')).toMatchObject({ success: true });
  expect(await objects.get('f')).toBeNull();
  expect((await objects.status()).bucket).toBe('o');
});

test('gets go straight to the stream, with headers and without a consumer', async () => {
  await jsm.streams.update('S', { allow_direct: true });
  const head = headers();
  head.set('X', 'y');
  await js.publish('s.a', 'data', { headers: head });
  const got = await nc.request('$JS.API.DIRECT.GET.S.s.a');
  expect([got.string(), got.headers?.get('X'), got.headers?.get('Nats-Sequence')]).toEqual([
    'data',
    'y',
    '1',
  ]);
  const none = await nc.request('$JS.API.DIRECT.GET.S.s.b');
  expect(none.headers?.code).toBe(404);
});
