// A hub of three servers with three replicas, while devices publish: leaders step down, leaders are killed, an upgrade
// rolls through, the majority is gone for a while, all three lose their newest messages. Each message is there once and
// in order, and nobody at the devices notices. campaign.ts has the same for as long as you like.

import { expect, test } from 'vitest';
import { ClusterRig } from './cluster-rig.ts';
import { lasting } from './gateway-rig.ts';
import { FAILED, told } from './mishaps.ts';

const TEST_MS = 240_000;
/** A command gives it a minute. */
const WITHOUT_QUORUM_MS = 8_000;

const RATE = 300;

async function underLoad(seed: number, faults: (rig: ClusterRig) => Promise<void>): Promise<void> {
  await using rig = await ClusterRig.start({ seed });
  rig.startTraffic(RATE);
  await rig.moved();
  await faults(rig);
  await rig.moved();
  expect(await rig.audit()).toEqual([]);
  expect(rig.agent.status().refills).toBe(0);
  expect(rig.agent.status().problem).toBeNull();
}

test.concurrent('the leader steps down every second', { timeout: TEST_MS }, () =>
  underLoad(3, async (rig) => {
    for (let round = 0; round < 6; round++) {
      await rig.stepDown();
      await lasting(1_000);
    }
  }),
);

test.concurrent('the leader is killed and started again, over and over', { timeout: TEST_MS }, () =>
  underLoad(4, async (rig) => {
    for (let round = 0; round < 3; round++) {
      await rig.killLeader(round % 2 === 0 ? 0 : 1_000);
      await rig.moved();
    }
  }),
);

test.concurrent(
  'an upgrade rolls through the servers, gently and then not',
  { timeout: TEST_MS },
  () =>
    underLoad(5, async (rig) => {
      await rig.roll(true);
      await rig.roll(false);
    }),
);

test.concurrent(
  'two of three servers are gone for a while: storing goes on',
  { timeout: TEST_MS },
  () =>
    underLoad(6, async (rig) => {
      const storing = rig.acknowledged(RATE);
      await rig.loseQuorum(WITHOUT_QUORUM_MS);
      await storing;
      // A reading that a server without its peers took, and never answered, is as good a reason.
      await told(rig.agent, FAILED, /leader|answer|respon/);
    }),
);

test.concurrent(
  'all three servers lose what they had last stored: it is sent again',
  { timeout: TEST_MS },
  async () => {
    await using rig = await ClusterRig.start({ seed: 7 });
    rig.startTraffic(RATE);
    await rig.moved();
    await rig.snapshot();
    await rig.moved();
    await rig.moved();
    await rig.rollBack();
    await rig.moved();
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status().refills).toBe(1);
  },
);
