// The official JetStream client, unchanged, against an agent of ours over real sockets: what its own suites found here once.

import { jetstream, jetstreamManager, AckPolicy, StorageType } from '@nats-io/jetstream';
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
