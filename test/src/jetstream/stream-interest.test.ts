// Interest and work-queue streams: what stays, what goes, and what a crash leaves.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Interest } from '../../../src/jetstream/stream-types.ts';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { settleAll, settleRounds } from '../../support/settle-all.ts';

/** A consumer that has still to acknowledge what is not in `done`. */
class Reader implements Interest {
  readonly done = new Set<number>();
  readonly #filter: SubjectFilter;

  constructor(...filters: string[]) {
    this.#filter = new SubjectFilter(filters);
  }

  covers(id: number, subject: string): boolean {
    return this.#filter.coversId(id, subject);
  }

  needs(seq: number): boolean {
    return !this.done.has(seq);
  }

  ack(store: GatewayStore, ...seqs: number[]): void {
    for (const seq of seqs) {
      this.done.add(seq);
      store.stream.released(seq);
    }
  }
}

const seqsOf = (store: GatewayStore): number[] =>
  store.stream
    .scan(new SubjectFilter([]), 0, { messagesMax: 100, bytesMax: 1 << 20 })
    .messages.map(({ seq }) => seq);

test('an interest stream acknowledges what nobody wants, gives it a number, and does not keep it', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  const outcome = store.publish('data.a', 'x', 'Nats-Msg-Id: m1');
  expect(outcome, 'the number must not be used twice, so it is on the disk first').toEqual({});
  store.settle();
  expect(outcome.ack).toEqual({ stream: 'DATA', seq: 1 });
  expect(store.stream.state()).toMatchObject({ messages: 0, firstSeq: 2, lastSeq: 1, subjects: 0 });
  expect(store.stream.state().lastTimeMs, 'it was the last one').toBe(store.clock.wallMs());
  expect(store.publish('data.a', 'x', 'Nats-Msg-Id: m1').ack?.duplicate).toBe(true);
  await store.close();
  await store.open();
  store.stream.addInterest(new Reader('data.b'));
  store.publish('data.a', 'x');
  const kept = store.publish('data.b', 'x');
  store.settle();
  expect(kept.ack?.seq).toBe(3);
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 3, lastSeq: 3, subjects: 1 });
});

test('a number that went to no message is not given out again after a crash', async () => {
  const order = streamOrder({ retention: 'interest' });
  await using store = await new GatewayStore([order]).open();
  for (let i = 0; i < 3; i++) store.publish('data.a', 'x');
  store.settle();
  await using crashed = new GatewayStore([order]);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(crashed.dir, 'mangrove.db')}'`);
  await crashed.open();
  const next = crashed.publish('data.a', 'x');
  crashed.settle();
  expect(next.ack?.seq).toBe(4);
});

test('a message of an interest stream goes when the last consumer that covers it has it', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  const all = new Reader();
  const some = new Reader('data.a');
  store.stream.addInterest(all);
  store.stream.addInterest(some);
  for (const subject of ['data.a', 'data.b', 'data.a']) store.publish(subject, 'x');
  store.settle();
  all.ack(store, 1, 2);
  store.settle();
  expect(seqsOf(store)).toEqual([1, 3]);
  some.ack(store, 1, 3);
  store.settle();
  expect(seqsOf(store)).toEqual([3]);
  all.ack(store, 3);
  store.settle();
  expect(store.stream.state()).toMatchObject({
    messages: 0,
    firstSeq: 4,
    lastSeq: 3,
    numDeleted: 0,
  });
});

test('a consumer that is deleted takes with it what only it needed, not what it leaves for a turn', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  const one = store.stream.addInterest(new Reader());
  const two = new Reader('data.b');
  store.stream.addInterest(two);
  for (let i = 0; i < 10; i++) store.publish(i % 2 === 0 ? 'data.a' : 'data.b', 'x');
  store.settle();
  one();
  const back = store.stream.addInterest(new Reader());
  await settleRounds(store);
  expect(store.stream.state().messages, 'it came back at once').toBe(10);
  back();
  await settleRounds(store);
  expect(seqsOf(store)).toEqual([2, 4, 6, 8, 10]);
});

