// The order of system calls is what the acknowledgements of both directions rest on: here the kernel's own account of it
// is read, with devices of QoS 1 and 2 and of both versions.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess, ONE_STREAM } from '../support/agent-process.ts';
import { until } from '../support/until.ts';
import { Device, type DeviceOptions } from './mqtt-device.ts';
import { checkMqttTrace, mqttStraceWrapper, type MqttTraceReport } from './mqtt-trace.ts';
import { NO_FDATASYNC } from './mutants.ts';

const MESSAGES = 2_000;
const FEW = 60;
const SUBSCRIBING = ['data/#', 'line/#'];
/** Syncs as a card takes them, in microseconds, so that much is committed meanwhile; the longer ones for a machine so busy that nothing was. */
const SYNCS_US = [30_000, 300_000] as const;

function slowSync(us: number): string[] {
  return ['-e', `inject=fdatasync:delay_enter=${us}`];
}

const DEVICES: Readonly<Record<string, DeviceOptions>> = {
  many1: publishing(4, 1, 1_000, 'data/many1', MESSAGES),
  many2: publishing(5, 2, 1_000, 'data/many2', MESSAGES),
  line2: publishing(4, 2, 1_000, 'line/line2', MESSAGES),
  one2: publishing(5, 2, 1, 'data/one2', FEW),
  keeper: {
    version: 5,
    // One at a time: one that another replaces before the commit is never written.
    publishing: { qos: 1, window: 1, topics: ['kept/a'], retain: true, perLife: FEW },
  },
  sub2: { version: 4, subscribing: { filters: SUBSCRIBING, qos: 2 } },
  sub1: { version: 5, subscribing: { filters: SUBSCRIBING, qos: 1 } },
};

function publishing(
  version: 4 | 5,
  qos: 1 | 2,
  window: number,
  topic: string,
  perLife: number,
): DeviceOptions {
  return { version, publishing: { qos, window, topics: [topic], perLife } };
}

test('no acknowledgement, delivery or release leaves before the fdatasync that covers it', async () => {
  let { report, published } = await traced({});
  for (const us of SYNCS_US.slice(1)) {
    expect(report.violations).toEqual([]);
    if (report.commitsDuringSync === 0) ({ report, published } = await traced({}, us));
  }
  expect(report.violations).toEqual([]);
  expect(report.left).toMatchObject({
    connack: Object.keys(DEVICES).length,
    suback: 2,
    puback: MESSAGES + FEW,
    pubrec: 2 * MESSAGES + FEW,
    pubcomp: 2 * MESSAGES + FEW,
    publish: 2 * published,
    // To the subscriber with QoS 2, what was published with it.
    pubrel: 2 * MESSAGES + FEW,
  });
  expect(report.commitsDuringSync).toBeGreaterThan(0);
}, 300_000);

test('the same trace of an agent without the fdatasync is full of violations', async () => {
  const { report } = await traced(NO_FDATASYNC);
  expect(report.violations.length).toBeGreaterThan(MESSAGES);
}, 300_000);

async function traced(
  env: Readonly<Record<string, string>>,
  syncUs: number = SYNCS_US[0],
): Promise<{ report: MqttTraceReport; published: number }> {
  await using agent = await AgentProcess.create({ config: ONE_STREAM, env });
  const file = join(agent.dir, 'trace');
  agent.options = { ...agent.options, wrapper: [...mqttStraceWrapper(file), ...slowSync(syncUs)] };
  await agent.start();
  const devices = Object.entries(DEVICES).map(
    ([name, options]) => new Device(name, agent.mqttPort, options),
  );
  const subscribers = devices.filter(({ options }) => options.subscribing !== undefined);
  const publishers = devices.filter(({ options }) => options.publishing !== undefined);
  const heard = publishers.filter(({ options }) => options.publishing?.retain !== true);
  const published = (): number => heard.reduce((sum, { sent }) => sum + sent, 0);
  try {
    for (const each of subscribers) each.start();
    await until('the subscriptions', () => subscribers.every(({ subscribed }) => subscribed));
    for (const each of publishers) each.start();
    const total = 3 * MESSAGES + FEW;
    await until(
      'all deliveries',
      () =>
        publishers.every(({ sent, inFlight }) => sent > 0 && inFlight === 0) &&
        subscribers.every((each) => each.deliveries.length >= total && each.unreleased === 0),
      180_000,
    );
    expect(devices.flatMap(({ complaints }) => complaints)).toEqual([]);
  } finally {
    for (const each of devices) each.stop();
  }
  await agent.stop();
  const names = publishers.map(({ name }) => name);
  return { report: checkMqttTrace(file, agent.mqttPort, names), published: published() };
}
