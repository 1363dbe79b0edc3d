// Either side loses its memory: the gateway's store is an older copy, or its stream was deleted and made again; the hub's
// stream was emptied, made again, or rolled back, or forgets by age. Nothing that either still has is lost, nothing is
// shadowed by an old ID, nothing comes twice, and the operator is told.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { JetStream } from '../../src/jetstream/jetstream.ts';
import { audit } from '../support/audit.ts';
import { freePort } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { AckCutter } from './ack-cutter.ts';
import { EDGE } from './hub-admin.ts';
import { copy, replace } from './hub-stores.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;

const UNKNOWN_EPOCH = 'the hub holds messages of this gateway that this store never had';
const REFILL = 'the hub lost messages that it had confirmed; sending them again';

/** What the hub holds must be whole once traffic is done, however the sequences run. */
const RESTORED = { restored: true };

test.concurrent(
  'an older copy of the data directory is put back',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await burst(rig.agent, rig.ledger, 200);
    await rig.agent.drained();
    // The copy also holds messages that the hub gets only later.
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await burst(rig.agent, rig.ledger, 100);
    await rig.stopAgent();
    copy(rig.dir.dataDir, `${rig.dir.dataDir}-copy`);

    await rig.proxy.restore();
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 300);
    await rig.agent.drained();
    await rig.stopAgent();

    replace(rig.dir.dataDir, `${rig.dir.dataDir}-copy`);
    await rig.startAgent();
    // They take the numbers that the hub knows of the 300.
    await burst(rig.agent, rig.ledger, 400);
    expect(await rig.audit(RESTORED)).toEqual([]);
    expect(await rig.admin.messages()).toBe(1_000);
    expect(rig.agent.said(UNKNOWN_EPOCH)).toMatchObject([
      { stream: 'SENSORS', hint: expect.stringContaining('older image') as string },
    ]);
  },
);

test.concurrent(
  'a copy of the running data directory is put back, three times',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    const copied = `${rig.dir.dataDir}-copy`;
    for (let round = 0; round < 3; round++) {
      rig.startTraffic(500);
      await rig.confirmed(300);
      copy(rig.dir.dataDir, copied);
      await rig.confirmed(300);
      await rig.stopTraffic();
      await rig.agent.drained();
      await rig.stopAgent();

      replace(rig.dir.dataDir, copied);
      await rig.startAgent();
      await burst(rig.agent, rig.ledger, 50);
      await rig.agent.drained();
      const told = rig.agent.log.filter(
        ({ level, msg, hint }) =>
          level >= 40 && /hub holds|damaged/.test(msg) && hint !== undefined,
      );
      expect(told.length).toBeGreaterThan(0);
    }
    expect(await rig.audit(RESTORED)).toEqual([]);
  },
);

test.concurrent(
  'the gateway’s stream is deleted and created again',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await burst(rig.agent, rig.ledger, 100);
    await rig.agent.drained();
    const { config } = rig.agent.agent.parts;
    await rig.stopAgent();

    const log = pino({ level: 'silent' });
    const deps = { broker: new Broker(), clock: systemClock, log };
    let epochs = 0;
    const jetstream = new JetStream(
      {
        dataDir: config.gateway.dataDir,
        commitIntervalMs: 0,
        streams: config.streams,
        forwards: new Map([['SENSORS', { graceMs: 600_000 }]]),
        onFatal: (error) => expect.unreachable(error.message),
        newEpoch: () => `again${epochs++}`,
      },
      deps,
    );
    await jetstream.start();
    await jetstream.delete('SENSORS');
    await jetstream.create(config.streams[0]!);
    await jetstream.stop();

    await rig.startAgent();
    // Numbered from 1 again, as the hundred were.
    await burst(rig.agent, rig.ledger, 50);
    expect(rig.agent.agent.parts.jetstream.stream('SENSORS')?.state().lastSeq).toBe(50);
    expect(await rig.audit(RESTORED)).toEqual([]);
    expect(await rig.admin.messages()).toBe(150);
  },
);

test.concurrent.each([
  ['while connected', false],
  ['during an outage', true],
])('the hub stream is emptied %s: what was there is not sent again', async (_, outage) => {
  await using rig = await Rig.start();
  await burst(rig.agent, rig.ledger, 100);
  await rig.agent.drained();
  const gone = rig.ledger.acked;
  if (outage) {
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await until('the link to be down', () => !rig.link.connected);
    await burst(rig.agent, rig.ledger, 10);
  }
  await rig.admin.purge();
  if (outage) await rig.proxy.restore();
  await burst(rig.agent, rig.ledger, 50);
  const excused = (key: string): boolean => Number(key.split('#')[1]) <= gone;
  expect(await rig.audit({ excused })).toEqual([]);
  expect(await rig.admin.messages()).toBe(outage ? 60 : 50);
  expect(rig.agent.status().refills).toBe(0);
});

