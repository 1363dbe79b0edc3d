// A hub of three: its leaders go to other servers, and the server that has the link is killed, while the gateway publishes.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig } from './rig.ts';

const TEST_MS = 400_000;
const STEP_DOWNS = 3;

test(
  'step-downs of the leaders and the death of the server that has the link cost no message',
  async () => {
    await using rig = await LeafRig.start({ servers: 3 });
    const plant = await Plant.build(rig, { replicas: 3, rate: 60 });
    await plant.publish();
    for (let i = 0; i < STEP_DOWNS; i++) {
      await lasting(500);
      for (const name of ['M_LIM', ...plant.lines.map(({ source }) => source)])
        await rig.hub.api(`STREAM.LEADER.STEPDOWN.${name}`).catch(() => undefined);
    }
    const linked = await rig.connected();
    await linked.kill();
    const other = await until('a link to another server', async () => {
      const server = await rig.connected();
      return server === linked ? undefined : server;
    });
    await lasting(1_000);
    await linked.restart('server');
    expect(other).not.toBe(linked);
    await lasting(1_000);
    await plant.stop();
    expect(plant.failed).toBe(0);
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
  TEST_MS,
);
