// Making, changing and ending consumers, where they begin, and how they take part in their stream.

import { expect, test } from 'vitest';
import { msToTime } from '../../../../src/jetstream/api/rfc3339.ts';
import { consumerConfig, ConsumerLab, seqOf } from '../../../support/consumer-lab.ts';

function advisories(lab: ConsumerLab, subject: string): Record<string, unknown>[] {
  const told: Record<string, unknown>[] = [];
  lab.store.broker.subscribe(subject, {
    deliver: ({ data }) => void told.push(JSON.parse(data.toString()) as Record<string, unknown>),
  });
  return told;
}

test('a consumer is on the disk when it is said to be, and is found again', async () => {
  await using lab = await ConsumerLab.open();
  let made = false;
  void lab.consumers.create(consumerConfig({ description: 'mine' }), '').then(() => (made = true));
  await Promise.resolve();
  lab.store.clock.turn();
  expect(made, 'the disk has not answered').toBe(false);
  await lab.settle();
  expect(made).toBe(true);
  await using after = await lab.crashed();
  expect(after.consumer().config).toEqual(lab.consumer().config);
  expect(after.consumer().createdMs).toBe(lab.consumer().createdMs);
});

test('create and update say what is wrong with the name', async () => {
  await using lab = await ConsumerLab.open();
  const refused = async (
    config: Parameters<typeof consumerConfig>[0],
    action: '' | 'create' | 'update',
  ): Promise<unknown> => {
    try {
      await lab.done(lab.consumers.create(consumerConfig(config), action));
    } catch (error) {
      return error;
    }
    return undefined;
  };
  expect(await refused({}, 'update')).toMatchObject({ code: 400, errCode: 10149 });
  expect(await refused({}, 'create')).toBeUndefined();
  expect(await refused({}, 'create'), 'the same again').toBeUndefined();
  expect(await refused({ ackWaitMs: 5 }, 'create')).toMatchObject({ code: 400, errCode: 10148 });
  expect(await refused({ ackPolicy: 'all' }, '')).toMatchObject({
    errCode: 10012,
    message: 'ack policy can not be updated',
  });
  expect(await refused({ ackWaitMs: 7_000 }, 'update')).toBeUndefined();
  expect(lab.consumer().config.ackWaitMs).toBe(7_000);
  await using after = await lab.crashed();
  expect(after.consumer().config.ackWaitMs).toBe(7_000);
});

test('two who make the same consumer at once get the same one', async () => {
  await using lab = await ConsumerLab.open();
  const both = Promise.all([
    lab.consumers.create(consumerConfig(), 'create'),
    lab.consumers.create(consumerConfig(), 'create'),
  ]);
  const [one, two] = await lab.done(both);
  expect(one).toBe(two);
  expect(lab.consumers.count).toBe(1);
});

test('a stream has no more consumers than it may', async () => {
  await using lab = await ConsumerLab.open({ maxConsumers: 1 });
  await lab.create();
  await expect(lab.create({ name: 'd' })).rejects.toMatchObject({ errCode: 10026 });
  await lab.done(lab.consumers.delete('c'));
  await lab.create({ name: 'd' });
});

test('a deleted consumer is gone for good, with everything it knew', async () => {
  await using lab = await ConsumerLab.open();
  const told = advisories(lab, '$JS.EVENT.ADVISORY.CONSUMER.DELETED.DATA.c');
  await lab.create();
  await lab.publish(3);
  const messages = await lab.pull(3);
  const last = messages.at(-1);
  if (last !== undefined) lab.say(last);
  await lab.advance(300);
  expect(await lab.done(lab.consumers.delete('c'))).toBe(true);
  expect(await lab.done(lab.consumers.delete('c'))).toBe(false);
  expect(told).toMatchObject([{ action: 'delete', stream: 'DATA', consumer: 'c' }]);
  const { db } = lab.store.jetstream.store;
  expect(db.prepare('SELECT count(*) FROM consumer_seq').pluck().get()).toBe(0);
  await using after = await lab.crashed();
  expect(after.consumers.count).toBe(0);
});

test('whoever waits hears of a deletion when it is on the disk', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 1, expires: 9e9 });
  void lab.consumers.delete('c');
  await Promise.resolve();
  lab.store.clock.turn();
  expect(inbox.takeShort(), 'the disk has not answered').toEqual([]);
  expect(lab.request(inbox)).toBe(false);
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['409 Consumer Deleted']);
});

