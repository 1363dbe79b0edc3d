// The official JetStream client, unchanged, against an agent of ours over real sockets: what its own suites found here once.

import { jetstream, jetstreamManager, AckPolicy, StorageType } from '@nats-io/jetstream';
import { startFastIngest } from '@nats-io/jetstream/internal';
import { connect, RequestError, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { GatewayDir, TestAgent } from '../support/agent.ts';

let dir: GatewayDir;
let agent: TestAgent;
let nc: NatsConnection;

beforeEach(async () => {
  dir = new GatewayDir();
  dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: '[nats]\nlisten = "127.0.0.1:0"\n',
  });
  agent = await TestAgent.start(dir);
  const port = agent.agent.parts.nats?.address?.port ?? 0;
  nc = await connect({ servers: `127.0.0.1:${port}` });
});
afterEach(async () => {
  await nc.close();
  await agent.stop();
  dir.remove();
});

test('INFO tells that JetStream is there, and its level', () => {
  expect(nc.info).toMatchObject({ jetstream: true, api_lvl: 4, domain: 'gw7' });
});

test('an ack to a consumer without acks, and one to a consumer that is gone, is nobody’s', async () => {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: 'A', subjects: ['a.>'], storage: StorageType.Memory });
  for (const data of ['x', 'y']) await js.publish('a.a', data);
  await jsm.consumers.add('A', { durable_name: 'careless', ack_policy: AckPolicy.None });
  await jsm.consumers.add('A', { durable_name: 'careful', ack_policy: AckPolicy.Explicit });
  const careless = await (await js.consumers.get('A', 'careless')).next();
  const consumer = await js.consumers.get('A', 'careful');
  const [careful, late] = [await consumer.next(), await consumer.next()];
  const nobody = async (ack: Promise<boolean> | undefined): Promise<boolean> => {
    const error: unknown = await ack?.catch((reason: unknown) => reason);
    return error instanceof RequestError && error.isNoResponders();
  };
  expect(await nobody(careless?.ackAck())).toBe(true);
  expect(await careful?.ackAck()).toBe(true);
  await jsm.consumers.delete('A', 'careful');
  expect(await nobody(late?.ackAck())).toBe(true);
});

/** What the server says against it. */
async function refusalOf(request: Promise<unknown>): Promise<string | undefined> {
  const error: unknown = await request.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof Error ? error.message : undefined;
}

test('a stream that denies it is not purged, and nothing is deleted from it', async () => {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: 'A', subjects: ['a.>'], deny_delete: true, deny_purge: true });
  await js.publish('a.a');
  expect(await refusalOf(jsm.streams.deleteMessage('A', 1))).toBe('message delete not permitted');
  expect(await refusalOf(jsm.streams.purge('A'))).toBe('stream purge not permitted');
  expect((await jsm.streams.info('A')).state.messages).toBe(1);
});

test('lists of streams come in pages of 256', async () => {
  const jsm = await jetstreamManager(nc);
  // Its own stream is there besides.
  const names = Array.from({ length: 255 }, (_, i) => `S${i}`);
  for (const name of names)
    await jsm.streams.add({ name, subjects: [name], storage: StorageType.Memory });
  const { total, limit, streams } = await nc
    .request('$JS.API.STREAM.LIST', '{"offset":250}')
    .then((answer) => answer.json<{ total: number; limit: number; streams: unknown[] }>());
  expect([limit, total - streams.length]).toEqual([256, 250]);
  expect(new Set((await jsm.streams.list().next()).map(({ config }) => config.name)).size).toBe(
    Math.min(total, 256),
  );
});

test('a fast batch to a stream that takes none is refused, and nothing of it is stored', async () => {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: 'A', subjects: ['a.>'] });
  const answer = new Promise<string>((resolve) => {
    nc.subscribe('in.>', { callback: (_, message) => resolve(message.string()) });
  });
  nc.publish('a.a', 'x', { reply: 'in.b.10.fail.1.0.$FI' });
  expect(JSON.parse(await answer)).toMatchObject({
    error: { code: 400, err_code: 10205, description: 'batch publish is disabled' },
  });
  expect((await jsm.streams.info('A')).state.messages).toBe(0);
});

test('the client’s own fast batches go in, and every message is there', async () => {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: 'A', subjects: ['a.>'], allow_batched: true });
  const batch = await startFastIngest(nc, 'a.0', '0', { allowGaps: false });
  for (let i = 1; i < 1_000; i++) await batch.add(`a.${i}`, `${i}`);
  const ack = await batch.last('a.last', 'x');
  expect(ack).toMatchObject({ stream: 'A', seq: 1_001, count: 1_001 });
  const { state } = await jsm.streams.info('A');
  expect(state).toMatchObject({ messages: 1_001, num_subjects: 1_001 });
});
