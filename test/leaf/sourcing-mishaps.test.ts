// What a hub that fills its streams from the gateway does not miss in silence: a gateway whose disk was put back or replaced,
// limits that took messages before the hub had them, messages too large for it, a stream of the hub that is full; and
// the forms of a source that an operator may choose.

import { cpSync, rmSync } from 'node:fs';
import { headers } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import type { AgentGateway } from './gateway.ts';
import { JetStreamClient } from './jetstream.ts';
import { lasting } from './lasting.ts';
import type { Kept } from './ledger.ts';
import { fromGateway, LeafRig, type LeafRigOptions } from './rig.ts';

const TEST_MS = 300_000;
/** A hub that heard nothing in time waits half a minute before it asks again, and longer each time. */
const PATIENCE_MS = 120_000;

const HUBS: readonly (readonly [string, () => LeafRigOptions])[] = [
  ['2.15', () => ({})],
  ['2.10', () => ({ binary: oldNatsServer('2.10') })],
  ['2.9', () => ({ binary: oldNatsServer('2.9') })],
];

function agentOf(rig: LeafRig): AgentGateway['agent'] {
  return (rig.gateway as AgentGateway).agent;
}

/** Publishes `from` to `to` as the data of messages to `subject`; resolves when all are stored. */
async function publish(rig: LeafRig, subject: string, from: number, to: number): Promise<void> {
  // What an old connection still holds when the gateway comes back may be gone.
  await using program = await JetStreamClient.connect(`127.0.0.1:${rig.gateway.port}`);
  const all: Promise<unknown>[] = [];
  for (let i = from; i <= to; i++)
    all.push(program.nc.request(subject, String(i), { timeout: 20_000 }));
  await Promise.all(all);
}

/** The data of all messages of a stream of the hub. */
async function dataOf(rig: LeafRig, stream: string): Promise<string[]> {
  const { state } = await rig.hub.info(stream);
  const found: string[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const got = await rig.hub
      .api<{ message: { data?: string } }>(`STREAM.MSG.GET.${stream}`, { seq })
      .catch(() => undefined);
    if (got !== undefined) found.push(Buffer.from(got.message.data ?? '', 'base64').toString());
  }
  return found;
}

async function has(rig: LeafRig, stream: string, messages: number): Promise<void> {
  await until(
    `${messages} messages in ${stream}`,
    async () => ((await rig.hub.state(stream))?.messages ?? 0) >= messages,
    PATIENCE_MS,
  );
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
}

async function logged(rig: LeafRig, text: string): Promise<void> {
  await until(`the log to say "${text}"`, () =>
    rig.gateway.complaints.some((line) => line.includes(text)),
  );
}

const LIM = { name: 'LIM', subjects: ['lim.>'], storage: 'file' };
const WQ = { ...LIM, retention: 'workqueue' };

test.concurrent.each(HUBS)(
  'an image of the disk is put back: what is stored from then on reaches a hub of %s nevertheless',
  async (_name, options) => {
    await using rig = await LeafRig.start(options());
    await rig.local.create(LIM);
    await rig.hub.create({ name: 'S', storage: 'file', sources: [fromGateway('LIM')] });
    await rig.hub.create({ name: 'M', storage: 'file', mirror: fromGateway('LIM') });
    await publish(rig, 'lim.a', 1, 10);
    await has(rig, 'S', 10);
    const { dataDir } = agentOf(rig);
    await rig.gateway.stop();
    cpSync(dataDir, `${dataDir}.image`, { recursive: true });
    await rig.gateway.start();
    await publish(rig, 'lim.a', 11, 20);
    await has(rig, 'S', 20);
    await has(rig, 'M', 20);
    await rig.gateway.stop();
    rmSync(dataDir, { recursive: true });
    cpSync(`${dataDir}.image`, dataDir, { recursive: true });
    // Two lives offline, in which the numbers of what the hub has are given to other messages.
    await rig.cut();
    for (const first of [21, 24]) {
      await rig.gateway.start();
      await publish(rig, 'lim.a', first, first + 2);
      await rig.gateway.stop();
    }
    await rig.gateway.start();
    await rig.mend();
    await logged(rig, 'the hub has more of a stream than this gateway');
    await publish(rig, 'lim.a', 27, 30);
    await has(rig, 'S', 30);
    await has(rig, 'M', 30);
    expect(await dataOf(rig, 'S')).toEqual(numbers(1, 30));
    expect(await dataOf(rig, 'M')).toEqual(numbers(1, 30));
    const mirrored = await rig.hub.readAll('M');
    const seqs = (of: readonly Kept[]): number[] => of.map(({ seq }) => seq);
    const ours = seqs(await rig.local.readAll('LIM'));
    expect(seqs(mirrored).slice(-10), 'the numbers are ours').toEqual(ours.slice(-10));
  },
  TEST_MS,
);

