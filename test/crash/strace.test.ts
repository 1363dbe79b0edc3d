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
const ALL_MS = 120_000;
/** Syncs as a card takes them, in microseconds, so that much is committed meanwhile; the longer ones for a machine so busy that nothing was. */
const SYNCS_US = [15_000, 150_000] as const;

function slowSync(us: number): string[] {
  return ['-e', `inject=fdatasync:delay_enter=${us}`];
}

test('no PUBACK, delivery or forwarding leaves before the fdatasync that covers its message', async () => {
  let report = await traced({});
  for (const us of SYNCS_US.slice(1)) {
    expect(report.violations).toEqual([]);
    if (report.commitsDuringSync === 0) report = await traced({}, us);
  }
  expect(report.violations).toEqual([]);
  expect(report.pubacks).toBe(MESSAGES);
  // All to the hub, and to a subscriber with QoS 1 what its queue could hold.
  expect(report.deliveries).toBeGreaterThan(MESSAGES + 500);
  expect(report.syncs).toBeGreaterThan(PUBLISHERS.one.total);
  // Some were committed while a sync was under way, or the hardest case has not been met.
  expect(report.commitsDuringSync).toBeGreaterThan(0);
}, 300_000);

test('the same trace of an agent without the fdatasync is full of violations', async () => {
  const report = await traced(NO_FDATASYNC);
  expect(report.pubacks).toBe(MESSAGES);
  expect(report.violations.length).toBeGreaterThan(report.pubacks / 2);
}, 300_000);

async function traced(
  env: Readonly<Record<string, string>>,
  syncUs: number = SYNCS_US[0],
): Promise<TraceReport> {
  const hub = await startNatsServer();
  try {
    return await runTraced(env, syncUs, hub.url);
  } finally {
    await hub.dispose();
  }
}

async function runTraced(
  env: Readonly<Record<string, string>>,
  syncUs: number,
  hub: string,
): Promise<TraceReport> {
  await using agent = await AgentProcess.create({ config: ONE_STREAM + forwardTo(hub), env });
  const file = join(agent.dir, 'trace');
  agent.options = { ...agent.options, wrapper: [...straceWrapper(file), ...slowSync(syncUs)] };
  await agent.start();
  const subscriber = await connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  await subscriber.subscribeAsync('data/#', { qos: 1 });
  const publishers = Object.entries(PUBLISHERS).map(([name, options]) =>
    new Publisher(name, agent.mqttPort, { bytes: 64, ...options }).start(),
  );
  const acked = (): number => publishers.reduce((sum, each) => sum + each.acked.length, 0);
  await until('all PUBACKs', () => acked() === MESSAGES, ALL_MS);
  const senders = Object.fromEntries(
    publishers.flatMap(({ name, localPorts }) => localPorts.map((port) => [port, name])),
  );
  await until(
    'the hub to have it all',
    async () => (await agent.confirmedSeq()) === MESSAGES,
    ALL_MS,
  );
  for (const publisher of publishers) publisher.stop();
  await subscriber.endAsync(true);
  await agent.stop();
  return checkTrace(file, senders);
}
