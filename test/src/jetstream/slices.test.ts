// Long work in slices: everybody else has their turn in between, however many have such work.

import { expect, test } from 'vitest';
import { AckState } from '../../../src/jetstream/consumers/ack-state.ts';
import { ACKED_ROWS_MAX } from '../../../src/jetstream/consumers/seq-rows.ts';
import { toJson, JsonText } from '../../../src/jetstream/api/json-text.ts';
import type { MessageBatch } from '../../../src/jetstream/message-batch.ts';
import { inSlices, nextTurn } from '../../../src/jetstream/slices.ts';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { matches } from '../../../src/subject.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { seededRandom } from '../../support/random.ts';
import { settleAll } from '../../support/settle-all.ts';

/** A clock that counts the turns that were asked for, and whose time moves by `stepMs` whenever it is looked at. */
class CountingClock extends FakeClock {
  turns = 0;
  stepMs = 0;
  #passedMs = 0;

  override monotonicMs(): number {
    this.#passedMs += this.stepMs;
    return super.monotonicMs() + this.#passedMs;
  }

  override soon(fn: () => void): void {
    this.turns++;
    super.soon(fn);
  }
}

async function fill(store: GatewayStore, count: number, subjects: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    store.publish(`data.${i % subjects}`, 'x');
    if (i % 400 === 399) store.settle();
  }
  store.settle();
  await Promise.resolve();
}

test('whoever has long work waits for his slice: there is one in a turn, in the order of asking', async () => {
  const clock = new CountingClock();
  const ran: string[] = [];
  const left = { a: 3, b: 2 };
  for (const name of ['a', 'b'] as const)
    inSlices(clock, () => {
      ran.push(`${name} in turn ${clock.turns}`);
      return --left[name] === 0;
    });
  const promised = nextTurn(clock).then(() => ran.push('promised'));
  clock.turn();
  await promised;
  expect(ran).toEqual([
    'a in turn 0',
    'b in turn 1',
    'a in turn 2',
    'b in turn 3',
    'a in turn 4',
    'promised',
  ]);
});

test('fifty who count look at the rows together: it takes as many turns as one', async () => {
  const clock = new CountingClock();
  await using store = await new GatewayStore([streamOrder()], {}, clock).open();
  await fill(store, 24_000, 100);
  const turns = (counts: number): number => {
    const before = clock.turns;
    const told: number[] = [];
    for (let i = 0; i < counts; i++)
      store.stream.count(new SubjectFilter([`data.${i}`]), 11_001, (n) => told.push(n));
    clock.turn();
    expect(told).toEqual(Array.from({ length: counts }, () => 130));
    return clock.turns - before;
  };
  const alone = turns(1);
  expect(alone, 'in slices').toBeGreaterThan(1);
  expect(turns(50)).toBeLessThan(3 * alone);
});

test('counts that begin at different places and moments are all right', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 20_000, 10);
  const told: Record<string, number> = {};
  const count = (name: string, filter: string, from: number): (() => void) =>
    store.stream.count(new SubjectFilter([filter]), from, (n) => (told[name] = n));
  count('behind', 'data.1', 13_001);
  count('before', 'data.*', 4_001);
  count('early', 'data.2', 7_001);
  const cancel = count('never', 'data.3', 9_001);
  cancel();
  store.settle();
  count('late', '*.4', 17_001);
  store.settle();
  expect(told).toEqual({ behind: 700, before: 16_000, early: 1_300, late: 300 });
});

test('what one sync covers is told in parts, in order, when it is much', async () => {
  const clock = new CountingClock();
  await using store = await new GatewayStore([streamOrder()], {}, clock).open();
  const told: number[] = [];
  for (let i = 0; i < 5_000; i++)
    store.broker.publish({ subject: 'data.a', data: Buffer.from('x') }, (_error, ack) =>
      told.push(ack?.seq ?? 0),
    );
  clock.turn();
  // The first sync covers what was committed before it; the next one all the rest.
  store.disk?.finish();
  clock.turn();
  told.length = 0;
  clock.stepMs = 1;
  const turnsBefore = clock.turns;
  store.disk?.finish();
  const atOnce = told.length;
  clock.turn();
  clock.stepMs = 0;
  store.settle();
  expect(atOnce).toBeGreaterThan(0);
  expect(atOnce, 'the rest waits for a turn').toBeLessThan(told.length);
  expect(clock.turns).toBeGreaterThan(turnsBefore);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.at(-1)).toBe(5_000);
});

