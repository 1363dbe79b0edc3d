// Fast batches against real nats-servers: what opens, ends and kills them, what the bytes of an old connection do, and
// what the other replicas know of it all.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { pino } from 'pino';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../../src/clock.ts';
import { LOCAL_ERROR, type HubError } from '../../sync/hub-error.ts';
import { filterOf, hubMessage, type Origin } from '../../sync/hub-message.ts';
import type { FastBatch, HubMessage } from '../../sync/hub.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import {
  startCluster,
  startNatsServer,
  type NatsCluster,
  type NatsServer,
} from '../support/nats-server.ts';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';

const log = pino({ level: 'silent' });
const GW7: Origin = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const FILTER = filterOf(GW7);
const ORDERS = 'edge.gw7.telemetry._batch';

const opened: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.stop()));
});

async function hubAt(...servers: string[]): Promise<NatsHub> {
  const hub = new NatsHub(
    {
      servers,
      name: 'gw7',
      prefix: 'edge',
      create: false,
      keepAliveMs: 8_000,
      reconnectMaxMs: 200,
    },
    { clock: systemClock, log, random: Math.random },
  );
  opened.push(hub);
  hub.start();
  await until('the hub', () => hub.connected);
  return hub;
}

async function adminAt(...servers: string[]): Promise<NatsConnection> {
  const admin = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  opened.push({ stop: () => admin.close() });
  return admin;
}

async function api(
  admin: NatsConnection,
  operation: string,
  request?: object,
): Promise<Record<string, unknown>> {
  const body = request === undefined ? '' : JSON.stringify(request);
  return (await admin.request(`$JS.API.${operation}`, body)).json();
}

const EDGE = {
  name: 'EDGE',
  subjects: ['edge.>'],
  storage: 'file',
  discard: 'new',
  // The IDs shall save nothing here.
  duplicate_window: 100_000_000,
  allow_atomic: true,
  allow_batched: true,
};

/** Makes the stream anew. */
async function streamAt(admin: NatsConnection, config: object = {}): Promise<void> {
  await api(admin, 'STREAM.DELETE.EDGE').catch(() => undefined);
  await until('the stream', async () => {
    const answer = await api(admin, 'STREAM.CREATE.EDGE', { ...EDGE, ...config }).catch(() => ({
      error: 'later',
    }));
    return answer['error'] === undefined;
  });
}

function message(seq: number, data = `${seq}`, more: Partial<HubMessage> = {}): HubMessage {
  const one = { subject: 'plant1.temp', data: Buffer.from(data), timeMs: 0, timeSynced: true };
  const entry = { kind: 'message', message: { ...one, seq, epoch: 'e' } } as const;
  return { ...hubMessage(GW7, entry), ...more };
}

const messages = (from: number, to: number): HubMessage[] =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i));

let lastId = 0;
const newId = (): string => `B${++lastId}`;

function open(
  hub: NatsHub,
  first: HubMessage,
  seq = 0,
  { id = newId(), flow = 10 } = {},
): Promise<FastBatch> {
  return hub.openBatch(first, { stream: 'EDGE', id, fence: { filter: FILTER, seq }, flow });
}

/** Bytes of an old connection: message `n` of the batch `id`, which is `seq` of ours. */
async function late(admin: NatsConnection, id: string, n: number, seq: number): Promise<void> {
  const { subject, data } = message(seq);
  const block = headers();
  block.set('Nats-Msg-Id', message(seq).id);
  admin.publish(subject, data, { reply: `old.${id}.10.fail.${n}.1.$FI`, headers: block });
  await admin.flush();
}

/** What the stream holds, by our sequences, once everything published before is stored. */
async function stored(hub: NatsHub): Promise<string[]> {
  const { lastSeq } = await hub.stream('EDGE');
  const found: string[] = [];
  for await (const page of hub.scanHeaders('EDGE', 'edge.>', 1, lastSeq))
    found.push(...page.map(({ id }) => id?.split(':').at(-1) ?? 'none'));
  return found;
}

