// The leafnode link over real packets: a line of 50 kbit/s whose queue fills, packets that get lost, and packets that
// vanish in one direction while both ends believe in their connection.

import { expect, test } from 'vitest';
import type { AgentGateway } from '../leaf/gateway.ts';
import { lasting } from '../leaf/lasting.ts';
import { canRoute, NetnsPath } from '../leaf/netns.ts';
import { Plant } from '../leaf/plant.ts';
import { LeafRig } from '../leaf/rig.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { collect } from '../support/nats-clients.ts';
import { until } from '../support/until.ts';

const OPTIONS = { concurrent: true, timeout: 240_000 };
const KBIT = 50;
const WAITING_BYTES = 2_000_000;
const MESSAGE_BYTES = 1_000;
const QUIET_MS = 15_000;
/**
 * It asks often whether we are there. And it has time for its own data: a hub gives up whose kernel took none of them for ten
 * seconds by default, and on such a line that comes to pass with a leafnode of any kind.
 */
const HASTY_HUB = 'ping_interval: "2s"\nwrite_deadline: "60s"';
const KEEP_ALIVE_MS = 4_000;

// See power-cut.test.ts: this needs root too.
const possible = canRoute();

test.runIf(possible)(
  'over 50 kbit/s with two megabytes waiting for either side the link stays, the line is used, and questions pass',
  OPTIONS,
  async () => {
    await using path = await NetnsPath.open({ kbit: KBIT, way: { delayMs: 50 } });
    await using rig = await LeafRig.start({
      path,
      hub: HASTY_HUB,
      gateway: { keepAlive: '5s', imports: ['down.>'] },
    });
    const plant = await Plant.build(rig, { retentions: ['limits'], rate: 0 });
    await plant.publish();
    const before = await rig.connection();
    expect(before).toBeDefined();
    const [{ publisher } = {}] = plant.lines;
    const { up } = await path.change({});
    await publisher?.burst(WAITING_BYTES / MESSAGE_BYTES, MESSAGE_BYTES);
    await lasting(QUIET_MS / 2);
    await rig.hub.api('STREAM.INFO.LIM', undefined, { domain: 'gw7', timeoutMs: QUIET_MS });
    await lasting(QUIET_MS / 2);
    const { up: later } = await path.change({});
    const share = (later.bytes - up.bytes) / ((QUIET_MS * KBIT) / 8);
    expect(share).toBeGreaterThan(0.7);
    expect(await rig.connection()).toBe(before);

    const got = collect(rig.local.nc, 'down.>');
    await rig.local.nc.flush();
    await lasting(QUIET_MS / 3);
    const data = randomBytes(seededRandom(3), MESSAGE_BYTES);
    for (let i = 0; i < WAITING_BYTES / MESSAGE_BYTES; i++) rig.hub.nc.publish('down.data', data);
    await rig.hub.nc.flush();
    await lasting(QUIET_MS);
    expect(got.length).toBeGreaterThan(40);
    expect(await rig.connection()).toBe(before);
    expect((rig.gateway as AgentGateway).warnings).toEqual([]);
    await plant.stop();
  },
);

const CASES = (['up', 'down'] as const).flatMap((direction) =>
  ([false, true] as const).map((traffic) => ({ direction, traffic })),
);

test.runIf(possible).each(CASES)(
  'packets vanish on their way $direction (with traffic: $traffic): it is noticed in time, and nothing is lost',
  OPTIONS,
  async ({ direction, traffic }) => {
    await using path = await NetnsPath.open({ way: { delayMs: 20 } });
    await using rig = await LeafRig.start({
      path,
      gateway: { keepAlive: `${KEEP_ALIVE_MS}ms` },
    });
    const plant = await Plant.build(rig, { retentions: ['limits', 'workqueue'] });
    if (traffic) await plant.publish();
    await lasting(500);
    await path.change({ [direction]: { drop: true } });
    const gateway = rig.gateway as AgentGateway;
    await until(
      'the gateway to notice',
      async () => {
        const { body } = await gateway.agent.monitor('/leafz');
        return body['leafnodes'] === 0;
      },
      KEEP_ALIVE_MS + 2_000,
    );
    await path.change({ [direction]: { drop: false } });
    await rig.connected();
    if (!traffic) await plant.publish();
    await lasting(1_000);
    await plant.stop();
    expect(plant.failed).toBe(0);
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
);

test.runIf(possible)(
  'over 100 ms with one packet in fifty lost, and outages, the hub has every message once',
  OPTIONS,
  async () => {
    await using path = await NetnsPath.open({ way: { delayMs: 50, lossPercent: 2 } });
    await using rig = await LeafRig.start({ path });
    const plant = await Plant.build(rig);
    await plant.publish();
    for (let outage = 0; outage < 3; outage++) {
      await lasting(1_500);
      await path.change({ up: { drop: true }, down: { drop: true } });
      await lasting(1_000 + 1_000 * outage);
      await path.change({ up: { drop: false }, down: { drop: false } });
      await rig.connected();
    }
    await plant.stop();
    expect(plant.failed).toBe(0);
    await plant.drained();
    expect(await plant.audit()).toEqual([]);
  },
);
