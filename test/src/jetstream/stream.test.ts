import Database from 'better-sqlite3';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { SchemaTooNewError } from '../../../src/jetstream/schema.ts';
import { DataDirInUseError } from '../../../src/jetstream/database.ts';

const id = (value: string): string => `Nats-Msg-Id: ${value}`;

function subjectsOf(store: GatewayStore, after = 0): string[] {
  return store.stream
    .read(after, 1_000, 1 << 20)
    .map((entry) =>
      entry.kind === 'message'
        ? `${entry.message.seq} ${entry.message.data.toString()}`
        : `gap ${entry.gap.firstSeq}-${entry.gap.lastSeq} ${entry.gap.reason}`,
    );
}

test('a publish is acknowledged only when the sync that covers it has returned', async () => {
  await using store = await new GatewayStore().open();
  const first = store.publish('data.a', 'one');
  expect(first).toEqual({});
  store.clock.turn();
  expect(first, 'committed is not durable').toEqual({});
  expect(store.stream.read(0, 10, 1000), 'nothing is read before it is on the disk').toEqual([]);
  // The second one arrives while the sync runs: that sync does not cover it.
  const second = store.publish('data.a', 'two');
  store.clock.turn();
  store.disk?.finish();
  expect(first.ack).toEqual({ stream: 'DATA', seq: 1 });
  expect(second).toEqual({});
  expect(subjectsOf(store)).toEqual(['1 one']);
  store.settle();
  expect(second.ack).toEqual({ stream: 'DATA', seq: 2 });
});

test('a failed sync is fatal: nothing is acknowledged any more', async () => {
  await using store = await new GatewayStore().open();
  const outcome = store.publish('data.a', 'one');
  store.clock.turn();
  store.disk?.finish(new Error('EIO'));
  expect(store.fatal?.message).toBe('EIO');
  expect(outcome).toEqual({});
  expect(store.publish('data.a', 'two').error?.message).toMatch(/failed/);
});

test('a duplicate waits for the original and gets its sequence', async () => {
  await using store = await new GatewayStore().open();
  const original = store.publish('data.a', 'x', id('m1'));
  const duplicate = store.publish('data.a', 'x', id('m1'));
  store.clock.turn();
  const late = store.publish('data.a', 'x', id('m1'));
  expect([original, duplicate, late]).toEqual([{}, {}, {}]);
  store.settle();
  expect(original.ack).toEqual({ stream: 'DATA', seq: 1 });
  expect(duplicate.ack).toEqual({ stream: 'DATA', seq: 1, duplicate: true });
  expect(late.ack).toEqual({ stream: 'DATA', seq: 1, duplicate: true });
  expect(store.stream.state().messages).toBe(1);
});

test('the duplicate window ends by monotonic time, a restart notwithstanding', async () => {
  await using store = await new GatewayStore([streamOrder({ duplicateWindowMs: 10_000 })]).open();
  store.publish('data.a', 'x', id('m1'));
  store.settle();
  store.clock.stepWall(Date.UTC(2040, 0, 1));
  store.clock.advance(5_000);
  await store.close();
  await store.open();
  expect(store.publish('data.a', 'x', id('m1')).ack?.duplicate, 'known after a restart').toBe(true);
  store.clock.advance(10_500);
  const again = store.publish('data.a', 'x', id('m1'));
  store.settle();
  expect(again.ack).toEqual({ stream: 'DATA', seq: 2 });
});

test('the window holds no more IDs than its maximum and counts those it forgets', async () => {
  await using store = await new GatewayStore([streamOrder({ duplicateIdsMax: 10 })]).open();
  for (let i = 0; i < 25; i++) store.publish('data.a', 'x', id(`m${i}`));
  store.settle();
  expect(store.stream.state().duplicateIds).toBeLessThanOrEqual(10);
  expect(store.stream.duplicateIdsForgotten).toBeGreaterThanOrEqual(15);
  expect(store.publish('data.a', 'x', id('m24')).ack?.duplicate).toBe(true);
});