async function failure(promise: Promise<unknown>): Promise<HubError> {
  try {
    await promise;
  } catch (error) {
    return error as HubError;
  }
  throw new Error('it did not fail');
}

/** Waits until the batch is over. */
async function over(batch: FastBatch): Promise<HubError> {
  for (;;) {
    try {
      await batch.news();
    } catch (error) {
      return error as HubError;
    }
  }
}

describe('one server', () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await startNatsServer();
  });

  afterAll(() => server?.dispose());

  async function both(config: object = {}): Promise<[NatsHub, NatsConnection]> {
    const admin = await adminAt(server.url);
    await streamAt(admin, config);
    return [await hubAt(server.url), admin];
  }

  test('a batch is opened, acknowledged on the way, and ended', async () => {
    const [hub] = await both();
    const batch = await open(hub, message(1));
    batch.send(messages(2, 25));
    while (batch.acked < 20) await batch.news();
    expect(batch).toMatchObject({ sent: 25, acked: 20, flow: 10 });
    expect(await batch.commit()).toMatchObject({ seq: 25, count: 25 });
    expect(await stored(hub)).toEqual(Array.from({ length: 25 }, (_, i) => `${i + 1}`));
  });

  test('a wrong fence stores nothing, although the hub acknowledges the opening first', async () => {
    const [hub] = await both();
    await hub.publish([message(1)], { stream: 'EDGE' });
    const error = await failure(
      open(hub, message(2), 7).then(over).then(Promise.reject.bind(Promise)),
    );
    expect(error).toMatchObject({ errCode: 10071, kind: 'retry' });
    expect(await stored(hub)).toEqual(['1']);
    const batch = await open(hub, message(2), 1);
    expect(await batch.commit()).toEqual({ seq: 2, count: 1 });
  });

  test('late bytes are taken by an open batch, and by a killed one no more', async () => {
    const [hub, admin] = await both();
    const id = newId();
    const batch = await open(hub, message(1), 0, { id });
    batch.send([message(2)]);
    await until('both', async () => (await hub.stream('EDGE')).lastSeq === 2);
    batch.abandon();
    await late(admin, id, 3, 3);
    expect(await stored(hub)).toEqual(['1', '2', '3']);
    await hub.killBatch('EDGE', ORDERS, id);
    await late(admin, id, 4, 4);
    expect(await stored(hub)).toEqual(['1', '2', '3']);
  });

  test('a batch that is unknown counts as killed, and nothing is stored for it', async () => {
    const [hub] = await both();
    await hub.killBatch('EDGE', ORDERS, newId());
    await hub.killBatch('EDGE', ORDERS, newId());
    expect(await stored(hub)).toEqual([]);
  });

  test('a kill right after a cut waits for what is being stored', async () => {
    const [, admin] = await both();
    const proxy = await new WanProxy(server.port).listen();
    opened.push({ stop: () => proxy.close() });
    const hub = await hubAt(proxy.url);
    const id = newId();
    const batch = await open(hub, message(1), 0, { id, flow: 100 });
    batch.send(messages(2, 3_000));
    proxy.resetAll();
    expect((await over(batch)).errCode).toBe(LOCAL_ERROR.linkDown);
    await until('the hub', () => hub.connected);
    await hub.killBatch('EDGE', ORDERS, id);
    const found = await stored(hub);
    expect(found).toEqual(Array.from({ length: found.length }, (_, i) => `${i + 1}`));
    await late(admin, id, found.length + 1, found.length + 1);
    expect(await stored(hub)).toHaveLength(found.length);
  });

  test('the seal is stored under its fence, or not at all', async () => {
    const [hub] = await both();
    const id = newId();
    await open(hub, message(1), 0, { id });
    const seal = (seq: number, fenceSeq: number): Promise<unknown> =>
      hub.publish([message(seq)], {
        stream: 'EDGE',
        fence: { kind: 'filter', filter: FILTER, seq: fenceSeq },
        seal: id,
      });
    // Not killed yet: the hub ends the batch over it.
    expect((await failure(seal(2, 1))).errCode).toBe(LOCAL_ERROR.gap);
    expect(await stored(hub)).toEqual(['1']);
    expect((await failure(seal(2, 0))).errCode).toBe(10071);
    expect(await seal(2, 1)).toEqual({ seq: 2, duplicate: false });
    expect(await stored(hub)).toEqual(['1', '2']);
  });

  test('other open batches lower the flow, and it rises when they are gone', async () => {
    const [hub, admin] = await both();
    const others: string[] = [];
    for (let i = 0; i < 20; i++) {
      others.push(newId());
      const block = headers();
      block.set('Nats-Msg-Id', `other-${i}`);
      const reply = `old.${others[i]}.500.fail.1.0.$FI`;
      admin.publish(`edge.gw8.telemetry.x`, '', { reply, headers: block });
    }
    await admin.flush();
    const batch = await open(hub, message(1), 0, { flow: 400 });
    expect(batch.flow).toBeLessThan(5);
    batch.send(messages(2, 500));
    while (batch.acked < 450) await batch.news();
    expect(batch.flow).toBe(23);
    for (const id of others) await hub.killBatch('EDGE', ORDERS, id);
    batch.send(messages(501, 4_000));
    while (batch.acked < 3_600) await batch.news();
    expect(batch.flow).toBe(400);
    expect((await batch.commit()).count).toBe(4_000);
  });

  test('a message that the hub does not take ends the batch behind those before it', async () => {
    for (const [poison, errCode, config] of [
      [message(3, 'x'.repeat(2_000)), 10054, { max_msg_size: 1_000 }],
      [message(3, '3', { headerLines: 'Nats-TTL: 5\r\n' }), 10166, {}],
      [message(3, '3', { headerLines: 'Nats-Rollup: sub\r\n' }), 10111, {}],
    ] as const) {
      const [hub] = await both(config);
      const batch = await open(hub, message(1));
      batch.send([message(2), poison, ...messages(4, 6)]);
      expect(await over(batch)).toMatchObject({ errCode });
      expect(await failure(batch.commit())).toMatchObject({ errCode });
      expect(await stored(hub)).toEqual(['1', '2']);
    }
  });

  test('batches that are forbidden under way end, and cannot be opened', async () => {
    const [hub, admin] = await both();
    const id = newId();
    const batch = await open(hub, message(1), 0, { id });
    await api(admin, 'STREAM.UPDATE.EDGE', { ...EDGE, allow_batched: false });
    batch.send(messages(2, 20));
    expect((await over(batch)).errCode).toBe(10205);
    expect((await failure(open(hub, message(2), 1).then(over))).errCode).toBe(10205);
    await hub.killBatch('EDGE', ORDERS, id);
    expect((await hub.stream('EDGE')).batched).toBe(false);
    expect(await stored(hub)).toEqual(['1']);
  });

  test('a restarted hub knows no batch: a ping is told so', async () => {
    const [hub] = await both();
    const batch = await open(hub, message(1));
    batch.send([message(2)]);
    await until('both', async () => (await hub.stream('EDGE')).lastSeq === 2);
    await server.kill();
    expect((await over(batch)).errCode).toBe(LOCAL_ERROR.linkDown);
    await server.restart();
    await until('the hub', () => hub.connected);
    await hub.killBatch('EDGE', ORDERS, newId());
    expect(await stored(hub)).toEqual(['1', '2']);
  });
});

