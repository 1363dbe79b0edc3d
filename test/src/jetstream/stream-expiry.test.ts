// Times to live and the markers that subjects leave.

import { expect, test } from 'vitest';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const all = new SubjectFilter([]);

function held(store: GatewayStore): string[] {
  return store.stream
    .scan(all, 0, { messagesMax: 100, bytesMax: 1 << 20 })
    .messages.map(({ seq, data }) => `${seq} ${data.toString()}`);
}

test('a message goes when its time to live is over, from the middle too, and stays gone after a crash', async () => {
  await using store = await new GatewayStore([streamOrder({ allowMsgTtl: true })]).open();
  store.publish('data.a', 'stays');
  store.publish('data.a', 'short', 'Nats-TTL: 2');
  store.publish('data.b', 'long', 'Nats-TTL: 1m');
  store.settle();
  store.clock.advance(1_900);
  store.settle();
  expect(held(store)).toEqual(['1 stays', '2 short', '3 long']);
  store.clock.advance(150);
  store.settle();
  expect(held(store), 'within a moment').toEqual(['1 stays', '3 long']);
  expect(store.stream.get(2)).toBeUndefined();
  expect(store.stream.state()).toMatchObject({ messages: 2, numDeleted: 1 });
  await store.close();
  await store.open();
  expect(held(store)).toEqual(['1 stays', '3 long']);
  store.clock.advance(60_000);
  store.settle();
  expect(held(store)).toEqual(['1 stays']);
  const { rows } = store.jetstream.store.db
    .prepare<[], { rows: number }>('SELECT count(*) AS rows FROM expiry')
    .get() ?? { rows: -1 };
  await store.close();
  await store.open();
  store.clock.advance(1_000);
  store.settle();
  expect(rows).toBeLessThanOrEqual(1);
});

test('a time to live of a message is refused where the stream has none', async () => {
  await using store = await new GatewayStore().open();
  expect(store.publish('data.a', 'x', 'Nats-TTL: 2').error?.errCode).toBe(10166);
});

test('a message that never expires outlives max_age, also after a restart', async () => {
  const order = streamOrder({ allowMsgTtl: true, maxAgeMs: 5_000 });
  await using store = await new GatewayStore([order]).open();
  store.publish('data.a', 'old');
  store.publish('data.a', 'for ever', 'Nats-TTL: never');
  store.publish('data.a', 'also old');
  store.settle();
  store.clock.advance(5_100);
  store.settle();
  expect(held(store)).toEqual(['2 for ever']);
  await store.close();
  await store.open();
  store.publish('data.b', 'new');
  store.settle();
  store.clock.advance(7_000);
  store.settle();
  expect(held(store)).toEqual(['2 for ever']);
});

test('a message that never expires does not make others late', async () => {
  const order = streamOrder({ allowMsgTtl: true, maxAgeMs: 1_300 });
  await using store = await new GatewayStore([order]).open();
  store.publish('data.a', 'for ever', 'Nats-TTL: never');
  store.settle();
  store.clock.advance(10);
  store.publish('data.a', 'old');
  store.settle();
  store.clock.advance(1_320);
  expect(held(store)).toEqual(['1 for ever']);
});

test('max_age is kept to the tenth of a second', async () => {
  await using store = await new GatewayStore([streamOrder({ maxAgeMs: 300 })]).open();
  store.publish('data.a', 'x');
  store.settle();
  store.clock.advance(290);
  expect(held(store)).toHaveLength(1);
  store.clock.advance(30);
  expect(held(store)).toHaveLength(0);
});

const marking = streamOrder({
  maxAgeMs: 5_000,
  markerTtlMs: 90_000,
  allowMsgTtl: true,
  allowRollup: true,
});

test('the last message of a subject that goes by age leaves a marker, and the marker goes without one', async () => {
  await using store = await new GatewayStore([{ ...marking, maxAgeMs: 100_000 }]).open();
  store.publish('data.a', 'older');
  store.publish('data.a', 'last');
  store.settle();
  store.clock.advance(100_100);
  store.settle();
  const [marker, ...rest] = store.stream.scan(all, 0, { messagesMax: 9, bytesMax: 9999 }).messages;
  expect(rest).toEqual([]);
  expect(marker).toMatchObject({ subject: 'data.a', seq: 3, data: Buffer.alloc(0) });
  expect(marker?.headers?.toString()).toBe(
    'NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m30s\r\nNats-Rollup: sub\r\n\r\n',
  );
  store.clock.advance(90_100);
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 0, lastSeq: 3 });
});

test('nobody finds the subject empty between a message and its marker', async () => {
  await using store = await new GatewayStore([marking]).open();
  store.publish('data.a', 'last');
  store.settle();
  store.clock.advance(5_050);
  store.clock.turn();
  expect(store.stream.lastOf(new SubjectFilter(['data.a']))?.data.toString()).toBe('last');
  store.clock.advance(3_000);
  store.settle();
  expect(store.stream.state().lastSeq, 'one marker').toBe(2);
});

test('a purge of a key-value store is its own marker', async () => {
  await using store = await new GatewayStore([marking]).open();
  store.publish('data.a', '', 'KV-Operation: PURGE\r\nNats-Rollup: sub');
  store.settle();
  store.clock.advance(5_100);
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 0, lastSeq: 1 });
});

test('a removal by hand leaves no marker', async () => {
  await using store = await new GatewayStore([marking]).open();
  store.publish('data.a', 'x');
  store.settle();
  const removed = store.stream.remove(1, { erase: false });
  for (let i = 0; i < 5; i++) {
    store.settle();
    await Promise.resolve();
  }
  expect(await removed).toBe(true);
  expect(store.stream.state()).toMatchObject({ messages: 0, lastSeq: 1 });
});