test('who watches all at once hears of the same messages as who watches one by one', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 50 })]).open();
  const filter = new SubjectFilter(['data.1', 'data.2']);
  const sums = { one: 0, all: 0 };
  const covers = (subject: string): number => (filter.covers(subject) ? 1 : 0);
  store.stream.watch({
    stored: (_seq, _id, subject) => void (sums.one += covers(subject)),
    removed: (_seq, _id, subject) => void (sums.one -= covers(subject)),
    settled: () => {},
  });
  store.stream.watch({
    stored: () => expect.fail('it takes them all at once'),
    removed: () => expect.fail('it takes them all at once'),
    storedAll: (batch: MessageBatch) => void (sums.all += batch.under(filter)),
    removedAll: (batch: MessageBatch) => void (sums.all -= batch.under(filter)),
    settled: () => expect(sums.all).toBe(sums.one),
  });
  await fill(store, 1_000, 7);
  expect(sums).toEqual({ one: 14, all: 14 });
});

test('a limit for each subject comes into force step by step, with an index made beside', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 12_000, 4_000);
  store.stream.reconfigure({ ...store.stream.config, maxMsgsPerSubject: 1 }, null);
  store.stream.keepLimits();
  expect(store.stream.state().messages, 'a part').toBeGreaterThan(9_000);
  store.settle();
  await Promise.resolve();
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 4_000, firstSeq: 8_001 });
  store.publish('data.7', 'new');
  store.settle();
  expect(store.stream.state().messages).toBe(4_000);
  const { db } = store.jetstream.store;
  const index = db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'm_1_subject'");
  expect(index.pluck().get()).toBe(1);
});

test('a purge of many subjects goes no faster than the disk: no transaction writes them all', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 12_000, 12_000);
  const purge = store.stream.purge();
  store.settle();
  for (let i = 0; i < 100; i++) {
    store.clock.turn();
    await Promise.resolve();
  }
  expect(store.stream.state().messages, 'the disk has not answered').toBeGreaterThan(6_000);
  expect(await settleAll(store, purge)).toBe(12_000);
  expect(store.stream.state()).toMatchObject({ messages: 0, subjects: 0, firstSeq: 12_001 });
});

test('acks far above the floor are written some thousands at a time', () => {
  const state = new AckState({ consumerSeq: 0, streamSeq: 0 }, { consumerSeq: 0, streamSeq: 0 });
  const stored = new Map<number, number>();
  let written = 0;
  const table = {
    putSeq: (seq: number, value: number) => void (written++, stored.set(seq, value)),
    deleteSeq: (seq: number) => void (written++, stored.delete(seq)),
    deleteSeqs: () => stored.clear(),
    deleteSeqsUpTo: (floor: number) => {
      for (const [seq, value] of stored)
        if (seq > 0 && seq <= floor && value >= 0) stored.delete(seq);
    },
  };
  const count = 100_000;
  for (let seq = 1; seq <= count; seq++) state.sent(seq, 0);
  let most = 0;
  for (let seq = count; seq > 1; seq -= 2) {
    state.ack(seq);
    if (seq % 1_000 !== 0 && seq > 2) continue;
    written = 0;
    if (seq === 80_000) {
      // The disk is full: what stands for acknowledged messages must not go before what takes its place.
      const before = new Map(stored);
      state.rows.write(table as never, state.floor.streamSeq, false);
      expect(state.rows.committed(), 'it is still to be written').toBe(true);
      expect(new Map(stored)).toEqual(before);
    }
    state.rows.write(table as never, state.floor.streamSeq, true);
    state.rows.committed();
    most = Math.max(most, written);
  }
  expect(most).toBeLessThan(4 * ACKED_ROWS_MAX);
  const watermark = -Math.min(...stored.keys());
  for (let seq = 1; seq <= count; seq++) {
    const value = stored.get(seq);
    const waits = value === undefined ? seq > watermark : value > 0;
    if (waits !== state.pending.has(seq)) expect.fail(`${seq}: ${value}, watermark ${watermark}`);
  }
});

test('a prepared filter covers what the filter says', () => {
  const pick = seededRandom(7);
  const tokens = ['a', 'b', 'cc', '$x'];
  const make = (wild: boolean): string => {
    const length = 1 + Math.floor(pick() * 4);
    const parts = Array.from({ length }, (_, i) => {
      if (wild && pick() < 0.3) return i === length - 1 && pick() < 0.5 ? '>' : '*';
      return tokens[Math.floor(pick() * tokens.length)] ?? 'a';
    });
    return parts.join('.');
  };
  let covered = 0;
  for (let i = 0; i < 20_000; i++) {
    const filters = Array.from({ length: 1 + (i % 3) }, () => make(true));
    const subject = make(false);
    const expected = filters.some((filter) => filter === '>' || matches(filter, subject));
    if (expected) covered++;
    if (new SubjectFilter(filters).covers(subject) !== expected)
      expect.fail(`${filters.join(' ')} and ${subject}: not ${String(expected)}`);
  }
  expect(covered).toBeGreaterThan(1_000);
});

test('text that is JSON already stands in its place', () => {
  const value = { a: [new JsonText('{"x":1}'), 'y'], b: new JsonText('2'), c: '"' };
  expect(toJson(value)).toBe('{"a":[{"x":1},"y"],"b":2,"c":"\\""}');
  expect(toJson({ a: 1 })).toBe('{"a":1}');
});
