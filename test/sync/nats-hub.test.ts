// The hub over NATS against a real nats-server: what JetStream answers, read and published.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { pino } from 'pino';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../../src/clock.ts';
import type { HubError } from '../../sync/hub-error.ts';
import { filterOf, hubMessage, type Origin } from '../../sync/hub-message.ts';
import type { HubMessage, HubStored } from '../../sync/hub.ts';
import { NatsHub, type NatsHubConfig } from '../../sync/nats-hub.ts';
import { startCluster, startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';

const log = pino({ level: 'silent' });
const GW7: Origin = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const FILTER = filterOf(GW7);

let server: NatsServer;
let admin: NatsConnection;
const hubs: NatsHub[] = [];

beforeAll(async () => {
  server = await startNatsServer();
  admin = await connect({ servers: server.url });
});

afterAll(async () => {
  await Promise.all(hubs.map((hub) => hub.stop()));
  await admin?.close();
  await server?.dispose();
});

async function hubAt(config: Partial<NatsHubConfig> = {}): Promise<NatsHub> {
  const hub = new NatsHub(
    {
      servers: [server.url],
      name: 'mangrove gw7',
      prefix: 'edge',
      create: false,
      keepAliveMs: 15_000,
      reconnectMaxMs: 1_000,
      ...config,
    },
    { clock: systemClock, log, random: Math.random },
  );
  hubs.push(hub);
  hub.start();
  await until('the hub', () => hub.connected);
  return hub;
}

/** A request to JetStream's API, as an operator's tool would make it. */
async function api(subject: string, request: unknown = ''): Promise<Record<string, unknown>> {
  const body = request === '' ? '' : JSON.stringify(request);
  const answer = await admin.request(`$JS.API.${subject}`, body);
  return answer.json();
}

let streams = 0;

/** A hub stream of its own for each test, on subjects of its own. */
async function newStream(config: object = {}): Promise<{ name: string; origin: Origin }> {
  const prefix = `p${++streams}`;
  const name = `S${streams}`;
  const answer = await api(`STREAM.CREATE.${name}`, {
    name,
    subjects: [`${prefix}.>`],
    storage: 'file',
    allow_atomic: true,
    allow_msg_ttl: true,
    ...config,
  });
  expect(answer['error']).toBeUndefined();
  return { name, origin: { ...GW7, prefix } };
}

function message(origin: Origin, seq: number, headers?: Buffer, data?: Buffer): HubMessage {
  return hubMessage(origin, {
    kind: 'message',
    message: {
      subject: 'plant1.temp',
      data: data ?? Buffer.from(`${seq}`),
      seq,
      epoch: 'e',
      timeMs: Date.UTC(2026, 0, 1),
      timeSynced: true,
      ...(headers === undefined ? {} : { headers }),
    },
  });
}

function messages(origin: Origin, from: number, to: number): HubMessage[] {
  return Array.from({ length: to - from + 1 }, (_, i) => message(origin, from + i));
}

async function failure(promise: Promise<unknown>): Promise<HubError> {
  try {
    await promise;
  } catch (error) {
    return error as HubError;
  }
  throw new Error('it did not fail');
}

async function scanned(
  hub: NatsHub,
  name: string,
  filter: string,
  fromSeq: number,
): Promise<HubStored[]> {
  const all: HubStored[] = [];
  for await (const page of hub.scanHeaders(name, filter, fromSeq, Infinity)) all.push(...page);
  return all;
}

test('a missing stream is an operator’s message, and is created where the configuration says so', async () => {
  const error = await failure((await hubAt()).stream('EDGE'));
  expect(error).toMatchObject({ kind: 'configuration', message: 'the hub has no stream EDGE' });
  expect(error.hint).toContain('create = true');
  const hub = await hubAt({ create: true });
  const [one, two] = await Promise.all([hub.stream('EDGE'), hub.stream('EDGE')]);
  expect(two).toEqual(one);
  expect(one).toMatchObject({
    subjects: ['edge.>'],
    atomic: true,
    removes: false,
    checkpoints: true,
  });
  const { config } = await api('STREAM.INFO.EDGE');
  expect(config).toMatchObject({
    storage: 'file',
    discard: 'new',
    max_bytes: 8 * 1024 ** 3,
    num_replicas: 1,
    allow_direct: true,
    allow_atomic: true,
    allow_batched: true,
    allow_msg_ttl: true,
  });
});

test('a small hub gets a smaller stream', async () => {
  const small = await startNatsServer({ jetstream: 'max_file_store: 600MB' });
  const hub = await hubAt({ servers: [small.url], create: true });
  await hub.stream('EDGE');
  const client = await connect({ servers: small.url });
  const info = (await client.request('$JS.API.STREAM.INFO.EDGE')).json<{ config: object }>();
  expect(info.config).toMatchObject({ max_bytes: 256 * 1024 ** 2 });
  await client.close();
  await hub.stop();
  await small.dispose();
});

test('subjects that another stream has cannot be taken, and the hint says so', async () => {
  const { origin } = await newStream();
  const hub = await hubAt({ create: true, prefix: origin.prefix });
  const error = await failure(hub.stream('OTHER'));
  expect(error).toMatchObject({ kind: 'configuration', errCode: 10065 });
  expect(error.hint).toContain('hub.stream');
});

test('a batch and a single message are stored whole, in order, behind their fence', async () => {
  const { name, origin } = await newStream();
  const filter = filterOf(origin);
  const hub = await hubAt();
  const options = (seq: number) => ({
    stream: name,
    fence: { kind: 'filter' as const, filter, seq },
  });
  expect(await hub.publish(messages(origin, 1, 1000), options(0))).toEqual({
    seq: 1000,
    duplicate: false,
  });
  expect(await hub.publish(messages(origin, 1001, 1001), options(1000))).toEqual({
    seq: 1001,
    duplicate: false,
  });
  expect(await hub.lastBySubject(name, filter)).toEqual({
    seq: 1001,
    subject: `${origin.prefix}.gw7.telemetry.plant1.temp`,
    id: 'gw7:telemetry:e:1001',
  });
  for (const stale of [0, 1000, 1002])
    for (const to of [1002, 1010]) {
      const error = await failure(hub.publish(messages(origin, 1002, to), options(stale)));
      expect(error).toMatchObject({ kind: 'retry', errCode: 10071 });
    }
  expect((await hub.stream(name)).lastSeq).toBe(1001);
});

test('nothing of a batch with one bad message is stored', async () => {
  const { name, origin } = await newStream();
  const hub = await hubAt();
  const options = {
    stream: name,
    fence: { kind: 'filter' as const, filter: filterOf(origin), seq: 0 },
  };
  const twice = [...messages(origin, 1, 9), message(origin, 5)];
  expect(await failure(hub.publish(twice, options))).toMatchObject({
    kind: 'retry',
    errCode: 10201,
  });
  expect(await failure(hub.publish(messages(origin, 1, 1001), options))).toMatchObject({
    errCode: 10199,
  });
  expect(await hub.lastBySubject(name, filterOf(origin))).toBeNull();
});

test('a message goes through byte for byte, whatever orders its headers hold', async () => {
  const { name, origin } = await newStream();
  const hub = await hubAt();
  const data = Buffer.from([0, 13, 10, 255, 0x80]);
  const headers = Buffer.concat([
    Buffer.from(
      'NATS/1.0\r\nNats-Msg-Id: mine\r\nNats-Rollup: all\r\nNats-Expected-Last-Sequence: 9999\r\nNats-TTL: 1s\r\nX: ',
    ),
    Buffer.from([0xff, 0x80, 0xc3]),
    Buffer.from('\r\nNats-Expected-Stream: OTHER\r\n\r\n'),
  ]);
  const fence = { kind: 'filter', filter: filterOf(origin), seq: 0 } as const;
  const { seq } = await hub.publish([message(origin, 1, headers, data)], { stream: name, fence });
  const { message: stored } = (await api(`STREAM.MSG.GET.${name}`, { seq })) as {
    message: { data: string; hdrs: string };
  };
  expect(Buffer.from(stored.data, 'base64')).toEqual(data);
  const block = Buffer.from(stored.hdrs, 'base64').toString('latin1');
  expect(block).toContain(
    'Mangrove-Nats-Msg-Id: mine\r\nMangrove-Nats-Rollup: all\r\nMangrove-Nats-Expected-Last-Sequence: 9999\r\nMangrove-Nats-TTL: 1s\r\nX: \xff\x80\xc3\r\nMangrove-Nats-Expected-Stream: OTHER\r\n\r\n',
  );
  expect(block).toContain('\r\nNats-Msg-Id: gw7:telemetry:e:1\r\n');
});

test('an empty message without headers passes, alone and in a batch', async () => {
  const { name, origin } = await newStream();
  const hub = await hubAt();
  const empty = [1, 2, 3].map((seq) => message(origin, seq, undefined, Buffer.alloc(0)));
  const fence = { kind: 'filter' as const, filter: filterOf(origin), seq: 0 };
  await hub.publish(empty.slice(0, 1), { stream: name, fence });
  await hub.publish(empty.slice(1), { stream: name, fence: { ...fence, seq: 1 } });
  expect((await hub.stream(name)).lastSeq).toBe(3);
});

test('an ID that the hub knows is a duplicate alone, and refuses a batch', async () => {
  const { name, origin } = await newStream();
  const hub = await hubAt();
  const filter = filterOf(origin);
  await hub.publish(messages(origin, 1, 5), {
    stream: name,
    fence: { kind: 'filter' as const, filter, seq: 0 },
  });
  const options = { stream: name, fence: { kind: 'filter' as const, filter, seq: 5 } };
  expect(await hub.publish([message(origin, 3)], options)).toEqual({ seq: 3, duplicate: true });
  expect(await failure(hub.publish(messages(origin, 5, 6), options))).toMatchObject({
    errCode: 10201,
  });
});

test('a checkpoint goes with its batch, has a fence of its own, and stays when the messages go', async () => {
  const { name, origin } = await newStream({
    max_age: 1_000_000_000,
    duplicate_window: 100_000_000,
  });
  const hub = await hubAt();
  const filter = filterOf(origin);
  const subject = `${origin.prefix}.gw7.telemetry`;
  const checkpointed = (previousSeq: number, seq: number) => ({
    stream: name,
    fence: { kind: 'filter' as const, filter, seq },
    checkpoint: {
      previousSeq,
      message: {
        subject,
        id: `x:${seq}`,
        headerLines: 'Nats-TTL: never\r\n',
        data: Buffer.from('{}'),
      },
    },
  });
  expect(await hub.stream(name)).toMatchObject({ removes: true, checkpoints: true });
  expect(await hub.publish(messages(origin, 1, 3), checkpointed(0, 0))).toEqual({
    seq: 3,
    duplicate: false,
  });
  expect(await hub.publish(messages(origin, 4, 4), checkpointed(4, 3))).toEqual({
    seq: 5,
    duplicate: false,
  });
  // The filter's fence alone would hold.
  const stale = await failure(hub.publish(messages(origin, 5, 6), checkpointed(4, 5)));
  expect(stale).toMatchObject({ errCode: 10071 });
  await until(
    'the messages to expire',
    async () => (await hub.lastBySubject(name, filter)) === null,
  );
  expect(await hub.lastBySubject(name, subject)).toMatchObject({ seq: 6 });
  const again = await failure(hub.publish(messages(origin, 5, 6), checkpointed(4, 0)));
  expect(again).toMatchObject({ errCode: 10071 });
  await hub.publish(messages(origin, 5, 6), checkpointed(6, 0));
  expect(await hub.nextBySubject(name, subject, 1)).toMatchObject({ seq: 4 });
  await hub.deleteMessage(name, 4);
  expect(await hub.nextBySubject(name, subject, 1)).toMatchObject({ seq: 6 });
  expect(await hub.messageAt(name, 4)).toBeNull();
});

test('a scan finds every message from a place on, over pages, also with odd headers', async () => {
  const { name, origin } = await newStream();
  const hub = await hubAt();
  const filter = filterOf(origin);
  let seq = 0;
  for (let from = 1; from <= 1_201; from += 400) {
    const batch = messages(origin, from, from + 399);
    batch[7] = message(
      origin,
      from + 7,
      Buffer.from('NATS/1.0\r\nbad name\xff: x\r\n y: 1\r\n\r\n', 'latin1'),
    );
    ({ seq } = await hub.publish(batch, {
      stream: name,
      fence: { kind: 'filter' as const, filter, seq },
    }));
    admin.publish(`${origin.prefix}.gw8.telemetry.x`, 'another gateway’s');
    await admin.flush();
  }
  const all = await scanned(hub, name, filter, 1);
  expect(all.map(({ id }) => id)).toEqual(messages(origin, 1, 1_600).map(({ id }) => id));
  const rest = await scanned(hub, name, filter, 1_000);
  expect(rest[0]?.seq).toBeGreaterThanOrEqual(1_000);
  expect(rest.map(({ id }) => id)).toEqual(all.slice(-rest.length).map(({ id }) => id));
  expect(await scanned(hub, name, filter, 100_000)).toEqual([]);
  expect(await scanned(hub, name, `${origin.prefix}.nobody.>`, 1)).toEqual([]);
  const { consumers } = await api(`CONSUMER.NAMES.${name}`);
  await until('the consumers to be gone', async () => {
    const names = (await api(`CONSUMER.NAMES.${name}`))['consumers'];
    return Array.isArray(names) && names.length === 0;
  });
  expect(consumers).toBeDefined();
});

test('a scan of a work queue goes message by message, because it allows no second consumer', async () => {
  const { name, origin } = await newStream({ retention: 'workqueue' });
  await api(`CONSUMER.CREATE.${name}.app`, {
    stream_name: name,
    config: { name: 'app', durable_name: 'app', ack_policy: 'explicit' },
  });
  const hub = await hubAt();
  const filter = filterOf(origin);
  expect(await hub.stream(name)).toMatchObject({ removes: true, consumed: true });
  await hub.publish(messages(origin, 1, 20), {
    stream: name,
    fence: { kind: 'filter' as const, filter, seq: 0 },
  });
  expect((await scanned(hub, name, filter, 5)).map(({ seq }) => seq)).toEqual(
    Array.from({ length: 16 }, (_, i) => i + 5),
  );
});

test('what a stream is like is read from its configuration', async () => {
  const hub = await hubAt();
  const read = async (config: object) => hub.stream((await newStream(config)).name);
  expect(await read({ max_msg_size: 5_000 })).toMatchObject({
    messageBytesMax: 5_000,
    removes: false,
  });
  expect(await read({ discard: 'new', max_msgs: 5 })).toMatchObject({ removes: false });
  expect(await read({ max_msgs: 5 })).toMatchObject({ removes: true, consumed: false });
  expect(await read({ max_bytes: 5_000_000 })).toMatchObject({ removes: true });
  expect(await read({ max_msgs_per_subject: 1 })).toMatchObject({ removes: true });
  expect(await read({ retention: 'interest' })).toMatchObject({ removes: true, consumed: true });
  expect(await read({ allow_atomic: false })).toMatchObject({ atomic: false, checkpoints: false });
  expect(await read({ allow_msg_ttl: false })).toMatchObject({ atomic: true, checkpoints: false });
  expect(await read({ deny_delete: true })).toMatchObject({ checkpoints: false });
  expect((await read({ no_ack: true })).unfit?.reason).toContain('no_ack');
  expect(
    (await read({ allow_msg_counter: true, allow_msg_ttl: false, allow_atomic: false })).unfit
      ?.reason,
  ).toContain('counts');
  expect((await read({ subject_transform: { src: '>', dest: 'x.>' } })).unfit?.hint).toContain(
    'subject_transform',
  );
});

test('a hub of three servers gets a stream with three replicas, and takes fenced batches', async () => {
  const cluster = await startCluster(3);
  try {
    const hub = await hubAt({ servers: cluster.urls, create: true });
    const found = await until(
      'the stream',
      () =>
        hub
          .stream('EDGE')
          .catch((error: HubError) => (error.kind === 'retry' ? null : Promise.reject(error))),
      30_000,
    );
    expect(found).toMatchObject({ atomic: true });
    const client = await connect({ servers: cluster.urls[0] ?? '' });
    const info = (await client.request('$JS.API.STREAM.INFO.EDGE')).json<{ config: object }>();
    await client.close();
    expect(info.config).toMatchObject({ num_replicas: 3 });
    let seq = 0;
    for (let from = 1; from <= 500; from += 100)
      ({ seq } = await hub.publish(messages(GW7, from, from + 99), {
        stream: 'EDGE',
        fence: { kind: 'filter' as const, filter: FILTER, seq },
      }));
    expect(await hub.lastBySubject('EDGE', FILTER)).toMatchObject({
      seq: 500,
      id: 'gw7:telemetry:e:500',
    });
    await hub.stop();
  } finally {
    await cluster.dispose();
  }
});
