// A kernel that finds an error turns the file system read-only under whoever writes to it. The mount flags may still say
// that it can be written to; only a write tells.

import { expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { GatewayStore } from '../support/gateway-store.ts';
import { canLoop, LoopFs } from '../support/loop-fs.ts';
import { until } from '../support/until.ts';
import { readDisk, violations } from './audit.ts';
import { Publisher } from './publisher.ts';

const possible = canLoop();

test.runIf(possible)(
  'an agent whose disk turns read-only ends with 74, says why when it is started again, and has lost nothing',
  async () => {
    await using fs = await LoopFs.create(64 * 1024 * 1024);
    await using agent = await AgentProcess.create({ dataDir: `${fs.path}/data` });
    await agent.start();
    const sensor = new Publisher('sensor', agent.mqttPort, { window: 20, bytes: 100 }).start();
    await until('PUBACKs', () => sensor.acked.length > 50);
    // As with a power cut, what is acknowledged from here on may speak of a sync that the abort overtook.
    const count = sensor.acked.length;
    await fs.turnReadOnly();
    expect((await agent.exited).code).toBe(74);
    expect(agent.log.at(-1)?.hint).toMatch(/dmesg/);

    await until('the connection to end', () => !sensor.connected);
    sensor.disown(count);

    agent.spawn();
    expect((await agent.exited).code).toBe(71);
    expect(agent.log.at(-1)?.hint).toMatch(/dmesg/);
    sensor.life = 1;
    await fs.powerUp();
    await agent.start();
    const acked = sensor.acked.length;
    await until('PUBACKs again', () => sensor.acked.length > acked);
    sensor.stop();
    await agent.stop();
    expect(violations(readDisk(agent.dataDir), [sensor])).toEqual([]);
  },
);

test('a store writes to its disk every 30 s, also an idle one', async () => {
  await using store = await new GatewayStore().open();
  const commits = (): number => store.jetstream.store.counters.commits;
  const idle = commits();
  store.clock.advance(29_000);
  store.settle();
  expect(commits()).toBe(idle);
  store.clock.advance(2_000);
  store.settle();
  expect(commits()).toBe(idle + 1);
  for (let i = 0; i < 60; i++) {
    store.publish('data.a', 'x');
    store.settle();
    store.clock.advance(1_000);
    store.settle();
  }
  // How long the agent has run is written besides the messages: a crash forgets no more of it.
  expect(commits()).toBe(idle + 1 + 60 + 2);
});

test('an idle store notices a disk that takes no more writes', async () => {
  await using store = await new GatewayStore().open();
  store.clock.advance(31_000);
  store.clock.turn();
  expect(store.fatal).toBeUndefined();
  store.disk?.finish(new Error('EROFS: read-only file system, fdatasync'));
  expect(store.fatal?.message).toContain('EROFS');
});
