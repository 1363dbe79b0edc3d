// A consumer that begins anew where it is told, and what of it a crash leaves.

import { expect, test } from 'vitest';
import { ConsumerLab, seqOf, tokensOf } from '../../../support/consumer-lab.ts';

test('a reset delivers again, as for the first time, what stands above the ack floor', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000 });
  await lab.publish(5);
  const [first, , third] = await lab.pull(4);
  if (first === undefined || third === undefined) throw new Error('nothing came');
  lab.say(first);
  lab.say(third);
  await lab.advance(1_100);
  expect(await lab.pullSeqs(1)).toEqual([2]);
  expect(await lab.done(lab.consumer().reset())).toBe(2);
  expect(lab.consumer().state()).toMatchObject({
    delivered: { consumerSeq: 0, streamSeq: 1 },
    ackFloor: { consumerSeq: 0, streamSeq: 1 },
    ackPending: 0,
    redelivered: 0,
    pending: 4,
  });
  const again = await lab.pull(9);
  expect(again.map(tokensOf)).toMatchObject([
    { seq: 2, deliveries: 1, consumerSeq: 1 },
    { seq: 3, deliveries: 1, consumerSeq: 2 },
    { seq: 4, deliveries: 1, consumerSeq: 3 },
    { seq: 5, deliveries: 1, consumerSeq: 4 },
  ]);
  await lab.advance(1_100);
  expect(await lab.pullSeqs(9), 'none of them is due twice').toEqual([2, 3, 4, 5]);
});

test('a reset is on the disk when it is said to be', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(6);
  const [first, second] = await lab.pull(6);
  if (first === undefined || second === undefined) throw new Error('nothing came');
  lab.say(second, '', lab.inbox().subject);
  await lab.settle();
  let reset = false;
  void lab
    .consumer()
    .reset(4)
    .then(() => (reset = true));
  for (let i = 0; i < 20; i++) {
    lab.store.clock.turn();
    await Promise.resolve();
  }
  expect(reset, 'the disk has not answered').toBe(false);
  await lab.settle();
  expect(reset).toBe(true);
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({
    delivered: { consumerSeq: 0, streamSeq: 3 },
    ackPending: 0,
    pending: 3,
  });
  expect(await after.pullSeqs(9)).toEqual([4, 5, 6]);
});

test('a reset to an earlier message brings back what was acknowledged, also after a crash', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000, maxDeliver: 2 });
  await lab.publish(4);
  for (const message of (await lab.pull(4)).slice(1)) lab.say(message);
  await lab.advance(1_100);
  await lab.pull(1);
  await lab.advance(1_100);
  expect(lab.consumer().progress.exceeded.size, 'the first is given up').toBe(1);
  await lab.done(lab.consumer().reset(1));
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([1, 2, 3, 4]);
  expect(await lab.pullSeqs(9)).toEqual([1, 2, 3, 4]);
});

test('requests that wait when a consumer is reset get what it begins with', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(2);
  await lab.pull(2);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 2, expires: 60e9 });
  await lab.settle();
  const reset = lab.consumer().reset(1);
  const second = lab.inbox();
  lab.request(second, { batch: 1, expires: 60e9 });
  await lab.done(reset);
  const came = [...inbox.take(), ...second.take()].map(seqOf);
  expect(new Set(came)).toEqual(new Set([1, 2]));
});

test('a reset of a consumer of last messages gives the last ones again', async () => {
  await using lab = await ConsumerLab.open();
  await lab.publish(2, 'data.a');
  await lab.publish(2, 'data.b');
  await lab.create({ deliverPolicy: 'last_per_subject' });
  await lab.publish(1, 'data.a');
  expect(await lab.pullSeqs(1)).toEqual([2]);
  await lab.done(lab.consumer().reset());
  expect(lab.consumer().pending).toBe(3);
  expect(await lab.pullSeqs(9)).toEqual([2, 4, 5]);
});

test('an interest stream drops what a reset has passed, and nothing else', async () => {
  await using lab = await ConsumerLab.open({ retention: 'interest' });
  await lab.create();
  await lab.publish(5);
  await lab.pull(1);
  await lab.done(lab.consumer().reset(4));
  expect(lab.store.stream.state()).toMatchObject({ messages: 2, firstSeq: 4 });
  await lab.done(lab.consumer().reset(1));
  expect(lab.consumer().pending).toBe(2);
  expect(lab.store.stream.state().messages).toBe(2);
});

test('changes and resets at once come one after the other', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create();
  await lab.publish(3, 'data.a');
  await lab.publish(3, 'data.b');
  await lab.pull(6);
  const all = [
    consumer.reset(2),
    consumer.reconfigure({ ...consumer.config, filterSubjects: ['data.b'] }),
    consumer.reset(3),
  ];
  await lab.done(Promise.all(all));
  expect(consumer.pending).toBe(3);
  expect(await lab.pullSeqs(9)).toEqual([4, 5, 6]);
});
