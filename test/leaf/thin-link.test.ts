// Two megabytes wait on a line of 50 kbit/s, in one direction and then in the other. The link must not take the wait for
// silence, the hub must hear of us in time, and what is small and urgent must not stand behind what is large. Here for
// seconds, at a line that takes bytes over long before they have crossed; campaign.ts has minutes, test/crash real packets.
// What is sent is random or goes as it is, but where it is said that it is compressed.

import { headers } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { collect } from '../support/nats-clients.ts';
import { randomBytes, seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import type { AgentGateway } from './gateway.ts';
import { lasting } from './lasting.ts';
import { Plant } from './plant.ts';
import { fromGateway, LeafRig } from './rig.ts';
import { ThinLine } from './thin-line.ts';

const KBIT = 50;
const WAITING_BYTES = 2_000_000;
const MESSAGE_BYTES = 1_000;
const QUIET_MS = 18_000;
const TEST_MS = 120_000;
/** Of a program that does not wait, each of so many bytes. */
const AT_ONCE = 20_000;
const AT_ONCE_BYTES = 200;
/** Of live messages, what may wait for a line that is thin. */
const LIVE_BYTES = 2 * 1024 * 1024;
/** The usual interval of a hub is two minutes; an operator may have set it to seconds. */
const HASTY_HUB = 'ping_interval: "2s"';

async function thinRig(
  hub: string,
  compression = 'off',
): Promise<{ rig: LeafRig; line: ThinLine }> {
  let line: ThinLine | undefined;
  const leaf = `compression = "${compression}"`;
  const rig = await LeafRig.start({
    hub,
    gateway: { keepAlive: '15s', imports: ['down.>'], exports: ['up.>'], leaf },
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

test.concurrent(
  'compressed, a thin line carries twice its bytes and more, and lets requests pass',
  async () => {
    const { rig, line } = await thinRig('', 'on');
    await using _rig = rig;
    await using _line = line;
    await rig.local.create({ name: 'LIM', subjects: ['lim.>'], storage: 'file' });
    await rig.hub.create({ name: 'S_LIM', sources: [fromGateway('LIM')] });
    const random = seededRandom(5);
    const stored = Array.from({ length: WAITING_BYTES / MESSAGE_BYTES }, (_, i) =>
      rig.local.nc.request(`lim.a.${i % 7}`, readings(random), { timeout: QUIET_MS }),
    );
    await Promise.all(stored);
    const messages = async (): Promise<number> => (await rig.hub.state('S_LIM'))?.messages ?? 0;
    const connection = await rig.connection();
    const { upBytes } = line.counters;
    const held = await messages();
    await lasting(QUIET_MS / 2);
    await rig.hub.api('STREAM.INFO.LIM', undefined, { domain: 'gw7', timeoutMs: QUIET_MS });
    await lasting(QUIET_MS / 2);
    const crossed = ((await messages()) - held) * MESSAGE_BYTES;
    expect(crossed).toBeGreaterThan(2 * (line.counters.upBytes - upBytes));
    expect(line.counters.upBytes - upBytes).toBeGreaterThan((0.7 * QUIET_MS * KBIT) / 8);
    expect(await rig.connection()).toBe(connection);
    expect((rig.gateway as AgentGateway).warnings).toEqual([]);
  },
  TEST_MS,
);

test.concurrent(
  'live messages that a program publishes at once reach a hub nearby, every one',
  async () => {
    await using rig = await LeafRig.start({ gateway: { exports: ['up.>'] } });
    const got = collect(rig.hub.nc, 'up.>');
    await rig.hub.nc.flush();
    await until('the gateway to know', () => crosses(rig, got));
    got.length = 0;
    publishAtOnce(rig);
    await until('all of them', () => got.length === AT_ONCE);
    expect(await counted(rig)).toMatchObject({ dropped_msgs: 0 });
    expect(got.map(({ data }) => Buffer.from(data).readUInt32BE())).toEqual(
      Array.from({ length: AT_ONCE }, (_, i) => i),
    );
  },
  TEST_MS,
);

test.concurrent(
  'live messages that a program publishes at once wait for a thin line up to a limit; the rest is dropped and counted',
  async () => {
    const { rig, line } = await thinRig('');
    await using _rig = rig;
    await using _line = line;
    const got = collect(rig.hub.nc, 'up.>');
    await rig.hub.nc.flush();
    await until('the gateway to know', () => crosses(rig, got));
    const connection = await rig.connection();
    got.length = 0;
    publishAtOnce(rig);
    await rig.local.nc.flush();
    const { dropped_msgs: dropped } = await counted(rig);
    expect(dropped).toBeGreaterThan(AT_ONCE - (1.1 * LIVE_BYTES) / AT_ONCE_BYTES);
    expect(dropped).toBeLessThan(AT_ONCE - (0.9 * LIVE_BYTES) / AT_ONCE_BYTES);
    await until('the first of them', () => got.length > 50);
    expect(got.slice(0, 50).map(({ data }) => Buffer.from(data).readUInt32BE())).toEqual(
      Array.from({ length: 50 }, (_, i) => i),
    );
    expect(await rig.connection()).toBe(connection);
  },
  TEST_MS,
);

function publishAtOnce({ local }: LeafRig): void {
  const random = seededRandom(7);
  for (let i = 0; i < AT_ONCE; i++) {
    const data = randomBytes(random, AT_ONCE_BYTES);
    data.writeUInt32BE(i);
    local.nc.publish('up.data', data);
  }
}

/** Whether what local programs publish reaches the hub by now. */
async function crosses({ local }: LeafRig, got: readonly unknown[]): Promise<boolean> {
  local.nc.publish('up.probe');
  await local.nc.flush();
  await lasting(500);
  return got.length > 0;
}

/** What the gateway has counted on its link. */
async function counted({ gateway }: LeafRig): Promise<{ readonly dropped_msgs: number }> {
  const { body } = await (gateway as AgentGateway).agent.monitor('/leafz');
  const [leaf] = body['leafs'] as { readonly dropped_msgs: number }[];
  if (leaf === undefined) throw new Error('no leafnode connection');
  return leaf;
}

/** Lines of JSON; in each some numbers that nobody can foretell. */
function readings(random: Random): string {
  const digits = (): number => Math.floor(random() * 10_000) / 100;
  const line = (): string =>
    JSON.stringify({ unit: 'boiler', temperature: digits(), pressure: digits(), quality: 'good' });
  const lines = Array.from({ length: 20 }, line).join('\n');
  return lines.slice(0, MESSAGE_BYTES).padEnd(MESSAGE_BYTES);
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
