// What hubs before 2.14 leave behind on a stream that keeps what is not consumed: they ask anew without a name, and take
// nothing back. What nobody will ask for goes; what a stream of a hub may still need stays.

import { pino } from 'pino';
import { expect, test } from 'vitest';
import { openApi } from '../../../../src/jetstream/api/open-api.ts';
import { OldHubs } from '../../../../src/jetstream/consumers/old-hubs.ts';
import type { StreamOrder } from '../../../../src/jetstream/jetstream.ts';
import { ConsumerLab } from '../../../support/consumer-lab.ts';
import { ReadingHub } from '../../../support/reading-hub.ts';

/** A hub asks within this, and what nobody asks for goes a little later. */
const ASKS_MS = 155_000;
const LEFT_MS = 180_000;
const HOURS_MS = 10_000_000;

const INTEREST = { retention: 'interest' } as const;
const WORKQUEUE = { retention: 'workqueue' } as const;

async function open(order: Partial<StreamOrder> = INTEREST): Promise<ConsumerLab> {
  const lab = await ConsumerLab.open(order);
  serve(lab);
  return lab;
}

function serve({ store }: ConsumerLab): void {
  const { broker, clock, jetstream } = store;
  const options = { domain: 'gw', serverName: 'gw', version: '2.14.0' };
  openApi(jetstream, { broker, clock, log: pino({ enabled: false }) }, options);
}

async function ask(
  lab: ConsumerLab,
  hub: ReadingHub,
  config: Record<string, unknown> = {},
): Promise<string> {
  hub.ask({ config });
  await lab.settle();
  expect(hub.answer.error).toBeUndefined();
  return hub.answer.name ?? '';
}

/** A hub that listens. */
async function reading(lab: ConsumerLab): Promise<ReadingHub> {
  const hub = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  await ask(lab, hub);
  return hub;
}

/** A hub that has asked, and has not heard the answer. */
async function deaf(lab: ConsumerLab): Promise<ReadingHub> {
  const hub = await reading(lab);
  hub.leave();
  return hub;
}

/** A hub that has stored `count` messages, and is away. */
async function away(lab: ConsumerLab, count: number): Promise<ReadingHub> {
  const hub = await reading(lab);
  await lab.publish(count);
  await lab.advance(10_000);
  hub.leave();
  return hub;
}

function kept(lab: ConsumerLab): number {
  return lab.store.stream.state().messages;
}

