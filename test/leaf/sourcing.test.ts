// What a hub fills from the gateway's streams: every retention, old hubs and new ones, over whatever happens on either side.

import { expect, test } from 'vitest';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import { Plant } from './plant.ts';
import { LeafRig, type LeafRigOptions } from './rig.ts';

const TEST_MS = 120_000;

const HUBS: readonly (readonly [string, () => LeafRigOptions])[] = [
  ['2.15', () => ({})],
  ['2.10', () => ({ binary: oldNatsServer('2.10') })],
  ['2.9', () => ({ binary: oldNatsServer('2.9') })],
];

test.each(HUBS)(
  'a hub of %s has every message of limits, interest and work-queue streams once, and in order',
  async (_name, options) => {
    await using rig = await LeafRig.start(options());
    const plant = await Plant.build(rig, { rate: 300 });
    await plant.publish();
    await until('a thousand messages', () => plant.acked > 1_000);
    await plant.stop();
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
    for (const stream of ['INT', 'WQ'])
      await until(
        `nothing is left in ${stream}`,
        async () => (await rig.local.info(stream)).state.messages === 0,
        30_000,
      );
  },
  TEST_MS,
);
