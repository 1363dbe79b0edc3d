// The kill campaign: one store, one agent after the other on it, each ended by SIGKILL at a moment of chance: while it
// starts, while messages come in, in the middle of a checkpoint. Publishers outside keep the account.

import { AgentProcess, type AgentOptions } from '../support/agent-process.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { readDisk, violations, type Disk } from './audit.ts';
import { chance, databaseWritten } from './moments.ts';
import { Publisher } from './publisher.ts';

/** Every so many rounds the kill waits for a checkpoint. */
const CHECKPOINT_EVERY = 10;
/** One round in two is killed while it still starts or has just started. */
const START_MS = 900;
/** The others run so long at most after the start. */
const RUN_MS = 150;

export interface KillReport {
  readonly rounds: number;
  readonly acked: number;
  readonly stored: number;
  /** Rounds that ended before the agent was up, with messages in flight, and while the database file was written. */
  readonly duringStart: number;
  readonly inTraffic: number;
  readonly duringCheckpoint: number;
  readonly violations: readonly string[];
}

export interface KillOptions {
  readonly rounds: number;
  readonly random: Random;
  readonly agent?: AgentOptions;
  readonly onRound?: (round: number, acked: number) => void;
}

/** Kills as often as asked, and audits the disk at the end. */
export async function runKills({
  rounds,
  random,
  agent: options,
  onRound,
}: KillOptions): Promise<KillReport> {
  await using agent = await AgentProcess.create(options);
  const publishers = [
    new Publisher('one', agent.mqttPort, { window: 1, bytes: 32 }),
    new Publisher('few', agent.mqttPort, { window: 20, bytes: 64 }),
    new Publisher('many', agent.mqttPort, { window: 200, bytes: 128 }),
  ];
  const bulk = new Publisher('bulk', agent.mqttPort, { window: 64, bytes: 16_384 });
  let [duringStart, inTraffic, duringCheckpoint] = [0, 0, 0];
  const all = [...publishers, bulk];
  const acked = (): number => all.reduce((sum, publisher) => sum + publisher.acked.length, 0);
  for (const publisher of publishers) publisher.start();
  for (let round = 1; round <= rounds; round++) {
    for (const publisher of all) publisher.life = round;
    if (round % CHECKPOINT_EVERY === 0) {
      await agent.start();
      const checkpointing = databaseWritten(agent.dataDir);
      bulk.start();
      await checkpointing;
      duringCheckpoint++;
    } else if (round % 2 === 0) {
      agent.spawn();
      await chance(random, START_MS);
    } else {
      await agent.start();
      await until('a PUBACK', () => publishers.every(({ connected }) => connected));
      await chance(random, RUN_MS);
    }
    if (!agent.output.includes('"the agent is running"')) duringStart++;
    if (all.some(({ inFlight }) => inFlight > 0)) inTraffic++;
    const exit = await agent.kill();
    bulk.stop();
    if (exit.signal !== 'SIGKILL')
      throw new Error(`start ${round} ended by itself, ${JSON.stringify(exit)}:\n${agent.output}`);
    onRound?.(round, acked());
  }
  // The account closes when the last bytes from the last agent have been read.
  await until('all connections to end', () => all.every(({ connected }) => !connected));
  for (const publisher of all) publisher.stop();
  const disk = await startOnceMore(agent);
  return {
    rounds,
    acked: acked(),
    stored: disk.messages.length,
    duringStart,
    inTraffic,
    duringCheckpoint,
    violations: violations(disk, all),
  };
}

/** What a last agent leaves behind that started on the ruins and stopped in good order. */
async function startOnceMore(agent: AgentProcess): Promise<Disk> {
  await agent.start();
  const { code } = await agent.stop();
  if (code !== 0) throw new Error(`the last agent ended with ${code}:\n${agent.output}`);
  return readDisk(agent.dataDir);
}
