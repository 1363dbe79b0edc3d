// What becomes of messages after their delivery: acks of all kinds, ack waits, and what a crash leaves of it.

import { expect, test } from 'vitest';
import type { Message } from '../../../../src/message.ts';
import { ConsumerLab, seqOf, tokensOf } from '../../../support/consumer-lab.ts';

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

test('the floor follows acks in order; others wait above it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const messages = await delivered(lab, 4);
  const floor = () => lab.consumer().state().ackFloor.streamSeq;
  lab.say(of(messages, 2));
  expect(floor()).toBe(0);
  lab.say(of(messages, 1), '+ACK');
  expect(floor()).toBe(2);
  lab.say(of(messages, 4));
  lab.say(of(messages, 4));
  expect(lab.consumer().state().ackPending).toBe(1);
  lab.say(of(messages, 3), '+OK');
  expect(lab.consumer().state()).toMatchObject({
    ackFloor: { consumerSeq: 4, streamSeq: 4 },
    ackPending: 0,
  });
});

test('the floor stays where it began until the first delivery is acknowledged', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ filterSubjects: ['data.a'] });
  await lab.publish(3, 'data.b');
  const messages = await delivered(lab, 2);
  lab.say(of(messages, 5));
  expect(lab.consumer().state().ackFloor).toMatchObject({ consumerSeq: 0, streamSeq: 0 });
  lab.say(of(messages, 4));
  expect(lab.consumer().state().ackFloor).toMatchObject({ consumerSeq: 2, streamSeq: 5 });
});

test('what is kept of acks above the floor goes when the floor has passed them', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxDeliver: 1, ackWaitMs: 1_000 });
  const messages = await delivered(lab, 3);
  const rows = (): unknown =>
    lab.store.jetstream.store.db.prepare('SELECT count(*) FROM consumer_seq').pluck().get();
  lab.say(of(messages, 2));
  await lab.advance(300);
  expect(rows()).toBe(1);
  lab.say(of(messages, 1));
  await lab.advance(300);
  expect(rows()).toBe(0);
  await lab.advance(1_000);
  expect([rows(), lab.consumer().progress.redelivered], 'delivered as often as it may be').toEqual([
    1, 1,
  ]);
  lab.say(of(messages, 3));
  await lab.advance(300);
  // The floor rests below what was given up; a start must know that it was acknowledged after all.
  expect([rows(), lab.consumer().progress.redelivered]).toEqual([1, 0]);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([]);
});

test.each(['+ACK', '-NAK', '+WPI', '+TERM', '+TERM for good', 'anything'])(
  'who asks for an answer to %s gets one',
  async (verb) => {
    await using lab = await ConsumerLab.open();
    await lab.create();
    const [message] = await delivered(lab, 1);
    expect.assert(message !== undefined);
    const inbox = lab.inbox();
    lab.say(message, verb, inbox.subject);
    await lab.settle();
    expect(inbox.take()).toHaveLength(1);
  },
);

test('the ack floor rests below a message that was given up until nothing is pending', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000, maxDeliver: 1 });
  const floor = (): number => lab.consumer().state().ackFloor.streamSeq;
  await delivered(lab, 1);
  await lab.advance(1_100);
  expect([floor(), lab.consumer().state().ackPending]).toEqual([0, 0]);
  const messages = await delivered(lab, 3);
  lab.say(of(messages, 2));
  lab.say(of(messages, 3));
  expect(floor()).toBe(0);
  lab.say(of(messages, 4));
  expect(floor()).toBe(4);
  await lab.advance(300);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([]);
});

test('what was given up and what was acknowledged above it stays so after a crash', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000, maxDeliver: 1 });
  await delivered(lab, 1);
  await lab.advance(1_100);
  lab.say(of(await delivered(lab, 2), 2));
  await lab.advance(300);
  await using after = await lab.crashed();
  expect(after.consumer().state().ackFloor.streamSeq).toBe(0);
  expect(await after.pullSeqs(9)).toEqual([]);
  expect([...after.consumer().progress.exceeded.keys()]).toEqual([1, 3]);
});

