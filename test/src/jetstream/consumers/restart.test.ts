// What a stop, a start or a crash leaves of consumers.

import { expect, test } from 'vitest';
import type { StreamOrder } from '../../../../src/jetstream/jetstream.ts';
import { ConsumerLab, seqOf } from '../../../support/consumer-lab.ts';
import { streamOrder } from '../../../support/gateway-store.ts';

async function restarted(lab: ConsumerLab): Promise<void> {
  await lab.store.close();
  const opened = lab.store.open();
  await lab.settle();
  await opened;
  await lab.settle();
}

test('a consumer that begins at a sequence that is to come begins there after a start too', async () => {
  await using lab = await ConsumerLab.open();
  await lab.publish(2);
  await lab.create({ deliverPolicy: 'by_start_sequence', optStartSeq: 5 });
  await using after = await lab.crashed();
  await after.publish(4);
  expect(await after.pullSeqs(9)).toEqual([5, 6]);
});

test('what consumers of an interest stream need is there after a stop and a start', async () => {
  await using lab = await ConsumerLab.open({ retention: 'interest' });
  await lab.create();
  await lab.create({ name: 'd', filterSubjects: ['data.b'] });
  await lab.publish(3);
  await lab.publish(2, 'data.b');
  const [first] = await lab.pull(2);
  if (first === undefined) throw new Error('nothing came');
  lab.say(first, '', lab.inbox().subject);
  await lab.settle();
  await restarted(lab);
  expect(lab.store.stream.state()).toMatchObject({ messages: 4, firstSeq: 2 });
  expect(await lab.pullSeqs(9)).toEqual([2, 3, 4, 5]);
  expect(await lab.pullSeqs(9, 'd')).toEqual([4, 5]);
});

test('a stream that is not configured for a while loses nothing that its consumers need', async () => {
  await using lab = await ConsumerLab.open({ retention: 'interest' });
  await lab.create();
  await lab.publish(3);
  const [first] = await lab.pull(1);
  if (first === undefined) throw new Error('nothing came');
  lab.say(first, '', lab.inbox().subject);
  await lab.settle();
  const { jetstream, stream } = lab.store;
  const configure = async (orders: StreamOrder[]): Promise<void> => {
    (await lab.done(jetstream.prepare(orders, new Map())))();
    await lab.settle();
  };
  const other = streamOrder({ name: 'OTHER', subjects: ['other.>'] });
  await configure([other]);
  await lab.advance(10_000);
  expect(stream.state().messages).toBe(2);
  await configure([streamOrder({ retention: 'interest' }), other]);
  const [second] = await lab.pull(1);
  if (second === undefined) throw new Error('nothing came');
  expect(seqOf(second)).toBe(2);
  lab.say(second, '', lab.inbox().subject);
  await lab.settle();
  expect(stream.state(), 'nobody holds it who is gone').toMatchObject({ messages: 1, firstSeq: 3 });
});

test('a message given up stays in a work-queue, also after a start', async () => {
  await using lab = await ConsumerLab.open({ retention: 'workqueue' });
  await lab.create({ maxDeliver: 1, ackWaitMs: 1_000 });
  await lab.publish(2);
  const [, second] = await lab.pull(2);
  if (second === undefined) throw new Error('nothing came');
  lab.say(second);
  await lab.advance(1_500);
  expect(lab.store.stream.state()).toMatchObject({ messages: 1, firstSeq: 1 });
  await restarted(lab);
  expect(lab.store.stream.state()).toMatchObject({ messages: 1, firstSeq: 1 });
  expect(await lab.pullSeqs(9)).toEqual([]);
});

test('twenty thousand messages without an ack come again after a crash, in order, and then the rest', async () => {
  const count = 20_000;
  await using lab = await ConsumerLab.open({ maxBytes: 1 << 30 });
  await lab.create({ maxAckPending: -1 });
  for (let i = 0; i < count; i += 5_000) await lab.publish(5_000);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: count - 10, expires: 60e9 });
  await lab.settle();
  const got = inbox.take();
  expect(got).toHaveLength(count - 10);
  const said = got[500];
  if (said === undefined) throw new Error('nothing came');
  lab.say(said, '', lab.inbox().subject);
  await lab.settle();
  await using after = await lab.crashed();
  for (let i = 0; i < 100 && after.consumer().state().pending === 0; i++) await after.settle();
  expect(after.consumer().state()).toMatchObject({ ackPending: count - 11, pending: 10 });
  const again = after.inbox();
  after.request(again, { batch: count, expires: 60e9 });
  await after.settle();
  const seqs = again.take().map(seqOf);
  expect(seqs).toHaveLength(count - 1);
  expect(seqs.every((seq, i) => seq === (i < 500 ? i + 1 : i + 2))).toBe(true);
});

test('an unused consumer goes as long after a start as it would have; one in use stays', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ inactiveThresholdMs: 10_000 });
  await lab.create({ name: 'e', durable: false, inactiveThresholdMs: 10_000 });
  await lab.create({ name: 'd' });
  await restarted(lab);
  const names = (): string[] => lab.consumers.all.map(({ name }) => name);
  expect(names()).toEqual(['c', 'd', 'e']);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 1, expires: 60e9 }, 'e');
  await lab.advance(11_000);
  expect(names()).toEqual(['d', 'e']);
  inbox.leave();
  await lab.advance(25_000);
  expect(names()).toEqual(['d']);
});

test('consumers in memory are gone after a start', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ memoryStorage: true });
  await lab.create({ name: 'd' });
  await restarted(lab);
  expect(lab.consumers.all.map(({ name }) => name)).toEqual(['d']);
});

test('what is shown of acks is on the disk', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create();
  await lab.publish(2);
  for (const message of await lab.pull(2)) lab.say(message);
  let settled = false;
  void consumer.settled().then(() => (settled = true));
  const turn = async (): Promise<void> => {
    lab.store.clock.turn();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  await turn();
  await turn();
  expect(settled, 'the disk has not answered').toBe(false);
  // Another who asks meanwhile waits too.
  let second = false;
  void consumer.settled().then(() => (second = true));
  await turn();
  expect(second).toBe(false);
  await lab.settle();
  expect([settled, second]).toEqual([true, true]);
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({ ackFloor: { streamSeq: 2 }, ackPending: 0 });
  await consumer.settled();
});
