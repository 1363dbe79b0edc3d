// A cluster of three old nats-servers with three replicas, while devices publish and a backlog is brought to it: leaders step
// down, leaders are killed, the majority is gone for longer than any publish waits. A window is tried on 2.10 only: repeated
// IDs are all it has, and three servers 2.9 judge them each for itself (docs/hub.md); now and then one message is lost there.

import { expect, test } from 'vitest';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { ClusterRig } from './cluster-rig.ts';
import { lasting } from './gateway-rig.ts';
import { EDGE } from './hub-admin.ts';
import { burst } from './traffic.ts';

const TEST_MS = 240_000;
const WITHOUT_QUORUM_MS = 6_500;
const BACKLOG = 3_000;

/** A chain needs no memory of IDs, however long somebody is away. */
const ALONE = { subjects: ['edge.gw7.>'], duplicate_window: 1_000_000_000 };
/**
 * What docs/hub.md asks for on a cluster of old servers: 2 minutes. A server that comes back judges the end of its log anew,
 * and stores messages twice whose IDs it has forgotten meanwhile; then the three hold different things.
 */
const SHARED = { duplicate_window: 120_000_000_000 };

test.concurrent.each([
  ['2.9', 'a chain', 'chain', ALONE, {}],
  ['2.9', 'one in flight', null, SHARED, {}],
  ['2.10', 'a window', 'window', SHARED, { order: 'relaxed' }],
] as const)(
  'three nats-servers %s, %s: each message once through changes of leaders',
  { timeout: TEST_MS },
  async (version, _, acceleration, stream, forward) => {
    const server = { binary: oldNatsServer(version) };
    const config = { ...EDGE, ...stream };
    await using rig = await ClusterRig.start({ seed: 5, server, stream: config, forward });
    rig.startTraffic(100);
    await rig.moved();
    expect(rig.agent.status()).toMatchObject({ base: 'single', acceleration });
    for (let round = 0; round < 3; round++) {
      if (acceleration !== null) await burst(rig.agent, rig.ledger, BACKLOG);
      await rig.stepDown();
      await lasting(700);
    }
    await rig.moved();
    if (acceleration !== null) await burst(rig.agent, rig.ledger, BACKLOG);
    await rig.killLeader(1_000);
    await rig.moved();
    if (acceleration !== null) await burst(rig.agent, rig.ledger, BACKLOG);
    await rig.loseQuorum(WITHOUT_QUORUM_MS);
    await rig.moved();
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status()).toMatchObject({ refills: 0, problem: null });
  },
);
