// What else can happen to either side of the link under load: restarts of the hub, processes that stand still, a path that
// swallows bytes one way or both, and a gateway's limits that remove messages before the hub could have them.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { jumps } from './audit.ts';
import type { AgentGateway } from './gateway.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig } from './rig.ts';

const TEST_MS = 300_000;

/** Under load, one fault after the other; local programs notice nothing, and in the end the hub has all. */
async function survives(faults: readonly ((rig: LeafRig) => Promise<void>)[]): Promise<void> {
  await using rig = await LeafRig.start();
  const plant = await Plant.build(rig);
  await plant.publish();
  for (const fault of faults) {
    await fault(rig);
    await rig.mend();
    await rig.connected();
    await lasting(1_000);
  }
  await plant.stop();
  expect(plant.failed).toBe(0);
  await plant.drained();
  expect(await plant.audit()).toEqual([]);
}

async function restarted(rig: LeafRig, how: 'kill' | 'stop'): Promise<void> {
  const [server] = rig.hubs;
  await server?.[how]();
  await lasting(1_000);
  await server?.restart();
}

test.concurrent(
  'a hub that is killed, and one that is stopped, and started again, gets every message once',
  () => survives([(rig) => restarted(rig, 'kill'), (rig) => restarted(rig, 'stop')]),
  TEST_MS,
);

test.concurrent(
  'a hub that stands still for a while, and a path that swallows everything, or one direction, cost nothing',
  () =>
    survives([
      async ({ hubs: [server] }) => {
        server?.freeze();
        await lasting(4_000);
        server?.thaw();
      },
      ...([[], ['up'], ['down']] as const).map((directions) => async ({ wans }: LeafRig) => {
        for (const wan of wans) wan.blackHole(...directions);
        await lasting(5_000);
      }),
    ]),
  TEST_MS,
);

test.concurrent(
  'a gateway whose process stands still for a while goes on where it was',
  async () => {
    await using rig = await LeafRig.start();
    const plant = await Plant.build(rig);
    await plant.publish();
    for (let round = 0; round < 2; round++) {
      rig.gateway.freeze();
      await lasting(round === 0 ? 1_000 : 4_000);
      rig.gateway.thaw();
      await rig.connected();
      await lasting(500);
    }
    await plant.stop();
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
  TEST_MS,
);

const KEPT = 200;

test.concurrent(
  'what a limit of the gateway removes during an outage is a gap at the hub, and no stall',
  async () => {
    await using rig = await LeafRig.start();
    const streams = { retentions: ['limits'], limits: { max_msgs: KEPT } } as const;
    const plant = await Plant.build(rig, { ...streams, rate: 300 });
    const [line] = plant.lines;
    if (line === undefined) throw new Error('the plant has no stream');
    await plant.publish();
    await until('messages at the hub', async () => (await plant.sourced(line)) > 100);
    await rig.cut();
    const before = await plant.sourced(line);
    await until('messages to be removed', () => line.ledger.lastSeq > before + 5 * KEPT);
    await rig.mend();
    await rig.connected();
    await until(
      'messages at the hub again',
      async () => (await plant.sourced(line)) > before + 5 * KEPT,
      TEST_MS,
    );
    await plant.stop();
    await plant.drained();
    expect(plant.failed).toBe(0);
    const sourced = await rig.hub.readAll(line.source);
    const gaps = jumps(sourced);
    expect(gaps.length).toBeGreaterThan(0);
    const gone = (seq: number): boolean =>
      gaps.some(({ first, last }) => seq >= first && seq <= last);
    expect(await plant.audit({ gap: gone })).toEqual([]);
    // The operator is told.
    const said = (rig.gateway as AgentGateway).warnings.map(({ msg }) => msg);
    expect(said.join()).toMatch(/by the limits of the stream/);
    // The mirror numbers as the gateway does, so the hole is in its numbers too.
    const { state } = await rig.hub.info('M_LIM');
    expect(state.last_seq - state.first_seq + 1).toBeGreaterThan(state.messages);
  },
  TEST_MS,
);
