// Consumers of the official client, unchanged, against an agent of ours: pull, push, ordered, with groups, flow control,
// pauses and priorities; and a client that does not read.

import {
  AckPolicy,
  DeliverPolicy,
  jetstream,
  jetstreamManager,
  type ConsumerConfig,
  type ConsumerMessages,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientAgent } from '../support/client-agent.ts';
import { until } from '../support/until.ts';

const NANOS = 1_000_000;
const MIB = 1024 * 1024;

let server: ClientAgent;
let nc: NatsConnection;
let jsm: JetStreamManager;
let js: JetStreamClient;

async function connectClients(): Promise<void> {
  nc = await server.client();
  jsm = await jetstreamManager(nc);
  js = jetstream(nc);
}

beforeEach(async () => {
  server = await ClientAgent.start();
  await connectClients();
  await jsm.streams.add({ name: 'S', subjects: ['s.>'] });
});
afterEach(async () => {
  await server.dispose();
});

async function publish(count: number, subject = 's.a', bytes = 0): Promise<void> {
  const filling = Buffer.alloc(bytes);
  const acks: Promise<unknown>[] = [];
  for (let i = 1; i <= count; i++) acks.push(js.publish(subject, bytes === 0 ? `${i}` : filling));
  await Promise.all(acks);
}

function add(config: Partial<ConsumerConfig>): Promise<unknown> {
  return jsm.consumers.add('S', { ack_policy: AckPolicy.Explicit, ...config });
}

/** What comes, as it comes; each is acknowledged. */
function gather(messages: ConsumerMessages): JsMsg[] {
  const got: JsMsg[] = [];
  void (async () => {
    for await (const message of messages) {
      got.push(message);
      message.ack();
    }
  })();
  return got;
}

const seqs = (messages: readonly JsMsg[]): number[] => messages.map(({ seq }) => seq);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

test('a pull consumer gives what it has, and what is not acknowledged again after a start', async () => {
  await publish(5);
  await add({ durable_name: 'c' });
  const consumer = await js.consumers.get('S', 'c');
  const first = await consumer.next();
  expect(first?.string()).toBe('1');
  expect(first?.info).toMatchObject({ stream: 'S', consumer: 'c', pending: 4, deliveryCount: 1 });
  expect(await first?.ackAck()).toBe(true);
  const fetched: JsMsg[] = [];
  for await (const message of await consumer.fetch({ max_messages: 2, expires: 2000 }))
    fetched.push(message);
  expect(seqs(fetched)).toEqual([2, 3]);
  await server.restart();
  await connectClients();
  const again = await js.consumers.get('S', 'c');
  const got = gather(await again.consume());
  await until('the rest', () => got.length === 4);
  expect(seqs(got)).toEqual([2, 3, 4, 5]);
});

test('a push consumer delivers to whoever consumes, and is bound as long', async () => {
  await publish(3);
  await add({ durable_name: 'p', deliver_subject: 'to.me', filter_subjects: ['s.a', 's.b'] });
  const consumer = await js.consumers.getPushConsumer('S', 'p');
  expect((await consumer.info()).push_bound).toBeUndefined();
  const messages = await consumer.consume();
  const got = gather(messages);
  await publish(1, 's.b');
  await publish(1, 's.c');
  await until('the four', () => got.length === 4);
  expect(seqs(got)).toEqual([1, 2, 3, 4]);
  expect((await consumer.info()).push_bound).toBe(true);
  await messages.close();
  await until('the end', async () => (await jsm.consumers.info('S', 'p')).push_bound !== true);
  await publish(1);
  const info = await jsm.consumers.info('S', 'p');
  expect(info).toMatchObject({ num_pending: 1, num_ack_pending: 0, ack_floor: { stream_seq: 4 } });
});

test('flow control keeps up with a client that takes more than a window', async () => {
  await publish(300, 's.a', 64 * 1024);
  await add({
    name: 'f',
    deliver_subject: 'to.me',
    flow_control: true,
    idle_heartbeat: 500 * NANOS,
    max_ack_pending: -1,
  });
  const consumer = await js.consumers.getPushConsumer('S', 'f');
  const got = gather(await consumer.consume());
  await until('all of it', () => got.length === 300, 20_000);
  expect(seqs(got)).toEqual(upTo(300));
});

test('the members of a deliver group share the messages', async () => {
  await add({ durable_name: 'g', deliver_subject: 'to.us', deliver_group: 'workers' });
  const all: number[] = [];
  const shares = [0, 1].map(() => {
    const share: number[] = [];
    nc.subscribe('to.us', {
      queue: 'workers',
      callback: (_error, message) => {
        const seq = Number(message.reply?.split('.')[5]);
        share.push(seq);
        all.push(seq);
        message.respond();
      },
    });
    return share;
  });
  await publish(50);
  await until('all of them', () => all.length === 50);
  expect(all.sort((a, b) => a - b)).toEqual(upTo(50));
  expect(Math.min(...shares.map(({ length }) => length))).toBeGreaterThan(0);
  await until(
    'the acks',
    async () => (await jsm.consumers.info('S', 'g')).ack_floor.stream_seq === 50,
  );
});

