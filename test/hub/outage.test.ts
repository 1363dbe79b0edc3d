// A real hub that forgets message IDs after a second, outages that last longer, and devices that publish all through:
// the hub holds each message once, in order. In every way a WAN can fail.

import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '../support/nats-server.ts';
import { randomInt } from '../support/random.ts';
import { until } from '../support/until.ts';
import { AckCutter } from './ack-cutter.ts';
import { EDGE, LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';
import { burst } from './traffic.ts';

const SINGLE = { ...EDGE, allow_atomic: false };
const ROUNDS = 2;

/** A rig needs a few seconds for each outage. */
const TEST_MS = 180_000;

type Outage = (rig: Rig) => Promise<void>;

const refused: Outage = async ({ proxy }) => {
  await proxy.refuse();
  proxy.resetAll();
  await lasting(LONGER_THAN_WINDOW_MS);
  await proxy.restore();
};

/** Also in the middle of connecting and logging in. */
const resets: Outage = async ({ proxy, random }) => {
  const endMs = performance.now() + 2 * LONGER_THAN_WINDOW_MS;
  while (performance.now() < endMs) {
    proxy.resetAll();
    await lasting(randomInt(random, 100));
  }
};

const holes =
  (...directions: ('up' | 'down')[]): Outage =>
  async ({ proxy }) => {
    proxy.blackHole(...directions);
    await lasting(LONGER_THAN_WINDOW_MS);
    await proxy.restore();
  };

/** The gateway gives the connection up and makes another; what it had sent on the first arrives afterwards. */
const zombie =
  (ms: number): Outage =>
  async ({ proxy, link }) => {
    const { connects } = link.status();
    proxy.delayOld(ms);
    await until('another connection', () => link.status().connects > connects);
    await lasting(ms + 200);
  };

/** The same, but the other connection is there long before the bytes. */
const earlyZombie: Outage = async (rig) => {
  rig.proxy.delayOld(2_000);
  await until('a batch under way', () => rig.agent.status().state === 'forwarding');
  rig.link.reconnect('for the test');
  await rig.confirmed(50);
  await lasting(2_000);
};

test.concurrent.each([
  ['refuses', refused],
  ['resets every connection', resets],
  ['swallows both ways', holes('up', 'down')],
  ['swallows what the hub answers', holes('down')],
  ['delays an old connection by 2 s', zombie(2_000)],
  ['delays an old connection by 4 s', zombie(4_000)],
  ['delays an old connection while a new one works', earlyZombie],
])('while the WAN %s: each message once and in order', { timeout: TEST_MS }, async (_, outage) => {
  await using rig = await Rig.start();
  rig.startTraffic();
  for (let round = 0; round < ROUNDS; round++) {
    await rig.confirmed(50);
    await outage(rig);
  }
  await rig.confirmed(50);
  expect(await rig.audit()).toEqual([]);
});

test.concurrent.each([
  ['up', 7],
  ['up', 8],
  ['down', 9],
  ['down', 10],
] as const)(
  'cut at a random byte (%s, seed %i) in mid-batch: each message once and in order',
  { timeout: TEST_MS },
  async (direction, seed) => {
    await using rig = await Rig.start({ seed });
    rig.startTraffic();
    for (let round = 0; round < 3; round++) {
      await rig.confirmed(50);
      const { connects } = rig.link.status();
      const bytes = 1 + randomInt(rig.random, direction === 'up' ? 60_000 : 300);
      rig.proxy.cutAfter(direction, bytes);
      await until(
        `a cut after ${bytes} bytes`,
        () => !rig.link.connected || rig.link.status().connects > connects,
      );
      await refused(rig);
    }
    await rig.confirmed(50);
    expect(await rig.audit()).toEqual([]);
  },
);

test.concurrent(
  'cut at every byte of the hub’s side of connecting and logging in: the link comes back each time',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await rig.agent.drained();
    // From within INFO to beyond the answer to the last PING of the login.
    const infoBytes = await greeting(rig.proxy.port);
    for (let bytes = infoBytes - 2; bytes <= infoBytes + 20; bytes++) {
      const { connections } = rig.proxy.counters;
      rig.proxy.resetAll();
      rig.proxy.cutAfter('down', bytes);
      await until(`another try after a cut at ${bytes}`, () => {
        return rig.proxy.counters.connections >= connections + 2 && rig.link.connected;
      });
    }
    await burst(rig.agent, rig.ledger, 20);
    expect(await rig.audit()).toEqual([]);
  },
);

/** How many bytes the hub says before anything is said to it. */
function greeting(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', reject);
    socket.once('data', (bytes: Buffer) => {
      socket.destroy();
      resolve(bytes.length);
    });
  });
}

test.concurrent.each([
  ['atomic batches', EDGE],
  ['single publishes', SINGLE],
])(
  'cut between "the hub has stored it" and its answer (%s): each message once',
  { timeout: TEST_MS },
  async (_, stream) => {
    const port = await freePort();
    const cutter = await new AckCutter(port).listen();
    try {
      const agent = { servers: [cutter.url] };
      await using rig = await Rig.start({ stream, server: { port }, agent });
      cutter.onCut = () => (cutter.down = true);
      rig.startTraffic();
      for (let round = 1; round <= 4; round++) {
        await rig.confirmed(50);
        cutter.arm();
        await until('a swallowed answer', () => cutter.swallowed === round);
        await lasting(LONGER_THAN_WINDOW_MS);
        cutter.down = false;
      }
      await rig.confirmed(50);
      expect(await rig.audit()).toEqual([]);
      const lost = rig.agent.log.filter(({ kind }) => kind === 'lost ack');
      expect(lost.length).toBeGreaterThanOrEqual(4);
    } finally {
      await cutter.close();
    }
  },
);

test.concurrent.each([
  ['swallows what the hub answers', holes('down')],
  ['delays an old connection by 2 s', zombie(2_000)],
])(
  'a hub stream without atomic batches, while the WAN %s: each message once and in order',
  { timeout: TEST_MS },
  async (_, outage) => {
    await using rig = await Rig.start({ stream: SINGLE });
    rig.startTraffic(100);
    for (let round = 0; round < ROUNDS; round++) {
      await rig.confirmed(50);
      await outage(rig);
    }
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.said('forwarding one message at a time')).toHaveLength(1);
  },
);
