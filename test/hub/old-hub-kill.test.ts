// An agent in its own process, killed again and again while it brings a backlog to a nats-server 2.9.10.

import { expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { EDGE, HubAdmin, LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting } from './gateway-rig.ts';
import { MqttTraffic } from './traffic.ts';

const TEST_MS = 180_000;
const KILLS = 6;

test.each([
  ['a chain', ['edge.gw7.>'], 'strict'],
  ['one in flight', ['edge.>'], 'strict'],
  ['a window', ['edge.>'], 'relaxed'],
])(
  'nats-server 2.9, %s: the agent is killed over and over',
  { timeout: TEST_MS },
  async (_, subjects, order) => {
    const random = seededRandom(17);
    const ledger = new Ledger();
    const hub = await startNatsServer({ binary: oldNatsServer('2.9') });
    const admin = await HubAdmin.connect(hub.url);
    await admin.create({ ...EDGE, subjects });
    const agent = await AgentProcess.create({
      config: `[[stream]]
name = "SENSORS"
subjects = ["plant1.>"]
[hub]
servers = ["${hub.url}"]
keep_alive = "1s"
reconnect_max = "300ms"
[[forward]]
stream = "SENSORS"
order = "${order}"
`,
    });
    const traffic = new MqttTraffic(ledger, () => agent.mqttPort, {
      source: 'meter',
      random,
      rate: 400,
    });
    try {
      await agent.start();
      traffic.start();
      for (let kill = 0; kill < KILLS; kill++) {
        const from = await admin.messages();
        await until('messages at the hub', async () => (await admin.messages()) > from + 50);
        await lasting(randomInt(random, 100));
        await agent.kill();
        await lasting(kill % 2 === 0 ? LONGER_THAN_WINDOW_MS : 0);
        await agent.start();
      }
      await traffic.stop();
      const wrong = async (): Promise<string[]> => {
        const found = await admin.readAll();
        // A window does not claim the order.
        if (order === 'relaxed') found.sort((a, b) => seqOf(a.id) - seqOf(b.id));
        return verdict(audit(ledger, found));
      };
      await until('the backlog', async () =>
        (await wrong()).every((line) => !line.includes('lost')),
      ).catch(() => undefined);
      expect(await wrong()).toEqual([]);
    } finally {
      await traffic.stop().catch(() => undefined);
      await agent.dispose();
      await admin.close();
      await hub.dispose();
    }
  },
);

function seqOf(id: string): number {
  return Number(id.split(':')[3]);
}
