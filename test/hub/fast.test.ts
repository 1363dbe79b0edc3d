// Fast batches that are broken in their midst: the link is lost and their last bytes come later than the hub remembers IDs,
// the gateway or the hub is killed, the leader changes. Each message is at the hub once and in order; so it is with
// atomic batches under the same. campaign.ts has the same for as long as you like.

import { expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { ClusterRig } from './cluster-rig.ts';
import { EDGE, HubAdmin } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';
import { burst, MqttTraffic } from './traffic.ts';

const TEST_MS = 240_000;
/** IDs are forgotten long before the late bytes come. */
const FORGETFUL = { ...EDGE, allow_batched: true, duplicate_window: 100_000_000 };
const LATE_MS = 600;
const BURST = 600;

test.concurrent.each(['fast', 'atomic'])(
  'mode %s: twenty times the link is lost in the midst of a batch, and its rest comes late',
  { timeout: TEST_MS },
  async (mode) => {
    await using rig = await Rig.start({ seed: 21, stream: FORGETFUL, forward: { mode } });
    const { proxy, link, random } = rig;
    await burst(rig.agent, rig.ledger, 10);
    await rig.agent.drained();
    for (let round = 0; round < 20; round++) {
      const { connects } = link.status();
      proxy.delayAfter(3_000 + randomInt(random, 100_000), LATE_MS);
      const publishing = burst(rig.agent, rig.ledger, BURST);
      await until('the midst of a batch', () => proxy.held > 0);
      link.reconnect('for a test');
      await publishing;
      await until('the next link', () => link.connected && link.status().connects > connects);
      if (round % 4 === 0) await burst(rig.agent, rig.ledger, BURST);
      await until('the late bytes', () => proxy.held === 0);
    }
    expect(await rig.audit()).toEqual([]);
    const status = rig.agent.status();
    expect(status.acceleration).toBe(mode === 'fast' ? 'fast' : null);
    expect(status.readBacks).toBeGreaterThan(20);
    expect(status.refills).toBe(0);
  },
);

test.concurrent(
  'the hub is killed in the midst of fast batches',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({ seed: 22, stream: FORGETFUL, forward: { mode: 'fast' } });
    await burst(rig.agent, rig.ledger, 10);
    await rig.agent.drained();
    for (let round = 0; round < 4; round++) {
      rig.proxy.delayAfter(3_000 + randomInt(rig.random, 100_000), LATE_MS);
      const publishing = burst(rig.agent, rig.ledger, BURST);
      await until('the midst of a batch', () => rig.proxy.held > 0);
      await rig.hub.kill();
      await publishing;
      await rig.hub.restart();
      await rig.agent.drained(30_000);
    }
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status().refills).toBe(0);
  },
);

test.concurrent(
  'leaders step down in the midst of fast batches',
  { timeout: TEST_MS },
  async () => {
    const forward = { mode: 'fast' };
    await using rig = await ClusterRig.start({ seed: 23, stream: FORGETFUL, forward });
    for (let round = 0; round < 5; round++) {
      await rig.leader();
      const publishing = burst(rig.agent, rig.ledger, 4_000);
      await rig.confirmed(200, 40_000);
      await rig.stepDown();
      await publishing;
      await rig.agent.drained(40_000);
    }
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status().acceleration).toBe('fast');
  },
);

function config(url: string): string {
  return `[[stream]]
name = "SENSORS"
subjects = ["plant1.>"]
[hub]
servers = ["${url}"]
reconnect_max = "300ms"
[[forward]]
stream = "SENSORS"
mode = "fast"
`;
}

test.concurrent(
  'the gateway is killed in the midst of a fast batch, and its rest comes when its successor works',
  { timeout: TEST_MS },
  async () => {
    const random = seededRandom(24);
    const ledger = new Ledger();
    const hub = await startNatsServer();
    const admin = await HubAdmin.connect(hub.url);
    await admin.create(FORGETFUL);
    const proxy = await new WanProxy(hub.port).listen();
    const agent = await AgentProcess.create({ config: config(proxy.url) });
    await agent.start();
    const options = { source: 'meter', random, rate: 2_000 };
    const traffic = new MqttTraffic(ledger, () => agent.mqttPort, options).start();
    try {
      for (let round = 0; round < 4; round++) {
        const from = await admin.messages();
        await until('messages', async () => (await admin.messages()) > from + 100);
        // The successor has read what is there, and has begun to send, when the rest comes.
        proxy.delayAfter(1_000 + randomInt(random, 50_000), 3_000);
        await until('the midst of a batch', () => proxy.held > 500);
        await agent.kill();
        await agent.start();
        await until('the late bytes', () => proxy.held === 0);
      }
      await traffic.stop();
      const wrong = async (): Promise<string[]> => verdict(audit(ledger, await admin.readAll()));
      await until('the backlog', async () => (await wrong()).length === 0).catch(() => undefined);
      // Anything that is still to come would be a duplicate.
      await lasting(300);
      expect(await wrong()).toEqual([]);
    } finally {
      await traffic.stop().catch(() => undefined);
      await agent.dispose();
      await proxy.close();
      await admin.close();
      await hub.dispose();
    }
  },
);
