// The power goes while a hub fills its streams from the gateway's: the hub never has what the gateway's disk has not.

import { expect, test } from 'vitest';
import { mirrorFindings } from '../leaf/audit.ts';
import { lasting } from '../leaf/lasting.ts';
import { Plant } from '../leaf/plant.ts';
import { LeafRig } from '../leaf/rig.ts';
import { LoopFs, canLoop } from '../support/loop-fs.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { NO_FDATASYNC } from './mutants.ts';

const CUTS = 3;
const DISK_BYTES = 200 * 1024 * 1024;
const RUN_MS = 1_000;
const OPTIONS = { concurrent: true, timeout: 240_000 };

// See power-cut.test.ts.
const possible = canLoop();

/** Cuts the power `cuts` times; answers what the mirror at the hub has otherwise than the gateway, or too much. */
async function cut(cuts: number, env: Readonly<Record<string, string>>): Promise<string[]> {
  await using fs = await LoopFs.create(DISK_BYTES);
  await using rig = await LeafRig.start({ gateway: { dataDir: `${fs.path}/data`, env } });
  const plant = await Plant.build(rig, { retentions: ['limits'], rate: 500 });
  const random = seededRandom(5);
  const findings: string[] = [];
  const [wan] = rig.wans;
  await plant.publish();
  for (let round = 0; round < cuts && findings.length === 0; round++) {
    await fs.armCut();
    const before = (await rig.hub.state('M_LIM'))?.last_seq ?? 0;
    await until(
      'the mirror to grow',
      async () => ((await rig.hub.state('M_LIM'))?.last_seq ?? 0) > before + 100,
      60_000,
    );
    await lasting(randomInt(random, RUN_MS));
    // What leaves from here on may rest on a sync that the cut overtook, and reported nevertheless.
    wan?.blackHole('up');
    await fs.cut();
    await rig.gateway.kill();
    await fs.powerUp();
    await wan?.restore();
    const mirror = await rig.hub.readAll('M_LIM');
    await rig.gateway.start();
    // Without its syncs an agent may lose the stream itself.
    const ours = await rig.local.readAll('LIM').catch(() => []);
    const last = mirror.at(-1)?.seq ?? 0;
    findings.push(
      ...mirrorFindings(
        ours.filter(({ seq }) => seq <= last),
        mirror,
      ),
    );
    await rig.connected();
  }
  await plant.stop();
  return findings;
}

test.runIf(possible)(
  'three power cuts: the mirror at the hub is what the gateway has, up to its end',
  OPTIONS,
  async () => {
    expect(await cut(CUTS, {})).toEqual([]);
  },
);

test.runIf(possible)(
  'the same of an agent without the fdatasync: the hub has what the gateway has lost',
  OPTIONS,
  async () => {
    expect(await cut(10, NO_FDATASYNC)).not.toEqual([]);
  },
);
