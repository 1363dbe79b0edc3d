// The agent is killed in mid-batch and started again, the hub is killed and started again: with a hub that forgets
// message IDs after a second, each message is there once and in order.

import { expect, test } from 'vitest';
import { AgentProcess, type LogLine } from '../support/agent-process.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { freePort, startNatsServer } from '../support/nats-server.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { AckCutter } from './ack-cutter.ts';
import { HubAdmin, LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';
import { MqttTraffic } from './traffic.ts';

const TEST_MS = 180_000;

function config(url: string): string {
  return `[log]
level = "debug"
[[stream]]
name = "SENSORS"
subjects = ["plant1.>"]
[hub]
servers = ["${url}"]
keep_alive = "1s"
reconnect_max = "300ms"
[[forward]]
stream = "SENSORS"
`;
}

/** An agent in its own process behind the WAN, with two MQTT devices. */
class ChildRig {
  readonly ledger = new Ledger();
  readonly random = seededRandom(11);
  readonly cleanups: (() => unknown)[] = [];
  agent!: AgentProcess;
  /** Of all starts but the last. */
  readonly log: LogLine[] = [];
  admin!: HubAdmin;
  proxy!: WanProxy;
  cutter!: AckCutter;
  #traffic: MqttTraffic[] = [];

  static async start(): Promise<ChildRig> {
    const rig = new ChildRig();
    const hub = await startNatsServer();
    rig.cleanups.push(() => hub.dispose());
    rig.admin = await HubAdmin.connect(hub.url);
    rig.cleanups.push(() => rig.admin.close());
    await rig.admin.create();
    rig.cutter = await new AckCutter(hub.port).listen();
    rig.cleanups.push(() => rig.cutter.close());
    rig.proxy = await new WanProxy(Number(new URL(rig.cutter.url).port)).listen();
    rig.cleanups.push(() => rig.proxy.close());
    rig.agent = await AgentProcess.create({ config: config(rig.proxy.url) });
    rig.cleanups.push(() => rig.agent.dispose());
    await rig.agent.start();
    for (const source of ['meter', 'boiler']) {
      const traffic = new MqttTraffic(rig.ledger, rig.agent.mqttPort, {
        source,
        random: rig.random,
        rate: 300,
      });
      rig.#traffic.push(traffic.start());
      rig.cleanups.push(() => traffic.stop().catch(() => undefined));
    }
    return rig;
  }

  /** Resolves when the hub holds `more` messages more than now. */
  async arrived(more: number): Promise<void> {
    const from = await this.admin.messages();
    await until(
      `${more} more messages at the hub`,
      async () => (await this.admin.messages()) >= from + more,
    );
  }

  /** kill -9, and a new start after `pauseMs`. */
  async restart(pauseMs = 0): Promise<void> {
    await this.agent.kill();
    this.log.push(...this.agent.log);
    await lasting(pauseMs);
    await this.agent.start();
  }

  async audit(): Promise<string[]> {
    for (const traffic of this.#traffic) await traffic.stop();
    const wrong = async (): Promise<string[]> =>
      verdict(audit(this.ledger, await this.admin.readAll()));
    await until('the backlog', async () =>
      (await wrong()).every((line) => !line.includes('lost')),
    ).catch(() => undefined);
    // Anything that is still to come would be a duplicate.
    await lasting(500);
    return wrong();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.cleanups.toReversed()) await cleanup();
  }
}

test('the agent is killed ten times in mid-batch', { timeout: TEST_MS }, async () => {
  await using rig = await ChildRig.start();
  for (let round = 1; round <= 10; round++) {
    await rig.arrived(100);
    if (round % 2 === 0) {
      // At the very moment at which the hub has stored a batch and the agent does not know.
      const killed = new Promise<void>((resolve) => {
        rig.cutter.onCut = () => resolve(rig.agent.kill().then(() => undefined));
      });
      rig.cutter.arm();
      await killed;
    } else {
      await lasting(randomInt(rig.random, 50));
    }
    await rig.restart(round % 5 === 0 ? LONGER_THAN_WINDOW_MS : 0);
  }
  await rig.arrived(100);
  expect(await rig.audit()).toEqual([]);
  expect(rig.cutter.swallowed).toBe(5);
  const lost = [...rig.log, ...rig.agent.log].filter(({ kind }) => kind === 'lost ack');
  expect(lost.length).toBeGreaterThanOrEqual(5);
});

test(
  'what a killed agent had on the wire arrives when its successor works',
  { timeout: TEST_MS },
  async () => {
    await using rig = await ChildRig.start();
    for (let round = 1; round <= 2; round++) {
      await rig.arrived(100);
      rig.proxy.delayOld(4_000);
      await lasting(300);
      await rig.restart();
      await rig.arrived(100);
      await lasting(4_000);
    }
    expect(await rig.audit()).toEqual([]);
  },
);

test.each([
  ['syncs every write', 'sync_interval: always'],
  ['syncs when it likes', ''],
])(
  'a hub that %s is killed and started again three times',
  { timeout: TEST_MS },
  async (_, jetstream) => {
    await using rig = await Rig.start({ server: { jetstream, port: await freePort() } });
    rig.startTraffic(300);
    for (let round = 0; round < 3; round++) {
      await rig.confirmed(100);
      await lasting(randomInt(rig.random, 50));
      await rig.hub.kill();
      await lasting(round === 1 ? LONGER_THAN_WINDOW_MS : 100);
      await rig.hub.restart();
    }
    await rig.confirmed(100);
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status().refills).toBe(0);
  },
);
