// Faults of the link, the hub and the process, drawn from a seed, against one forwarder and a scripted hub. Two parts, as in
// the larger simulation: faults, then everything heals and the backlog must drain within a bound.

import { expect } from 'vitest';
import { pino } from 'pino';
import type { Wishes } from '../../sync/choose-way.ts';
import { Forwarder } from '../../sync/forwarder.ts';
import { FakeClock } from './fake-clock.ts';
import { forwarderOptions, memoryState, type Rows } from './forwarder-options.ts';
import type { ModelConfig } from './hub-model.ts';
import { MemoryStream, type Image } from './memory-stream.ts';
import { randomInt, seededRandom, type Random } from './random.ts';
import { ScriptedHub } from './scripted-hub.ts';

const FILTER = 'edge.gw7.telemetry.>';
const log = pino({ level: 'silent' });

interface World {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly hub: ScriptedHub;
  stream: MemoryStream;
  forwarder: Forwarder;
  wishes: Wishes;
  /** Messages may have gone without the promise of order. */
  relaxed: boolean;
  /** What the forwarder notes on the disk. */
  rows: Rows;
  /** Every ID that was ever stored, in order. */
  readonly expected: string[];
  readonly happened: Map<string, number>;
  /** A copy of the data directory. */
  image: Image & { readonly rows: Rows };
  /** Stored, but gone with the card before the hub had them. */
  readonly mayMiss: Set<string>;
}

const STRICT: Wishes = { mode: 'auto', order: 'strict', onlyForwarder: false };

function world(seed: number, config: Partial<ModelConfig>, wishes = STRICT): World {
  const clock = new FakeClock();
  const random = seededRandom(seed);
  const hub = new ScriptedHub({
    clock,
    random,
    config,
    latencyMs: 1 + randomInt(random, 200),
    commitMs: 1 + randomInt(random, 300),
  });
  const stream = new MemoryStream('telemetry');
  const rows: Rows = new Map();
  const forwarder = start({ clock, random, hub, wishes, rows }, stream);
  return {
    clock,
    random,
    hub,
    stream,
    forwarder,
    wishes,
    relaxed: wishes.order === 'relaxed',
    rows,
    expected: [],
    happened: new Map(),
    image: { ...stream.image(), rows: new Map() },
    mayMiss: new Set(),
  };
}

function start(
  { clock, random, hub, wishes, rows }: Pick<World, 'clock' | 'random' | 'hub' | 'wishes' | 'rows'>,
  stream: MemoryStream,
): Forwarder {
  const state = memoryState(stream.name, rows);
  const options = forwarderOptions(stream, { state, wishes });
  const forwarder = new Forwarder(options, { hub, clock, log, random });
  forwarder.start();
  return forwarder;
}

/** kill -9 and a start: the process is gone at once, what it had on the wire is not. */
function restart(at: World): void {
  void at.forwarder.stop();
  at.stream = new MemoryStream('telemetry', at.stream.image());
  at.forwarder = start(at, at.stream);
}

/** An older copy of the data directory is put back, and the process started on it. */
function putBack(at: World): void {
  void at.forwarder.stop();
  const there = new Set(at.hub.model.history(FILTER));
  for (const id of at.expected) if (!there.has(id)) at.mayMiss.add(id);
  for (const { epoch, seq } of at.image.messages)
    at.mayMiss.delete(`gw7:telemetry:${epoch}:${seq}`);
  at.stream = new MemoryStream('telemetry', at.image);
  at.rows = new Map(at.image.rows);
  at.forwarder = start(at, at.stream);
}

export type Fault = (at: World) => void;

export const LINK: Readonly<Record<string, Fault>> = {
  cut({ hub, clock, random }) {
    hub.cut();
    clock.after(randomInt(random, 20_000), () => hub.heal());
  },
  blackHole({ hub, clock, random }) {
    hub.blackHole();
    clock.after(randomInt(random, 60_000), () => hub.heal());
  },
  election: ({ hub, random }) => hub.changeLeader(randomInt(random, 3_000)),
  hubRestart: ({ hub }) => hub.restart(),
  agentRestart: restart,
  othersPublish({ hub, random }) {
    for (let i = randomInt(random, 20); i > 0; i--) hub.storeForeign('edge.other.stream.x');
  },
};

/** The gateway loses what it had sent. */
export const IMAGES: Readonly<Record<string, Fault>> = {
  copy(at) {
    at.image = { ...at.stream.image(), rows: new Map(at.rows) };
  },
  putBack,
};

/** An operator wants the order, or wants it no more. */
export const ORDERS: Readonly<Record<string, Fault>> = {
  changeOrder(at) {
    const order = at.wishes.order === 'strict' ? 'relaxed' : 'strict';
    at.wishes = { ...at.wishes, order };
    at.relaxed = true;
    restart(at);
  },
};

/** The hub loses what it had confirmed. */
export const LOSS: Readonly<Record<string, Fault>> = {
  rollBack: ({ hub, random }) => hub.rollBack(randomInt(random, 200)),
  recreate: ({ hub }) => hub.recreate(),
};