test('a work-queue keeps messages until a consumer is done with them, and without consumers', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'workqueue' })]).open();
  for (let i = 0; i < 6; i++) store.publish('data.a', 'x');
  store.settle();
  expect(store.stream.state().messages).toBe(6);
  const reader = new Reader();
  const cancel = store.stream.addInterest(reader);
  reader.ack(store, 2, 3, 5);
  store.settle();
  expect(seqsOf(store)).toEqual([1, 4, 6]);
  expect(store.stream.state().numDeleted).toBe(3);
  cancel();
  await settleRounds(store);
  expect(seqsOf(store)).toEqual([1, 4, 6]);
});

test('what was acknowledged is gone after a crash, in the transaction of its turn', async () => {
  const order = streamOrder({ retention: 'workqueue' });
  await using store = await new GatewayStore([order]).open();
  for (let i = 0; i < 5_000; i++) store.publish('data.a', 'x');
  store.settle();
  const reader = new Reader();
  store.stream.addInterest(reader);
  reader.ack(store, ...Array.from({ length: 3_000 }, (_, i) => i + 1), 4_000);
  const written = new Promise<void>((resolve) =>
    store.jetstream.store.whenDurable(() => resolve()),
  );
  store.clock.turn();
  await using crashed = new GatewayStore([order]);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(crashed.dir, 'mangrove.db')}'`);
  await crashed.open();
  expect(crashed.stream.state()).toMatchObject({
    messages: 1_999,
    firstSeq: 3_001,
    lastSeq: 5_000,
  });
  expect([...crashed.stream.subjects(new SubjectFilter([]))]).toEqual([['data.a', 1_999]]);
  await settleAll(store, written);
});

test('more acknowledgements than one transaction takes go in the next ones', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'workqueue' })]).open();
  const count = 20_000;
  for (let i = 0; i < count; i++) {
    store.publish('data.a', 'x');
    if (i % 400 === 0) store.settle();
  }
  store.settle();
  const reader = new Reader();
  store.stream.addInterest(reader);
  for (let seq = count; seq >= 1; seq--) reader.ack(store, seq);
  store.settle();
  expect(store.stream.state()).toMatchObject({ messages: 0, firstSeq: count + 1, lastSeq: count });
  const { rows } = store.jetstream.store.db
    .prepare<[], { rows: number }>('SELECT count(*) AS rows FROM m_1')
    .get() ?? { rows: -1 };
  expect(rows, 'the rows are deleted').toBe(0);
});

test('a start looks through what nobody needs any more', async () => {
  await using store = await new GatewayStore([streamOrder({ retention: 'interest' })]).open();
  store.stream.addInterest(new Reader());
  for (let i = 0; i < 10; i++) store.publish(i < 4 ? 'data.a' : 'data.b', 'x');
  store.settle();
  await store.close();
  const opened = store.open();
  await opened;
  // Of two consumers one was deleted, and the process ended before its messages were looked through.
  store.stream.addInterest(new Reader('data.b'));
  await settleRounds(store);
  expect(seqsOf(store)).toEqual([5, 6, 7, 8, 9, 10]);
});

test('a forwarded work-queue keeps what the hub does not have, whoever is done with it', async () => {
  const forwards = new Map([['DATA', { graceMs: 0 }]]);
  const order = streamOrder({ retention: 'interest' });
  await using store = await new GatewayStore([order], { forwards }).open();
  const reader = new Reader('data.a');
  store.stream.addInterest(reader);
  for (const subject of ['data.a', 'data.b', 'data.a']) store.publish(subject, 'x');
  store.settle();
  reader.ack(store, 1);
  store.settle();
  expect(seqsOf(store)).toEqual([1, 2, 3]);
  store.stream.confirm({ seq: 2, id: 'x', hubSeq: 2, hubCreated: 'now' });
  await settleRounds(store);
  expect(seqsOf(store)).toEqual([3]);
  store.stream.confirm({ seq: 3, id: 'y', hubSeq: 3, hubCreated: 'now' });
  await settleRounds(store);
  expect(seqsOf(store), 'its consumer needs it').toEqual([3]);
  reader.ack(store, 3);
  store.settle();
  expect(seqsOf(store)).toEqual([]);
});
