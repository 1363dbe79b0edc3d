// Says one script to two brokers and compares what every client heard, step by step; a script that differs is made
// shorter until nothing can be left out of it.

import { Actor, type Heard } from './mqtt-differential-actor.ts';
import { describeStep, type Script, type Step } from './mqtt-differential-script.ts';
import { RawClient } from './mqtt-raw.ts';
import { rawPublish } from './mqtt-raw-encode.ts';
import { forgive, plain, type Rule } from './mqtt-differential-rules.ts';

/** A broker at which a script can be run. */
export interface Target {
  readonly port: number;
  /** Resolves when everything that was published has reached the disk. */
  readonly settled?: () => Promise<void>;
}

/** Begins with a broker that knows nothing. */
export type Fresh = (script: Script) => Promise<Target & AsyncDisposable>;

export interface Difference {
  readonly step: number;
  readonly theirs: string;
  readonly ours: string;
}

export interface Compared {
  readonly difference: Difference | undefined;
  /** Names of the rules that were needed. */
  readonly forgiven: ReadonlySet<string>;
}

export const CLIENTS_MAX = 4;
/** Rounds of PINGREQ without anything new, after which nothing is on its way. */
const QUIET_ROUNDS = 2;

/** What each client heard at each step, and what a broker must never do. */
export interface Transcript {
  readonly heard: readonly (readonly (readonly Heard[])[])[];
  readonly faults: readonly string[];
}

export async function runScript(target: Target, script: Script): Promise<Transcript> {
  const actors = Array.from({ length: CLIENTS_MAX }, (_, i) => new Actor(target.port, `c${i}`));
  const heard: Heard[][][] = [];
  try {
    for (const step of script) {
      if (step.do === 'wait') await new Promise((resolve) => setTimeout(resolve, step.ms));
      else await actors[step.client]?.say(step);
      heard.push(await settle(target, actors));
    }
  } finally {
    for (const actor of actors) actor.destroy();
  }
  return { heard, faults: actors.flatMap(({ faults }) => faults) };
}

async function settle(target: Target, actors: readonly Actor[]): Promise<Heard[][]> {
  const heard: Heard[][] = actors.map(() => []);
  for (let quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
    await target.settled?.();
    for (const actor of actors) await actor.ping();
    if (actors.some(({ heardSomething }) => heardSomething)) quiet = -1;
    actors.forEach((actor, i) => heard[i]?.push(...actor.take()));
  }
  return heard;
}

export async function compare(
  { theirs, ours }: { theirs: Fresh; ours: Fresh },
  script: Script,
  rules: readonly Rule[],
): Promise<Compared> {
  const [expected, found] = await Promise.all(
    [theirs, ours].map(async (fresh) => {
      await using target = await fresh(script);
      return await runScript(target, script);
    }),
  );
  const forgiven = new Set<string>();
  if (expected === undefined || found === undefined) throw new Error('not run');
  for (const [i, step] of script.entries()) {
    const after = forgive(
      {
        step,
        before: script.slice(0, i),
        theirs: expected.heard[i] ?? [],
        ours: found.heard[i] ?? [],
      },
      rules,
      forgiven,
    );
    const [a, b] = [plain(after.theirs), plain(after.ours)];
    if (a !== b) return { difference: { step: i, theirs: a, ours: b }, forgiven };
    if (after.ends) break;
  }
  const fault = found.faults[0];
  if (fault === undefined) return { difference: undefined, forgiven };
  return { difference: { step: script.length - 1, theirs: '', ours: fault }, forgiven };
}

/** Leaves out of `script` whatever is not needed for a difference. */
export async function minimise(
  brokers: { theirs: Fresh; ours: Fresh },
  script: Script,
  rules: readonly Rule[],
): Promise<Script> {
  let shortest = script;
  for (
    let size = Math.ceil(script.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  )
    for (let at = 0; at < shortest.length;) {
      const shorter = [...shortest.slice(0, at), ...shortest.slice(at + size)];
      const { difference } = await compare(brokers, shorter, rules);
      if (difference === undefined) at += size;
      else shortest = shorter.slice(0, difference.step + 1);
    }
  return shortest;
}

export function report(script: Script, { step, theirs, ours }: Difference): string {
  const steps = script.slice(0, step + 1).map((each) => `  ${describeStep(each)}`);
  return `${steps.join('\n')}\ntheirs:\n${theirs}\nours:\n${ours}`;
}

/** Makes a broker forget what `script` has left there: sessions and retained messages. */
export async function cleanUp(port: number, script: Script): Promise<void> {
  const names = new Set(Array.from({ length: CLIENTS_MAX }, (_, i) => `c${i}`));
  const topics = new Set<string>();
  for (const step of script) note(step, names, topics);
  for (const clientId of names) {
    const { client } = await RawClient.connect(port, { version: 4, clientId });
    // The Wills of sessions that end here come before the last client clears the topics.
    if (clientId === [...names].at(-1))
      for (const topic of topics) client.send(rawPublish(4, { topic, data: '', retain: true }));
    await client.ping();
    client.send(Buffer.from([0xe0, 0]));
    await client.expectClosed();
  }
}

function note(step: Step, names: Set<string>, topics: Set<string>): void {
  if (step.do === 'connect' && step.clientId !== undefined && step.clientId !== '')
    names.add(step.clientId);
  // Also where it is not retained: an alias of it may be.
  if (step.do === 'publish' && step.topic !== '') topics.add(step.topic);
  if (step.do === 'connect' && step.will?.retain === true) topics.add(step.will.topic);
}
