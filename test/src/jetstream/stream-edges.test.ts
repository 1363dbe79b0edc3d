// What happens where two things meet: removals and numbers that go to nobody, a stop in the middle of a roll-up, a full
// disk and markers, a salvage and rows that wait to be deleted.

import Database from 'better-sqlite3';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { consumerConfig } from '../../support/consumer-lab.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { settleAll, settleRounds } from '../../support/settle-all.ts';

const all = new SubjectFilter([]);

function seqs(store: GatewayStore): number[] {
  return store.stream
    .scan(all, 0, { messagesMax: 100, bytesMax: 1 << 20 })
    .messages.map(({ seq }) => seq);
}

async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** What a start finds if the process dies now; on the same clock. */
async function crashed(store: GatewayStore): Promise<GatewayStore> {
  const after = new GatewayStore([store.stream.config], {}, store.clock);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(after.dir, 'mangrove.db')}'`);
  return await after.open();
}

function counted(store: GatewayStore, table: string): Record<string, number> {
  const { n } = store.jetstream.store.db
    .prepare<[], { n: number }>(`SELECT count(*) AS n FROM ${table}`)
    .get() ?? { n: -1 };
  return { [table]: n };
}

test('the last message of an interest stream goes in the turn in which one comes that nobody wants', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  store.stream.addInterest({ covers: (_id, subject) => subject === 'data.a', needs: () => true });
  store.publish('data.a', 'wanted');
  store.settle();
  const removed = store.stream.remove(1, { erase: false });
  await ticks(5);
  store.publish('data.b', 'nobody wants it');
  store.publish('data.b', 'nor this');
  expect(await settleAll(store, removed)).toBe(true);
  expect(store.fatal).toBeUndefined();
  expect(store.stream.state()).toMatchObject({
    messages: 0,
    numDeleted: 0,
    firstSeq: 4,
    lastSeq: 3,
  });
});

test('an interest stream whose last message is acknowledged while one comes that nobody wants is empty', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  let needs = true;
  store.stream.addInterest({ covers: (_id, subject) => subject === 'data.a', needs: () => needs });
  store.publish('data.a', 'wanted');
  store.settle();
  needs = false;
  store.stream.released(1);
  store.publish('data.b', 'nobody wants it');
  store.settle();
  expect(store.stream.state()).toMatchObject({
    messages: 0,
    numDeleted: 0,
    firstSeq: 3,
    lastSeq: 2,
  });
  store.publish('data.a', 'wanted');
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 3, lastSeq: 3 });
});

test('message IDs are known after a start although the last message is gone', async () => {
  await using store = await new GatewayStore().open();
  store.publish('data.a', 'stays', 'Nats-Msg-Id: one');
  store.publish('data.a', 'goes', 'Nats-Msg-Id: two');
  store.settle();
  await settleAll(store, store.stream.remove(2, { erase: false }));
  await using after = await crashed(store);
  expect(after.publish('data.a', 'again', 'Nats-Msg-Id: one').ack).toMatchObject({
    seq: 1,
    duplicate: true,
  });
});

test('a purge that a stop cuts short is not answered as if it were done', async () => {
  await using store = await new GatewayStore().open();
  store.stream.watch({ stored: () => {}, removed: () => {}, settled: () => {} });
  for (let i = 0; i < 9_000; i++) store.publish('data.a', 'x');
  store.settle();
  const purged = store.stream.purge().then(
    (messages) => `${messages} of 9000`,
    () => 'refused',
  );
  await ticks(20);
  const left = store.stream.state().messages;
  expect(left, 'it is under way').toBeGreaterThan(0);
  expect(left).toBeLessThan(9_000);
  await store.close();
  expect(await purged).toBe('refused');
});

test('a roll-up of more than goes at once is finished by the next start', async () => {
  const order = streamOrder({ allowRollup: true });
  await using store = await new GatewayStore([order]).open();
  store.stream.watch({ stored: () => {}, removed: () => {}, settled: () => {} });
  for (let i = 0; i < 9_000; i++) store.publish('data.a', 'x');
  store.settle();
  store.publish('data.b', 'all of it', 'Nats-Rollup: all');
  store.clock.turn();
  store.disk?.finish();
  await ticks(20);
  expect(store.stream.state().messages).toBeGreaterThan(1_000);
  await store.close();
  await store.open();
  await settleRounds(store, 50);
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 9_001 });
});

