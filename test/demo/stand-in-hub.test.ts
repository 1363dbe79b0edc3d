// The stand-in must be a hub for the agent's own link: what it lets pass and what it refuses decides the demo's audit.

import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Forwarder } from '../../sync/forwarder.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { seededRandom } from '../support/random.ts';
import { forwarderOptions } from '../support/forwarder-options.ts';
import { until } from '../support/until.ts';
import { HubView } from './hub.ts';
import { StandInHub } from './stand-in-hub.ts';

const parts = { clock: systemClock, log: pino({ level: 'silent' }), random: seededRandom(1) };
let standIn: StandInHub;
let hub: NatsHub;
let view: HubView;

beforeEach(async () => {
  standIn = new StandInHub();
  const port = await standIn.listen();
  hub = new NatsHub(
    {
      servers: [`nats://127.0.0.1:${port}`],
      name: 'test',
      prefix: 'edge',
      create: true,
      keepAliveMs: 5_000,
      reconnectMaxMs: 100,
    },
    parts,
  );
  hub.start();
  view = await HubView.open(port, 'EDGE');
  await until('the link', () => hub.connected);
});

afterEach(async () => {
  await hub.stop();
  await view.close();
  await standIn.close();
});

test('a forwarder brings a backlog to it once and in order, over a lost link', async () => {
  const stream = new MemoryStream('telemetry');
  stream.publishMany(2_500);
  const forwarder = new Forwarder(forwarderOptions(stream), { hub, ...parts });
  forwarder.start();
  await until('a first batch', () => forwarder.status().confirmedSeq > 0);
  hub.reconnect('the test wants it');
  await until('the rest', () => forwarder.status().confirmedSeq === 2_500);
  await forwarder.stop();
  const sequences = (await view.all()).map(({ id }) => Number(id.split(':').at(-1)));
  expect(sequences).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1));
  expect(await view.messages()).toBe(2_500);
});

test('a write behind another position than it believes is refused, whole', async () => {
  await hub.stream('EDGE');
  const fence = (seq: number) => ({
    stream: 'EDGE',
    fence: { kind: 'filter' as const, filter: 'edge.gw7.S.>', seq },
  });
  const message = (n: number) => ({
    subject: 'edge.gw7.S.a',
    id: `gw7:S:e:${n}`,
    headerLines: '',
    data: Buffer.from([n]),
  });
  expect(await hub.publish([message(1), message(2)], fence(0))).toMatchObject({ seq: 2 });
  await expect(hub.publish([message(3), message(4)], fence(0))).rejects.toMatchObject({
    errCode: 10071,
  });
  expect(await hub.lastBySubject('EDGE', 'edge.gw7.S.>')).toEqual({
    seq: 2,
    subject: 'edge.gw7.S.a',
    id: 'gw7:S:e:2',
  });
  expect(await hub.publish([message(3)], fence(2))).toMatchObject({ seq: 3 });
});