test('changes made at the same time do not undo each other', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create();
  const untilMs = lab.store.clock.wallMs() + 60_000;
  const both = Promise.all([
    consumer.pause(untilMs),
    consumer.pause(undefined),
    lab.consumers.create(consumerConfig({ description: 'new' }), 'update'),
    consumer.pause(untilMs),
  ]);
  await lab.done(both);
  expect(consumer.config).toMatchObject({ description: 'new', pauseUntilMs: untilMs });
});

test('a gateway that stops while consumers are made and restored stops in good order', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxAckPending: -1 });
  await lab.publish(2_000);
  await lab.pull(2_000);
  await lab.store.close();
  const opened = lab.store.open();
  await opened;
  await lab.store.close();
  await lab.store.open();
  await lab.settle();
  expect(lab.consumer().state().ackPending).toBe(2_000);
});

test('consumers begin where their deliver policy says', async () => {
  await using lab = await ConsumerLab.open();
  await lab.publish(3, 'data.a');
  await lab.publish(2, 'data.b');
  await lab.advance(10_000);
  const noonMs = lab.store.clock.wallMs();
  await lab.advance(10_000);
  await lab.publish(2, 'data.a');
  await lab.create({ name: 'all' });
  await lab.create({ name: 'last', deliverPolicy: 'last' });
  await lab.create({ name: 'lastB', deliverPolicy: 'last', filterSubjects: ['data.b'] });
  await lab.create({ name: 'new', deliverPolicy: 'new' });
  await lab.create({ name: 'seq', deliverPolicy: 'by_start_sequence', optStartSeq: 5 });
  await lab.create({ name: 'time', deliverPolicy: 'by_start_time', optStartTimeMs: noonMs });
  await lab.create({ name: 'each', deliverPolicy: 'last_per_subject' });
  const pending = (name: string): number => lab.consumer(name).state().pending;
  const names = ['all', 'last', 'lastB', 'new', 'seq', 'time', 'each'];
  expect(names.map(pending)).toEqual([7, 1, 1, 0, 3, 2, 2]);
  await lab.publish(1, 'data.b');
  expect(names.map(pending)).toEqual([8, 2, 2, 1, 4, 3, 3]);
  const got = await Promise.all(names.map((name) => lab.pullSeqs(20, name)));
  expect(got).toEqual([
    [1, 2, 3, 4, 5, 6, 7, 8],
    [7, 8],
    [5, 8],
    [8],
    [5, 6, 7, 8],
    [6, 7, 8],
    [5, 7, 8],
  ]);
  expect(names.map(pending)).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test('what was published before a consumer was asked for counts as such, though the disk has it later', async () => {
  await using lab = await ConsumerLab.open();
  await lab.publish(1);
  lab.store.publish('data.a', 'x');
  const consumer = await lab.create({ deliverPolicy: 'new' });
  expect(consumer.state()).toMatchObject({ pending: 0, delivered: { streamSeq: 2 } });
  await lab.publish(1);
  expect(await lab.pullSeqs(9)).toEqual([3]);
});

test('a consumer of the last of each subject goes on with the same ones after a crash', async () => {
  await using lab = await ConsumerLab.open();
  for (const subject of ['a', 'b', 'a', 'c', 'd', 'b']) await lab.publish(1, `data.${subject}`);
  await lab.create({ deliverPolicy: 'last_per_subject' });
  const [first, second] = await lab.pull(2);
  expect([first, second].map((message) => message && seqOf(message))).toEqual([3, 4]);
  if (second !== undefined) lab.say(second, '', lab.inbox().subject);
  await lab.publish(1, 'data.a');
  await using after = await lab.crashed();
  expect(after.consumer().state()).toMatchObject({ ackPending: 1, pending: 3 });
  expect(await after.pullSeqs(20)).toEqual([3, 5, 6, 7]);
});

test('filters may change: what was passed over stays behind', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ filterSubjects: ['data.a'] });
  for (const subject of ['a', 'b', 'a', 'b', 'c']) await lab.publish(1, `data.${subject}`);
  expect(await lab.pullSeqs(1)).toEqual([1]);
  await lab.create({ filterSubjects: ['data.b', 'data.c'] });
  expect(lab.consumer().state().pending).toBe(3);
  expect(await lab.pullSeqs(9)).toEqual([2, 4, 5]);
});

