// A window against a hub whose leader answers before it has applied its log: what seems to be missing there is on its way
// to being stored.

import { expect, test } from 'vitest';
import { pino } from 'pino';
import { jetStreamError } from '../../sync/hub-error.ts';
import { Forwarder } from '../../sync/forwarder.ts';
import type { Progress } from '../../sync/way.ts';
import { WindowProbe } from '../../sync/window-probe.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { forwarderOptions, memoryState, type Rows } from '../support/forwarder-options.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { seededRandom } from '../support/random.ts';
import { ScriptedHub } from '../support/scripted-hub.ts';
import { wayLab, type WayLab } from '../support/way-lab.ts';

const FILTER = 'edge.gw7.telemetry.>';
const BEHIND_MS = 5_000;
const SENT = 100;

interface Setup {
  readonly clock: FakeClock;
  readonly hub: ScriptedHub;
  readonly stream: MemoryStream;
  readonly start: () => Forwarder;
  readonly expected: () => string[];
}

/** Three old servers that commit slowly, and forget IDs before a late log is applied. */
function setup(): Setup {
  const clock = new FakeClock();
  const random = seededRandom(1);
  const config = { replicas: 3, atomic: false, filterFence: false, duplicateWindowMs: 10 } as const;
  const hub = new ScriptedHub({ clock, random, config, commitMs: 400 });
  const stream = new MemoryStream('telemetry');
  const rows: Rows = new Map();
  const wishes = { mode: 'auto', order: 'relaxed', onlyForwarder: false } as const;
  const log = pino({ level: 'silent' });
  const start = (): Forwarder => {
    const options = forwarderOptions(stream, { state: memoryState('telemetry', rows), wishes });
    const forwarder = new Forwarder(options, { hub, clock, log, random });
    forwarder.start();
    return forwarder;
  };
  const expected = (): string[] =>
    Array.from(
      { length: stream.durableSeq },
      (_, i) => `gw7:telemetry:${stream.currentEpoch}:${i + 1}`,
    );
  return { clock, hub, stream, start, expected };
}

/** A hundred messages are in the leader's log when another becomes the leader, and the connection is made anew. */
async function inDoubt({ clock, hub, stream, start }: Setup): Promise<Forwarder> {
  const forwarder = start();
  stream.publishMany(SENT);
  await clock.advanceAsync(200);
  expect([hub.counters.publishes, hub.counters.stored]).toEqual([SENT, 0]);
  hub.behindItsLog(BEHIND_MS);
  hub.blink();
  return forwarder;
}

test('a new leader has not applied its log: nothing that is in it is sent again', async () => {
  const at = setup();
  const forwarder = await inDoubt(at);
  at.stream.publishMany(SENT);
  await at.clock.advanceAsync(60_000);
  expect(forwarder.status()).toMatchObject({ state: 'caught up', acceleration: 'window' });
  const ids = at.hub.model.history(FILTER);
  expect(new Set(ids)).toEqual(new Set(at.expected()));
  expect(ids).toHaveLength(2 * SENT);
  // Not even attempted: servers that refuse much in their log disagree later.
  expect([at.hub.counters.publishes, at.hub.counters.repeatedInLog]).toEqual([2 * SENT, 0]);
  await Promise.all([forwarder.stop(), at.clock.advanceAsync(3_000)]);
});

test('a new leader has not applied its log, and nothing new waits: one message is sent again', async () => {
  const at = setup();
  const forwarder = await inDoubt(at);
  await at.clock.advanceAsync(60_000);
  expect(forwarder.status()).toMatchObject({ state: 'caught up', acceleration: 'window' });
  expect(new Set(at.hub.model.history(FILTER))).toEqual(new Set(at.expected()));
  expect(at.hub.counters.publishes).toBe(SENT + 1);
  await Promise.all([forwarder.stop(), at.clock.advanceAsync(3_000)]);
});

test('a new leader has not applied its log, and the agent is killed too: one message is sent again', async () => {
  const at = setup();
  const first = await inDoubt(at);
  void first.stop();
  const second = at.start();
  await at.clock.advanceAsync(60_000);
  expect(second.status()).toMatchObject({ state: 'caught up', acceleration: 'window' });
  expect(new Set(at.hub.model.history(FILTER))).toEqual(new Set(at.expected()));
  expect(at.hub.counters.publishes).toBe(SENT + 1);
  await Promise.all([second.stop(), at.clock.advanceAsync(3_000)]);
});

