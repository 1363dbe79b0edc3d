// What watchers of a stream hear, and long work that gives everybody else their turn.

import { expect, test } from 'vitest';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { settleAll } from '../../support/settle-all.ts';

const all = new SubjectFilter([]);

function watch(store: GatewayStore): string[] {
  const heard: string[] = [];
  store.stream.watch({
    stored: (seq, _id, subject) => heard.push(`+${seq} ${subject}`),
    removed: (seq, _id, subject) => heard.push(`-${seq} ${subject}`),
    settled: () => heard.push('.'),
  });
  return heard;
}

async function fill(store: GatewayStore, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    store.publish(`data.${i % 10}`, 'x');
    if (i % 500 === 499) store.settle();
  }
  store.settle();
  await Promise.resolve();
}

test('a watcher hears of a message when it is on the disk, and only of what stands', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgsPerSubject: 1 })]).open();
  const heard = watch(store);
  for (const name of ['a', 'b', 'a', 'a']) store.publish(`data.${name}`, 'x');
  store.clock.turn();
  expect(heard).toEqual([]);
  store.settle();
  expect(heard.splice(0)).toEqual(['+2 data.b', '+4 data.a', '.']);
  store.publish('data.a', 'x');
  store.settle();
  expect(heard.splice(0)).toEqual(['-4 data.a', '+5 data.a', '.']);
  await settleAll(store, store.stream.remove(2, { erase: false }));
  expect(heard.splice(0)).toEqual(['-2 data.b', '.']);
  await settleAll(store, store.stream.purge());
  expect(heard.splice(0)).toEqual(['-5 data.a', '.']);
});

test('a watcher hears what limits take, and nothing of what they took before it was on the disk', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 2 })]).open();
  const heard = watch(store);
  for (let i = 0; i < 5; i++) store.publish('data.a', 'x');
  store.settle();
  expect(heard.splice(0)).toEqual(['+4 data.a', '+5 data.a', '.']);
  const counted = { messages: 2, bytes: 14, subjects: 1, numDeleted: 0, firstSeq: 4 };
  expect(store.stream.state()).toMatchObject(counted);
  expect([...store.stream.subjects(all)]).toEqual([['data.a', 2]]);
  store.publish('data.a', 'x');
  store.settle();
  expect(heard.splice(0)).toEqual(['-4 data.a', '+6 data.a', '.']);
});

test('a count over many rows is exact in the turn in which it is told', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 30_000);
  const filter = new SubjectFilter(['data.1', 'data.2']);
  let number = -1;
  let changes = 0;
  const covers = (seq: number, id: number, subject: string): boolean =>
    number >= 0 && seq >= 12_001 && filter.coversId(id, subject);
  const cancel = store.stream.watch({
    stored: (seq, id, subject) => void (covers(seq, id, subject) && changes++),
    removed: (seq, id, subject) => void (covers(seq, id, subject) && changes--),
    settled: () => {},
  });
  store.stream.count(filter, 12_001, (messages) => (number = messages));
  expect(number, 'it takes several turns').toBe(-1);
  // Meanwhile messages come and go, before and behind the place it has come to.
  const purge = store.stream.purge({ filter: 'data.1', belowSeq: 20_000 });
  for (let i = 0; i < 10; i++) store.publish(`data.${i}`, 'x');
  await settleAll(store, purge);
  let counted = -1;
  store.stream.count(filter, 12_001, (messages) => (counted = messages));
  store.settle();
  cancel();
  expect(counted).toBe(number + changes);
  // 1,800 of each subject; of data.1 those from 12,001 to 19,999 are gone; one of each has come.
  expect(counted).toBe(2 * 1_800 - 800 + 2);
});

test('a count loses what goes from the part that it has looked at', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 30_000);
  let counted = -1;
  store.stream.count(new SubjectFilter(['data.1']), 12_001, (messages) => (counted = messages));
  expect(counted, 'it has looked at the first slice').toBe(-1);
  store.stream.reconfigure({ ...store.stream.config, maxMsgs: 23_000 }, null);
  store.stream.keepLimits();
  store.settle();
  expect(counted).toBe(1_800);
});