/** The hub removes what it likes. */
export const REMOVAL: Readonly<Record<string, Fault>> = {
  purge: ({ hub }) => hub.model.purge(FILTER),
  consume({ hub, random }) {
    const there = hub.model.under(FILTER);
    for (const { seq } of there.slice(0, randomInt(random, there.length + 1)))
      hub.model.remove(seq);
  },
  /** Consumers acknowledge in any order: the newest may go first. */
  consumeAnywhere({ hub, random }) {
    for (const { seq } of hub.model.under(FILTER)) if (random() < 0.5) hub.model.remove(seq);
  },
};

interface Luck {
  readonly zombies: boolean;
  readonly messagesMax: number;
}

async function faults(
  at: World,
  kinds: Readonly<Record<string, Fault>>,
  luck: Luck,
): Promise<void> {
  const { hub, random } = at;
  const names = Object.keys(kinds);
  for (let round = 0; round < 12; round++) {
    const roundMs = randomInt(random, 8_000);
    for (let burst = 0; burst < 8; burst++)
      at.clock.after(randomInt(random, roundMs + 1), () => publish(at, luck.messagesMax / 8));
    hub.faults.lostRequest = random() < 0.3 ? random() * 0.2 : 0;
    hub.faults.lostAck = random() < 0.5 ? random() * 0.3 : 0;
    hub.faults.zombie = luck.zombies && random() < 0.5 ? random() * 0.4 : 0;
    const name = names[randomInt(random, names.length)] ?? '';
    if (random() < 0.6) {
      kinds[name]?.(at);
      at.happened.set(name, (at.happened.get(name) ?? 0) + 1);
    }
    await at.clock.advanceAsync(roundMs);
  }
}

function publish(at: World, max: number): void {
  for (let i = randomInt(at.random, max); i > 0; i--) {
    const seq = at.stream.publish({ data: Buffer.alloc(randomInt(at.random, 400)) });
    at.expected.push(`gw7:telemetry:${at.stream.currentEpoch}:${seq}`);
  }
}

async function heal(at: World): Promise<void> {
  Object.assign(at.hub.faults, { lostRequest: 0, lostAck: 0, zombie: 0 });
  at.hub.heal();
  await at.clock.advanceAsync(120_000);
  // Last bytes of a process that ran beyond the image look like another machine. An operator restarts the agent then.
  if (at.happened.has('putBack') && at.forwarder.status().state === 'conflict') {
    restart(at);
    await at.clock.advanceAsync(120_000);
  }
}

/** What is wrong with the hub's copy, in few words; empty for nothing. */
function audit({ hub, expected, mayMiss, relaxed }: World): string[] {
  const place = new Map(expected.map((id, i) => [id, i]));
  const seen = new Set<string>();
  const wrong: string[] = [];
  let last = -1;
  for (const id of hub.model.history(FILTER)) {
    const at = id === undefined ? undefined : place.get(id);
    if (id === undefined || at === undefined) wrong.push(`phantom ${id ?? '(no ID)'}`);
    else if (seen.has(id)) wrong.push(`duplicate ${id}`);
    else if (at < last && !relaxed) wrong.push(`out of order ${id}`);
    if (id !== undefined) seen.add(id);
    last = Math.max(last, at ?? -1);
  }
  for (const id of expected) if (!seen.has(id) && !mayMiss.has(id)) wrong.push(`lost ${id}`);
  return wrong.slice(0, 5);
}

const SEEDS = 60;

export interface Campaign {
  readonly config: Partial<ModelConfig>;
  /** Default: mode auto, order strict. Relaxed order is not looked at. */
  readonly wishes?: Wishes;
  readonly faults: Readonly<Record<string, Fault>>;
  readonly luck?: Partial<Luck>;
  readonly seeds?: number;
  /** What must have happened, or the run proves nothing. */
  readonly must: readonly string[];
}

/** Runs all seeds; fails with the seed where the hub does not hold what it should. */
export async function campaign({
  config,
  wishes,
  faults: kinds,
  luck,
  seeds = SEEDS,
  must,
}: Campaign): Promise<void> {
  const happened: Record<string, number> = {};
  for (let seed = 1; seed <= seeds; seed++) {
    const at = world(seed, config, wishes);
    await faults(at, kinds, { zombies: true, messagesMax: 300, ...luck });
    await heal(at);
    expect({
      seed,
      wrong: audit(at),
      status: at.forwarder.status(),
    }).toMatchObject({
      seed,
      wrong: [],
      status: { state: 'caught up', pending: 0 },
    });
    for (const [name, times] of [...at.happened, ...Object.entries(at.hub.counters)])
      happened[name] = (happened[name] ?? 0) + times;
    await Promise.all([at.forwarder.stop(), at.clock.advanceAsync(3_000)]);
  }
  expect(must.filter((name) => (happened[name] ?? 0) === 0)).toEqual([]);
}

export const ALWAYS = ['cut', 'blackHole', 'election', 'agentRestart', 'lostAcks', 'zombiesPassed'];
