// The forwarder's mark where it may be written late, seen through a crash: a copy of the database as it lies on the disk.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const forwards = new Map([['DATA', { graceMs: 600_000 }]]);

function markAt(seq: number): { seq: number; id: string; hubSeq: number; hubCreated: string } {
  return { seq, id: `id${seq}`, hubSeq: 100 + seq, hubCreated: 'c' };
}

/** What a start finds if the process dies now. */
async function crashed(
  store: GatewayStore,
  order: Parameters<typeof streamOrder>[0] = {},
): Promise<GatewayStore> {
  const after = new GatewayStore([streamOrder(order)], { forwards });
  store.jetstream.store.db.exec(`VACUUM INTO '${join(after.dir, 'mangrove.db')}'`);
  return after.open();
}

async function markAfterCrash(store: GatewayStore): Promise<number> {
  await using after = await crashed(store);
  return after.stream.mark?.seq ?? 0;
}

async function filled(order: Parameters<typeof streamOrder>[0] = {}): Promise<GatewayStore> {
  const store = await new GatewayStore([streamOrder(order)], { forwards }).open();
  for (let i = 1; i <= 10; i++) store.publish('data.a', `m${i}`);
  store.settle();
  return store;
}

test('a late mark waits for messages that come 5 s later, or 10 s alone', async () => {
  await using store = await filled();
  store.stream.confirm(markAt(1), true);
  store.settle();
  expect(await markAfterCrash(store), 'the first one does not wait').toBe(1);
  store.stream.confirm(markAt(2), true);
  store.clock.advance(4_000);
  store.publish('data.a', 'too early');
  store.settle();
  expect(await markAfterCrash(store)).toBe(1);
  expect(store.stream.mark?.seq).toBe(2);
  store.clock.advance(1_500);
  store.publish('data.a', 'takes it along');
  store.settle();
  expect(await markAfterCrash(store)).toBe(2);
  store.stream.confirm(markAt(3), true);
  store.clock.advance(11_500);
  store.settle();
  expect(await markAfterCrash(store), 'alone').toBe(3);
});

test('a mark that must not be late takes late ones along, and one that goes back does not wait', async () => {
  await using store = await filled();
  store.stream.confirm(markAt(1));
  store.settle();
  store.stream.confirm(markAt(2), true);
  store.stream.confirm(markAt(3));
  store.stream.confirm(markAt(4), true);
  store.settle();
  expect(await markAfterCrash(store)).toBe(4);
  store.stream.confirm(markAt(2), true);
  store.settle();
  expect(await markAfterCrash(store)).toBe(2);
});

test('nothing is deleted that the mark on the disk does not cover', async () => {
  const order = { maxBytes: 3_000_000 };
  await using store = await filled(order);
  store.stream.confirm(markAt(1));
  store.settle();
  store.stream.confirm(markAt(10), true);
  // Makes the ten go, rows and all, in this very second.
  for (let i = 0; i < 8; i++) store.publish('data.a', Buffer.alloc(600_000));
  store.settle();
  await using after = await crashed(store, order);
  expect(after.stream.firstSeq).toBeGreaterThan(10);
  expect(after.stream.mark?.seq).toBe(10);
  const [first] = after.stream.read(10, 1, 1);
  expect(first?.kind === 'gap' && first.gap.firstSeq, 'confirmed ones are no gap').toBe(11);
});

test('a stop, and a stream taken out of the configuration, leave no mark behind', async () => {
  await using store = await filled();
  store.stream.confirm(markAt(1));
  store.settle();
  store.stream.confirm(markAt(5), true);
  const other = streamOrder({ name: 'OTHER', subjects: ['other.>'] });
  const prepared = store.jetstream.prepare([other], new Map());
  store.settle();
  (await prepared)();
  store.settle();
  expect(await markAfterCrash(store)).toBe(5);
  const back = store.jetstream.prepare([streamOrder()], forwards);
  store.settle();
  (await back)();
  store.stream.confirm(markAt(7), true);
  await store.close();
  await store.open({ streams: [streamOrder()], forwards });
  expect(store.stream.mark?.seq).toBe(7);
});

test('what made room with discard new and is back after a crash goes again, as far as the hub has it', async () => {
  const order = { maxMsgs: 10, discard: 'new' } as const;
  await using store = await filled(order);
  store.stream.confirm(markAt(4));
  store.settle();
  for (let i = 11; i <= 14; i++) store.publish('data.a', `m${i}`);
  store.settle();
  store.stream.confirm(markAt(7), true);
  for (let i = 15; i <= 17; i++) store.publish('data.a', `m${i}`);
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 10, firstSeq: 8, lastSeq: 17 });
  // The disk has all seventeen, and a mark of four.
  await using after = await crashed(store, order);
  expect(after.stream.state()).toMatchObject({ messages: 13, firstSeq: 5 });
  expect(after.publish('data.a', 'x').error?.errCode).toBe(10077);
  // The hub shows what it has, and only that goes.
  after.stream.confirm(markAt(6));
  after.settle();
  expect(after.stream.state()).toMatchObject({ messages: 11, firstSeq: 7 });
  after.stream.confirm(markAt(9));
  after.settle();
  expect(after.stream.state()).toMatchObject({ messages: 10, firstSeq: 8 });
});