test.concurrent.each(HUBS)(
  'the data directory is replaced: a hub of %s has all that comes from then on',
  async (_name, options) => {
    await using rig = await LeafRig.start(options());
    await rig.local.create(LIM);
    await rig.hub.create({ name: 'S', storage: 'file', sources: [fromGateway('LIM')] });
    await publish(rig, 'lim.a', 1, 10);
    await has(rig, 'S', 10);
    await rig.gateway.stop();
    rmSync(agentOf(rig).dataDir, { recursive: true });
    await rig.cut();
    await rig.gateway.start();
    await rig.local.create(LIM);
    await publish(rig, 'lim.a', 11, 15);
    await rig.mend();
    await has(rig, 'S', 15);
    await publish(rig, 'lim.a', 16, 20);
    await has(rig, 'S', 20);
    expect(await dataOf(rig, 'S')).toEqual(numbers(1, 20));
  },
  TEST_MS,
);

test.concurrent(
  'limits take messages before the hub has them: it goes on behind them, and the log says which are missing',
  async () => {
    await using rig = await LeafRig.start();
    await rig.local.create({ ...LIM, max_msgs: 20 });
    await rig.hub.create({ name: 'S', storage: 'file', sources: [fromGateway('LIM')] });
    await publish(rig, 'lim.a', 1, 10);
    await has(rig, 'S', 10);
    await rig.cut();
    await rig.gateway.kill();
    await rig.gateway.start();
    await publish(rig, 'lim.a', 11, 60);
    await rig.mend();
    await has(rig, 'S', 30);
    expect(await dataOf(rig, 'S')).toEqual([...numbers(1, 10), ...numbers(41, 60)]);
    await logged(rig, '"fromSeq":11,"toSeq":40');
  },
  TEST_MS,
);

test.concurrent(
  'a message larger than the hub takes is passed over, with a word in the log, and nothing behind it waits',
  async () => {
    await using rig = await LeafRig.start({ hub: 'max_payload: 10000' });
    await rig.local.create(LIM);
    await rig.hub.create({ name: 'S', storage: 'file', sources: [fromGateway('LIM')] });
    await rig.hub.create({ name: 'M', storage: 'file', mirror: fromGateway('LIM') });
    await publish(rig, 'lim.a', 1, 3);
    await rig.local.nc.request('lim.a', Buffer.alloc(10_001, 120));
    await publish(rig, 'lim.a', 5, 8);
    await has(rig, 'S', 7);
    await has(rig, 'M', 7);
    expect(await dataOf(rig, 'S')).toEqual([...numbers(1, 3), ...numbers(5, 8)]);
    expect((await rig.hub.readAll('M')).map(({ seq }) => seq)).toEqual([1, 2, 3, 5, 6, 7, 8]);
    await logged(rig, '"seq":4,"bytes":10001');
  },
  TEST_MS,
);

test.concurrent.each(HUBS)(
  'a full stream of a hub of %s takes nothing: a work-queue keeps it until there is room',
  async (_name, options) => {
    await using rig = await LeafRig.start(options());
    await rig.local.create(WQ);
    const config = { name: 'S', storage: 'file', sources: [fromGateway('LIM')], discard: 'new' };
    await rig.hub.create({ ...config, max_msgs: 5 });
    await publish(rig, 'lim.a', 1, 12);
    await has(rig, 'S', 5);
    // An old hub says so too of what it could not store, and asks anew: longer than that its word is not taken.
    await lasting(8_000);
    const { messages } = (await rig.local.info('LIM')).state;
    expect(messages, 'the hub has not more than five').toBeGreaterThanOrEqual(7);
    await rig.hub.api('STREAM.UPDATE.S', { ...config, max_msgs: 100 });
    await has(rig, 'S', 12);
    expect(await dataOf(rig, 'S')).toEqual(numbers(1, 12));
    await until('nothing is left', async () => (await rig.local.state('LIM'))?.messages === 0);
  },
  TEST_MS,
);