test('numbers that went to nobody lie before the first message, whatever was removed meanwhile', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  store.stream.addInterest({ covers: (_id, subject) => subject === 'data.a', needs: () => true });
  store.publish('data.a', 'wanted');
  store.settle();
  const removed = store.stream.remove(1, { erase: false });
  await ticks(5);
  store.publish('data.b', 'nobody wants it');
  store.publish('data.a', 'wanted');
  expect(await settleAll(store, removed)).toBe(true);
  expect(store.fatal).toBeUndefined();
  expect(store.stream.state()).toMatchObject({
    messages: 1,
    numDeleted: 0,
    firstSeq: 3,
    lastSeq: 3,
  });
});

test('a marker that found no room comes when there is room again, and its message stays until then', async () => {
  const order = streamOrder({ allowMsgTtl: true, markerTtlMs: 20_000, allowRollup: true });
  await using store = await new GatewayStore([order]).open();
  store.publish('data.a', 'one', 'Nats-TTL: 20');
  store.publish('data.b', 'two', 'Nats-TTL: 20');
  store.publish('data.c', 'three');
  store.settle();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  expect(store.publish('data.z', Buffer.alloc(500_000))).toEqual({});
  store.settle();
  expect(store.jetstream.store.full).not.toBeNull();
  store.clock.advance(25_000);
  store.settle();
  expect(seqs(store)).toEqual([1, 2, 3]);
  store.disk!.roomNow = undefined;
  for (let i = 0; i < 5; i++) {
    store.clock.advance(1_000);
    store.settle();
  }
  expect(store.jetstream.store.full).toBeNull();
  expect(seqs(store)).toEqual([3, 4, 5]);
  expect(store.stream.get(4)?.headers?.toString()).toContain('Nats-Marker-Reason: MaxAge');
});

test('a salvage does not count rows that were trimmed and waited to be deleted', async () => {
  await using store = await new GatewayStore().open();
  for (let i = 0; i < 9_000; i++) store.publish('data.a', 'x');
  store.settle();
  void store.stream.purge();
  await ticks(5);
  // A part of the rows is deleted with the first transaction.
  store.clock.turn();
  await using after = new GatewayStore([streamOrder()], {}, store.clock);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(after.dir, 'mangrove.db')}'`);
  writeFileSync(join(after.dir, 'damaged'), '');
  await after.open();
  expect(after.stream.state()).toMatchObject({ messages: 0, bytes: 0, firstSeq: 9_001 });
  after.publish('data.a', 'x');
  after.settle();
  expect([...after.stream.subjects(all)]).toEqual([['data.a', 1]]);
});

test('a memory stream that is deleted right before a stop disturbs nobody', async () => {
  await using store = await new GatewayStore().open();
  const config = { ...streamOrder({ name: 'MEM', subjects: ['m.>'], storage: 'memory' }) };
  const made = store.jetstream.createStream({ ...config, maxBytes: 1 << 20 });
  await settleAll(store, made);
  for (let i = 0; i < 5_000; i++) store.publish('m.a', 'x');
  store.settle();
  await settleAll(store, store.jetstream.deleteStream('MEM'));
  await store.close();
  expect(() => store.clock.advance(1_000)).not.toThrow();
});

test('what a time to live took before a later message is gone from the first moment of a start', async () => {
  const order = streamOrder({ allowMsgTtl: true, allowRollup: true });
  await using store = await new GatewayStore([order]).open();
  store.publish('data.a', 'short', 'Nats-TTL: 2');
  store.settle();
  store.clock.advance(3_000);
  expect(seqs(store)).toEqual([]);
  store.publish('data.a', 'later', 'Nats-Rollup: sub');
  store.settle();
  await using after = await crashed(store);
  expect(seqs(after)).toEqual([2]);
});