test.concurrent.each([
  ['', 'everything of the last ten minutes comes again', 160],
  ['grace = "0s"', 'only what the hub never had comes', 60],
])(
  'the hub stream is deleted and created again (%s): %s',
  { timeout: TEST_MS },
  async (forward, _, expected) => {
    await using rig = await Rig.start({ agent: { forward } });
    await burst(rig.agent, rig.ledger, 100);
    await rig.agent.drained();
    await rig.admin.delete();
    await burst(rig.agent, rig.ledger, 10);
    await until('the operator’s message', () =>
      rig.agent
        .said('the hub cannot be forwarded to as it is')
        .some(({ hint }) => hint?.includes('edge.>')),
    );
    await rig.admin.create();
    await burst(rig.agent, rig.ledger, 50);
    const excused = (key: string): boolean => expected === 60 && Number(key.split('#')[1]) <= 100;
    expect(await rig.audit({ excused })).toEqual([]);
    expect(await rig.admin.messages()).toBe(expected);
    expect(rig.agent.said(REFILL)).toMatchObject([
      { hint: expect.stringContaining('deleted and created anew') as string },
    ]);
  },
);

test.concurrent.each([
  ['', 0],
  [' and others have written since', 500],
])(
  'the hub is rolled back to an older copy of its store%s',
  { timeout: TEST_MS },
  async (_, others) => {
    const storeDir = mkdtempSync(join(tmpdir(), 'mangrove-hub-'));
    try {
      await using rig = await Rig.start({ server: { storeDir, port: await freePort() } });
      await burst(rig.agent, rig.ledger, 100);
      await rig.agent.drained();
      await rig.hub.stop();
      copy(storeDir, `${storeDir}-copy`);
      await rig.hub.restart();
      await burst(rig.agent, rig.ledger, 200);
      await rig.agent.drained();
      await rig.proxy.refuse();
      rig.proxy.resetAll();
      await rig.hub.stop();
      replace(storeDir, `${storeDir}-copy`);
      await rig.hub.restart();
      await rig.admin.answers();
      for (let i = 0; i < others; i++) rig.admin.nc.publish('edge.other.SENSORS.x', 'theirs');
      await rig.admin.nc.flush();
      await rig.proxy.restore();
      await burst(rig.agent, rig.ledger, 50);
      await rig.agent.drained();
      const ours = (await rig.admin.readAll()).filter(({ subject }) =>
        subject.startsWith('edge.gw7.'),
      );
      expect(await rig.audit({}, ours)).toEqual([]);
      expect(ours).toHaveLength(350);
      expect(rig.agent.said(REFILL)).toMatchObject([
        { from_seq: 101, to_seq: 300, hint: expect.stringContaining('sync_interval') as string },
      ]);
    } finally {
      rmSync(storeDir, { recursive: true, force: true });
    }
  },
);

test.concurrent.each([
  ['keeps checkpoints', { allow_msg_ttl: true }, 0],
  ['keeps no checkpoints', {}, 50],
])(
  'a hub stream that forgets by age before the outage ends and %s',
  { timeout: TEST_MS },
  async (_, ttl, twice) => {
    const port = await freePort();
    const cutter = await new AckCutter(port).listen();
    const stream = {
      ...EDGE,
      ...ttl,
      max_age: 1_200_000_000,
      republish: { src: 'edge.>', dest: 'seen.>' },
    };
    try {
      const agent = { servers: [cutter.url] };
      await using rig = await Rig.start({ stream, server: { port }, agent });
      const seen = await rig.admin.recordAll();
      await burst(rig.agent, rig.ledger, 100);
      await rig.agent.drained();
      cutter.onCut = () => (cutter.down = true);
      cutter.arm();
      await burst(rig.agent, rig.ledger, 50, { source: 'unheard' });
      await until('a swallowed answer', () => cutter.swallowed === 1);
      await until('the hub to have forgotten', () => rig.admin.isEmpty('edge.gw7.SENSORS.>'));
      cutter.down = false;
      await burst(rig.agent, rig.ledger, 20);
      await rig.agent.drained();
      // What is republished comes a little after its acknowledgement.
      await until('all of it to be seen', () =>
        audit(rig.ledger, seen).every(({ kind }) => kind !== 'lost'),
      );
      const duplicates = audit(rig.ledger, seen).filter(({ what }) => what.startsWith('unheard'));
      expect(duplicates).toHaveLength(twice);
      // Without checkpoints the operator has been told beforehand.
      const told = rig.agent.said('the hub stream removes messages and keeps no checkpoint');
      expect(told).toHaveLength(twice === 0 ? 0 : 1);
      if (twice === 0) expect(await rig.audit({}, seen)).toEqual([]);
    } finally {
      await cutter.close();
    }
  },
);
