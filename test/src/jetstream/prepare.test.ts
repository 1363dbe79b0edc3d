// Streams that change while the agent runs.

import { expect, test } from 'vitest';
import { DEAD_LETTER_STREAM } from '../../../src/jetstream/stream-configs.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const A = streamOrder({ name: 'A', subjects: ['a.>'] });
const B = streamOrder({ name: 'B', subjects: ['b.>'] });
const NONE = new Map<string, { graceMs: number }>();

/** Prepares, with the syncs that it needs. */
async function prepare(
  at: GatewayStore,
  ...[orders, forwards = NONE]: Parameters<GatewayStore['jetstream']['prepare']> | [(typeof A)[]]
): Promise<() => void> {
  const prepared = at.jetstream.prepare(orders, forwards);
  at.settle();
  return prepared;
}

function names(at: GatewayStore): string[] {
  return at.jetstream.streams.map(({ name }) => name);
}

test('a new stream takes messages once it is in force, and not before', async () => {
  await using at = await new GatewayStore([A]).open();
  const apply = await prepare(at, [A, B]);
  expect(names(at)).toEqual(['A']);
  const early = at.publish('b.x', '1');
  apply();
  expect(names(at)).toEqual(['A', 'B']);
  const late = at.publish('b.x', '2');
  at.settle();
  expect(early).toEqual({});
  expect(late.ack).toMatchObject({ stream: 'B', seq: 1 });
});

test('a new stream is on the disk with its epoch before it takes anything', async () => {
  await using at = await new GatewayStore([A]).open();
  let ready = false;
  const prepared = at.jetstream.prepare([A, B], NONE).then((apply) => {
    ready = true;
    return apply;
  });
  at.clock.turn();
  await new Promise((resolve) => setImmediate(resolve));
  expect(ready).toBe(false);
  at.settle();
  (await prepared)();
  expect(at.jetstream.stream('B')?.epochs()).toHaveLength(1);
});

test('other limits are in force at once, and kept over a start', async () => {
  await using at = await new GatewayStore([A]).open();
  for (let i = 0; i < 10; i++) at.publish('a.x', `${i}`);
  at.settle();
  const other = { ...A, maxMsgs: 3, discard: 'old' as const };
  (await prepare(at, [other]))();
  at.settle();
  expect(at.stream.state()).toMatchObject({ messages: 3, firstSeq: 8, lastSeq: 10 });
  const refusing = { ...A, maxMsgs: 3, discard: 'new' as const };
  (await prepare(at, [refusing]))();
  const outcome = at.publish('a.x', 'over');
  at.settle();
  expect(outcome.error?.message).toBe('maximum messages exceeded');
});

test('limits that became much smaller are reached step by step, not in one long turn', async () => {
  await using at = await new GatewayStore([A]).open();
  for (let i = 0; i < 130_000; i++) {
    at.publish('a.x', '');
    if (i % 10_000 === 0) at.settle();
  }
  at.settle();
  (await prepare(at, [{ ...A, maxMsgs: 10 }]))();
  expect(at.stream.state().messages).toBe(126_000);
  at.settle();
  expect(at.stream.state().messages).toBe(10);
}, 120_000);

test('another duplicate window is kept from now on', async () => {
  await using at = await new GatewayStore([A]).open();
  at.publish('a.x', '1', 'Nats-Msg-Id: one');
  at.settle();
  (await prepare(at, [{ ...A, duplicateWindowMs: 10_000 }]))();
  const soon = at.publish('a.x', '1', 'Nats-Msg-Id: one');
  at.settle();
  expect(soon.ack).toMatchObject({ seq: 1, duplicate: true });
  at.clock.advance(11_000);
  const late = at.publish('a.x', '1', 'Nats-Msg-Id: one');
  at.settle();
  expect(late.ack).toMatchObject({ seq: 2 });
});

test('a subject that moves to another stream is in exactly one at every moment', async () => {
  await using at = await new GatewayStore([
    streamOrder({ name: 'A', subjects: ['a.>', 'x.>'] }),
    B,
  ]).open();
  const apply = await prepare(at, [A, streamOrder({ name: 'B', subjects: ['b.>', 'x.>'] })]);
  const before = at.publish('x.1', '');
  apply();
  const after = at.publish('x.1', '');
  at.settle();
  expect(before.ack).toMatchObject({ stream: 'A', seq: 1 });
  expect(after.ack).toMatchObject({ stream: 'B', seq: 1 });
});

