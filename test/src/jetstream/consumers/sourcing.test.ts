// What a hub that fills a stream from ours asks for, and what it gets: as nats-server 2.15, 2.10 and 2.9 ask.

import { pino } from 'pino';
import { expect, test } from 'vitest';
import { openApi } from '../../../../src/jetstream/api/open-api.ts';
import type { StreamOrder } from '../../../../src/jetstream/jetstream.ts';
import { ConsumerLab } from '../../../support/consumer-lab.ts';
import { ReadingHub, type Asked } from '../../../support/reading-hub.ts';

async function open(order: Partial<StreamOrder> = {}): Promise<ConsumerLab> {
  const lab = await ConsumerLab.open(order);
  serve(lab);
  return lab;
}

function serve({ store }: ConsumerLab): void {
  const { broker, clock, jetstream } = store;
  const options = { domain: 'gw', serverName: 'gw', version: '2.14.0' };
  openApi(jetstream, { broker, clock, log: pino({ enabled: false }) }, options);
}

function hubOf(lab: ConsumerLab, isOld = false): ReadingHub {
  return new ReadingHub(lab.store.broker, 'DATA', { isOld });
}

async function ask(lab: ConsumerLab, hub: ReadingHub, asked?: Asked): Promise<void> {
  hub.ask(asked);
  await lab.settle();
}

function kept(lab: ConsumerLab): number {
  return lab.store.stream.state().messages;
}

