// Swarm testing: each seed draws which faults are on and how often they come, so that no fault hides behind another.

import type { Mode } from '../../sync/choose-way.ts';
import type { ModelConfig } from '../support/hub-model.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';

export const FAULTS = [
  'kill',
  'power cut',
  'power cut in a checkpoint',
  'stop',
  'failed sync',
  'stalled disk',
  'full disk',
  'store put back',
  'bit flip in the WAL',
  'bit flip in a record',
  'clock step',
  'wan cut',
  'black hole',
  'lossy wan',
  'election',
  'hub restart',
  'hub rolled back',
  'hub stream recreated',
  'hub purged',
  'hub full',
  'hub removes',
  'other gateways',
  'message by hand',
  'impostor',
  'unplug',
] as const;
/**
 * An ambush waits for a fast batch, and then breaks the link, kills a process or changes the leader in the midst of it.
 * A cut after a confirmation comes before the mark is on the disk, or soon after.
 */
export type Fault = (typeof FAULTS)[number] | 'ambush' | 'cut after a confirmation';

/** Faults after which a message may rightly be missing or be there twice: on in few seeds, so that most are strict. */
const EXCUSING: readonly Fault[] = [
  'store put back',
  'bit flip in the WAL',
  'bit flip in a record',
  'hub rolled back',
  'hub stream recreated',
  'hub purged',
  'impostor',
];

export interface Options {
  readonly seed: number;
  readonly minutes: number;
  /** Times an hour. */
  readonly faults: Partial<Record<Fault, number>>;
  readonly publishers: readonly {
    withId: boolean;
    everyMs: number;
    burst: number;
    bytes: number;
  }[];
  readonly serialEveryMs: number | null;
  readonly clock: 'right' | 'starts in 1970' | 'steps by years';
  readonly commitIntervalMs: number;
  readonly syncMs: readonly [number, number];
  readonly diskBytes: number;
  readonly maxMsgs: number | undefined;
  readonly maxAgeMs: number | undefined;
  readonly discard: 'old' | 'new';
  readonly graceMs: number;
  readonly oversize: boolean;
  readonly hub: Partial<ModelConfig>;
  /** `fast` opens a fast batch for two messages, `auto` for thousands. */
  readonly mode: Mode;
  readonly latencyMs: number;
  /** From a proposal to its commit, on three replicas. */
  readonly commitMs: number;
}

export function drawOptions(seed: number): Options {
  const random = seededRandom(seed * 7919 + 17);
  const chance = (p: number): boolean => random() < p;
  const faults: Partial<Record<Fault, number>> = {};
  for (const fault of FAULTS) {
    const on = chance(EXCUSING.includes(fault) ? 0.12 : 0.4);
    const perHour = Math.round(60 ** random() * 10) / 10;
    if (on) faults[fault] = EXCUSING.includes(fault) ? Math.min(perHour, 8) : perHour;
  }
  const publishers = Array.from({ length: 1 + randomInt(random, 3) }, () => ({
    withId: chance(0.6),
    everyMs: 2_000 + randomInt(random, 30_000),
    burst: 1 + randomInt(random, chance(0.2) ? 100 : 8),
    bytes: 20 + randomInt(random, chance(0.3) ? 3_000 : 200),
  }));
  const oversize = chance(0.1);
  return {
    seed,
    minutes: 20 + randomInt(random, 70),
    faults,
    publishers,
    serialEveryMs: chance(0.4) ? 1_000 + randomInt(random, 20_000) : null,
    clock: pick(random, ['right', 'starts in 1970', 'steps by years']),
    commitIntervalMs: chance(0.3) ? 1 + randomInt(random, 20) : 0,
    syncMs: pick(random, [
      [0.2, 2],
      [1, 40],
      [20, 2_000],
    ]),
    diskBytes: (4 + randomInt(random, 28)) * 1024 * 1024,
    maxMsgs: chance(0.2) ? 50 + randomInt(random, 1_000) : undefined,
    maxAgeMs: chance(0.15) ? 60_000 * (2 + randomInt(random, 40)) : undefined,
    discard: chance(0.3) ? 'new' : 'old',
    graceMs: 600_000,
    oversize,
    hub: drawHub(random, oversize),
    latencyMs: 1 + randomInt(random, 300),
    commitMs: 2,
    mode: 'auto',
  };
}

/** The same seed with fast batches, often, and troubles in the midst of them. */
export function drawFastOptions(seed: number): Options {
  const options = drawOptions(seed);
  const { faults, publishers, minutes } = options;
  return {
    ...options,
    mode: 'fast',
    commitMs: 2 + ((seed * 37) % 120),
    // Every message that is set aside waits for the disk.
    syncMs: options.oversize ? [1, 40] : options.syncMs,
    minutes: Math.min(minutes, 25),
    faults: { ...faults, ambush: 120 },
    publishers: publishers.map((order) => ({ ...order, burst: Math.max(order.burst, 40) })),
  };
}

/** The same seed with a hub that removes nothing by itself, and with deaths soon after its confirmations. */
export function drawLateOptions(seed: number): Options {
  const options = drawOptions(seed);
  const { retention: _, discard: __, maxMsgs: ___, maxAgeMs: ____, ...hub } = options.hub;
  const { 'hub purged': purged = 2, ...faults } = options.faults;
  return {
    ...options,
    hub,
    mode: seed % 2 === 0 ? 'fast' : 'auto',
    minutes: Math.min(options.minutes, 25),
    faults: {
      ...faults,
      ...(seed % 4 === 0 ? { 'hub purged': purged } : {}),
      'cut after a confirmation': 60,
    },
  };
}

function drawHub(random: Random, oversize: boolean): Partial<ModelConfig> {
  const removes = pick(random, ['no', 'no', 'no', 'age', 'limit', 'consumers'] as const);
  return {
    replicas: random() < 0.5 ? 1 : 3,
    duplicateWindowMs: random() < 0.8 ? 1_000 + randomInt(random, 1_000) : 120_000,
    atomic: random() < 0.85 || removes !== 'no',
    batched: true,
    ttl: random() < 0.8 || removes !== 'no',
    maxMsgSize: oversize ? 2_500 : 0,
    ...(removes === 'age' ? { maxAgeMs: 30_000 + randomInt(random, 600_000) } : {}),
    ...(removes === 'limit' ? { discard: 'old', maxMsgs: 20 + randomInt(random, 500) } : {}),
    ...(removes === 'consumers' ? { retention: 'workqueue' } : {}),
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  const one = from[randomInt(random, from.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}