test('an ack is answered only when it is on the disk, also where it was given before', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const [message] = await delivered(lab, 1);
  if (message === undefined) return;
  const inbox = lab.inbox();
  lab.say(message);
  lab.say(message, '', inbox.subject);
  lab.store.clock.turn();
  expect(inbox.take(), 'the disk has not answered').toEqual([]);
  await lab.settle();
  expect(inbox.take()).toHaveLength(1);
  lab.say(message, '', inbox.subject);
  await lab.settle();
  expect(inbox.take()).toHaveLength(1);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(5)).toEqual([]);
  expect(after.consumer().state().ackFloor.streamSeq).toBe(1);
});

test('an ack of something that was never delivered is not answered, nor one of an unknown consumer', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(2);
  const inbox = lab.inbox();
  const ack = (subject: string): string =>
    lab.store.broker.publish({ subject, reply: inbox.subject, data: Buffer.alloc(0) });
  expect(ack('$JS.ACK.DATA.c.1.2.1.1.0')).toBe('delivered');
  expect(ack('$JS.ACK.DATA.other.1.1.1.1.0')).toBe('nobody');
  expect(ack('$JS.ACK.DATA.c.1.1')).toBe('nobody');
  expect(ack('$JS.ACK.DATA.c.x.y.1.1.0')).toBe('delivered');
  await lab.settle();
  expect(inbox.take()).toEqual([]);
  expect(lab.consumer().state().ackFloor.streamSeq).toBe(0);
});

test('acks are heard in the form with a domain and an account, too', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await delivered(lab, 2);
  const ack = (subject: string) => lab.store.broker.publish({ subject, data: Buffer.alloc(0) });
  ack('$JS.ACK.edge.hAsh.DATA.c.1.1.1.1700000000000000000.0');
  ack('$JS.ACK._.hAsh.DATA.c.1.2.2.1700000000000000000.0.random');
  expect(lab.consumer().state().ackFloor.streamSeq).toBe(2);
});

test('with ack policy all an ack covers everything before it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackPolicy: 'all' });
  const messages = await delivered(lab, 5);
  lab.say(of(messages, 3));
  expect(lab.consumer().state()).toMatchObject({
    ackFloor: { consumerSeq: 3, streamSeq: 3 },
    ackPending: 2,
  });
  await lab.advance(300);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([4, 5]);
});

test('without acks everything counts as acknowledged when it is delivered', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackPolicy: 'none', maxAckPending: 0 });
  await delivered(lab, 3);
  expect(lab.consumer().state()).toMatchObject({
    delivered: { consumerSeq: 3, streamSeq: 3 },
    ackFloor: { consumerSeq: 3, streamSeq: 3 },
    ackPending: 0,
  });
  await lab.advance(60_000);
  expect(await lab.pullSeqs(3)).toEqual([]);
});

test('a NAK brings a message back at once, before new ones; with a delay, later', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const messages = await delivered(lab, 4);
  await lab.publish(1);
  lab.say(of(messages, 3), '-NAK');
  lab.say(of(messages, 1), '-NAK {"delay": 2000000000}');
  lab.say(of(messages, 2), '-NAK 1.5s');
  lab.say(of(messages, 4), '-NAK soon');
  const again = await lab.pull(9);
  expect(again.map(seqOf)).toEqual([3, 4, 5]);
  expect(again.map((message) => tokensOf(message).deliveries)).toEqual([2, 2, 1]);
  expect(again.map((message) => tokensOf(message).consumerSeq)).toEqual([5, 6, 7]);
  await lab.advance(1_600);
  expect(await lab.pullSeqs(9)).toEqual([2]);
  await lab.advance(500);
  expect(await lab.pullSeqs(9)).toEqual([1]);
  expect(lab.consumer().state().redelivered).toBe(4);
  expect(lab.store.logged.filter(({ msg }) => msg.includes('cannot be read'))).toHaveLength(1);
});

test('what is not acknowledged in time comes again in order; who is at work says so', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000 });
  const messages = await delivered(lab, 3);
  await lab.advance(900);
  lab.say(of(messages, 2), '+WPI');
  await lab.advance(200);
  expect(await lab.pullSeqs(9)).toEqual([1, 3]);
  await lab.advance(900);
  expect(await lab.pullSeqs(9)).toEqual([2]);
});