function span(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

const WORKQUEUE = { retention: 'workqueue' } as const;
const INTEREST = { retention: 'interest' } as const;

// --- requests ---

test('a hub gets a consumer of its own name and a suffix, and the incarnation of the stream', async () => {
  await using lab = await open();
  await lab.publish(5);
  const hub = hubOf(lab);
  await ask(lab, hub);
  expect(hub.answer.error).toBeUndefined();
  expect(hub.answer.name).toMatch(/^JS_SRC_aB3dE6gH-[0-9A-Za-z]{8}$/);
  expect(hub.identity).toMatch(/^[\w-]{8}$/);
  expect(hub.answer.config).toMatchObject({ deliver_subject: hub.deliverTo, ack_policy: 'none' });
  expect(hub.stored).toEqual(span(1, 5));
  const first = hub.answer.name;
  await ask(lab, hub);
  expect(hub.answer.name).not.toBe(first);
  expect(hub.answer.delivered?.stream_seq).toBe(5);
});

test.each<[string, Asked, number[]]>([
  ['no name', { config: { name: '' } }, span(1, 4)],
  [
    'a random name',
    { tail: '.src-x7.data.b', config: { name: 'src-x7', filter_subject: 'data.b' } },
    [2, 4],
  ],
  ['several filters', { config: { filter_subjects: ['data.b', 'data.c'] } }, [2, 4]],
  ['a sequence', { config: { deliver_policy: 'by_start_sequence', opt_start_seq: 3 } }, [3, 4]],
  [
    'a time',
    { config: { deliver_policy: 'by_start_time', opt_start_time: '2000-01-01T00:00:00Z' } },
    span(1, 4),
  ],
])('a hub that asks with %s gets what it asks for', async (_what, asked, seqs) => {
  await using lab = await open();
  for (const subject of ['data.a', 'data.b', 'data.a', 'data.b']) await lab.publish(1, subject);
  const hub = hubOf(lab, true);
  await ask(lab, hub, asked);
  expect(hub.answer.error).toBeUndefined();
  expect(hub.stored).toEqual(seqs);
});

test('nothing goes before the hub listens, and what a flap interrupts goes on', async () => {
  await using lab = await open();
  const hub = hubOf(lab);
  await ask(lab, hub);
  hub.leave();
  await lab.publish(3);
  await lab.advance(9_000);
  hub.listen(hub.deliverTo);
  await lab.settle();
  expect(hub.stored).toEqual([1, 2, 3]);
  hub.leave();
  await lab.advance(12_000);
  expect(lab.consumers.count, 'nobody has listened for ten seconds').toBe(0);
});

test('what is not on the disk does not go', async () => {
  await using lab = await open();
  const hub = hubOf(lab);
  await ask(lab, hub);
  lab.store.publish('data.a', 'x');
  lab.store.clock.turn();
  expect(hub.stored).toEqual([]);
  await lab.settle();
  expect(hub.stored).toEqual([1]);
});

test('a hub that knows another incarnation of the stream hears so (10225), and begins anew', async () => {
  await using lab = await open();
  const hub = hubOf(lab);
  await ask(lab, hub);
  const { identity = '' } = hub;
  const level = 'Nats-Required-Api-Level: 5\r\nNats-Stream-Identity: ';
  await ask(lab, hub, { headers: `${level}${identity}` });
  expect(hub.answer.error).toBeUndefined();
  await ask(lab, hub, { headers: `${level}another` });
  expect(hub.answer.error).toMatchObject({
    err_code: 10_225,
    description: `consumer's stream identity does not match: ${identity}`,
  });
  await ask(lab, hub, { headers: 'Nats-Required-Api-Level: 6' });
  expect(hub.answer.error?.err_code).toBe(10_185);
});

test('an incarnation outlives a start, and a stream made again has another', async () => {
  await using lab = await open();
  const hub = hubOf(lab);
  await ask(lab, hub);
  await using later = await lab.crashed();
  serve(later);
  const again = hubOf(later);
  await ask(later, again);
  expect(again.identity).toBe(hub.identity);
  await using other = await open();
  const elsewhere = hubOf(other);
  await ask(other, elsewhere);
  expect(elsewhere.identity).not.toBe(hub.identity);
});

test('a hub that still listens after a restart is brought to ask anew: the limits may have taken what it expects next', async () => {
  await using lab = await open({ maxMsgs: 5 });
  const hub = hubOf(lab);
  await ask(lab, hub);
  await lab.publish(2);
  await using later = await lab.crashed();
  serve(later);
  await later.publish(8);
  const same = hub.after(later.store.broker);
  await later.advance(2_000);
  expect(same.stored).toEqual([]);
  expect(same.mustAsk).toBe(true);
  await ask(later, same);
  expect(same.stored).toEqual([6, 7, 8, 9, 10]);
  expect(later.store.jetstream.sourcing.counters.missedMsgs, '3 to 5, once').toBe(3);
});

// --- gaps ---

test('a hub that asks too late goes on behind what is gone, and it is counted', async () => {
  await using lab = await open({ maxMsgs: 3 });
  await lab.publish(10);
  const hub = hubOf(lab);
  await ask(lab, hub, { config: { deliver_policy: 'by_start_sequence', opt_start_seq: 4 } });
  expect(hub.answer.delivered?.stream_seq).toBe(7);
  expect(hub.stored).toEqual([8, 9, 10]);
  expect(lab.store.jetstream.sourcing.counters.missedMsgs).toBe(4);
  hub.leave();
  await lab.publish(5);
  hub.listen(hub.deliverTo);
  await lab.settle();
  expect(hub.stored).toEqual([8, 9, 10, 13, 14, 15]);
  expect(lab.store.jetstream.sourcing.counters.missedMsgs).toBe(6);
});

test('what a hub has through a later consumer is not counted as missed where the earlier one is still there', async () => {
  await using lab = await open({ maxMsgs: 5 });
  const hub = hubOf(lab);
  await ask(lab, hub);
  await lab.publish(2);
  hub.leave();
  await ask(lab, hub);
  await lab.publish(4);
  await lab.publish(4);
  expect(hub.stored).toEqual(span(1, 10));
  await using later = await lab.crashed();
  serve(later);
  await later.publish(3);
  expect(lab.store.jetstream.sourcing.counters.missedMsgs).toBe(0);
  expect(later.store.jetstream.sourcing.counters.missedMsgs).toBe(0);
});

test('a message larger than the listener takes is passed over, without a consumer sequence', async () => {
  await using lab = await open();
  const { broker, jetstream } = lab.store;
  const got: string[] = [];
  const hub = hubOf(lab);
  hub.ask();
  await lab.settle();
  hub.leave();
  broker.subscribe(hub.deliverTo, {
    offer: ({ reply = '', headers, data }) => {
      if (headers?.includes('100 ') !== true) got.push(reply.split('.').slice(5, 7).join('/'));
      return data.length <= 10;
    },
    messageBytesMax: 10,
  });
  await lab.publish(1);
  await lab.publish(1, 'data.a', 'x'.repeat(11));
  await lab.publish(1, 'data.a', 'x'.repeat(10));
  expect(got).toEqual(['1/1', '3/2']);
  expect(jetstream.sourcing.counters.oversizeMsgs).toBe(1);
});

// --- a store that was put back ---

async function putBack(names: readonly string[] = ['JS_SRC_aB3dE6gH']): Promise<ConsumerLab> {
  const lab = await open();
  await lab.publish(3);
  for (const name of names) {
    const hub = hubOf(lab);
    hub.sseq = 1;
    await ask(lab, hub, { config: { name } });
    hub.leave();
  }
  return lab;
}

test('a hub that has more than there is: numbers go on behind it, on the disk before it hears', async () => {
  await using image = await putBack();
  await using lab = await image.crashed();
  serve(lab);
  await lab.publish(2, 'data.a', 'offline');
  const hub = hubOf(lab);
  hub.sseq = 10;
  hub.ask();
  lab.store.clock.turn();
  expect(hub.answer.name, 'nothing is said before the disk has it').toBeUndefined();
  await lab.settle();
  await lab.publish(1, 'data.a', 'later');
  expect(hub.stored).toEqual([11, 12, 13]);
  const data = (seq: number): string | undefined => lab.store.stream.get(seq)?.data.toString();
  expect([4, 5, 11, 12, 13].map(data)).toEqual([
    undefined,
    undefined,
    'offline',
    'offline',
    'later',
  ]);
  expect(lab.store.stream.state()).toMatchObject({ messages: 6, firstSeq: 1, lastSeq: 13 });
  expect(lab.store.jetstream.sourcing.problem).toMatch(
    /^stream DATA had lost its end: .* up to 10, here it ended at 5/,
  );
  await using next = await lab.crashed();
  await next.publish(1);
  expect(next.store.stream.state()).toMatchObject({ messages: 7, lastSeq: 14 });
});

test('with nothing stored since, the numbers go on behind the hub all the same, after a crash too', async () => {
  await using image = await putBack();
  await using lab = await image.crashed();
  serve(lab);
  const hub = hubOf(lab);
  hub.sseq = 10;
  await ask(lab, hub);
  expect(hub.answer.delivered?.stream_seq).toBe(10);
  expect(lab.store.stream.durableSeq).toBe(10);
  await using next = await lab.crashed();
  await next.publish(1);
  expect(next.store.stream.durableSeq).toBe(11);
});

test('what several lives have stored offline goes again, and what the hub had when it last asked does not', async () => {
  await using image = await putBack();
  await using first = await image.crashed();
  await first.publish(2, 'data.a', 'one');
  await using second = await first.crashed();
  await second.publish(1, 'data.a', 'two');
  serve(second);
  const hub = hubOf(second);
  hub.sseq = 20;
  await ask(second, hub);
  expect(hub.stored).toEqual([21, 22, 23]);
  expect(second.store.stream.get(1)).toBeDefined();
  expect(second.store.stream.get(4)).toBeUndefined();
});

test('messages that come while the numbers jump keep their order, and each has one number', async () => {
  await using image = await putBack();
  await using lab = await image.crashed();
  serve(lab);
  await lab.publish(2, 'data.a', 'offline');
  const hub = hubOf(lab);
  hub.sseq = 10;
  hub.ask();
  const acks = ['x', 'y', 'z'].map((data) => lab.store.publish('data.a', data));
  lab.store.clock.turn();
  acks.push(lab.store.publish('data.a', 'w'));
  await lab.settle();
  expect(acks.every(({ error }) => error === null)).toBe(true);
  const data = hub.stored.map((seq) => lab.store.stream.get(seq)?.data.toString());
  expect(data).toEqual(['offline', 'offline', 'x', 'y', 'z', 'w']);
});

test('a number that no hub can have does not move the numbering', async () => {
  await using lab = await open();
  const hub = hubOf(lab);
  await ask(lab, hub, {
    config: { deliver_policy: 'by_start_sequence', opt_start_seq: Number.MAX_SAFE_INTEGER },
  });
  await lab.publish(1);
  expect(lab.store.stream.durableSeq).toBe(1);
});

// --- streams that keep what is not consumed ---

test.each([WORKQUEUE, INTEREST])(
  '%j: a message goes when the hub has stored it, and not before',
  async (retention) => {
    await using lab = await open(retention);
    const hub = hubOf(lab);
    hub.answers = false;
    await ask(lab, hub);
    expect(hub.answer).toMatchObject({
      name: 'JS_SRC_aB3dE6gH',
      config: { ack_policy: 'flow_control', durable_name: 'JS_SRC_aB3dE6gH', max_deliver: -1 },
    });
    expect(hub.answer.config).not.toHaveProperty('direct');
    await lab.publish(5);
    expect(hub.stored).toEqual(span(1, 5));
    expect(kept(lab)).toBe(5);
    await lab.advance(1_000);
    const [question = ''] = hub.questions;
    expect(question).toMatch(/^\$JS\.FC\.DATA\.JS_SRC_aB3dE6gH\./);
    expect(hub.beats.at(-1)).not.toContain('Stalled');
    hub.confirm(question, 3);
    await lab.settle();
    expect(kept(lab)).toBe(2);
    await lab.advance(1_000);
    hub.confirm(hub.questions.at(-1) ?? '');
    await lab.settle();
    expect(kept(lab)).toBe(0);
  },
);

test('a question without an answer is asked again with each heartbeat, the same one', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab);
  hub.answers = false;
  await ask(lab, hub);
  await lab.publish(1);
  await lab.advance(3_000);
  expect(hub.questions.length).toBeGreaterThan(1);
  expect(new Set(hub.questions).size).toBe(1);
  expect(hub.beats.join('')).not.toContain('Stalled');
});

