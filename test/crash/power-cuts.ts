// The power-cut campaign: one store on a file system of its own, whose power is cut at a moment of chance, again and
// again. Publishers outside keep the account.

import { AgentProcess, type AgentOptions } from '../support/agent-process.ts';
import { LoopFs } from '../support/loop-fs.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { lostCount, readDisk, violations } from './audit.ts';
import { chance, databaseWritten } from './moments.ts';
import { Publisher } from './publisher.ts';

const DISK_BYTES = 400 * 1024 * 1024;
/** From the first PUBACK of a round to the cut. */
const RUN_MS = 300;
/** In one round of so many the power goes while the agent starts. */
const DURING_START_EVERY = 5;
const START_MS = 600;
/** In one of so many it goes in the middle of a checkpoint. */
const CHECKPOINT_EVERY = 4;

export interface CutReport {
  readonly cuts: number;
  readonly acked: number;
  readonly stored: number;
  readonly lost: number;
  /** PUBACKs that came while the power was being cut, and how many of those messages are not there. */
  readonly disowned: number;
  readonly disownedLost: number;
  /** Rounds whose agent had noticed and ended by itself, because the disk had failed. */
  readonly noticed: number;
  /** Cuts in the middle of a checkpoint. */
  readonly checkpoints: number;
  readonly violations: readonly string[];
}

export interface CutOptions {
  readonly cuts: number;
  readonly random: Random;
  readonly agent?: AgentOptions;
  /** Audit after each cut, and stop at the first loss. */
  readonly untilLost?: boolean;
  readonly onCut?: (cut: number, acked: number) => void;
}

/** Cuts as often as asked; audits the disk at the end. */
export async function runCuts(options: CutOptions): Promise<CutReport> {
  await using fs = await LoopFs.create(DISK_BYTES);
  await using agent = await AgentProcess.create({ ...options.agent, dataDir: `${fs.path}/data` });
  const publishers = [
    new Publisher('one', agent.mqttPort, { window: 1, bytes: 32 }),
    new Publisher('few', agent.mqttPort, { window: 20, bytes: 200 }),
    new Publisher('many', agent.mqttPort, { window: 200, bytes: 100 }),
  ];
  const bulk = new Publisher('bulk', agent.mqttPort, { window: 64, bytes: 16_000 });
  const all = [...publishers, bulk];
  const acked = (): number => all.reduce((sum, each) => sum + each.acked.length, 0);
  let [noticed, cuts, checkpoints] = [0, 0, 0];
  for (const publisher of publishers) publisher.start();
  while (cuts < options.cuts) {
    cuts++;
    for (const publisher of all) publisher.life = cuts;
    await fs.armCut();
    if (cuts % CHECKPOINT_EVERY === 0) {
      await runToCheckpoint(agent, bulk);
      checkpoints++;
    } else {
      await runToCut(agent, cuts, acked, options.random);
    }
    // The account closes here: later PUBACKs may speak of a sync that the cut overtook.
    const counts = all.map((each) => each.acked.length);
    await fs.cut();
    bulk.stop();
    const { code } = await agent.kill();
    // What started on a disk that was already gone may not have got as far as trusting it.
    if (code === 74 || code === 71) noticed++;
    else if (code !== null) throw new Error(`the agent ended with ${code}:\n${agent.output}`);
    await until('all connections to end', () => all.every((each) => !each.connected));
    all.forEach((each, i) => each.disown(counts[i] ?? 0));
    await fs.powerUp();
    options.onCut?.(cuts, acked());
    if (options.untilLost && lostCount(readDisk(agent.dataDir), all) > 0) break;
  }
  for (const publisher of all) publisher.stop();
  const disk = readDisk(agent.dataDir);
  return {
    cuts,
    acked: acked(),
    stored: disk.messages.length,
    lost: lostCount(disk, all),
    disowned: all.reduce((sum, each) => sum + each.disowned.length, 0),
    disownedLost: lostCount(
      disk,
      all.map(({ name, disowned }) => ({ name, acked: disowned })),
    ),
    noticed,
    checkpoints,
    violations: violations(disk, all),
  };
}

/** One start, until a checkpoint writes the first page into the database. */
async function runToCheckpoint(agent: AgentProcess, bulk: Publisher): Promise<void> {
  await agent.start();
  const checkpointing = databaseWritten(agent.dataDir);
  bulk.start();
  await checkpointing;
}

/** One start, from power on to just before it is cut. */
async function runToCut(
  agent: AgentProcess,
  round: number,
  acked: () => number,
  random: Random,
): Promise<void> {
  if (round % DURING_START_EVERY === 0) {
    agent.spawn();
    await chance(random, START_MS);
    return;
  }
  const before = acked();
  await agent.start();
  await until('a PUBACK', () => acked() > before);
  await chance(random, RUN_MS);
}