test('what was stored is there after a restart, numbering goes on, and the epoch is new', async () => {
  await using store = await new GatewayStore().open();
  for (let i = 1; i <= 100; i++)
    store.publish(`data.${i % 7}`, `m${i}`, i % 2 ? id(`i${i}`) : undefined);
  store.settle();
  const before = store.stream.state();
  const epoch = store.stream.epochs().at(-1)?.epoch;
  await store.close();
  await store.open();
  expect(store.stream.state()).toEqual({ ...before, duplicateIds: 50 });
  const next = store.publish('data.1', 'm101');
  store.settle();
  expect(next.ack?.seq).toBe(101);
  const epochs = store.stream.epochs();
  expect(epochs.map((e) => [e.firstSeq, e.lastSeq, e.current])).toEqual([
    [1, 100, false],
    [101, 101, true],
  ]);
  expect(epochs[0]?.epoch).toBe(epoch);
  const entries = store.stream.read(99, 10, 1000);
  expect(entries.map((e) => e.kind === 'message' && e.message.epoch)).toEqual([
    epoch,
    epochs[1]?.epoch,
  ]);
});

test('discard old keeps the newest, by count and by bytes', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 10 })]).open();
  for (let i = 1; i <= 35; i++) {
    store.publish('data.a', `m${i}`);
    if (i % 4 === 0) store.settle();
  }
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 10, firstSeq: 26, lastSeq: 35 });
  expect(subjectsOf(store)[0], 'nothing forwards it, but a reader still sees the hole').toBe(
    'gap 1-25 lost',
  );
  await store.close();
  await store.open();
  expect(store.stream.state()).toMatchObject({ messages: 10, firstSeq: 26, lastSeq: 35 });
  await using bytes = await new GatewayStore([streamOrder({ maxBytes: 100 })]).open();
  for (let i = 1; i <= 20; i++) bytes.publish('data.a', '0123');
  bytes.settle();
  expect(bytes.stream.state()).toMatchObject({ messages: 10, bytes: 100, firstSeq: 11 });
});

test('a start drops what a crash brought back over the limits', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 10 })]).open();
  for (let i = 1; i <= 30; i++) store.publish('data.a', `m${i}`);
  store.settle();
  // Trimmed in memory only: the rows of the first twenty are still in the database, as after a crash.
  const crashed = new GatewayStore([streamOrder({ maxMsgs: 10 })]);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(crashed.dir, 'mangrove.db')}'`);
  await crashed.open();
  expect(crashed.stream.state()).toMatchObject({ messages: 10, firstSeq: 21, lastSeq: 30 });
  await crashed[Symbol.asyncDispose]();
});

test('discard new refuses with 10077 and keeps what it has', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 3, discard: 'new' })]).open();
  const outcomes = Array.from({ length: 5 }, (_, i) => store.publish('data.a', `m${i}`));
  store.settle();
  expect(outcomes.map((o) => o.ack?.seq ?? o.error?.errCode)).toEqual([1, 2, 3, 10077, 10077]);
  expect(outcomes[4]?.error?.message).toBe('maximum messages exceeded');
});

test('with discard new, what the hub has makes room; what it has not is never dropped', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 4, discard: 'new' })], {
    forwards: new Map([['DATA', { graceMs: 600_000 }]]),
  }).open();
  for (let i = 1; i <= 4; i++) store.publish('data.a', `m${i}`);
  store.settle();
  expect(store.publish('data.a', 'm5').error?.errCode).toBe(10077);
  store.stream.confirm({ seq: 2, id: 'x', hubSeq: 7, hubCreated: 'c' });
  const room = [5, 6, 7].map((i) => store.publish('data.a', `m${i}`));
  store.settle();
  expect(room.map((o) => o.ack?.seq ?? o.error?.errCode)).toEqual([5, 6, 10077]);
  expect(subjectsOf(store, 2)).toEqual(['3 m3', '4 m4', '5 m5', '6 m6']);
});

