// Gateways that were set up by copying: two with one name, two with one domain, a domain that is the hub's or that nobody
// has, and hubs that form a loop. The operator is told in words, and neither side is stormed.

import { expect, test } from 'vitest';
import { freePort, startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { agentGateway, type AgentGateway, type GatewayOptions } from './gateway.ts';
import { lasting } from './lasting.ts';
import { fromGateway, LeafRig, leafz } from './rig.ts';

const TEST_MS = 120_000;
const WATCH_MS = 8_000;
/** Connections and lines of log while somebody watches: far from a storm, which makes hundreds. */
const DIALS_MAX = 8;
const LINES_MAX = 30;

/** The rig's gateway and another one at the same hub. */
async function withSecond(options: Partial<GatewayOptions>): Promise<{
  rig: LeafRig;
  first: AgentGateway;
  second: AgentGateway;
}> {
  const rig = await LeafRig.start();
  const second = await agentGateway({ hubs: rig.dials, ...options });
  await second.start();
  return { rig, first: rig.gateway as AgentGateway, second };
}

async function isCalm(rig: LeafRig, gateways: readonly AgentGateway[]): Promise<void> {
  const [server] = rig.hubs;
  const { dialled } = rig;
  const before = gateways.map(({ linesLogged }) => linesLogged);
  const hubLines = server?.linesLogged ?? 0;
  await lasting(WATCH_MS);
  expect(rig.dialled - dialled).toBeLessThan(DIALS_MAX);
  for (const [i, { linesLogged }] of gateways.entries())
    expect(linesLogged - (before[i] ?? 0)).toBeLessThan(LINES_MAX);
  expect((server?.linesLogged ?? 0) - hubLines).toBeLessThan(DIALS_MAX * 10);
}

test.concurrent(
  'two gateways with one name: both say so, and they do not throw each other out for ever',
  async () => {
    const { rig, first, second } = await withSecond({ domain: 'gw8' });
    await using _rig = rig;
    await using _second = second;
    const told = async (): Promise<boolean> =>
      /another gateway with the name/.test(`${await first.problem()}${await second.problem()}`);
    await until('one of them to say so', told, 30_000);
    await isCalm(rig, [first, second]);
  },
  TEST_MS,
);

test.concurrent(
  'two gateways with one domain and names of their own: both say so, and stay connected',
  async () => {
    const { rig, first, second } = await withSecond({ name: 'gw8' });
    await using _rig = rig;
    await using _second = second;
    await rig.connected(undefined, 'gw8');
    for (const [gateway, other] of [
      [first, 'gw8'],
      [second, 'gw7'],
    ] as const)
      await until(`a problem that names ${other}`, async () => {
        const problem = await gateway.problem();
        return problem.includes(other) && problem.includes('domain');
      });
    await isCalm(rig, [first, second]);
    const [server] = rig.hubs;
    expect(server === undefined ? [] : await leafz(server)).toHaveLength(2);
  },
  TEST_MS,
);

test.concurrent(
  'a gateway with the domain of its hub: it says so, stays connected, and nothing of JetStream crosses',
  async () => {
    await using rig = await LeafRig.start({ gateway: { domain: 'hub', exports: ['evt.>'] } });
    const gateway = rig.gateway as AgentGateway;
    await until('a problem', async () => /domain/.test(await gateway.problem()));
    await rig.local.create({ name: 'LIM', subjects: ['lim.>'] });
    await rig.hub.create({ name: 'HUBS', subjects: ['hubs.>'] });
    const names = async (client: typeof rig.hub): Promise<unknown> =>
      (await client.api<{ streams: string[] }>('STREAM.NAMES', undefined, { domain: 'hub' }))
        .streams;
    // Each is asked by its own clients, and answers alone.
    expect(await names(rig.hub)).toEqual(['HUBS']);
    expect(await names(rig.local)).toEqual(['LIM']);
    let heard = 0;
    rig.hub.nc.subscribe('evt.a', { callback: () => void heard++ });
    await rig.hub.nc.flush();
    await until('core messages at the hub', async () => {
      rig.local.nc.publish('evt.a');
      await lasting(50);
      return heard > 0;
    });
    await isCalm(rig, [gateway]);
  },
  TEST_MS,
);

test.concurrent(
  'a hub that asks for a domain that nobody has: its stream stays empty, and the link is not troubled',
  async () => {
    await using rig = await LeafRig.start();
    await rig.local.create({ name: 'LIM', subjects: ['lim.>'] });
    await rig.hub.create({ name: 'WRONG', sources: [fromGateway('LIM', 'gw9')] });
    await rig.hub.create({ name: 'RIGHT', sources: [fromGateway('LIM')] });
    await rig.local.nc.request('lim.a', 'x', { timeout: 5_000 });
    await until(
      'the right one to have it',
      async () => (await rig.hub.state('RIGHT'))?.messages === 1,
      60_000,
    );
    const gateway = rig.gateway as AgentGateway;
    await isCalm(rig, [gateway]);
    expect((await rig.hub.state('WRONG'))?.messages).toBe(0);
    expect(await gateway.problem()).toBe('');
  },
  TEST_MS,
);

test.concurrent(
  'two hubs that are leafnodes of each other: the gateway at one of them stays calm',
  async () => {
    const [port, otherPort] = [await freePort(), await freePort()];
    await using rig = await LeafRig.start({
      leafnodes: `reconnect: "1s", remotes: [{ url: "nats-leaf://127.0.0.1:${otherPort}" }]`,
      gateway: { imports: ['>'], exports: ['evt.>'] },
    });
    const hubDial = rig.dials[0] ?? '';
    const other = await startNatsServer({
      port,
      name: 'other',
      jetstream: 'domain: other',
      config: `leafnodes { listen: "127.0.0.1:${otherPort}", reconnect: "1s", remotes: [{ url: "nats-leaf://${hubDial}" }] }`,
    });
    try {
      const gateway = rig.gateway as AgentGateway;
      await until('the loop', () =>
        /loop detected/i.test(`${other.output}${rig.hubs[0]?.output ?? ''}`),
      );
      const lines = gateway.linesLogged;
      await lasting(WATCH_MS);
      expect(gateway.linesLogged - lines).toBeLessThan(LINES_MAX);
    } finally {
      await other.dispose();
    }
  },
  TEST_MS,
);
