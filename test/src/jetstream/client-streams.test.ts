// Streams that clients make: created, changed and deleted while the agent runs, kept over a start, and never in the way of
// the configured ones.

import Database from 'better-sqlite3';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { StreamConfig } from '../../../src/jetstream/stream-types.ts';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const A = streamOrder({ name: 'A', subjects: ['a.>'] });

function config(more: Partial<StreamConfig> = {}): StreamConfig {
  return { ...streamOrder({ name: 'MADE', subjects: ['made.>'] }), maxBytes: Infinity, ...more };
}

/** Lets the disk answer until `promise` is settled. */
async function settled<T>(at: GatewayStore, promise: Promise<T>): Promise<T> {
  let over = false;
  const end = (): void => void (over = true);
  promise.then(end, end);
  for (let i = 0; i < 100 && !over; i++) {
    at.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return promise;
}

const made = (at: GatewayStore, more: Partial<StreamConfig> = {}) =>
  settled(at, at.jetstream.createStream(config(more)));

test('a stream that a client made is on the disk before it is answered, and there after a start', async () => {
  await using at = await new GatewayStore([A]).open();
  let answered = false;
  const creating = at.jetstream.createStream(config({ maxMsgs: 7 })).then(() => (answered = true));
  at.clock.turn();
  await new Promise((resolve) => setImmediate(resolve));
  expect(answered).toBe(false);
  await settled(at, creating);
  const outcome = at.publish('made.x', '1');
  at.settle();
  expect(outcome.ack).toMatchObject({ stream: 'MADE', seq: 1 });
  await at.close();
  await at.open();
  expect(at.jetstream.stream('MADE')?.config).toMatchObject({ maxMsgs: 7, maxBytes: Infinity });
  expect(at.jetstream.stream('MADE')?.origin).toBe('api');
  const later = at.publish('made.x', '2');
  at.settle();
  expect(later.ack).toMatchObject({ stream: 'MADE', seq: 2 });
});

test('two clients that make a stream of one name at once get one stream and one refusal', async () => {
  await using at = await new GatewayStore([A]).open();
  const both = Promise.allSettled([
    at.jetstream.createStream(config()),
    at.jetstream.createStream(config({ subjects: ['other.>'] })),
    at.jetstream.createStream(config({ name: 'THIRD', subjects: ['made.x'] })),
  ]);
  const [first, second, third] = await settled(at, both);
  expect(first).toMatchObject({ status: 'fulfilled' });
  expect(second).toMatchObject({ status: 'rejected', reason: { errCode: 10058 } });
  expect(third).toMatchObject({ status: 'rejected', reason: { errCode: 10065 } });
});

test('streams of the configuration are neither changed nor deleted by clients', async () => {
  await using at = await new GatewayStore([A]).open();
  const { config: own } = at.stream;
  const update = at.jetstream.updateStream({ ...own, maxMsgs: 1 });
  await expect(settled(at, update)).rejects.toThrow(/configuration file/);
  await expect(settled(at, at.jetstream.deleteStream('A'))).rejects.toThrow(/configuration file/);
  await expect(made(at, { subjects: ['a.x'] })).rejects.toMatchObject({ errCode: 10065 });
  expect(at.stream.config.maxMsgs).toBeUndefined();
});

test('a deleted stream takes nothing more, and its name is free for one that numbers from 1', async () => {
  await using at = await new GatewayStore([A]).open();
  await made(at);
  at.publish('made.x', '1');
  at.settle();
  await settled(at, at.jetstream.deleteStream('MADE'));
  expect(at.publish('made.x', '2')).toEqual({});
  await made(at);
  const outcome = at.publish('made.x', '3');
  at.settle();
  expect(outcome.ack).toMatchObject({ stream: 'MADE', seq: 1 });
  await at.close();
  await at.open();
  expect(at.jetstream.stream('MADE')?.state()).toMatchObject({ messages: 1, lastSeq: 1 });
});

test('what a deleted stream leaves is emptied bit by bit, over a start', async () => {
  await using at = await new GatewayStore([A]).open();
  const { id } = await made(at);
  for (let i = 0; i < 3_500; i++) at.publish(`made.${i % 1_500}`, 'x'.repeat(100));
  at.settle();
  await settled(at, at.jetstream.deleteStream('MADE'));
  const rows = (): number => {
    const db = new Database(join(at.dir, 'mangrove.db'), { readonly: true });
    try {
      const table = db.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(`m_${id}`);
      if (table === undefined) return -1;
      return Number((db.prepare(`SELECT count(*) AS n FROM m_${id}`).get() as { n: number }).n);
    } finally {
      db.close();
    }
  };
  at.settle();
  const first = rows();
  expect(first, 'not all in one go').toBeGreaterThan(0);
  await at.close();
  await at.open();
  for (let i = 0; i < 40; i++) {
    at.clock.advance(20);
    at.settle();
  }
  expect(rows()).toBe(-1);
  const db = at.jetstream.store.db;
  for (const table of ['garbage', 'subject', 'epoch'])
    expect(
      db
        .prepare(`SELECT * FROM ${table} WHERE ${table === 'garbage' ? 1 : `stream_id = ${id}`}`)
        .all(),
    ).toEqual([]);
});

test('who still reads a stream that is deleted, or whose agent has stopped, finds nothing', async () => {
  await using at = await new GatewayStore([A]).open();
  const stream = await made(at);
  for (let i = 0; i < 5; i++) at.publish(`made.${i}`, 'x');
  at.settle();
  const all = new SubjectFilter([]);
  const limits = { messagesMax: 9, bytesMax: 9_000 };
  const read = async (): Promise<unknown[]> => [
    stream.scan(all, 2, limits).messages.length,
    stream.get(2)?.seq,
    stream.lastOf(new SubjectFilter(['made.*']))?.seq,
    stream.seqAtTime(0),
    await new Promise((resolve) => void stream.count(new SubjectFilter(['made.*']), 3, resolve)),
  ];
  expect(await settled(at, read())).toEqual([4, 2, 5, 1, 3]);
  await settled(at, at.jetstream.deleteStream('MADE'));
  for (let i = 0; i < 10; i++) {
    at.clock.advance(20);
    at.settle();
  }
  expect(await settled(at, read())).toEqual([0, undefined, undefined, 6, expect.any(Number)]);
  await at.close();
  expect(stream.scan(all, 2, limits)).toEqual({ messages: [], nextSeq: 6 });
});

test('clients cannot crowd out the configured streams: theirs are refused, the others go on', async () => {
  await using at = await new GatewayStore([A], { fileBytesMax: 10_000 }).open();
  await made(at);
  const outcomes = Array.from({ length: 20 }, () => at.publish('made.x', Buffer.alloc(1_000)));
  const own = at.publish('a.x', Buffer.alloc(5_000));
  at.settle();
  expect(outcomes.filter(({ ack }) => ack).length).toBe(9);
  expect(outcomes.at(-1)?.error).toMatchObject({ errCode: 10047 });
  expect(own.ack).toMatchObject({ stream: 'A' });
  await expect(made(at, { name: 'M2', subjects: ['m2'], maxBytes: 20_000 })).rejects.toMatchObject({
    errCode: 10047,
  });
  await settled(at, at.jetstream.deleteStream('MADE'));
  at.clock.advance(1_000);
  at.settle();
  await made(at);
  const again = at.publish('made.x', 'there is room');
  at.settle();
  expect(again.ack).toMatchObject({ seq: 1 });
});

test('a stream in memory acknowledges, is bounded, and is gone after a start', async () => {
  const memoryBytesMax = 1024 * 1024;
  await using at = await new GatewayStore([A], { memoryBytesMax }).open();
  await made(at, { storage: 'memory' });
  const first = at.publish('made.x', '1');
  at.settle();
  expect(first.ack).toMatchObject({ stream: 'MADE', seq: 1 });
  const outcomes = Array.from({ length: 40 }, () => {
    const outcome = at.publish('made.x', Buffer.alloc(50_000));
    at.settle();
    return outcome;
  });
  expect(outcomes.filter(({ error }) => error?.errCode === 10028).length).toBeGreaterThan(10);
  const own = at.publish('a.x', '1');
  at.settle();
  expect(own.ack).toMatchObject({ stream: 'A' });
  await at.close();
  await at.open();
  expect(at.jetstream.stream('MADE')).toBeUndefined();
});

test('a configured stream wins a subject that a client had before', async () => {
  await using at = await new GatewayStore([A]).open();
  await made(at, { subjects: ['made.>', 'b.x'] });
  const B = streamOrder({ name: 'B', subjects: ['b.>'] });
  (await settled(at, at.jetstream.prepare([A, B], new Map())))();
  const outcome = at.publish('b.x', '1');
  const other = at.publish('made.x', '1');
  at.settle();
  expect(outcome.ack).toMatchObject({ stream: 'B' });
  expect(other.ack).toMatchObject({ stream: 'MADE' });
  expect(at.logged.some(({ msg }) => msg.includes('has a subject of a configured stream'))).toBe(
    true,
  );
  const NAMED = streamOrder({ name: 'MADE', subjects: ['c.>'] });
  await expect(settled(at, at.jetstream.prepare([A, NAMED], new Map()))).rejects.toThrow(
    /made by a client/,
  );
  await at.close();
  // A start is another matter: the configuration takes the stream over, with what it holds.
  await at.open({ streams: [A, NAMED] });
  expect(at.jetstream.stream('MADE')).toMatchObject({ origin: 'file' });
  expect(at.jetstream.stream('MADE')?.state()).toMatchObject({ messages: 1 });
});

test('a configured stream in memory shares the memory for streams', async () => {
  const M = streamOrder({ name: 'M', subjects: ['m.>'], storage: 'memory', maxBytes: undefined });
  await using at = await new GatewayStore([A, M], { memoryBytesMax: 8 * 1024 * 1024 }).open();
  expect(at.jetstream.stream('M')?.config.maxBytes).toBe(4 * 1024 * 1024);
  const outcome = at.publish('m.x', '1');
  at.settle();
  expect(outcome.ack).toMatchObject({ stream: 'M', seq: 1 });
});

test('memory that is used up is said once, and once that there is some again', async () => {
  const M = streamOrder({
    name: 'M',
    subjects: ['m.>'],
    storage: 'memory',
    maxBytes: 64 * 2 ** 20,
  });
  await using at = await new GatewayStore([M], { memoryBytesMax: 2 ** 20 }).open();
  const large = Buffer.alloc(200_000);
  const outcomes = Array.from({ length: 6 }, () => {
    const outcome = at.publish('m.x', large);
    at.settle();
    return outcome;
  });
  expect(outcomes.at(-1)?.error).toMatchObject({ errCode: 10028 });
  const said = (msg: string): number => at.logged.filter((line) => line.msg.includes(msg)).length;
  for (let i = 0; i < 10; i++) {
    at.clock.advance(500);
    at.settle();
  }
  expect(said('the memory for streams is used up')).toBe(1);
  await settled(at, at.jetstream.stream('M')?.purge({}) ?? Promise.resolve(0));
  at.clock.advance(500);
  at.settle();
  expect(said('there is memory for streams again')).toBe(1);
});
