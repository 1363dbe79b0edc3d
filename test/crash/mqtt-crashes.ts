// The crash campaigns of the MQTT side: one store, one agent after the other on it, each ended at a moment of chance by
// SIGKILL, or with the power of its disk; devices outside continue their sessions each time.

import { natsAgentProcess } from '../support/nats-agent-process.ts';
import { ONE_STREAM, type AgentOptions } from '../support/agent-process.ts';
import { LoopFs } from '../support/loop-fs.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { chance } from './moments.ts';
import { MqttPlant } from './mqtt-plant.ts';

/** One round in three is ended while the agent still starts or has just started. */
const START_EVERY = 3;
const START_MS = 900;
/** The others run so long at most once everybody is connected. */
const RUN_MS = 150;
const DRAIN_MS = 60_000;
const DISK_BYTES = 400 * 1024 * 1024;

export interface MqttCrashReport {
  readonly rounds: number;
  readonly sent: number;
  readonly delivered: number;
  /** Rounds that ended with messages on their way. */
  readonly inTraffic: number;
  /** Sessions continued, deliveries repeated with DUP, PUBRECs repeated, looks at retained messages. */
  readonly resumed: number;
  readonly dup: number;
  readonly releasedAgain: number;
  readonly retainedLooks: number;
  readonly violations: readonly string[];
}

export interface MqttCrashOptions {
  readonly rounds: number;
  readonly random: Random;
  readonly agent?: AgentOptions;
  readonly onRound?: (round: number) => void;
  /** How long everything may take to arrive at the end. */
  readonly drainMs?: number;
}

/** SIGKILL as often as asked, and an audit at the end. */
export async function runMqttKills(options: MqttCrashOptions): Promise<MqttCrashReport> {
  const { agent, port } = await natsAgentProcess({ config: ONE_STREAM, ...options.agent });
  await using _ = agent;
  const plant = new MqttPlant(agent, port, options.random);
  return await run(plant, options, {
    start: (waits) => (waits ? agent.start() : agent.spawn()),
    crash: async () => {
      const exit = await agent.kill();
      if (exit.signal !== 'SIGKILL')
        throw new Error(`an agent ended by itself, ${JSON.stringify(exit)}:\n${agent.output}`);
    },
    stop: async () => void (await agent.stop()),
  });
}

/** Cuts the power of the disk as often as asked, and audits at the end. */
export async function runMqttCuts(options: MqttCrashOptions): Promise<MqttCrashReport> {
  await using fs = await LoopFs.create(DISK_BYTES);
  const { agent, port } = await natsAgentProcess({
    config: ONE_STREAM,
    ...options.agent,
    dataDir: `${fs.path}/data`,
  });
  await using _ = agent;
  const plant = new MqttPlant(agent, port, options.random);
  return await run(plant, options, {
    start: async (waits) => {
      await fs.armCut();
      if (waits) await agent.start();
      else agent.spawn();
    },
    crash: async () => {
      // The account closes here: what is said from now on may speak of a sync that the cut overtook.
      plant.freeze();
      await fs.cut();
      await agent.kill();
      await fs.powerUp();
    },
    stop: async () => void (await agent.stop()),
  });
}

interface Life {
  /** Resolves when the agent is up, or at once. */
  readonly start: (waits: boolean) => unknown;
  readonly crash: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

async function run(
  plant: MqttPlant,
  { rounds, random, onRound, drainMs = DRAIN_MS }: MqttCrashOptions,
  { start, crash, stop }: Life,
): Promise<MqttCrashReport> {
  let inTraffic = 0;
  try {
    await start(true);
    await plant.begin();
    for (let round = 1; round <= rounds; round++) {
      if (round > 1) {
        plant.newLife(round);
        await start(round % START_EVERY !== 0);
      }
      if (round > 1 && round % START_EVERY === 0) await chance(random, START_MS);
      else await traffic(plant, random);
      if (plant.busy) inTraffic++;
      await crash();
      onRound?.(round);
    }
    await until('all connections to end', () => plant.all.every(({ closed }) => closed));
    await start(true);
    await plant.drain(drainMs);
  } finally {
    plant.freeze();
  }
  await stop();
  const sum = (count: (each: (typeof plant.devices)[number]) => number): number =>
    plant.devices.reduce((total, each) => total + count(each), 0);
  return {
    rounds,
    sent: sum(({ sent }) => sent) + plant.nats.sent,
    delivered: sum(({ deliveries }) => deliveries.length),
    inTraffic,
    resumed: sum(({ seen }) => seen.resumed),
    dup: sum(({ seen }) => seen.dup),
    releasedAgain: sum(({ seen }) => seen.releasedAgain),
    retainedLooks: plant.retainedLooks,
    violations: plant.audit(),
  };
}

async function traffic(plant: MqttPlant, random: Random): Promise<void> {
  await until('a publisher', () => plant.publishers.some(({ connected }) => connected));
  if (random() < 0.5) await plant.lookAtRetained();
  await chance(random, RUN_MS);
}