test('the count of what is to come is right while messages come and go', async () => {
  await using lab = await ConsumerLab.open({ maxMsgs: 10 });
  await lab.create({ filterSubjects: ['data.a'] });
  await lab.publish(6, 'data.a');
  await lab.publish(2, 'data.b');
  expect(lab.consumer().state().pending).toBe(6);
  expect(await lab.pullSeqs(2)).toEqual([1, 2]);
  await lab.publish(5, 'data.b');
  expect(lab.consumer().state().pending, 'limits have taken the first three').toBe(3);
  await lab.done(lab.store.stream.remove(5, { erase: false }));
  expect(lab.consumer().state().pending).toBe(2);
  expect(await lab.pullSeqs(9)).toEqual([4, 6]);
  await lab.publish(3, 'data.a');
  await lab.done(lab.store.stream.purge({}));
  expect(lab.consumer().state().pending).toBe(0);
  expect(await lab.pullSeqs(9)).toEqual([]);
});

/** What a purge leaves of a consumer: what it has delivered, its floor, what waits, and what is to come. */
async function purged(
  lab: ConsumerLab,
  name: string,
  options: { readonly filter?: string; readonly belowSeq?: number } = {},
): Promise<number[]> {
  const done = lab.store.stream.purge(options);
  await lab.settle();
  await done;
  const { delivered, ackFloor, ackPending, pending } = lab.consumer(name).state();
  return [delivered.streamSeq, ackFloor.streamSeq, ackPending, pending];
}

test('what was purged counts as delivered and acknowledged', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ name: 'idle' });
  await lab.create();
  await lab.publish(6);
  await lab.pull(4);
  expect(await purged(lab, 'c', { belowSeq: 3 })).toEqual([4, 2, 2, 2]);
  expect(lab.consumer('idle').state()).toMatchObject({
    delivered: { streamSeq: 2 },
    ackFloor: { streamSeq: 2 },
    pending: 4,
  });
  expect(await purged(lab, 'c')).toEqual([6, 6, 0, 0]);
  expect(lab.consumer().state().ackFloor.lastActiveMs).toBe(lab.store.clock.wallMs());
  await lab.publish(1);
  expect(await lab.pullSeqs(9)).toEqual([7]);
});

test('a purge of subjects moves a consumer of others no further than the stream begins', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ name: 'a', filterSubjects: ['data.a'] });
  await lab.create({ name: 'both', filterSubjects: ['data.a', 'data.b'] });
  await lab.create({ name: 'c', filterSubjects: ['data.c'] });
  for (const subject of ['data.b', 'data.a', 'data.c']) lab.store.publish(subject, 'x');
  await lab.settle();
  expect(await purged(lab, 'a', { filter: 'data.a' })).toEqual([3, 3, 0, 0]);
  expect(await purged(lab, 'both', { filter: 'data.a' }), 'b is still to come').toEqual([
    0, 0, 0, 1,
  ]);
  expect(lab.consumer('c').state()).toMatchObject({ delivered: { streamSeq: 0 }, pending: 1 });
});

test('a message that replaces all others is all that is still to come', async () => {
  await using lab = await ConsumerLab.open({ allowRollup: true });
  await lab.create({ filterSubjects: ['data.a'] });
  for (const subject of ['data.a', 'data.b', 'data.a']) lab.store.publish(subject, 'x');
  await lab.settle();
  lab.store.publish('data.a', 'y', 'Nats-Rollup: all');
  await lab.settle();
  expect(lab.consumer().state()).toMatchObject({ pending: 1, delivered: { streamSeq: 3 } });
  lab.store.publish('data.a', 'z', 'Nats-Rollup: sub');
  await lab.settle();
  expect(lab.consumer().state()).toMatchObject({ pending: 1, delivered: { streamSeq: 4 } });
  expect(await lab.pullSeqs(9)).toEqual([5]);
});

test('whoever listens hears that the consumers of a deleted stream are deleted', async () => {
  await using lab = await ConsumerLab.open();
  const told = advisories(lab, '$JS.EVENT.ADVISORY.CONSUMER.DELETED.>');
  await lab.create({ name: 'one' });
  await lab.create({ name: 'two' });
  const tell = lab.consumers.close('deleted');
  await lab.settle();
  expect(told, 'it is not deleted yet').toEqual([]);
  tell();
  expect(told.map(({ consumer }) => consumer)).toEqual(['one', 'two']);
});

