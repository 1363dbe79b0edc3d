// Consumers that are paused or changed while messages wait for their acks.

import { expect, test } from 'vitest';
import type { Message } from '../../../../src/message.ts';
import { ConsumerLab, seqOf } from '../../../support/consumer-lab.ts';

interface Paused {
  paused: boolean;
}

/** The one with that stream sequence. */
function of(messages: readonly Message[], seq: number): Message {
  const message = messages.find((each) => seqOf(each) === seq);
  if (message === undefined) throw new Error(`message ${seq} was not delivered`);
  return message;
}

async function delivered(lab: ConsumerLab, count: number): Promise<Message[]> {
  await lab.publish(count);
  const messages = await lab.pull(count);
  expect(messages).toHaveLength(count);
  return messages;
}

test('a delayed refusal keeps its time when the consumer is paused or changed', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create({ ackWaitMs: 30_000 });
  const messages = await delivered(lab, 2);
  lab.say(of(messages, 1), '-NAK {"delay":2000000000}');
  await lab.done(consumer.pause(lab.store.clock.wallMs() + 60_000));
  await lab.done(consumer.pause(undefined));
  await lab.done(consumer.reconfigure({ ...consumer.config, maxAckPending: 7 }));
  await lab.advance(1_900);
  expect(await lab.pullSeqs(9)).toEqual([]);
  await lab.advance(200);
  expect(await lab.pullSeqs(9)).toEqual([1]);
});

test('a shorter ack wait holds for what was delivered before', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create({ ackWaitMs: 30_000 });
  await delivered(lab, 2);
  await lab.advance(3_000);
  await lab.done(consumer.reconfigure({ ...consumer.config, ackWaitMs: 5_000 }));
  await lab.advance(1_900);
  expect(await lab.pullSeqs(9)).toEqual([]);
  await lab.advance(200);
  expect(await lab.pullSeqs(9)).toEqual([1, 2]);
});

test('who does not wait is told at once that a paused consumer has nothing', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(2);
  await lab.done(lab.consumer().pause(lab.store.clock.wallMs() + 60_000));
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 2, no_wait: true });
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['404 No Messages']);
  expect(lab.consumer().state()).toMatchObject({ waiting: 0, pending: 2 });
});

test('a consumer that is deleted with its stream while it changes takes nothing up again', async () => {
  await using lab = await ConsumerLab.open();
  const push = { deliverSubject: 'to.c', idleHeartbeatMs: 1_000 };
  const consumer = await lab.create({ pull: undefined, push });
  const changing = consumer.pause(lab.store.clock.wallMs() + 5_000);
  await Promise.resolve();
  lab.consumers.close('deleted');
  await lab.done(changing);
  const told: Message[] = [];
  lab.store.broker.subscribe('to.c', { deliver: (message) => void told.push(message) });
  await lab.advance(10_000);
  expect(told).toEqual([]);
  expect(consumer.config.pauseUntilMs).toBeUndefined();
});

test('who changes a paused consumer is told that it rests', async () => {
  await using lab = await ConsumerLab.open();
  const told: unknown[] = [];
  lab.store.broker.subscribe('$JS.EVENT.ADVISORY.CONSUMER.PAUSE.DATA.c', {
    deliver: ({ data }) => void told.push((JSON.parse(data.toString()) as Paused).paused),
  });
  const consumer = await lab.create();
  await lab.done(consumer.pause(lab.store.clock.wallMs() + 60_000));
  expect(told).toEqual([true]);
  await lab.create({ ...consumer.config, maxAckPending: 7 });
  expect(told).toEqual([true, true]);
  await lab.done(consumer.pause(undefined));
  await lab.create({ ...consumer.config, maxAckPending: 8 });
  expect(told).toEqual([true, true, false]);
});