test('with discard old, what was never forwarded leaves a gap record, over restarts', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 5 })], {
    forwards: new Map([['DATA', { graceMs: 0 }]]),
  }).open();
  for (let i = 1; i <= 5; i++) store.publish('data.a', `m${i}`);
  store.settle();
  store.stream.confirm({ seq: 3, id: 'x', hubSeq: 3, hubCreated: 'c' });
  for (let i = 6; i <= 12; i++) store.publish('data.a', `m${i}`);
  store.settle();
  const expected = ['gap 4-7 max_msgs', '8 m8', '9 m9', '10 m10', '11 m11', '12 m12'];
  expect(subjectsOf(store, 3)).toEqual(expected);
  await store.close();
  await store.open();
  expect(store.stream.mark).toEqual({ seq: 3, id: 'x', hubSeq: 3, hubCreated: 'c' });
  expect(subjectsOf(store, 3)).toEqual(expected);
  store.stream.confirm({ seq: 12, id: 'y', hubSeq: 9, hubCreated: 'c' });
  store.settle();
  expect(subjectsOf(store, 12)).toEqual([]);
});

test('max_age counts running time: steps of the wall clock expire nothing', async () => {
  await using store = await new GatewayStore([streamOrder({ maxAgeMs: 60_000 })]).open();
  store.publish('data.a', 'old');
  store.settle();
  store.clock.stepWall(Date.UTC(2051, 0, 1));
  store.clock.advance(30_000);
  store.clock.stepWall(0);
  store.publish('data.a', 'young');
  store.clock.advance(20_000);
  store.settle();
  expect(store.stream.state().messages).toBe(2);
  await store.close();
  await store.open();
  store.clock.advance(5_000);
  expect(store.stream.state().messages, 'a restart does not age them').toBe(2);
  store.clock.advance(12_000);
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 2 });
});

test('a clock that starts in 1970 and is set later gives stored messages the right time', async () => {
  await using store = new GatewayStore();
  store.clock.stepWall(0);
  await store.open();
  store.publish('data.a', 'x');
  store.settle();
  const stored = (): [number, boolean] | undefined => {
    const entry = store.stream.read(0, 1, 1000)[0];
    return entry?.kind === 'message' ? [entry.message.timeMs, entry.message.timeSynced] : undefined;
  };
  expect(stored()?.[1]).toBe(false);
  const now = Date.UTC(2026, 10, 21);
  store.clock.advance(10_000);
  store.clock.stepWall(now);
  store.clock.advance(1_000);
  expect(stored()).toEqual([expect.closeTo(now - 10_000, -1), true]);
  await store.close();
  await store.open();
  expect(stored(), 'and after a restart').toEqual([expect.closeTo(now - 10_000, -1), true]);
});

test('a flipped bit in a record is found: the record goes to quarantine and leaves a gap', async () => {
  await using store = await new GatewayStore([streamOrder()], {
    forwards: new Map([['DATA', { graceMs: 0 }]]),
  }).open();
  for (let i = 1; i <= 5; i++) store.publish('data.a', `m${i}`);
  store.settle();
  const { db } = store.jetstream.store;
  db.prepare('UPDATE m_1 SET data = ? WHERE seq = 3').run(Buffer.from('mX'));
  db.prepare('UPDATE m_1 SET subject_id = 9 WHERE seq = 5').run();
  expect(subjectsOf(store)).toEqual(['1 m1', '2 m2', 'gap 3-3 corrupt', '4 m4', 'gap 5-5 corrupt']);
  store.settle();
  expect(subjectsOf(store)).toEqual(['1 m1', '2 m2', 'gap 3-3 corrupt', '4 m4', 'gap 5-5 corrupt']);
  expect(db.prepare('SELECT seq, data FROM quarantine').all()).toMatchObject([
    { seq: 3 },
    { seq: 5 },
  ]);
  expect(store.stream.state().messages).toBe(3);
  expect(store.logged.filter((line) => /checksum/.test(line.msg))).toHaveLength(2);
});

