// A hub of three servers with three replicas: leaders step down and one is killed while devices publish, and each message
// is there once and in order.

import { expect, test } from 'vitest';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { startCluster } from '../support/nats-server.ts';
import { seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { HubAdmin } from './hub-admin.ts';
import { lasting } from './rig.ts';
import { MqttTraffic, SerialTraffic } from './traffic.ts';

test('step-downs, and a leader killed, under load', { timeout: 120_000 }, async () => {
  const cluster = await startCluster();
  const dir = new GatewayDir();
  const admin = await HubAdmin.connect(cluster.urls);
  dir.configure({ servers: cluster.urls, hub: 'create = true' });
  const agent = await TestAgent.start(dir);
  try {
    await agent.drained();
    await admin.update('EDGE', { duplicate_window: 1_000_000_000 });
    expect((await admin.info()).config['num_replicas']).toBe(3);
    const ledger = new Ledger();
    const random = seededRandom(3);
    const traffic = [
      new MqttTraffic(ledger, agent.mqttPort, { source: 'meter', random, rate: 400 }).start(),
      new SerialTraffic(ledger, agent, { source: 'gps', random, rate: 400 }).start(),
    ];
    const leader = async (): Promise<string> =>
      until('a leader', async () => {
        const info = await admin.info().catch(() => undefined);
        return info?.cluster?.leader;
      });
    const moved = async (): Promise<void> => {
      const from = agent.status().confirmedSeq;
      await until('messages at the hub', () => agent.status().confirmedSeq > from + 100, 40_000);
    };
    for (let round = 0; round < 8; round++) {
      await moved();
      const before = await leader();
      if (round === 4) {
        const server = cluster.servers.find(({ name }) => name === before)!;
        await server.kill();
        await moved();
        await server.restart();
      } else {
        await admin.api('STREAM.LEADER.STEPDOWN.EDGE').catch(() => undefined);
      }
      await lasting(700);
    }
    await moved();
    for (const one of traffic) await one.stop();
    await agent.drained();
    await leader();
    expect(verdict(audit(ledger, await admin.readAll()))).toEqual([]);
    expect(agent.status().refills).toBe(0);
  } finally {
    await agent.stop();
    await admin.close();
    await cluster.dispose();
    dir.remove();
  }
});