test('a backoff says how long each delivery waits', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000, backoffMs: [1_000, 3_000] });
  await delivered(lab, 1);
  const waits: number[] = [];
  for (let waited = 0; waits.length < 3 && waited < 20_000;) {
    await lab.advance(500);
    waited += 500;
    if ((await lab.pullSeqs(1)).length > 0) {
      waits.push(Math.round(waited / 1_000));
      waited = 0;
    }
  }
  expect(waits).toEqual([1, 3, 3]);
});

test('a message that was delivered as often as it may be stays behind, with an advisory', async () => {
  await using lab = await ConsumerLab.open();
  const told: string[] = [];
  lab.store.broker.subscribe('$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.DATA.c', {
    deliver: ({ data }) => void told.push(data.toString()),
  });
  await lab.create({ ackWaitMs: 1_000, maxDeliver: 2 });
  const messages = await delivered(lab, 2);
  lab.say(of(messages, 2));
  await lab.advance(1_100);
  expect(await lab.pullSeqs(9)).toEqual([1]);
  await lab.advance(1_100);
  expect(told.map((each) => JSON.parse(each) as object)).toMatchObject([
    {
      type: 'io.nats.jetstream.advisory.v1.max_deliver',
      stream: 'DATA',
      consumer: 'c',
      stream_seq: 1,
      deliveries: 2,
    },
  ]);
  expect(await lab.pullSeqs(9)).toEqual([]);
  expect(lab.consumer().state()).toMatchObject({
    ackPending: 0,
    redelivered: 1,
    ackFloor: { streamSeq: 0 },
  });
  await lab.advance(300);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([]);
  expect(after.consumer().state().redelivered).toBe(1);
});

test('a refusal of the last delivery that a message may have ends it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxDeliver: 1 });
  const messages = await delivered(lab, 2);
  lab.say(of(messages, 1), '-NAK');
  expect(await lab.pullSeqs(9)).toEqual([]);
  expect(lab.consumer().state()).toMatchObject({ ackPending: 1, ackFloor: { streamSeq: 0 } });
});

test('acks that find no room on the disk are not answered, and written when there is', async () => {
  await using lab = await ConsumerLab.open({ maxBytes: 1 << 30 });
  await lab.create();
  const messages = await delivered(lab, 3);
  const { disk, jetstream } = lab.store;
  if (disk === undefined) return;
  disk.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  jetstream.store.refreshRoom();
  const inbox = lab.inbox();
  const refused = lab.store.publish('data.a', Buffer.alloc(400_000));
  lab.say(of(messages, 2), '', inbox.subject);
  await lab.settle();
  expect(refused.error?.errCode).toBe(10047);
  expect(inbox.take()).toEqual([]);
  disk.roomNow = undefined;
  jetstream.store.refreshRoom();
  await lab.advance(20_000);
  await using after = await lab.crashed();
  expect(await after.pullSeqs(9)).toEqual([1, 3]);
});

test('a termination ends a message, and says why to whoever listens', async () => {
  await using lab = await ConsumerLab.open();
  const told: string[] = [];
  lab.store.broker.subscribe('$JS.EVENT.ADVISORY.CONSUMER.>', {
    deliver: ({ data }) => void told.push(data.toString()),
  });
  await lab.create();
  const messages = await delivered(lab, 2);
  lab.say(of(messages, 1), '+TERM  no good ');
  lab.say(of(messages, 2), '-NAK');
  expect(told.map((each) => JSON.parse(each) as object)).toMatchObject([
    { type: 'io.nats.jetstream.advisory.v1.consumer_action', action: 'create' },
    {
      type: 'io.nats.jetstream.advisory.v1.terminated',
      consumer_seq: 1,
      stream_seq: 1,
      deliveries: 1,
      reason: 'no good',
    },
    { type: 'io.nats.jetstream.advisory.v1.nak', consumer_seq: 2, stream_seq: 2, deliveries: 1 },
  ]);
  expect(await lab.pullSeqs(9)).toEqual([2]);
});

