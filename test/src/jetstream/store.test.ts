import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

test('whenDurable covers what was written before it, in order, and answers at once when nothing is pending', async () => {
  await using store = await new GatewayStore().open();
  const table = store.jetstream.table('t');
  const told: string[] = [];
  store.jetstream.store.whenDurable(() => told.push('nothing pending'));
  expect(told).toEqual(['nothing pending']);
  table.put('k', Buffer.from('1'));
  store.jetstream.store.whenDurable((error) => told.push(`first ${String(error)}`));
  store.clock.turn();
  expect(table.get('k')?.toString(), 'committed rows can be read').toBe('1');
  store.jetstream.store.whenDurable((error) => told.push(`second ${String(error)}`));
  table.put('k', Buffer.from('2'));
  store.jetstream.store.whenDurable((error) => told.push(`third ${String(error)}`));
  store.clock.turn();
  expect(told).toHaveLength(1);
  store.disk?.finish();
  expect(told.slice(1)).toEqual(['first null', 'second null']);
  store.settle();
  expect(told.slice(3)).toEqual(['third null']);
});

test('a table is ordered by key and outlives a restart', async () => {
  await using store = await new GatewayStore().open();
  const table = store.jetstream.table('t');
  for (const key of ['b', 'a', 'c', 'ä']) table.put(key, Buffer.from(key));
  table.delete('c');
  store.jetstream.table('other').put('a', Buffer.from('not ours'));
  store.settle();
  await store.close();
  await store.open();
  const again = store.jetstream.table('t');
  expect(again.range('a', 'z', 10).map(({ key }) => key)).toEqual(['a', 'b']);
  expect(again.range('a', '\u{10ffff}', 10).map(({ key }) => key)).toEqual(['a', 'b', 'ä']);
  expect(again.range('a', 'z', 1)).toHaveLength(1);
});

test('one sync covers a turn, and while it runs the next messages wait for the next one', async () => {
  await using store = await new GatewayStore().open();
  const syncs = store.disk!.syncs;
  for (let i = 0; i < 100; i++) store.publish('data.a', 'x');
  store.clock.turn();
  expect(store.disk!.waiting).toBe(1);
  const { commits } = store.jetstream.store.counters;
  for (let i = 0; i < 100; i++) {
    store.publish('data.a', 'x');
    store.clock.turn();
  }
  expect(store.jetstream.store.counters.commits, 'no commit while the disk is busy').toBe(commits);
  store.settle();
  expect(store.disk!.syncs - syncs).toBe(2);
  expect(store.stream.state().messages).toBe(200);
});

test('a commit interval gathers the messages of many turns', async () => {
  await using store = await new GatewayStore([streamOrder()], { commitIntervalMs: 50 }).open();
  // It counts from the last commit: who comes alone does not wait.
  const alone = store.publish('data.a', 'x');
  store.settle();
  expect(alone.ack?.seq).toBe(1);
  const { commits } = store.jetstream.store.counters;
  const outcomes = [];
  for (let i = 0; i < 10; i++) {
    outcomes.push(store.publish('data.a', 'x'));
    store.clock.advance(4);
  }
  expect(outcomes.every((outcome) => outcome.ack === undefined)).toBe(true);
  store.clock.advance(20);
  store.settle();
  expect(outcomes.at(-1)?.ack?.seq).toBe(11);
  expect(store.jetstream.store.counters.commits).toBe(commits + 1);
});

test('a commit interval that ends while the disk is busy is made up for when it is not', async () => {
  await using store = await new GatewayStore([streamOrder()], { commitIntervalMs: 50 }).open();
  store.publish('data.a', 'x');
  store.clock.advance(50);
  const second = store.publish('data.a', 'y');
  store.clock.advance(200);
  expect(store.disk!.waiting).toBe(1);
  store.disk!.finish();
  store.disk!.finish();
  expect(second.ack?.seq).toBe(2);
});

test('checkpoints keep the log small, and what was acknowledged is read through them', async () => {
  await using store = await new GatewayStore([streamOrder()], {
    limits: { walBytesMax: 64 * 1024 },
  }).open();
  for (let i = 0; i < 400; i++) {
    store.publish('data.a', Buffer.alloc(1_000, i));
    if (i % 10 === 0) store.settle();
  }
  store.settle();
  expect(store.jetstream.store.counters.checkpoints).toBeGreaterThan(3);
  expect(store.jetstream.store.counters.checkpointErrors).toBe(0);
  expect(store.stream.read(0, 500, 1 << 20)).toHaveLength(400);
});

test('stop makes durable what was accepted, and says so to who waits', async () => {
  await using store = await new GatewayStore().open();
  const outcome = store.publish('data.a', 'last words');
  await store.close();
  expect(outcome.ack?.seq).toBe(1);
  await store.open();
  expect(store.stream.state().messages).toBe(1);
});

test('a start makes durable what a crash left in the log before it takes anything in', async () => {
  await using store = await new GatewayStore().open();
  store.publish('data.a', 'x');
  store.settle();
  await store.close();
  const opened = store.open();
  // open() lets the first sync return only after it was asked for: the new epoch is on the disk before the first message.
  expect(store.disk?.syncs).toBe(1);
  await opened;
  expect(store.stream.epochs().at(-1)?.current).toBe(true);
});

test('what is deleted counts for the log as well: it stays near its limit while a full stream is emptied', async () => {
  await using store = await new GatewayStore([streamOrder({ maxAgeMs: 60_000 })], {
    limits: { walBytesMax: 256 * 1024 },
  }).open();
  for (let i = 0; i < 8_000; i++) {
    store.publish('data.a', Buffer.alloc(1_300, i));
    if (i % 20 === 0) store.settle();
  }
  store.settle();
  const walBytes = (): number => statSync(join(store.dir, 'mangrove.db-wal')).size;
  const before = walBytes();
  store.clock.advance(70_000);
  store.settle();
  expect(store.stream.state().messages).toBe(0);
  // The limit, and one transaction that was begun below it.
  expect(before).toBeLessThan(512 * 1024);
  expect(walBytes()).toBeLessThan(1_024 * 1024);
});

test('what is queued together is committed together, however much it is', async () => {
  await using store = await new GatewayStore().open();
  const table = store.jetstream.table('t');
  const { counters } = store.jetstream.store;
  const before = counters.commits;
  store.jetstream.store.together(() => {
    table.put('first', Buffer.from('1'));
    for (let i = 0; i < 20_000; i++) store.publish('data.a', 'x');
    table.put('last', Buffer.from('2'));
  });
  expect(counters.commits).toBe(before);
  expect(table.get('first'), 'nothing is committed yet').toBeUndefined();
  store.clock.turn();
  expect(counters.commits).toBe(before + 1);
  expect(table.get('last')?.toString()).toBe('2');
  // Without it a transaction is closed in the middle of the turn.
  for (let i = 0; i < 20_000; i++) store.publish('data.a', 'x');
  expect(counters.commits).toBeGreaterThan(before + 1);
});