test('what a predecessor took and lost is sent again, once a message behind it is at the hub', async () => {
  const at = setup();
  const forwarder = at.start();
  at.stream.publishMany(SENT);
  await at.clock.advanceAsync(200);
  at.hub.restart();
  at.stream.publishMany(1);
  await at.clock.advanceAsync(60_000);
  expect(forwarder.status()).toMatchObject({ state: 'caught up', acceleration: 'window' });
  const ids = at.hub.model.history(FILTER);
  expect(new Set(ids)).toEqual(new Set(at.expected()));
  // The probe comes first, and each message once.
  expect([ids[0], ids.length]).toEqual([at.expected().at(-1), SENT + 1]);
  await Promise.all([forwarder.stop(), at.clock.advanceAsync(3_000)]);
});

interface ProbeLab extends WayLab {
  readonly probe: WindowProbe;
  /** What the probe says of a reading that found so much. */
  readonly assured: (afterSeq: number, fenceSeq: number) => Promise<unknown>;
}

/** Ten messages of which nobody knows whether they are at the hub, and ten that were never sent. */
function probeLab(): ProbeLab {
  const lab = wayLab();
  const probe = new WindowProbe(lab.errand, memoryState('telemetry'));
  probe.attempted(10);
  lab.stream.publishMany(20);
  const assured = async (afterSeq: number, fenceSeq: number): Promise<unknown> => {
    const progress: Progress = lab.progress(afterSeq, fenceSeq);
    const answer = probe.assured(progress).catch((error: unknown) => error);
    await lab.clock.advanceAsync(1_000);
    return await answer;
  };
  return { ...lab, probe, assured };
}

/** The numbers of the messages at the hub, in its order. */
function numbers({ hub }: WayLab): number[] {
  return hub.model.history(FILTER).map((id) => Number(id?.split(':').at(-1)));
}

test('a reading that does not show the probe is no better than the one before it', async () => {
  const lab = probeLab();
  expect(await lab.assured(0, 0)).toBe(false);
  expect(numbers(lab)).toEqual([11]);
  expect(await lab.assured(0, 0)).toBe(false);
  expect(numbers(lab)).toEqual([11, 12]);
  expect(await lab.assured(0, 2)).toBe(true);
  expect(numbers(lab)).toEqual([11, 12]);
  // What is sent from now on is in doubt where not all of it is confirmed.
  lab.probe.attempted(15);
  expect(await lab.assured(15, 15)).toBe(true);
  expect(await lab.assured(12, 12)).toBe(false);
  expect(numbers(lab)).toEqual([11, 12, 16]);
});

test('a hub that knows the probe already is read once more, and not again and again', async () => {
  const lab = probeLab();
  lab.hub.storeForeign('edge.gw7.other', 'x');
  lab.hub.storeForeign('edge.gw7.telemetry.a', `gw7:telemetry:${lab.stream.currentEpoch}:11`);
  expect(await lab.assured(0, 0)).toBe(false);
  expect(await lab.assured(0, 0)).toBe(true);
});

test('a hub that has no room refuses the probe alone, and is asked later', async () => {
  const lab = probeLab();
  lab.hub.refuse = () => jetStreamError(503, 10077, 'no room');
  expect(await lab.assured(0, 0)).toMatchObject({ errCode: 10077 });
  lab.hub.refuse = () => undefined;
  expect(await lab.assured(0, 0)).toBe(false);
  expect(lab.hub.counters.publishes).toBe(2);
});

test('a probe that the hub never takes is no reason to wait: the window sets it aside', async () => {
  const lab = probeLab();
  lab.hub.refuse = () => jetStreamError(400, 10111, 'rollup');
  expect(await lab.assured(0, 0)).toBe(true);
});

test('where nothing but a gap is new the probe is the first that is missing', async () => {
  const lab = probeLab();
  for (let seq = 11; seq <= 20; seq++) await lab.stream.deadLetter(seq, 'a test');
  expect(await lab.assured(3, 3)).toBe(false);
  expect(numbers(lab)).toEqual([4]);
});