test('a message that the hub never takes moves to the dead-letter stream', async () => {
  await using store = await new GatewayStore([streamOrder()], {
    forwards: new Map([['DATA', { graceMs: 0 }]]),
  }).open();
  store.publish('data.a', 'bad', 'Colour: red');
  store.publish('data.a', 'good');
  store.settle();
  const moved = store.stream.deadLetter(1, '10054 message size exceeds maximum allowed');
  store.settle();
  await moved;
  store.settle();
  expect(subjectsOf(store)).toEqual(['gap 1-1 dead_letter', '2 good']);
  const dead = store.jetstream.stream('dead_letter')?.read(0, 10, 1000)[0];
  expect(dead?.kind === 'message' && dead.message.subject).toBe('$DEAD.DATA.data.a');
  expect(dead?.kind === 'message' && dead.message.headers?.toString()).toBe(
    'NATS/1.0\r\nMangrove-Stream: DATA\r\nMangrove-Sequence: 1\r\n' +
      'Mangrove-Reason: 10054 message size exceeds maximum allowed\r\nColour: red\r\n\r\n',
  );
});

test('a stream deleted and created again numbers from 1 under another epoch', async () => {
  await using store = await new GatewayStore().open();
  for (let i = 1; i <= 3; i++) store.publish('data.a', `m${i}`);
  store.settle();
  const old = store.stream.epochs()[0]?.epoch;
  const deleted = store.jetstream.delete('DATA');
  for (let i = 0; i < 5; i++) {
    store.settle();
    await Promise.resolve();
  }
  await deleted;
  expect(store.broker.publish({ subject: 'data.a', data: Buffer.alloc(0) })).toBe('nobody');
  const created = store.jetstream.create(streamOrder());
  store.settle();
  await created;
  const outcome = store.publish('data.a', 'new');
  store.settle();
  expect(outcome.ack?.seq).toBe(1);
  const epochs = store.stream.epochs();
  expect(epochs.map((e) => e.retired)).toEqual([true, false]);
  expect(epochs[0]?.epoch).toBe(old);
});

test('a full database refuses publishes, keeps what it acknowledged, and resumes when there is room', async () => {
  await using store = await new GatewayStore([streamOrder({ maxBytes: 1 << 30 })], {
    forwards: new Map([['DATA', { graceMs: 600_000 }]]),
  }).open();
  const disk = store.disk!;
  // A database of 3 MB beyond what the store keeps in reserve.
  disk.roomNow = { availableBytes: (16 << 20) + 3_000_000, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  const outcomes = [];
  for (let i = 0; i < 200; i++) {
    outcomes.push(store.publish('data.a', Buffer.alloc(20_000, i)));
    store.settle();
  }
  const acked = outcomes.filter((o) => o.ack).length;
  const refused = outcomes.filter((o) => o.error);
  expect(acked).toBeGreaterThan(0);
  expect(refused.length).toBe(200 - acked);
  expect(refused[0]?.error).toMatchObject({ errCode: 10047 });
  expect(store.stream.state()).toMatchObject({ messages: acked, lastSeq: acked });
  expect(store.stream.read(0, 1_000, 1 << 30)).toHaveLength(acked);
  store.clock.advance(2_000);
  expect(store.publish('data.a', 'x').error, 'still full').not.toBeNull();
  // The hub confirms: what it has is deleted at once, and the freed pages take new messages.
  store.stream.confirm({ seq: acked, id: 'x', hubSeq: acked, hubCreated: 'c' });
  for (let i = 0; i < 20; i++) {
    store.settle();
    store.clock.advance(500);
  }
  store.settle();
  const resumed = store.publish('data.a', 'x');
  store.settle();
  expect(resumed.ack?.seq, 'numbers of refused messages were never used').toBe(acked + 1);
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: acked + 1 });
});