test('a purge of many messages goes in slices and is on the disk when it resolves', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 30_000);
  const partly = store.stream.purge({ filter: 'data.3' });
  store.clock.turn();
  const left = Object.fromEntries(store.stream.subjects(all))['data.3'] ?? 0;
  expect(left, 'not in one go').toBeGreaterThan(0);
  expect(await settleAll(store, partly)).toBe(3_000);
  expect(store.stream.state()).toMatchObject({ messages: 27_000, subjects: 9, numDeleted: 3_000 });
  let resolved = false;
  const whole = store.stream.purge();
  void whole.then(() => (resolved = true));
  store.clock.turn();
  await Promise.resolve();
  store.clock.turn();
  await Promise.resolve();
  expect(resolved, 'not before the sync').toBe(false);
  expect(await settleAll(store, whole)).toBe(27_000);
  expect(store.stream.state()).toMatchObject({ messages: 0, firstSeq: 30_001, lastSeq: 30_000 });
  store.publish('data.1', 'after');
  store.settle();
  await store.close();
  await store.open();
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 30_001, lastSeq: 30_001 });
});

test('a purge below a number that is not there yet uses the numbers up to it', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 10);
  expect(await settleAll(store, store.stream.purge({ belowSeq: 51 }))).toBe(10);
  expect(store.stream.state()).toMatchObject({ messages: 0, firstSeq: 51, lastSeq: 50 });
  const next = store.publish('data.1', 'x');
  store.settle();
  expect(next.ack?.seq).toBe(51);
});

test('a purge takes what was published before it, though it was not on the disk yet', async () => {
  await using store = await new GatewayStore().open();
  store.publish('data.a', 'x');
  const purge = store.stream.purge();
  store.publish('data.a', 'y');
  await settleAll(store, purge);
  expect(store.stream.state().lastSeq).toBe(2);
  expect(store.stream.get(1)).toBeUndefined();
});

test('a message that is erased leaves no trace in the database', async () => {
  await using store = await new GatewayStore().open();
  const secret = 'this is nobody else’s business';
  store.publish('data.a', 'x');
  store.publish('data.a', secret);
  store.settle();
  await settleAll(store, store.stream.remove(2, { erase: true }));
  const { db } = store.jetstream.store;
  db.pragma('wal_checkpoint(TRUNCATE)');
  const image = db.serialize();
  expect(image.includes(Buffer.from(secret))).toBe(false);
});

test('a message is found by the time of the wall clock', async () => {
  await using store = await new GatewayStore().open();
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    store.publish('data.a', 'x');
    store.settle();
    times.push(store.clock.wallMs());
    store.clock.advance(500);
  }
  await settleAll(store, store.stream.remove(5, { erase: false }));
  const { stream } = store;
  expect(stream.seqAtTime(0)).toBe(1);
  expect(stream.seqAtTime((times[9] ?? 0) - 1)).toBe(10);
  expect(stream.seqAtTime((times[9] ?? 0) + 1)).toBe(11);
  expect(stream.seqAtTime((times[4] ?? 0) - 1), 'a hole is not a message').toBe(6);
  expect(stream.seqAtTime((times[19] ?? 0) + 1_000)).toBe(21);
});

test('more subjects than asked for are refused', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 100);
  const few = store.stream.lastPerSubject(all, { max: 9 });
  await expect(settleAll(store, few)).rejects.toThrow(RangeError);
  const found = await settleAll(store, store.stream.lastPerSubject(all, { max: 10 }));
  expect(found).toEqual([91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
});

test('the last message of a subject is found again when it was taken out', async () => {
  await using store = await new GatewayStore().open();
  await fill(store, 2_000);
  for (const seq of [1_994, 1_984]) {
    await settleAll(store, store.stream.remove(seq, { erase: false }));
  }
  expect(store.stream.lastOf(new SubjectFilter(['data.3']))?.seq).toBe(1_974);
  const wrong = store.publish('data.3', 'x', 'Nats-Expected-Last-Subject-Sequence: 1984');
  expect(wrong.error?.message).toBe('wrong last sequence: 1974');
  expect(store.stream.lastOf(new SubjectFilter(['data.*']))?.seq).toBe(2_000);
});