test('an answer that names more than was delivered acknowledges what was delivered', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab);
  hub.answers = false;
  await ask(lab, hub);
  await lab.publish(2);
  await lab.advance(1_000);
  hub.confirm(hub.questions.at(-1) ?? '', 100);
  await lab.settle();
  expect(kept(lab)).toBe(0);
  await lab.publish(3);
  expect(kept(lab)).toBe(3);
  await lab.advance(1_000);
  hub.confirm(hub.questions.at(-1) ?? '', 4);
  await lab.settle();
  expect(kept(lab)).toBe(1);
});

test('an answer with nothing in it acknowledges nothing where the hub is a new one', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab);
  hub.answers = false;
  await ask(lab, hub);
  await lab.publish(1);
  await lab.advance(1_000);
  const subject = hub.questions.at(-1) ?? '';
  lab.store.broker.publish({ subject, data: Buffer.alloc(0) });
  await lab.advance(10_000);
  expect(kept(lab)).toBe(1);
});

test('a hub that asks anew goes on where it is; what it may lose yet stays until it is confirmed', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab);
  hub.answers = false;
  await ask(lab, hub);
  await lab.publish(5);
  await ask(lab, hub);
  expect(hub.answer.delivered?.stream_seq).toBe(5);
  expect(kept(lab)).toBe(5);
  // Its leader is another one, which has less.
  const other = hubOf(lab);
  other.sseq = 2;
  await ask(lab, other);
  expect(other.stored).toEqual([3, 4, 5]);
  await lab.advance(1_000);
  expect(kept(lab)).toBe(0);
});

