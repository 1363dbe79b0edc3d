// One seed from begin to end: faults, then everything heals and the backlog must drain, then the audit.

import { seededRandom } from '../support/random.ts';
import { audit, type Evidence } from './audit.ts';
import { heal, unleash } from './faults.ts';
import { drawOptions, type Options } from './options.ts';
import { TRUE_START_MS, World } from './world.ts';

/** The backlog must be at the hub this long after the last fault. */
const CONVERGE_MS = 20 * 60_000;
const LIMITS_CHECK_MS = 30_000;

export interface Result {
  readonly seed: number;
  readonly options: Options;
  readonly problems: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  readonly lines: readonly string[];
  readonly evidence: Evidence;
  readonly simulatedMs: number;
}

export async function simulate(
  seed: number,
  change: Partial<Options> = {},
  draw = drawOptions,
): Promise<Result> {
  const options = { ...draw(seed), ...change };
  await using world = new World(options);
  const { clock } = world;
  if (options.clock === 'starts in 1970') clock.after(90_000, () => world.setClock());
  world.boot();
  const check = (): void => {
    world.checkLimits();
    clock.after(LIMITS_CHECK_MS, check);
  };
  check();
  const calm = unleash(world, seededRandom(seed * 31 + 6));
  await world.run(options.minutes * 60_000);
  calm();
  for (const publisher of world.publishers) publisher.quiet = true;
  if (world.meter !== null) world.meter.quiet = true;
  heal(world);
  // What the faults left behind on timers of their own (a clock to be set, a heal) is harmless.
  const healedMs = clock.monotonicMs();
  await converge(world, 'after the last fault');
  if (world.problems.length === 0) await lastWords(world);
  tally(world);
  const evidence = evidenceOf(world, healedMs);
  return {
    seed,
    options,
    problems: [...world.problems, ...audit(evidence)],
    counts: world.counts,
    lines: world.lines,
    evidence,
    simulatedMs: clock.monotonicMs(),
  };
}

async function converge(world: World, when: string): Promise<void> {
  const { clock, options } = world;
  // A hub without batches takes one message a round trip.
  const oneByOne = options.hub.atomic === false ? world.ledger.sent.size : 0;
  const endMs = clock.monotonicMs() + CONVERGE_MS + oneByOne * (4 * options.latencyMs + 50);
  while (!world.converged && clock.monotonicMs() < endMs) {
    await world.run(10_000, () => world.converged);
    heal(world);
    const conflict = world.gateway?.statuses.some(({ state }) => state === 'conflict') === true;
    if (conflict && options.faults.impostor !== undefined)
      world.soon(() => world.die('killed', 1_000));
    else if (conflict) return world.problem('a conflict with nobody');
  }
  if (world.converged) return;
  const { gateway, publishers } = world;
  const waiting = publishers.map(({ unacked }) => unacked);
  const full = gateway?.up === true ? String(gateway.jetstream.store.full) : '';
  world.problem(
    `no end ${when}: ${JSON.stringify({ up: gateway?.up, waiting, full, statuses: gateway?.statuses })}`,
  );
}

/** Some messages after everything has healed: they must arrive like on the first day, with the right time. */
async function lastWords(world: World): Promise<void> {
  for (const publisher of world.publishers) publisher.make(3);
  await world.run(1_000);
  world.meter?.write(2);
  await world.run(5_000);
  await converge(world, 'after the last words');
}

function tally(world: World): void {
  const { counters, batches, line } = world.hub;
  const all = { ...counters, ...batches.counters, ...line.counters };
  for (const [what, times] of Object.entries(all)) world.count(`hub: ${what}`, times);
  for (const { gap } of world.journal.entries) if (gap !== null) world.count(`gap: ${gap.reason}`);
  world.count('messages', world.ledger.sent.size);
}

function evidenceOf(world: World, healedMs: number): Evidence {
  const { ledger, journal, options } = world;
  const { faults, maxMsgs, maxAgeMs, discard, clock } = options;
  const reasons = new Set<string>();
  if (maxMsgs !== undefined && discard === 'old') reasons.add('max_msgs');
  if (maxAgeMs !== undefined) reasons.add('max_age');
  if (options.oversize) reasons.add('dead_letter');
  if (faults['bit flip in a record'] !== undefined) reasons.add('corrupt');
  // What the hub lost and is here no more.
  if (journal.lossCount > 0 || faults['bit flip in the WAL'] || faults['store put back'])
    reasons.add('lost');
  return {
    sent: [...ledger.sent.values()],
    entries: journal.entries,
    epochs: ledger.epochs,
    gapReasons: reasons,
    graceMs: options.graceMs,
    maxAgeMs,
    graceYields:
      maxMsgs !== undefined || maxAgeMs !== undefined || world.counts.has('refused 10047'),
    storeLostAtMs: journal.storeLostAtMs,
    timesHold: clock !== 'steps by years',
    timesHoldFromMs: healedMs + 5_000,
    trueStartMs: TRUE_START_MS,
  };
}