test('an unused consumer deletes itself; asking for messages or having some keeps it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ durable: false, inactiveThresholdMs: 5_000, ackWaitMs: 20_000 });
  await lab.publish(1);
  await lab.advance(4_000);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 5, expires: 8e9 });
  await lab.advance(7_000);
  expect(inbox.takeShort()).toEqual(['s1']);
  await lab.advance(15_000);
  expect(lab.consumers.count, 'its message may still be acknowledged').toBe(1);
  await lab.advance(12_000);
  expect(lab.consumers.count).toBe(0);
  await lab.create({ durable: false, inactiveThresholdMs: 5_000, deliverPolicy: 'new' });
  lab.request(inbox, { batch: 5, expires: 20e9 });
  await lab.advance(15_000);
  expect(lab.consumers.count, 'a request waits').toBe(1);
  await lab.advance(12_000);
  expect(lab.consumers.count).toBe(0);
  await lab.create({ durable: false, inactiveThresholdMs: 5_000 });
  await lab.advance(4_000);
  expect(lab.consumers.count).toBe(1);
  await lab.advance(3_000);
  expect(lab.consumers.count).toBe(0);
  await lab.create();
  await lab.advance(1e8);
  expect(lab.consumers.count, 'a durable one stays').toBe(1);
});

test('a paused consumer delivers nothing until its time; a pause is kept and told of', async () => {
  await using lab = await ConsumerLab.open();
  const told = advisories(lab, '$JS.EVENT.ADVISORY.CONSUMER.PAUSE.DATA.c');
  await lab.create();
  await lab.publish(2);
  const untilMs = lab.store.clock.wallMs() + 120_000;
  await lab.done(lab.consumer().pause(untilMs));
  expect(lab.consumer().pauseRemainingMs).toBe(120_000);
  await using after = await lab.crashed();
  expect(after.consumer().config.pauseUntilMs).toBe(untilMs);
  expect(await after.pullSeqs(2)).toEqual([]);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 5, expires: 300e9 });
  await lab.advance(119_000);
  expect(inbox.takeShort()).toEqual([]);
  await lab.advance(2_000);
  expect(inbox.takeShort()).toEqual(['s1', 's2']);
  expect(told).toMatchObject([{ paused: true, pause_until: msToTime(untilMs) }, { paused: false }]);
  await lab.done(lab.consumer().pause(lab.store.clock.wallMs() + 60_000));
  await lab.done(lab.consumer().pause(undefined));
  await lab.publish(1);
  expect(inbox.takeShort()).toEqual(['s3']);
});

test('a replay keeps the pace at which messages were stored, until it has caught up', async () => {
  await using lab = await ConsumerLab.open();
  for (const pauseMs of [0, 3_000, 500]) {
    await lab.advance(pauseMs);
    await lab.publish(1);
  }
  await lab.create({ replayPolicy: 'original' });
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 9, expires: 300e9 });
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['s1']);
  await lab.advance(2_900);
  expect(inbox.takeShort()).toEqual([]);
  await lab.advance(200);
  expect(inbox.takeShort()).toEqual(['s2']);
  await lab.advance(600);
  await lab.publish(2);
  expect(inbox.takeShort()).toEqual(['s3', 's4', 's5']);
});

test('with headers only, the size of the data stands for it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ headersOnly: true });
  lab.store.publish('data.a', 'twelve bytes', 'A: b');
  lab.store.publish('data.a', 'four');
  await lab.settle();
  const messages = await lab.pull(2);
  expect(messages.map(({ headers, data }) => [headers?.toString(), data.length])).toEqual([
    ['NATS/1.0\r\nA: b\r\nNats-Msg-Size: 12\r\n\r\n', 0],
    ['NATS/1.0\r\nNats-Msg-Size: 4\r\n\r\n', 0],
  ]);
});

test('a consumer in memory leaves nothing on the disk and is gone after a start', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ memoryStorage: true });
  await lab.publish(3);
  const messages = await lab.pull(3);
  const inbox = lab.inbox();
  for (const message of messages) lab.say(message, '', inbox.subject);
  await lab.settle();
  expect(inbox.take()).toHaveLength(3);
  expect(lab.store.jetstream.store.db.prepare('SELECT count(*) FROM consumer').pluck().get()).toBe(
    0,
  );
  await using after = await lab.crashed();
  expect(after.consumers.count).toBe(0);
});
