// A path that swallows the bytes of one direction while the connection stays open: the gateway notices within its keep-alive
// time, dials anew, and nothing is lost, whether there is traffic or not. Here at a proxy that goes on acknowledging; where
// packets themselves vanish is in test/crash.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig } from './rig.ts';

const TEST_MS = 200_000;
const KEEP_ALIVE_MS = 3_000;

const CASES = (['up', 'down'] as const).flatMap((direction) =>
  ([false, true] as const).map((traffic) => ({ direction, traffic })),
);

test.concurrent.each(CASES)(
  'bytes vanish on their way $direction (with traffic: $traffic): it is noticed in time, and healed',
  async ({ direction, traffic }) => {
    await using rig = await LeafRig.start({ gateway: { keepAlive: `${KEEP_ALIVE_MS}ms` } });
    const plant = await Plant.build(rig, { retentions: ['limits', 'workqueue'] });
    if (traffic) await plant.publish();
    await lasting(500);
    const [wan] = rig.wans;
    const before = rig.dialled;
    wan?.blackHole(direction);
    await until('another connection', () => rig.dialled > before, KEEP_ALIVE_MS + 2_000);
    await wan?.restore();
    await rig.connected();
    if (!traffic) await plant.publish();
    await lasting(500);
    await plant.stop();
    expect(plant.failed).toBe(0);
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
  TEST_MS,
);
