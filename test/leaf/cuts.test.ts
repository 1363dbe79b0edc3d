// The way to the hub is cut fifty times while local programs publish, and in the end the hub's streams are held against
// the gateway's. campaign.ts has the long form.

import { expect, test } from 'vitest';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig, type LeafRigOptions } from './rig.ts';

const CUTS = 50;
const CUT_MS_MAX = 200;
const TEST_MS = 480_000;

async function suffer(rig: LeafRig, plant: Plant, cuts: number): Promise<void> {
  const random = seededRandom(7);
  for (let cut = 1; cut <= cuts; cut++) {
    await rig.cut();
    await lasting(randomInt(random, CUT_MS_MAX));
    await rig.mend();
    await rig.connected();
    // Some connections live long enough for the hub to ask again, most do not.
    await lasting(cut % 10 === 0 ? 2_500 : randomInt(random, CUT_MS_MAX));
  }
  await plant.stop();
}

async function proof(cuts: number, options: LeafRigOptions = {}): Promise<void> {
  // All is exported: what a stream of the gateway takes goes its way all the same.
  const gateway = { exports: ['lim.>', 'int.>', 'wq.>'], leaf: 'compression = "on"' };
  await using rig = await LeafRig.start({ ...options, gateway });
  const plant = await Plant.build(rig);
  await plant.publish();
  // What an old hub asked for before it had anything may stay for three minutes: old-hubs.test.ts is about that.
  if (options.binary !== undefined) await plant.begun();
  await suffer(rig, plant, cuts);
  expect(rig.dialled).toBeGreaterThan(cuts);
  // Local programs noticed nothing.
  expect(plant.failed).toBe(0);
  expect(plant.acked).toBeGreaterThan(cuts * 10);
  await plant.drained();
  expect(await plant.audit()).toEqual([]);
}

test.concurrent(
  'fifty cuts under load: the hub mirrors and sources every message of limits, interest and work-queue streams once',
  () => proof(CUTS),
  TEST_MS,
);

test.concurrent.each(['2.10', '2.9'] as const)(
  'nats-server %s: ten cuts under load, and its mirror and its sources have every message once',
  (version) => proof(10, { binary: oldNatsServer(version) }),
  TEST_MS,
);