test.concurrent(
  'filters, transforms, a start of its own and a deliver prefix: the hub gets what it asks for',
  async () => {
    await using rig = await LeafRig.start();
    await rig.local.create(LIM);
    for (const [i, subject] of ['lim.a', 'lim.b', 'lim.c', 'lim.a.x'].entries())
      await publish(rig, subject, 10 * i + 1, 10 * i + 3);
    const from = fromGateway('LIM');
    const make = (name: string, source: object): Promise<void> =>
      rig.hub.create({ name, storage: 'file', sources: [{ ...from, ...source }] });
    const transforms = [
      { src: 'lim.a', dest: 'edge.a' },
      { src: 'lim.c', dest: 'edge.c' },
    ];
    await make('ONE', { filter_subject: 'lim.b' });
    await make('SEVERAL', { subject_transforms: transforms });
    await make('LATE', { opt_start_seq: 7 });
    await make('PREFIX', { external: { api: '$JS.gw7.API', deliver: '_INBOX.from.gw7' } });
    await has(rig, 'PREFIX', 12);
    await has(rig, 'ONE', 3);
    await has(rig, 'SEVERAL', 6);
    await has(rig, 'LATE', 6);
    expect(await dataOf(rig, 'ONE')).toEqual(['11', '12', '13']);
    expect((await rig.hub.readAll('SEVERAL')).map(({ subject }) => subject)).toEqual([
      ...Array.from({ length: 3 }, () => 'edge.a'),
      ...Array.from({ length: 3 }, () => 'edge.c'),
    ]);
    expect(await dataOf(rig, 'LATE')).toEqual(['21', '22', '23', '31', '32', '33']);
  },
  TEST_MS,
);

test.concurrent(
  'a hub reads with a consumer that its operator has made, and a work-queue drops what the hub has stored',
  async () => {
    await using rig = await LeafRig.start({ servers: 3 });
    await rig.local.create(WQ);
    const deliver_subject = '_INBOX.gw7.orders';
    await rig.local.api('CONSUMER.CREATE.LIM.orders', {
      stream_name: 'LIM',
      config: { durable_name: 'orders', deliver_subject, ack_policy: 'flow_control' },
    });
    await publish(rig, 'lim.a', 1, 5);
    const consumer = { name: 'orders', deliver_subject };
    const sources = [{ ...fromGateway('LIM'), consumer }];
    await rig.hub.create({ name: 'S', storage: 'file', num_replicas: 3, sources });
    await has(rig, 'S', 5);
    await rig.cut();
    await rig.gateway.kill();
    await rig.gateway.start();
    await publish(rig, 'lim.a', 6, 300);
    await rig.mend();
    await has(rig, 'S', 300);
    await until('nothing is left', async () => (await rig.local.state('LIM'))?.messages === 0);
    expect(await dataOf(rig, 'S')).toEqual(numbers(1, 300));
  },
  TEST_MS,
);

test.each(HUBS)(
  'what a publisher expected of the stream here does not keep its message out of a mirror of %s, nor move the numbers',
  async (_name, options) => {
    await using rig = await LeafRig.start(options());
    await rig.local.create(LIM);
    await rig.hub.create({ name: 'M', storage: 'file', mirror: fromGateway('LIM') });
    await publish(rig, 'lim.a', 1, 1);
    const said = ['Stream: LIM', 'Last-Sequence: 2', 'Last-Subject-Sequence: 3'];
    for (const [i, line] of said.entries()) {
      const [name = '', value = ''] = line.split(': ');
      const own = headers();
      own.set(`Nats-Expected-${name}`, value);
      if (i === 1) own.set('Machine', 'press');
      await rig.local.nc.request('lim.a', String(i + 2), { timeout: 20_000, headers: own });
    }
    await publish(rig, 'lim.a', 5, 6);
    await has(rig, 'M', 6);
    expect(await dataOf(rig, 'M')).toEqual(numbers(1, 6));
    const mirrored = await rig.hub.readAll('M');
    expect(mirrored.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(mirrored[2]?.headers).toContainEqual(['Machine', ['press']]);
  },
  TEST_MS,
);
