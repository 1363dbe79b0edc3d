import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

test('the message whose arrival finds the disk full is refused, not acknowledged without being stored', async () => {
  await using store = await new GatewayStore([streamOrder({ maxBytes: 1 << 30 })], {
    limits: { commitRows: 8 },
  }).open();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  // The ninth of a turn makes the first eight a transaction, which finds no room.
  const outcomes = Array.from({ length: 9 }, () => store.publish('data.a', Buffer.alloc(100_000)));
  // The store looks for room while the sync of what it could remove is still running.
  store.clock.advance(1);
  store.settle();
  store.clock.advance(2_000);
  store.settle();
  expect(outcomes.map(({ error, ack }) => error?.errCode ?? ack)).toEqual(Array(9).fill(10047));
  expect(store.stream.state()).toMatchObject({ messages: 0, lastSeq: 0 });
});

test('what is written by someone who is just told of a refusal is not forgotten', async () => {
  await using store = await new GatewayStore([streamOrder({ maxBytes: 1 << 30 })]).open();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  const table = store.jetstream.table('t');
  table.put('before', Buffer.from('x'));
  const told: (string | null)[] = [];
  store.broker.publish({ subject: 'data.a', data: Buffer.alloc(400_000) }, (error) => {
    expect(error?.errCode).toBe(10047);
    table.put('late', Buffer.from('y'));
    store.jetstream.store.whenDurable((refusal) => told.push(refusal?.message ?? null));
  });
  store.settle();
  expect(told).toHaveLength(1);
  // Either it is there, or its writer knows that it is not.
  expect(table.get('late') === undefined).toBe(told[0] !== null);
});
