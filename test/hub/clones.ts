// A cloned card: a second machine runs from a copy of the first one's data directory, under the same name. This plays it
// on a rig, up to the day when the operator has given the machine that stopped a name of its own.

import { health } from '../../src/status.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { audit, verdict, type Ledger, type HubRecord } from '../support/audit.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { forwardLines, lasting, type GatewayRig } from './gateway-rig.ts';
import { copy } from './hub-stores.ts';
import type { Rig } from './rig.ts';
import { burst, SerialTraffic } from './traffic.ts';

/** How long the clone has the hub to itself where the first machine is idle. */
const ALONE_MS = 2_000;
/** What both have to bring, and its size: more than one batch of any kind. */
const BACKLOG = { messages: 6_000, bytes: 300 };
/** Messages per second of each machine. */
const RATE = 200;

export const CONFLICT = 'another gateway sends under our name';

/**
 * How the first machine is when its card is copied: it sends all the time, it rests until the clone has sent, or the link is
 * down and both then bring the same backlog.
 */
export const SITUATIONS = ['load', 'rest', 'backlog'] as const;
export type Situation = (typeof SITUATIONS)[number];

export interface CloneOptions {
  /** The name that the operator gives the one that stopped. */
  readonly newName: string;
  readonly situation: Situation;
}

export interface CloneOutcome {
  /** From the moment when both had something to send. */
  readonly noticedMs: number;
  /** Which of them stopped; both is possible where neither can fence what it sends. */
  readonly stopped: readonly ('first' | 'clone')[];
  /** Keys that lay in both stores: they may come once under each name. */
  readonly shared: ReadonlySet<string>;
}

/**
 * Clones the gateway of `rig`, waits until one has noticed, checks that it says so and goes on storing, and gives it
 * another name. The winner is the rig's gateway afterwards; what both had taken in is at the hub.
 */
export async function cloneCard(
  rig: Rig,
  { newName, situation }: CloneOptions,
): Promise<CloneOutcome> {
  const servers = [rig.proxy.url];
  if (situation === 'rest') await rig.agent.drained();
  if (situation === 'load') {
    rig.startTraffic(RATE);
    await rig.confirmed(100);
  }
  if (situation === 'backlog') {
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await until('the link to be down', () => !rig.link.connected);
    const { messages, bytes } = BACKLOG;
    await burst(rig.agent, rig.ledger, messages, { source: `${newName}-backlog`, bytes });
  }
  const dir = new GatewayDir();
  copy(rig.dir.dataDir, dir.dataDir);
  const shared = new Set([...rig.ledger.all()].map(([key]) => key));
  const forward = forwardLines(rig.forward);
  dir.configure({ servers, forward });
  const first = { name: 'first' as const, agent: rig.agent, dir: rig.dir };
  const clone = { name: 'clone' as const, agent: await TestAgent.start(dir), dir };
  const both = [first, clone];
  const source = `${newName}-clone`;
  const { ledger } = rig;
  const random = seededRandom(randomInt(rig.random, 1e9));
  const sending = new SerialTraffic(ledger, () => clone.agent, { source, random, rate: RATE });
  if (situation === 'backlog') {
    await rig.proxy.restore();
    // It may be drained before either has anything of its own.
    await rig.confirmed(BACKLOG.messages / 10);
  }
  sending.start();
  if (situation === 'rest') await lasting(ALONE_MS);
  if (situation !== 'load') rig.startTraffic(RATE);
  await until(
    'both to have something to send',
    () => clone.agent.status().pending > 0 || clone.agent.status().confirmedSeq > 0,
  );
  const sinceMs = performance.now();
  const conflicts = () => both.filter(({ agent }) => agent.status().state === 'conflict');
  await until('one of them to notice', () => conflicts().length > 0, 60_000);
  const noticedMs = performance.now() - sinceMs;
  for (const { agent } of conflicts()) await saysSo(agent, rig);
  await rig.stopTraffic();
  await sending.stop();
  const losers = conflicts();
  const loser = losers.at(-1) ?? clone;
  const winner = loser === first ? clone : first;
  await loser.agent.stop();
  // Where both had stopped, a restart tells the one that keeps the name that all is well.
  const restart = winner.agent.status().state === 'conflict';
  if (restart) await winner.agent.stop();
  rig.adopt(restart ? await TestAgent.start(winner.dir) : winner.agent, winner.dir);
  await rig.agent.drained(60_000);
  loser.dir.configure({ servers, forward, name: newName });
  const renamed = await TestAgent.start(loser.dir);
  await renamed.drained(60_000);
  await renamed.stop();
  loser.dir.remove();
  return { noticedMs, stopped: losers.map(({ name }) => name), shared };
}

/** It has told the operator what to do, and still takes what devices send. */
async function saysSo(agent: TestAgent, { ledger, random }: GatewayRig): Promise<void> {
  const [line] = agent.said(CONFLICT);
  if (line?.hint?.includes('gateway.name') !== true) throw new Error('it says not what to do');
  if (health(agent.agent.parts).ok) throw new Error('/healthz says that all is well');
  await burst(agent, ledger, 20, { source: `kept${randomInt(random, 1e9)}` });
}

/**
 * What is wrong with what several gateways have sent, some of them clones of one another: each name's messages are in
 * order and none is there twice, and everything acknowledged is there under one name or, where it was in both stores, two.
 */
export function auditFleet(
  ledger: Ledger,
  found: readonly HubRecord[],
  names: readonly string[],
  shared: ReadonlySet<string>,
): string[] {
  const findings: string[] = [];
  const seen = new Map<string, number>();
  for (const name of names) {
    const theirs = found.filter(({ subject }) => subject.split('.')[1] === name);
    for (const { data } of theirs) {
      const key = data.toString('latin1', 0, 80).split(' ')[0] ?? '';
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    const options = { gateway: name, restored: true, excused: () => true };
    findings.push(...verdict(audit(ledger, theirs, options)).map((text) => `${name}: ${text}`));
  }
  for (const [key, { acked }] of ledger.all()) {
    const times = seen.get(key) ?? 0;
    if (acked && times === 0) findings.push(`lost: ${key}`);
    if (times > 1 && !shared.has(key)) findings.push(`under two names: ${key}`);
  }
  return findings.slice(0, 20);
}
