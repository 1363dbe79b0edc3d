// Two machines of one name at a real hub, neither of which has anything to send.

import { connect } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock, type Clock } from '../../src/clock.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';

const HEARD = 'another machine is connected under our name';

let server: NatsServer;
let hubs: NatsHub[] = [];
let lines: { msg: string; hint?: string }[] = [];

beforeEach(async () => {
  server = await startNatsServer();
  lines = [];
  const admin = await connect({ servers: server.url });
  const config = { name: 'EDGE', subjects: ['edge.>'], storage: 'file' };
  await admin.request('$JS.API.STREAM.CREATE.EDGE', JSON.stringify(config));
  await admin.close();
});

afterEach(async () => {
  await Promise.all(hubs.map((hub) => hub.stop()));
  hubs = [];
  await server.dispose();
});

function machine(gateway: string, clock: Clock = systemClock): NatsHub {
  const inboxPrefix = `_INBOX.${gateway}`;
  const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[0]) });
  const hub = new NatsHub(
    {
      servers: [server.url],
      name: `mangrove ${gateway}`,
      prefix: 'edge',
      create: false,
      keepAliveMs: 15_000,
      reconnectMaxMs: 200,
      inboxPrefix,
      twins: { gateway, inboxPrefix, subject: `edge.${gateway}.SITE._hello` },
    },
    { clock, log, random: Math.random },
  );
  hubs.push(hub);
  hub.start();
  return hub;
}

test('both hear of each other at once, and nothing is stored for it', async () => {
  const first = machine('gw7');
  await until('the first machine', () => first.connected);
  const second = machine('gw7');
  await until('both to know', () => first.problem === HEARD && second.problem === HEARD);
  const told = lines.filter(({ msg }) => msg === HEARD);
  expect(told).toHaveLength(2);
  expect(told[0]?.hint).toContain('gateway "gw7"');
  expect((await first.stream('EDGE')).lastSeq).toBe(0);
});

test('machines of other names, and our own next connection, are no twins', async () => {
  const first = machine('gw7');
  const other = machine('gw8');
  await until('both', () => first.connected && other.connected);
  await server.kill();
  await until('the loss', () => !first.connected && !other.connected);
  await server.restart();
  await until('both again', () => first.connected && other.connected);
  // The greeting and its refusal go before this answer on the same connection.
  await first.stream('EDGE');
  await other.stream('EDGE');
  expect([first.problem, other.problem]).toEqual([null, null]);
  expect(lines.filter(({ msg }) => msg === HEARD)).toEqual([]);
});

test('a twin that has left is forgotten', async () => {
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const first = machine('gw7', clock);
  const second = machine('gw7');
  await until('the first to know', () => first.problem === HEARD);
  await second.stop();
  aheadMs = 99_000;
  expect(first.problem).toBe(HEARD);
  aheadMs = 101_000;
  expect(first.problem).toBeNull();
});