test('a stream that is taken out keeps what it has and was about to have, and comes back with it', async () => {
  await using at = await new GatewayStore([A, B]).open();
  const last = at.publish('b.x', '1');
  (await prepare(at, [A]))();
  expect(names(at)).toEqual(['A']);
  at.settle();
  expect(last.ack).toMatchObject({ stream: 'B', seq: 1 });
  expect(at.publish('b.x', 'nobody')).toEqual({});
  expect(at.logged.map(({ msg }) => msg)).toContain(
    'a stream on the disk is not in the configuration: its messages stay, it takes no new ones',
  );
  (await prepare(at, [A, B]))();
  const again = at.publish('b.x', '2');
  at.settle();
  expect(again.ack).toMatchObject({ stream: 'B', seq: 2 });
  await at.close();
  await at.open({ streams: [A, B] });
  expect(at.jetstream.stream('B')?.state()).toMatchObject({ messages: 2, lastSeq: 2 });
});

test('a stream that lies on the disk since an earlier start is found again', async () => {
  await using at = await new GatewayStore([A, B]).open();
  at.publish('b.x', '1');
  at.settle();
  await at.close();
  await at.open({ streams: [A] });
  (await prepare(at, [A, B]))();
  const next = at.publish('b.x', '2');
  at.settle();
  expect(next.ack).toMatchObject({ stream: 'B', seq: 2 });
  expect(at.jetstream.stream('B')?.epochs()).toHaveLength(2);
});

test('the stream for dead letters comes with the first that is forwarded', async () => {
  await using at = await new GatewayStore([A]).open();
  const forwards = new Map([['A', { graceMs: 1_000 }]]);
  (await prepare(at, [A], forwards))();
  expect(names(at)).toEqual(['A', DEAD_LETTER_STREAM]);
  at.publish('a.x', '1');
  at.settle();
  const moved = at.stream.deadLetter(1, 'test');
  at.settle();
  await moved;
  expect(at.jetstream.stream(DEAD_LETTER_STREAM)?.state().messages).toBe(1);
});

test('messages of a stream that is forwarded from now on do not go without a gap record', async () => {
  await using at = await new GatewayStore([A]).open();
  at.publish('a.x', '1');
  at.settle();
  (await prepare(at, [{ ...A, maxMsgs: 1 }], new Map([['A', { graceMs: 1_000 }]])))();
  at.publish('a.x', '2');
  at.settle();
  expect(at.stream.read(0, 10, 1_000).map(({ kind }) => kind)).toEqual(['gap', 'message']);
});

test('a disk without room for a new stream refuses all of it, and nothing has changed', async () => {
  await using at = await new GatewayStore([A]).open();
  const { db } = at.jetstream.store;
  const pages = Number(db.pragma('page_count', { simple: true }));
  db.pragma(`max_page_count = ${pages}`);
  const many = Array.from({ length: 20 }, (_, i) =>
    streamOrder({ name: `N${i}`, subjects: [`n${i}.>`] }),
  );
  const prepared = at.jetstream.prepare([{ ...A, maxMsgs: 1 }, ...many], NONE);
  await expect(prepared).rejects.toThrow(/full/);
  expect(names(at)).toEqual(['A']);
  expect(at.stream.config.maxMsgs).toBeUndefined();
  expect(at.fatal).toBeUndefined();
  const rows = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM stream').get();
  expect(rows).toEqual({ n: 1 });
});

test('a share of the disk stays what it was while as many streams share it', async () => {
  const [a, b] = [A, B].map((order) => ({ ...order, maxBytes: undefined }));
  await using at = await new GatewayStore([a!]).open();
  const share = at.stream.config.maxBytes;
  if (at.disk !== undefined) at.disk.roomNow = { availableBytes: 2e9, totalBytes: 4e9 };
  (await prepare(at, [{ ...a!, maxMsgs: 5 }]))();
  expect(at.stream.config).toMatchObject({ maxBytes: share, maxMsgs: 5 });
  (await prepare(at, [a!, b!]))();
  expect(at.stream.config.maxBytes).toBeLessThan(share);
  expect(at.stream.config.maxBytes).toBe(at.jetstream.stream('B')?.config.maxBytes);
});
