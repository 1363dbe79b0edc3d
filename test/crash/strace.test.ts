// The order of system calls is what an acknowledgement rests on: here the kernel's own account of it is read.

import { connectAsync } from 'mqtt';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess, forwardTo, ONE_STREAM } from '../support/agent-process.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { NO_FDATASYNC } from './mutants.ts';
import { Publisher } from './publisher.ts';
import { checkTrace, straceWrapper, type TraceReport } from './trace.ts';

/** Messages of each publisher, and its window: two large ones bring commits while a sync runs. */
const PUBLISHERS = {
  one: { total: 150, window: 1 },
  many: { total: 6_000, window: 1_000 },
  more: { total: 6_000, window: 1_000 },
};
const MESSAGES = 12_150;
/** A sync as a card takes it, so that much is committed meanwhile. */
const SLOW_SYNC = ['-e', 'inject=fdatasync:delay_enter=15000'];

test('no PUBACK, delivery or forwarding leaves before the fdatasync that covers its message', async () => {
  const report = await traced({});
  expect(report.violations).toEqual([]);
  expect(report.pubacks).toBe(MESSAGES);
  // All to the hub, and to a subscriber with QoS 1 what its queue could hold.
  expect(report.deliveries).toBeGreaterThan(MESSAGES + 500);
  expect(report.syncs).toBeGreaterThan(PUBLISHERS.one.total);
  // Some were committed while a sync was under way, or the hardest case has not been met.
  expect(report.commitsDuringSync).toBeGreaterThan(0);
}, 60_000);

test('the same trace of an agent without the fdatasync is full of violations', async () => {
  const report = await traced(NO_FDATASYNC);
  expect(report.pubacks).toBe(MESSAGES);
  expect(report.violations.length).toBeGreaterThan(report.pubacks / 2);
}, 60_000);

async function traced(env: Readonly<Record<string, string>>): Promise<TraceReport> {
  const hub = await startNatsServer();
  try {
    return await runTraced(env, hub.url);
  } finally {
    await hub.dispose();
  }
}

async function runTraced(env: Readonly<Record<string, string>>, hub: string): Promise<TraceReport> {
  await using agent = await AgentProcess.create({ config: ONE_STREAM + forwardTo(hub), env });
  const file = join(agent.dir, 'trace');
  agent.options = { ...agent.options, wrapper: [...straceWrapper(file), ...SLOW_SYNC] };
  await agent.start();
  const subscriber = await connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  await subscriber.subscribeAsync('data/#', { qos: 1 });
  const publishers = Object.entries(PUBLISHERS).map(([name, options]) =>
    new Publisher(name, agent.mqttPort, { bytes: 64, ...options }).start(),
  );
  const acked = (): number => publishers.reduce((sum, each) => sum + each.acked.length, 0);
  await until('all PUBACKs', () => acked() === MESSAGES);
  const senders = Object.fromEntries(
    publishers.flatMap(({ name, localPorts }) => localPorts.map((port) => [port, name])),
  );
  await until('the hub to have it all', async () => (await agent.confirmedSeq()) === MESSAGES);
  for (const publisher of publishers) publisher.stop();
  await subscriber.endAsync(true);
  await agent.stop();
  return checkTrace(file, senders);
}
