// The kill and the power-cut campaign for programs that use JetStream over the wire: one store, one agent after the other
// on it, each ended at a moment of chance while the actors work.

import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { AgentOptions } from '../support/agent-process.ts';
import { LoopFs } from '../support/loop-fs.ts';
import { natsAgentProcess, type NatsAgentProcess } from '../support/nats-agent-process.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { allActors, type Account, type Actor } from './jetstream-actors.ts';
import { chance } from './moments.ts';

const DISK_BYTES = 400 * 1024 * 1024;
/** A life lasts so long at most after the actors have connected. */
const RUN_MS = 500;
/** In one round of so many the agent goes while it starts. */
const DURING_START_EVERY = 6;
const START_MS = 500;
const REQUEST_MS = 10_000;
const PROMISED_MS = 60_000;
/** Disk failures that the agent noticed by itself. */
const NOTICED = new Set<number | null>([71, 74]);

export interface CrashReport {
  readonly rounds: number;
  /** Promises given, by actor. */
  readonly promises: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
}

export interface CrashOptions {
  readonly rounds: number;
  readonly random: Random;
  readonly agent?: AgentOptions;
  readonly actors?: readonly Actor[];
}

/** Ends the agent with SIGKILL. */
export async function runJetStreamKills(options: CrashOptions): Promise<CrashReport> {
  const own = await natsAgentProcess(options.agent);
  try {
    return await run(options, own, {
      prepare: () => Promise.resolve(),
      crash: async () => void (await own.agent.kill()),
    });
  } finally {
    await own.agent.dispose();
  }
}

/** Cuts the power of a disk that holds nothing else. Linux and root. */
export async function runJetStreamCuts(options: CrashOptions): Promise<CrashReport> {
  await using fs = await LoopFs.create(DISK_BYTES);
  const own = await natsAgentProcess({ ...options.agent, dataDir: `${fs.path}/data` });
  try {
    return await run(options, own, {
      prepare: () => fs.armCut(),
      crash: async () => {
        await fs.cut();
        const { code } = await own.agent.kill();
        if (code !== null && !NOTICED.has(code))
          throw new Error(`the agent ended with ${code}:\n${own.agent.output}`);
        await fs.powerUp();
      },
    });
  } finally {
    await own.agent.dispose();
  }
}

interface Crash {
  prepare(): Promise<void>;
  crash(): Promise<void>;
}

async function run(
  { rounds, random, actors = allActors() }: CrashOptions,
  own: NatsAgentProcess,
  how: Crash,
): Promise<CrashReport> {
  const { agent, port } = own;
  await agent.start();
  await withConnection(port, async (nc) => {
    for (const actor of actors) await actor.setUp(nc);
  });
  await agent.stop();
  const violations: string[] = [];
  for (let round = 1; round <= rounds && violations.length === 0; round++) {
    await how.prepare();
    const account: Account = { open: true };
    if (round % DURING_START_EVERY === 0) {
      agent.spawn();
      await chance(random, START_MS);
      await how.crash();
      continue;
    }
    await agent.start();
    const lives = actors.map((actor) => live(actor, port, account));
    if (round === 1) await promised(actors, lives);
    await chance(random, RUN_MS);
    // Before the power goes: what is answered from here on may rest on nothing.
    account.open = false;
    await how.crash();
    violations.push(...(await Promise.all(lives)).flat());
  }
  await agent.start();
  await withConnection(port, async (nc) => {
    const audits = actors.map(async (actor) => {
      // A store that has lost what it had may not even answer.
      const found = await actor.audit(nc).catch((error: unknown) => [String(error)]);
      violations.push(...found.map((text) => `${actor.name}: ${text}`));
    });
    await Promise.all(audits);
  });
  const { code } = await agent.stop();
  if (code !== 0) violations.push(`the last agent ended with ${code}:\n${agent.output}`);
  const promises = Object.fromEntries(actors.map(({ name, promises: count }) => [name, count]));
  return { rounds, promises, violations };
}

/** Resolves when each has been promised something, however busy the machine is, or none is left to be. */
async function promised(
  actors: readonly Actor[],
  lives: readonly Promise<readonly string[]>[],
): Promise<void> {
  let over = false;
  const end = Promise.all(lives).then(() => (over = true));
  const all = (): boolean => over || actors.every(({ promises }) => promises > 0);
  await Promise.race([until('a promise to each', all, PROMISED_MS), end]);
}

/** One actor until its connection ends. An answer that says no is a violation, a lost connection is not. */
async function live(actor: Actor, port: number, account: Account): Promise<string[]> {
  const nc = await open(port).catch(() => undefined);
  if (nc === undefined) return [];
  try {
    await actor.live(nc, account);
    return [];
  } catch (error) {
    return account.open && !nc.isClosed() ? [`${actor.name} was refused: ${String(error)}`] : [];
  } finally {
    await nc.close().catch(() => undefined);
  }
}

function open(port: number): Promise<NatsConnection> {
  return connect({ servers: `127.0.0.1:${port}`, reconnect: false, timeout: REQUEST_MS });
}

async function withConnection<T>(
  port: number,
  body: (nc: NatsConnection) => Promise<T>,
): Promise<T> {
  const nc = await open(port);
  try {
    return await body(nc);
  } finally {
    await nc.close();
  }
}