test.each(['pull', 'push'] as const)(
  'an ordered consumer (%s) goes on in order when its consumer is gone',
  async (kind) => {
    await publish(10);
    const other = await server.client({ reconnectTimeWait: 50 });
    const { consumers } = jetstream(other);
    const consumer =
      kind === 'pull'
        ? await consumers.get('S', { deliver_policy: DeliverPolicy.All })
        : await consumers.getPushConsumer('S', { deliver_policy: DeliverPolicy.All });
    const messages = await consumer.consume({ idle_heartbeat: 1000 } as object);
    const got = gather(messages);
    await until('the first ten', () => got.length === 10);
    // A pull consumer hears at once that it is gone; the other one would wait for two heartbeats, a minute.
    const [info] = await jsm.consumers.list('S').next();
    if (kind === 'pull') await jsm.consumers.delete('S', info?.name ?? '');
    else await other.reconnect();
    await publish(10);
    await until('the others', () => got.length === 20, 15_000);
    expect(seqs(got)).toEqual(upTo(20));
    await messages.close();
  },
);

test('headers alone come with the size of what was left out', async () => {
  await publish(1, 's.a', 1000);
  await add({ name: 'h', deliver_subject: 'to.me', headers_only: true });
  const consumer = await js.consumers.getPushConsumer('S', 'h');
  const got = gather(await consumer.consume());
  await until('it', () => got.length === 1);
  expect(got[0]?.data).toHaveLength(0);
  expect(got[0]?.headers?.get('Nats-Msg-Size')).toBe('1000');
});

test('a paused consumer delivers nothing until it is resumed', async () => {
  await add({ durable_name: 'c' });
  const untilThen = new Date(Date.now() + 3_600_000);
  expect(await jsm.consumers.pause('S', 'c', untilThen)).toMatchObject({
    paused: true,
    pause_until: untilThen.toISOString().replace(/\.?0*Z$/, 'Z'),
  });
  await publish(1);
  const consumer = await js.consumers.get('S', 'c');
  expect(await consumer.next({ expires: 1000 })).toBeNull();
  const waiting = consumer.next({ expires: 20_000 });
  expect(await jsm.consumers.resume('S', 'c')).toMatchObject({ paused: false });
  expect((await waiting)?.seq).toBe(1);
});

test('an overflow group gets only what is too much for the others', async () => {
  await add({
    durable_name: 'o',
    priority_policy: 'overflow',
    priority_groups: ['jobs'],
  });
  const consumer = await js.consumers.get('S', 'o');
  const overflow = gather(
    await consumer.consume({ group: 'jobs', min_pending: 5, expires: 10_000 }),
  );
  await publish(4);
  const mine = gather(
    await consumer.fetch({ group: 'jobs', min_pending: 0, max_messages: 1 } as object),
  );
  await until('one of the four', () => mine.length === 1);
  expect(overflow).toEqual([]);
  await publish(10);
  await until('the overflow', () => overflow.length > 0);
});

test('one client is pinned, and the next one when the pin is taken from it', async () => {
  await add({
    durable_name: 'p',
    priority_policy: 'pinned_client',
    priority_groups: ['jobs'],
  });
  const clients = [await server.client(), await server.client()];
  const shares: JsMsg[][] = [];
  for (const client of clients) {
    const consumer = await jetstream(client).consumers.get('S', 'p');
    shares.push(gather(await consumer.consume({ group: 'jobs', expires: 2000 } as object)));
    await publish(3);
    await until('three more', () => shares.flat().length === 3 * shares.length);
  }
  expect(shares.map(({ length }) => length)).toEqual([6, 0]);
  const { priority_groups: groups } = (await jsm.consumers.info('S', 'p')) as unknown as {
    priority_groups: { group: string; pinned_client_id?: string }[];
  };
  expect(groups).toMatchObject([{ group: 'jobs', pinned_client_id: expect.any(String) }]);
  await jsm.consumers.unpin('S', 'p', 'jobs');
  await publish(3);
  await until('the last three', () => shares.flat().length === 9);
});

test('a client that does not read is neither cut nor does the gateway keep its messages for it', async () => {
  const count = 400;
  await publish(count, 's.a', 64 * 1024);
  await add({ durable_name: 'slow', deliver_subject: 'to.slow', ack_policy: AckPolicy.None });
  const socket = connect(server.port, '127.0.0.1');
  let greeting = '';
  socket.on('data', (chunk: Buffer) => {
    if (greeting.length < 10_000) greeting += chunk.toString('latin1');
  });
  socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
  await until('PONG', () => greeting.includes('PONG'));
  socket.pause();
  socket.write('SUB to.slow 1\r\n');
  const delivered = async (): Promise<number> =>
    (await jsm.consumers.info('S', 'slow')).delivered.stream_seq;
  let before = -1;
  await until('it to stand still', async () => {
    const now = await delivered();
    const still = now > 0 && now === before;
    before = now;
    return still;
  });
  expect(before * 64 * 1024, 'with what the sockets of both sides hold').toBeLessThan(12 * MIB);
  socket.resume();
  await until('the rest', async () => (await delivered()) === count, 20_000);
  await until('its bytes', () => socket.bytesRead > count * 64 * 1024);
  socket.destroy();
});
