// Consumers and what their streams keep for them; and how many share a turn.

import { expect, test } from 'vitest';
import { ConsumerLab, seqOf } from '../../../support/consumer-lab.ts';

test('on an interest stream a message stays until every consumer is done with it', async () => {
  await using lab = await ConsumerLab.open({ retention: 'interest' });
  await lab.publish(1);
  await lab.create({ name: 'one' });
  await lab.create({ name: 'two', ackPolicy: 'all' });
  await lab.create({ name: 'b', ackPolicy: 'none', maxAckPending: 0, filterSubjects: ['data.b'] });
  await lab.publish(3, 'data.a');
  await lab.publish(1, 'data.b');
  const held = (): number => lab.store.stream.state().messages;
  expect(held(), 'nobody wanted the first').toBe(4);
  for (const message of await lab.pull(9, 'one')) lab.say(message);
  await lab.settle();
  expect(held()).toBe(4);
  const last = (await lab.pull(3, 'two')).at(-1);
  if (last !== undefined) lab.say(last);
  await lab.settle();
  expect(held()).toBe(1);
  for (const message of await lab.pull(9, 'two')) lab.say(message);
  await lab.settle();
  expect(held(), 'one consumer has to get it').toBe(1);
  await lab.pull(1, 'b');
  await lab.settle();
  expect(held()).toBe(0);
  await lab.publish(2);
  for (const message of await lab.pull(9, 'one')) lab.say(message);
  expect(held()).toBe(2);
  await lab.done(lab.consumers.delete('two'));
  await lab.settle();
  expect(held(), 'who is gone needs nothing').toBe(0);
});

test('what an interest stream drops for its consumers and what they know of it hold together after a crash', async () => {
  await using lab = await ConsumerLab.open({ retention: 'interest' });
  await lab.create();
  await lab.publish(4);
  const messages = await lab.pull(4);
  for (const message of messages) if (seqOf(message) !== 2) lab.say(message);
  await lab.settle();
  await using after = await lab.crashed();
  expect(after.store.stream.state().messages).toBe(1);
  expect(await after.pullSeqs(9)).toEqual([2]);
});

test('a first message that is never acknowledged does not make what is kept grow', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxAckPending: 2_000 });
  const rows = (): unknown =>
    lab.store.jetstream.store.db.prepare('SELECT count(*) FROM consumer_seq').pluck().get();
  const kept: number[] = [];
  for (let round = 0; round < 12; round++) {
    await lab.publish(1_000);
    for (const message of await lab.pull(1_000))
      if (![1, 5_000].includes(seqOf(message))) lab.say(message);
    await lab.advance(300);
    kept.push(Number(rows()));
  }
  expect(Math.max(...kept)).toBeLessThanOrEqual(4_100);
  expect(kept[3], 'rows of acks').toBeGreaterThan(3_000);
  expect(kept.at(-1)).toBeLessThan(4_000);
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({ ackPending: 2, ackFloor: { streamSeq: 0 } });
  const again = await after.pull(9);
  expect(again.map(seqOf)).toEqual([1, 5_000]);
  const inbox = after.inbox();
  for (const message of again) after.say(message, '', inbox.subject);
  await after.settle();
  expect(inbox.take()).toHaveLength(2);
  await using later = await after.crashed();
  expect(later.consumer().state()).toMatchObject({ ackFloor: { streamSeq: 12_000 } });
  expect(await later.pullSeqs(9)).toEqual([]);
});

test('consumers share a turn: one with much to deliver does not hold up another', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ name: 'busy', maxAckPending: -1 });
  await lab.create({ name: 'calm' });
  await lab.publish(2_000);
  const [many, one] = [lab.inbox(), lab.inbox()];
  lab.request(many, { batch: 2_000 }, 'busy');
  lab.request(one, { batch: 1 }, 'calm');
  // Each look at the clock takes a fifth of a millisecond here.
  const { clock } = lab.store;
  const real = clock.monotonicMs.bind(clock);
  let extraMs = 0;
  clock.monotonicMs = () => real() + (extraMs += 0.2);
  const due: (() => void)[] = [];
  const soon = clock.soon.bind(clock);
  clock.soon = (fn) => void due.push(fn);
  soon(() => {});
  clock.turn();
  for (const fn of due.splice(0)) fn();
  expect(one.messages).toHaveLength(1);
  expect(many.messages.length).toBeLessThan(2_000);
  clock.soon = soon;
  await lab.settle();
  for (const fn of due.splice(0)) fn();
  await lab.settle();
  expect(many.messages).toHaveLength(2_000);
});

test('a filter that nothing falls under is not searched for in one turn', async () => {
  await using lab = await ConsumerLab.open();
  await lab.publish(9_000);
  await lab.create({ filterSubjects: ['data.*.x'] });
  const { clock } = lab.store;
  const real = clock.monotonicMs.bind(clock);
  let extraMs = 0;
  clock.monotonicMs = () => real() + (extraMs += 0.6);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 1, no_wait: true, expires: 300e9 });
  expect(lab.consumer().deliver(clock.monotonicMs() + 1)).toBe(true);
  expect(lab.consumer().nextSeq).toBeGreaterThan(1);
  expect(lab.consumer().nextSeq).toBeLessThan(9_000);
  await lab.settle();
  expect(lab.consumer().nextSeq).toBe(9_001);
});

test('a consumer whose stream has lost its end goes back with it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(5);
  for (const message of await lab.pull(5)) if (seqOf(message) < 4) lab.say(message);
  await lab.advance(300);
  const { db } = lab.store.jetstream.store;
  db.exec('UPDATE consumer SET delivered_stream_seq = 50, floor_stream_seq = 20');
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({
    delivered: { streamSeq: 5 },
    ackFloor: { streamSeq: 5 },
  });
  await after.publish(1);
  expect(await after.pullSeqs(9)).toEqual([6]);
});