test('acks are sampled', async () => {
  await using lab = await ConsumerLab.open();
  const told: string[] = [];
  lab.store.broker.subscribe('$JS.EVENT.METRIC.CONSUMER.ACK.DATA.c', {
    deliver: ({ data }) => void told.push(data.toString()),
  });
  await lab.create({ samplePercent: 50 });
  const messages = await delivered(lab, 4);
  await lab.advance(20);
  for (const message of messages) lab.say(message);
  expect(told.map((each) => JSON.parse(each) as object)).toMatchObject([
    { type: 'io.nats.jetstream.metric.v1.consumer_ack', stream_seq: 2, ack_time: 20e6 },
    { stream_seq: 4, deliveries: 1 },
  ]);
});

test('deliveries stop at max_ack_pending and go on with an ack', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxAckPending: 2 });
  await lab.publish(5);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 9, expires: 60e9 });
  await lab.settle();
  const messages = inbox.take();
  expect(messages.map(seqOf)).toEqual([1, 2]);
  lab.say(of(messages, 2));
  await lab.settle();
  expect(inbox.take().map(seqOf)).toEqual([3]);
});

test('a message that leaves the stream while it waits for its ack is done with', async () => {
  await using lab = await ConsumerLab.open();
  const told: string[] = [];
  lab.store.broker.subscribe('$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>', {
    deliver: ({ data }) => void told.push(data.toString()),
  });
  await lab.create({ ackWaitMs: 1_000 });
  await delivered(lab, 3);
  await lab.done(lab.store.stream.remove(2, { erase: false }));
  expect(lab.consumer().state().ackPending).toBe(2);
  expect(told.map((each) => JSON.parse(each) as object)).toMatchObject([
    { stream_seq: 2, reason: 'Unacknowledged message was deleted' },
  ]);
  await lab.advance(1_100);
  expect(await lab.pullSeqs(9)).toEqual([1, 3]);
});

test('half a million acks that nobody waits for cost few commits', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxAckPending: 100_000 });
  const messages = await delivered(lab, 1_000);
  await lab.advance(10_000);
  const { counters } = lab.store.jetstream.store;
  const before = counters.commits;
  for (const message of messages) {
    lab.say(message);
    lab.store.clock.advance(0.2);
    lab.store.settle();
  }
  expect(counters.commits - before).toBe(0);
  await lab.advance(300);
  expect(counters.commits - before).toBe(1);
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({
    ackFloor: { consumerSeq: 1_000, streamSeq: 1_000 },
    ackPending: 0,
  });
});

test('deliveries cost no commits, but are written some seconds later', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(100);
  const { counters } = lab.store.jetstream.store;
  const before = counters.commits;
  for (let i = 0; i < 100; i++) {
    await lab.pull(1);
    lab.store.clock.advance(10);
  }
  expect(counters.commits - before).toBe(0);
  await lab.advance(5_100);
  expect(counters.commits - before).toBe(1);
});

test('after a crash what was not acknowledged comes first, in order and at once, and nothing else again', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const messages = await delivered(lab, 8);
  await lab.publish(2);
  for (const seq of [1, 2, 4, 7]) lab.say(of(messages, seq));
  const inbox = lab.inbox();
  lab.say(of(messages, 5), '', inbox.subject);
  await lab.settle();
  expect(inbox.take()).toHaveLength(1);
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({
    delivered: { consumerSeq: 8, streamSeq: 8 },
    ackFloor: { consumerSeq: 2, streamSeq: 2 },
    ackPending: 3,
    pending: 2,
  });
  const again = await after.pull(20);
  expect(again.map(seqOf)).toEqual([3, 6, 8, 9, 10]);
  expect(again.map((message) => tokensOf(message).deliveries)).toEqual([2, 2, 2, 1, 1]);
});

test('requests and acks that come while a consumer is restored wait for it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const messages = await delivered(lab, 3);
  lab.say(of(messages, 1), '', lab.inbox().subject);
  await lab.settle();
  await lab.store.close();
  await lab.store.open();
  const [inbox, acked] = [lab.inbox(), lab.inbox()];
  lab.say(of(messages, 2), '', acked.subject);
  lab.request(inbox, { batch: 9, no_wait: true });
  await lab.settle();
  expect(acked.take()).toHaveLength(1);
  expect(inbox.takeShort()).toEqual(['s3', '404 No Messages']);
});