function span(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

test('what a hub asked for and never heard of goes when it has had time to ask for it', async () => {
  await using lab = await open();
  const hub = await deaf(lab);
  await lab.publish(5);
  const name = await ask(lab, hub);
  await lab.publish(5);
  await lab.advance(ASKS_MS);
  expect(hub.stored).toEqual(span(1, 10));
  expect(kept(lab)).toBe(10);
  await lab.advance(LEFT_MS - ASKS_MS);
  expect(kept(lab)).toBe(0);
  expect(lab.consumers.all.map((one) => one.name)).toEqual([name]);
  await lab.publish(1);
  await lab.advance(10_000);
  expect(kept(lab)).toBe(0);
});

test('it goes after a restart, too, and its time begins with the first that listens', async () => {
  await using before = await open();
  const first = await deaf(before);
  await before.publish(5);
  await ask(before, first);
  await before.advance(10_000);
  await using lab = await before.crashed();
  serve(lab);
  await lab.advance(LEFT_MS * 2);
  expect(lab.consumers.count).toBe(2);
  const hub = first.after(lab.store.broker);
  await ask(lab, hub);
  await lab.advance(ASKS_MS);
  expect(kept(lab)).toBe(5);
  await lab.advance(LEFT_MS - ASKS_MS);
  expect(kept(lab)).toBe(0);
});

test('while there is no link nothing goes, however long', async () => {
  await using lab = await open();
  const one = await deaf(lab);
  await ask(lab, one);
  const other = await deaf(lab);
  await lab.publish(3);
  await lab.advance(LEFT_MS - 1_000);
  one.leave();
  await lab.advance(HOURS_MS);
  expect(kept(lab)).toBe(3);
  await ask(lab, one);
  await lab.advance(ASKS_MS);
  await ask(lab, other);
  expect(other.stored).toEqual([1, 2, 3]);
  await lab.advance(LEFT_MS);
  expect(kept(lab)).toBe(0);
});

test('what counts is a link that lasts: each time it comes back, the hubs have as long to ask', async () => {
  await using lab = await open();
  const first = await deaf(lab);
  await lab.publish(3);
  await ask(lab, first);
  for (let i = 0; i < 5; i++) {
    await lab.advance(LEFT_MS - 2_000);
    first.leave();
    await lab.advance(1_000);
    first.listen(first.deliverTo);
    await lab.advance(1_000);
  }
  expect(kept(lab)).toBe(3);
  await lab.advance(LEFT_MS);
  expect(kept(lab)).toBe(0);
});

test('two streams of a hub that never heard an answer get all from the first message on', async () => {
  await using lab = await open();
  const [one, other] = [await deaf(lab), await deaf(lab)];
  await lab.publish(4);
  await ask(lab, one);
  await lab.publish(4);
  await lab.advance(ASKS_MS);
  await ask(lab, other);
  expect([one.stored, other.stored]).toEqual([span(1, 8), span(1, 8)]);
  await lab.advance(LEFT_MS + 10_000);
  expect(kept(lab)).toBe(0);
  expect(lab.consumers.count).toBe(2);
});

test('a stream of a hub that has stored something finds what came since, whoever has begun to read meanwhile', async () => {
  await using lab = await open();
  const hub = await away(lab, 3);
  const other = await reading(lab);
  await lab.publish(3);
  await lab.advance(HOURS_MS);
  expect(other.stored).toEqual([4, 5, 6]);
  expect(kept(lab)).toBe(3);
  await ask(lab, hub);
  expect(hub.stored).toEqual(span(1, 6));
  await lab.advance(10_000);
  expect(kept(lab)).toBe(0);
});

test('one that was doubted and is asked for again is doubted no more', async () => {
  await using lab = await open();
  const hub = await reading(lab);
  await lab.publish(2);
  hub.leave();
  await reading(lab);
  await ask(lab, hub);
  hub.leave();
  await lab.publish(2);
  await lab.advance(HOURS_MS);
  expect(kept(lab), 'it has confirmed nothing').toBe(4);
  await ask(lab, hub);
  expect(hub.stored).toEqual(span(1, 4));
});

test('one that was asked for from a sequence on is as good as read', async () => {
  await using lab = await open();
  await lab.create({ name: 'local' });
  await lab.publish(4);
  const hub = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  hub.sseq = 2;
  await ask(lab, hub);
  hub.leave();
  hub.sseq = 2;
  await lab.done(lab.consumers.delete('local'));
  await reading(lab);
  await lab.advance(HOURS_MS);
  expect(kept(lab)).toBe(2);
});

test('one that a hub asks for in the moment in which it would go stays', async () => {
  await using lab = await open();
  const hub = await deaf(lab);
  await lab.publish(2);
  await reading(lab);
  await lab.advance(LEFT_MS - 1);
  hub.sseq = 1;
  hub.ask();
  // It is being asked for, and the disk has not answered yet.
  lab.store.clock.turn();
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await lab.advance(1);
  expect(hub.answer.error).toBeUndefined();
  expect(hub.stored).toEqual([2]);
  await lab.publish(1);
  expect(hub.stored).toEqual([2, 3]);
});

test('one that is just being asked for is not doubted for what it was', async () => {
  await using lab = await open();
  const hub = await deaf(lab);
  const consumer = lab.consumer(hub.answer.name);
  const { config } = consumer;
  const oldHubs = new OldHubs(new Map([[config.name, consumer]]), pino({ enabled: false }));
  const push = { ...config.push, deliverSubject: '$JS.S.next' };
  const renewing = consumer.renew({ ...config, push }, undefined);
  await lab.done(Promise.all([renewing, oldHubs.doubt(consumer)]));
  expect(consumer.config.inactiveThresholdMs).toBeUndefined();
  await lab.done(oldHubs.doubt(consumer));
  expect(consumer.config.inactiveThresholdMs).toBe(LEFT_MS);
});

const LATER = { deliver_policy: 'by_start_time', opt_start_time: '2100-01-01T00:00:00Z' };

test('of those that nobody has read with none goes at once: its hub may be about to listen', async () => {
  await using lab = await open();
  const hub = await deaf(lab);
  await lab.publish(3);
  const other = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  await ask(lab, other, LATER);
  other.leave();
  await reading(lab);
  expect(lab.consumers.count).toBe(3);
  await lab.advance(ASKS_MS);
  await ask(lab, hub);
  expect(hub.stored).toEqual([1, 2, 3]);
});

const BY_TIME = { deliver_policy: 'by_start_time', opt_start_time: '2000-01-01T00:00:00Z' };

test('whoever asks by time may be a new stream: the only one that was read stays', async () => {
  await using lab = await open();
  const hub = await away(lab, 3);
  await lab.publish(2);
  hub.sseq = 0;
  await ask(lab, hub, BY_TIME);
  await lab.advance(HOURS_MS);
  expect(hub.stored).toEqual(span(1, 5));
  expect(kept(lab)).toBe(2);
});

test('of several that were read it cannot be told which one a hub has left that asks by time: they stay', async () => {
  await using lab = await open();
  const hub = await reading(lab);
  const other = await away(lab, 3);
  hub.leave();
  await lab.publish(2);
  hub.sseq = 0;
  await ask(lab, hub, BY_TIME);
  await lab.advance(HOURS_MS);
  expect(kept(lab)).toBe(2);
  await ask(lab, other);
  expect(other.stored).toEqual(span(1, 5));
});

test('where a dead leader still seems to listen, the next one gets a place, and that of the dead one goes', async () => {
  await using lab = await open();
  const old = await reading(lab);
  await lab.publish(2);
  await lab.advance(10_000);
  old.answers = false;
  const next = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  next.sseq = 2;
  await ask(lab, next);
  await lab.publish(2);
  await lab.advance(HOURS_MS);
  expect(kept(lab), 'somebody listens').toBe(2);
  old.leave();
  await lab.advance(LEFT_MS);
  expect(next.stored).toEqual([3, 4]);
  expect(kept(lab)).toBe(0);
});

test('where the dead leader had two streams, that of the one which does not come back yet stays', async () => {
  await using lab = await open();
  const old = await reading(lab);
  const other = await reading(lab);
  await lab.publish(2);
  await lab.advance(10_000);
  old.answers = other.answers = false;
  await lab.publish(2);
  const next = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  next.sseq = 2;
  await ask(lab, next);
  old.leave();
  other.leave();
  await lab.advance(HOURS_MS);
  expect(next.stored).toEqual([3, 4]);
  other.answers = true;
  other.sseq = 2;
  other.stored.splice(0);
  await ask(lab, other);
  expect(other.stored).toEqual([3, 4]);
});

test('a hub that answers and has stored nothing is not one that was read', async () => {
  await using lab = await open();
  const hub = await reading(lab);
  const other = await reading(lab);
  await lab.advance(60_000);
  hub.leave();
  await ask(lab, hub);
  await lab.publish(2);
  await lab.advance(LEFT_MS + 60_000);
  expect(hub.stored).toEqual([1, 2]);
  expect(other.stored).toEqual([1, 2]);
  expect(kept(lab)).toBe(0);
});

test('one that lives is not doubted for long, also where nothing comes', async () => {
  await using lab = await open();
  const hub = await reading(lab);
  await lab.publish(2);
  await lab.advance(10_000);
  const other = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  other.sseq = 2;
  await ask(lab, other);
  await lab.advance(10_000);
  hub.leave();
  await lab.publish(2);
  await lab.advance(HOURS_MS);
  expect(kept(lab)).toBe(2);
  await ask(lab, hub);
  expect(hub.stored).toEqual(span(1, 4));
});

test('a hub that is brought up to date leaves what it had as an old one', async () => {
  await using lab = await open();
  const hub = await away(lab, 3);
  await lab.publish(2);
  const newer = new ReadingHub(lab.store.broker, 'DATA');
  newer.sseq = hub.sseq;
  await ask(lab, newer);
  await lab.advance(LEFT_MS + 1_000);
  expect(newer.stored).toEqual([4, 5]);
  expect(kept(lab)).toBe(0);
});

test('a mirror is no source: neither takes the place of the other for its own', async () => {
  await using lab = await open();
  const mirror = new ReadingHub(lab.store.broker, 'DATA', { isOld: true });
  await ask(lab, mirror, { deliver_subject: '$JS.M.abcdefgh' });
  await lab.publish(3);
  await reading(lab);
  await lab.advance(HOURS_MS);
  expect(kept(lab)).toBe(3);
});

test('however often the answer is lost, no more than a few are kept, and with them all there is to read', async () => {
  await using lab = await open();
  for (let i = 0; i < 50; i++) {
    await deaf(lab);
    await lab.publish(1);
  }
  expect(lab.consumers.count).toBeLessThan(12);
  const hub = await reading(lab);
  expect(hub.stored).toEqual(span(1, 50));
});

test.each([{}, INTEREST, WORKQUEUE])(
  '%j: a hub that heard the answer and nothing else misses no message when it asks again',
  async (order) => {
    await using lab = await open(order);
    await lab.create({ name: 'local' });
    await lab.publish(5);
    await lab.done(lab.store.stream.purge({}));
    const hub = await deaf(lab);
    await lab.publish(3);
    await ask(lab, hub);
    expect(hub.stored).toEqual([6, 7, 8]);
    hub.leave();
    await ask(lab, hub);
    hub.leave();
    await lab.publish(2);
    await ask(lab, hub);
    expect(hub.stored).toEqual(span(6, 10));
  },
);