test('a stream that cannot be deleted goes on, with its consumers', async () => {
  await using store = await new GatewayStore().open();
  const config = { ...streamOrder({ name: 'MADE', subjects: ['m.>'] }), maxBytes: 1 << 20 };
  await settleAll(store, store.jetstream.createStream(config));
  const consumers = store.jetstream.consumers('MADE');
  if (consumers !== undefined) await settleAll(store, consumers.create(consumerConfig()));
  store.publish('m.a', '1');
  store.settle();
  // Another program holds the write lock.
  const other = new Database(join(store.dir, 'mangrove.db'));
  other.exec('BEGIN IMMEDIATE');
  const refused = store.jetstream.deleteStream('MADE').then(
    () => 'deleted',
    () => 'refused',
  );
  expect(await settleAll(store, refused)).toBe('refused');
  other.exec('COMMIT');
  other.close();
  const later = store.publish('m.a', '2');
  await settleRounds(store, 3);
  expect(later.ack).toMatchObject({ stream: 'MADE', seq: 2 });
  expect(store.jetstream.consumers('MADE')?.get('c')?.pending).toBe(2);
  await settleAll(store, store.jetstream.deleteStream('MADE'));
  expect(store.jetstream.stream('MADE')).toBeUndefined();
  expect(store.publish('m.a', '3')).toEqual({});
});

test('a salvage brings nothing over of a stream that is deleted', async () => {
  await using store = await new GatewayStore().open();
  const config = { ...streamOrder({ name: 'MADE', subjects: ['m.>'] }), maxBytes: 1 << 20 };
  const first = await settleAll(store, store.jetstream.createStream(config));
  const consumers = store.jetstream.consumers('MADE');
  if (consumers !== undefined) await settleAll(store, consumers.create(consumerConfig()));
  store.publish('m.a', '1');
  store.settle();
  await settleAll(store, store.jetstream.deleteStream('MADE'));
  expect(counted(store, 'garbage'), 'it is not collected yet').toEqual({ garbage: 1 });
  await using after = new GatewayStore();
  store.jetstream.store.db.exec(`VACUUM INTO '${join(after.dir, 'mangrove.db')}'`);
  writeFileSync(join(after.dir, 'damaged'), '');
  await after.open();
  const again = await settleAll(after, after.jetstream.createStream(config));
  expect(again.id).toBeGreaterThan(first.id);
  expect(counted(after, 'consumer')).toEqual({ consumer: 0 });
  expect(after.jetstream.consumers('MADE')?.count).toBe(0);
});

test.each(['interest', 'workqueue'] as const)(
  'a full disk takes nothing from a forwarded %s stream that a consumer has still to get',
  async (retention) => {
    const forwards = new Map([['DATA', { graceMs: 0 }]]);
    const order = streamOrder({ retention, maxMsgs: 3, discard: 'new' });
    await using store = await new GatewayStore([order], { forwards }).open();
    store.stream.addInterest({ covers: () => true, needs: () => true });
    for (let i = 0; i < 3; i++) store.publish('data.a', 'x');
    store.settle();
    store.stream.confirm({ seq: 3, id: 'x', hubSeq: 3, hubCreated: 'c' });
    await settleRounds(store);
    // Neither the full disk nor a full stream.
    store.jetstream.stream('DATA')?.reclaim();
    expect(store.publish('data.a', 'one more').error?.errCode).toBe(10077);
    await settleRounds(store);
    expect(seqs(store)).toEqual([1, 2, 3]);
  },
);

test('messages that a full disk refuses take the place of none', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 3 })]).open();
  for (let i = 0; i < 3; i++) store.publish('data.a', 'x');
  store.settle();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  const refused = store.publish('data.a', Buffer.alloc(500_000));
  // The second is over before the transaction begins.
  store.stream.tick();
  store.settle();
  expect(refused.error?.errCode).toBe(10047);
  expect(seqs(store)).toEqual([1, 2, 3]);
});

test('a start on another’s commits knows the time: what went by age stays gone', async () => {
  await using store = await new GatewayStore([streamOrder({ maxAgeMs: 10_000 })]).open();
  store.publish('data.a', 'old');
  store.settle();
  const table = store.jetstream.table('t');
  for (let i = 0; i < 120; i++) {
    table.put('key', Buffer.from(String(i)));
    store.clock.advance(1_000);
    store.settle();
  }
  expect(seqs(store)).toEqual([]);
  await using after = await crashed(store);
  after.clock.advance(11);
  after.settle();
  expect(seqs(after)).toEqual([]);
});