test('a full database resumes by itself when the disk has room again', async () => {
  await using store = await new GatewayStore([streamOrder({ maxBytes: 1 << 30 })]).open();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  let refused = store.publish('data.a', Buffer.alloc(200_000));
  store.settle();
  for (let i = 0; i < 10 && refused.error === null; i++) {
    refused = store.publish('data.a', Buffer.alloc(200_000));
    store.settle();
  }
  expect(refused.error).toMatchObject({ errCode: 10047 });
  store.disk!.roomNow = { availableBytes: 1 << 29, totalBytes: 1 << 30 };
  for (let i = 0; i < 8; i++) {
    store.clock.advance(500);
    store.settle();
  }
  const resumed = store.publish('data.a', 'x');
  store.settle();
  expect(resumed.error).toBeNull();
});

test('a second agent on one data directory is refused', async () => {
  await using store = await new GatewayStore().open();
  const second = new GatewayStore();
  Object.assign(second, { dir: store.dir });
  await expect(second.open()).rejects.toThrow(DataDirInUseError);
});

test('a database of a newer version is refused and not touched', async () => {
  await using store = await new GatewayStore().open();
  await store.close();
  const path = join(store.dir, 'mangrove.db');
  const db = new Database(path);
  db.pragma('user_version = 99');
  db.close();
  await expect(store.open()).rejects.toThrow(SchemaTooNewError);
  const after = new Database(path);
  expect(after.pragma('user_version', { simple: true })).toBe(99);
  after.close();
});

test('oversized headers and messages are refused before they cost anything', async () => {
  await using store = await new GatewayStore([streamOrder({ maxBytes: 1 << 20 })]).open();
  expect(store.publish('data.a', 'x', `A: ${'y'.repeat(65 * 1024)}`).error?.errCode).toBe(10097);
  expect(store.publish('data.a', Buffer.alloc((1 << 20) + 1)).error?.errCode).toBe(10054);
  expect(store.stream.state().messages).toBe(0);
});

test('what queues while the disk does not answer is bounded', async () => {
  await using store = await new GatewayStore([streamOrder()], {
    limits: { undurableMessagesMax: 1_000, commitRows: 64 },
  }).open();
  const outcomes = [];
  for (let i = 0; i < 1_500; i++) {
    outcomes.push(store.publish('data.a', 'x'));
    if (i % 50 === 0) store.clock.turn();
  }
  expect(outcomes.filter((o) => o.error?.errCode === 10167)).toHaveLength(500);
  store.settle();
  expect(outcomes.filter((o) => o.ack)).toHaveLength(1_000);
});

test('counts are right after a restart without a clean stop', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgs: 700 })]).open();
  for (let i = 1; i <= 2_000; i++) {
    store.publish(`data.${i % 13}`, 'x'.repeat(i % 50));
    if (i % 100 === 0) store.settle();
  }
  store.settle();
  const before = store.stream.state();
  // A crash: the database is copied as it is, without the totals that a stop would write.
  const crashed = new GatewayStore([streamOrder({ maxMsgs: 700 })]);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(crashed.dir, 'mangrove.db')}'`);
  await crashed.open();
  crashed.publish('data.0', '');
  crashed.settle();
  expect(crashed.stream.state()).toMatchObject({
    messages: 700,
    lastSeq: 2_001,
    subjects: before.subjects,
  });
  const sizes = crashed.stream
    .read(0, 5_000, 1 << 30)
    .filter((entry) => entry.kind === 'message')
    .reduce((sum, { message }) => sum + message.subject.length + message.data.length, 0);
  expect(crashed.stream.state().bytes).toBe(sizes);
  await crashed[Symbol.asyncDispose]();
});