test('one batch too many is refused with 10211, and goes when another one ends', async () => {
  const server = await startNatsServer({
    jetstream: 'limits { batch { max_inflight_per_stream: 2 } }',
  });
  opened.push({ stop: () => server.dispose() });
  await streamAt(await adminAt(server.url));
  const hub = await hubAt(server.url);
  const [one, two] = [newId(), newId()];
  await open(hub, message(1), 0, { id: one });
  await open(hub, message(2), 1, { id: two });
  expect((await failure(open(hub, message(3), 2))).errCode).toBe(10211);
  await hub.killBatch('EDGE', ORDERS, one);
  expect(await (await open(hub, message(3), 2)).commit()).toEqual({ seq: 3, count: 1 });
});

describe('three servers', () => {
  let cluster: NatsCluster;

  beforeAll(async () => {
    cluster = await startCluster(3);
  }, 120_000);

  afterAll(() => cluster?.dispose());

  async function both(): Promise<[NatsHub, NatsConnection]> {
    const admin = await adminAt(...cluster.urls);
    await streamAt(admin, { num_replicas: 3 });
    const hub = await hubAt(...cluster.urls);
    await until('a leader', () =>
      hub.killBatch('EDGE', ORDERS, newId()).then(
        () => true,
        () => false,
      ),
    );
    return [hub, admin];
  }

  async function stepDown(admin: NatsConnection): Promise<void> {
    const leader = async (): Promise<string> => {
      const answer = await api(admin, 'STREAM.INFO.EDGE').catch(() => ({ cluster: {} }));
      return (answer['cluster'] as { leader?: string } | undefined)?.leader ?? '';
    };
    const before = await until('a leader', leader);
    await api(admin, 'STREAM.LEADER.STEPDOWN.EDGE').catch(() => undefined);
    await until('another leader', async () => !['', before].includes(await leader()), 30_000);
  }

  test(
    'a batch that a leader change has cut is noticed by a ping',
    { timeout: 60_000 },
    async () => {
      const [hub, admin] = await both();
      const batch = await open(hub, message(1), 0, { flow: 500 });
      let sent = 1;
      // Until the change has cost a message.
      const lost = over(batch);
      const stepping = stepDown(admin);
      await until('the end of the batch', async () => {
        batch.send(messages(sent + 1, sent + 20));
        sent = batch.sent;
        batch.ping();
        return await Promise.race([lost.then(() => true), admin.flush().then(() => false)]);
      });
      await stepping;
      expect([LOCAL_ERROR.gap, LOCAL_ERROR.noResponders, 10208]).toContain((await lost).errCode);
      const found = await until('an answer', () => stored(hub).catch(() => undefined));
      expect(found).toEqual(Array.from({ length: found.length }, (_, i) => `${i + 1}`));
    },
  );

  test(
    'the next leader opens a killed batch again; none opens a sealed one',
    { timeout: 60_000 },
    async () => {
      const [hub, admin] = await both();
      const id = newId();
      const batch = await open(hub, message(1), 0, { id });
      batch.send(messages(2, 3));
      await until('all three', async () => (await hub.stream('EDGE')).lastSeq === 3);
      batch.abandon();
      await hub.killBatch('EDGE', ORDERS, id);
      await stepDown(admin);
      // The scar: this is why a kill is not enough.
      await late(admin, id, 4, 4);
      await until('the late one', async () => (await hub.stream('EDGE')).lastSeq === 4);
      await hub.killBatch('EDGE', ORDERS, id);
      const fence = { kind: 'filter', filter: FILTER, seq: 4 } as const;
      const ack = await hub.publish([message(5)], { stream: 'EDGE', fence, seal: id });
      expect(ack).toEqual({ seq: 5, duplicate: false });
      for (let round = 0; round < 2; round++) {
        await stepDown(admin);
        await late(admin, id, 5, 5);
        expect(await until('an answer', () => stored(hub).catch(() => undefined))).toEqual([
          '1',
          '2',
          '3',
          '4',
          '5',
        ]);
      }
    },
  );
});

test('a hub that knows no fast batches stores none of their orders', async () => {
  const server = await startNatsServer({ binary: oldNatsServer('2.9') });
  opened.push({ stop: () => server.dispose() });
  const admin = await adminAt(server.url);
  await streamAt(admin);
  const hub = await hubAt(server.url);
  await hub.killBatch('EDGE', ORDERS, newId());
  await hub.publish([message(1)], { stream: 'EDGE' });
  expect((await hub.stream('EDGE')).lastSeq).toBe(1);
});
