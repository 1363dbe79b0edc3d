// Hubs of yesterday: nats-server 2.9.10 and 2.10.27, which take no batches and know no fence that names a filter.

import { expect, test } from 'vitest';
import { oldNatsServer, type OldVersion } from '../support/old-nats-server.ts';
import { randomInt } from '../support/random.ts';
import { until } from '../support/until.ts';
import { EDGE, LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';
import { burst } from './traffic.ts';

/** The hub stream is this gateway's alone, or a fleet's. */
const ALONE = { ...EDGE, subjects: ['edge.gw7.>'] };
const SHARED = EDGE;
const TEST_MS = 180_000;
const VERSIONS: readonly OldVersion[] = ['2.9', '2.10'];

const WAYS = [
  ['a chain', ALONE, {}, { acceleration: 'chain', order: 'strict' }],
  ['one in flight', SHARED, {}, { acceleration: null, order: 'strict' }],
  ['a window', SHARED, { order: 'relaxed' }, { acceleration: 'window', order: 'relaxed' }],
] as const;

const CASES = VERSIONS.flatMap((version) =>
  WAYS.map(([way, stream, forward, status]) => ({ version, way, stream, forward, status })),
);

test.concurrent.each(CASES)(
  'nats-server $version, $way: what was stored during outages longer than the hub remembers IDs arrives as claimed',
  { timeout: TEST_MS },
  async ({ version, stream, forward, status }) => {
    const server = { binary: oldNatsServer(version) };
    await using rig = await Rig.start({ server, stream, forward });
    await until('the way to be chosen', () => rig.agent.status().base !== null);
    expect(rig.agent.status()).toMatchObject({ base: 'single', ...status });
    rig.startTraffic(100);
    const strict = status.order === 'strict';
    // A window keeps out no late attempt beyond the memory of the hub, and says so.
    for (const outage of ['refuse', 'hole', 'deaf', ...(strict ? ['zombie'] : [])]) {
      await rig.confirmed(30);
      if (outage === 'refuse') {
        await rig.proxy.refuse();
        rig.proxy.resetAll();
      } else if (outage === 'zombie') rig.proxy.delayOld(2_000);
      else rig.proxy.blackHole(...(outage === 'deaf' ? ['down' as const] : []));
      await lasting(LONGER_THAN_WINDOW_MS);
      await rig.proxy.restore();
    }
    await rig.confirmed(30);
    expect(await rig.audit()).toEqual([]);
  },
);

test.concurrent.each(CASES)(
  'nats-server $version, $way: cut and killed while it takes a backlog',
  { timeout: TEST_MS },
  async ({ version, stream, forward, status }) => {
    const server = { binary: oldNatsServer(version) };
    await using rig = await Rig.start({ seed: 3, server, stream, forward });
    const backlog = status.acceleration === null ? 300 : 3_000;
    const arrive = (): Promise<void> => rig.confirmed(1 + randomInt(rig.random, backlog / 3));
    for (const fault of ['up', 'down', 'hub', 'up', 'down'] as const) {
      await burst(rig.agent, rig.ledger, backlog);
      await arrive();
      if (fault === 'hub') await rig.hub.kill();
      else
        rig.proxy.cutAfter(
          fault,
          1 + randomInt(rig.random, fault === 'up' ? backlog * 10 : backlog),
        );
      await until('the link to be lost', () => !rig.link.connected, 20_000).catch(() => undefined);
      await lasting(LONGER_THAN_WINDOW_MS);
      if (fault === 'hub') await rig.hub.restart();
      await rig.proxy.restore();
    }
    expect(await rig.audit()).toEqual([]);
  },
);