test('after a crash nothing speaks with a number that the hub might take for the next one', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab);
  hub.answers = false;
  await ask(lab, hub);
  await lab.publish(6);
  await using later = await lab.crashed();
  serve(later);
  // The hub listens where it did, and expects the seventh.
  const same = hub.after(later.store.broker);
  await later.publish(4);
  await later.advance(2_000);
  expect(same.stored).toEqual([]);
  expect(same.mustAsk).toBe(true);
  expect(kept(later)).toBe(10);
  await ask(later, same);
  expect(same.stored).toEqual([7, 8, 9, 10]);
  same.answers = true;
  await later.advance(2_000);
  expect(kept(later)).toBe(0);
});

// --- old hubs ---

test('an old hub, which says nothing, is believed some seconds later, if it has not asked anew', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab, true);
  await ask(lab, hub);
  expect(hub.answer.config?.['ack_policy'], 'it knows no other word').toBe('none');
  await lab.publish(3);
  expect(hub.stored).toEqual([1, 2, 3]);
  await lab.advance(1_000);
  expect(hub.questions).toHaveLength(1);
  await lab.advance(4_900);
  expect(kept(lab)).toBe(3);
  await lab.advance(200);
  expect(kept(lab)).toBe(0);
});

test('an old hub that asks anew is not believed, and takes the place that it had', async () => {
  await using lab = await open(WORKQUEUE);
  const hub = hubOf(lab, true);
  await ask(lab, hub);
  const { name } = hub.answer;
  await lab.publish(3);
  await lab.advance(2_000);
  // It could store the first only.
  hub.sseq = 1;
  hub.stored.length = 1;
  await ask(lab, hub);
  expect(hub.answer.name).toBe(name);
  expect(hub.stored).toEqual([1, 2, 3]);
  await lab.advance(4_500);
  expect(kept(lab)).toBe(3);
  await lab.advance(3_000);
  expect(kept(lab)).toBe(0);
  expect(lab.consumers.count).toBe(1);
});

test('an old hub does not take the place of one that is listened to', async () => {
  await using lab = await open(WORKQUEUE);
  const [one, other] = [hubOf(lab, true), hubOf(lab, true)];
  await ask(lab, one);
  await ask(lab, other);
  expect(other.answer.error).toBeUndefined();
  expect(other.answer.name).not.toBe(one.answer.name);
});

test('two streams of an old hub on one interest stream have a place each, also when both come back', async () => {
  await using lab = await open(INTEREST);
  const fast = hubOf(lab, true);
  const slow = hubOf(lab, true);
  slow.answers = false;
  await ask(lab, fast);
  await ask(lab, slow);
  const names = [fast.answer.name, slow.answer.name];
  expect(new Set(names).size).toBe(2);
  await lab.publish(4);
  await lab.advance(12_000);
  expect(kept(lab), 'the slow one has confirmed nothing').toBe(4);
  slow.sseq = 2;
  fast.leave();
  slow.leave();
  await ask(lab, slow);
  await ask(lab, fast);
  expect([fast.answer.name, slow.answer.name]).toEqual(names);
});
