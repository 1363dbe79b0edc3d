// The gateway's process is killed again and again under load. What it acknowledged is at the hub in the end, once, and no
// sequence stands for two messages.

import { expect, test } from 'vitest';
import { randomInt, seededRandom } from '../support/random.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig } from './rig.ts';

const KILLS = 8;
const TEST_MS = 300_000;

test(
  'a gateway that is killed eight times under load has each acknowledged message at the hub once',
  async () => {
    await using rig = await LeafRig.start();
    const plant = await Plant.build(rig, { rate: 200 });
    await plant.publish();
    const random = seededRandom(11);
    for (let kill = 1; kill <= KILLS; kill++) {
      await lasting(randomInt(random, 1_500));
      await rig.gateway.kill();
      await rig.gateway.start();
      await rig.connected();
    }
    await lasting(1_000);
    await plant.stop();
    expect(plant.acked).toBeGreaterThan(KILLS * 50);
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
  TEST_MS,
);
