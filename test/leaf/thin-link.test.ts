// Two megabytes wait on a line of 50 kbit/s, in one direction and then in the other. The link must not take the wait for
// silence, the hub must hear of us in time, and what is small and urgent must not stand behind what is large. Here for
// seconds, at a line that takes bytes over long before they have crossed; campaign.ts has minutes, test/crash real packets.

import { headers } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { randomBytes, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import type { AgentGateway } from './gateway.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { LeafRig } from './rig.ts';
import { ThinLine } from './thin-line.ts';

const KBIT = 50;
const WAITING_BYTES = 2_000_000;
const MESSAGE_BYTES = 1_000;
const QUIET_MS = 18_000;
const TEST_MS = 120_000;
/** The usual interval of a hub is two minutes; an operator may have set it to seconds. */
const HASTY_HUB = 'ping_interval: "2s"';

async function thinRig(hub: string): Promise<{ rig: LeafRig; line: ThinLine }> {
  let line: ThinLine | undefined;
  const rig = await LeafRig.start({
    hub,
    gateway: { keepAlive: '15s', imports: ['down.>'], exports: ['up.>'] },
    between: async (hubPort) => (line = await ThinLine.listen(hubPort, KBIT)).port,
  });
  if (line === undefined) throw new Error('there is no line');
  return { rig, line };
}

for (const [hub, of] of [
  ['', 'the usual ping interval'],
  [HASTY_HUB, 'a ping interval of two seconds'],
] as const) {
  test.concurrent(
    `with two megabytes for the hub the link stays, is used, and lets requests pass: ${of}`,
    async () => {
      const { rig, line } = await thinRig(hub);
      await using _rig = rig;
      await using _line = line;
      const plant = await Plant.build(rig, { retentions: ['limits'], rate: 0 });
      await plant.publish();
      const [{ publisher } = {}] = plant.lines;
      await publisher?.burst(WAITING_BYTES / MESSAGE_BYTES, MESSAGE_BYTES);
      const { upBytes: before } = line.counters;
      const connection = await rig.connection();
      await lasting(QUIET_MS / 2);
      // A line is full of data by now, and a question is answered all the same.
      await rig.hub.api('STREAM.INFO.LIM', undefined, { domain: 'gw7', timeoutMs: QUIET_MS });
      await lasting(QUIET_MS / 2);
      expect((rig.gateway as AgentGateway).warnings).toEqual([]);
      expect(await rig.connection()).toBe(connection);
      const share = (line.counters.upBytes - before) / ((QUIET_MS * KBIT) / 8);
      expect(share).toBeGreaterThan(0.7);
      await plant.stop();
      expect(plant.failed).toBe(0);
    },
    TEST_MS,
  );

  test.concurrent(
    `with two megabytes for the gateway the link stays, and they come in order: ${of}`,
    async () => {
      const { rig, line } = await thinRig(hub);
      await using _rig = rig;
      await using _line = line;
      const got: number[] = [];
      rig.local.nc.subscribe('down.>', {
        callback: (_error, message) => void got.push(Number(message.headers?.get('Number'))),
      });
      await rig.local.nc.flush();
      await until('the hub to know', () => hears(rig, 'down.probe'));
      const data = randomBytes(seededRandom(3), MESSAGE_BYTES);
      for (let number = 1; number <= WAITING_BYTES / MESSAGE_BYTES; number++) {
        const lines = headers();
        lines.set('Number', String(number));
        rig.hub.nc.publish('down.data', data, { headers: lines });
      }
      await rig.hub.nc.flush();
      const { downBytes: before } = line.counters;
      const connection = await rig.connection();
      await lasting(QUIET_MS);
      expect((rig.gateway as AgentGateway).warnings).toEqual([]);
      expect(await rig.connection()).toBe(connection);
      const share = (line.counters.downBytes - before) / ((QUIET_MS * KBIT) / 8);
      expect(share).toBeGreaterThan(0.9);
      const numbered = got.filter((number) => number > 0);
      expect(numbered).toEqual(numbered.map((_, i) => i + 1));
      expect(numbered.length).toBeGreaterThan(50);
    },
    TEST_MS,
  );
}

/** Whether what the hub's clients publish there reaches local programs by now. */
async function hears(rig: LeafRig, subject: string): Promise<boolean> {
  let heard = false;
  const probe = rig.local.nc.subscribe(subject, { callback: () => void (heard = true) });
  await rig.local.nc.flush();
  rig.hub.nc.publish(subject);
  await rig.hub.nc.flush();
  await lasting(500);
  probe.unsubscribe();
  return heard;
}
