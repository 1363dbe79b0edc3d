// What a stream makes of publishes that ask for more than to be stored.

import { expect, test } from 'vitest';
import type { Message } from '../../../src/message.ts';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const all = new SubjectFilter([]);
const id = (value: string): string => `Nats-Msg-Id: ${value}`;

function held(store: GatewayStore): string[] {
  return store.stream
    .scan(all, 0, { messagesMax: 100, bytesMax: 1 << 20 })
    .messages.map(({ seq, subject }) => `${seq} ${subject}`);
}

test('a refusal that says how far the stream is waits until that is on the disk', async () => {
  await using store = await new GatewayStore().open();
  store.publish('data.a', 'x');
  const wrong = store.publish('data.a', 'y', 'Nats-Expected-Last-Sequence: 0');
  const ofSubject = store.publish('data.a', 'y', 'Nats-Expected-Last-Subject-Sequence: 7');
  const other = store.publish('data.a', 'y', 'Nats-Expected-Stream: OTHER');
  expect(other.error?.errCode).toBe(10060);
  expect([wrong, ofSubject]).toEqual([{}, {}]);
  store.clock.turn();
  expect([wrong, ofSubject], 'committed is not durable').toEqual([{}, {}]);
  store.settle();
  expect(wrong.error).toMatchObject({ errCode: 10071, message: 'wrong last sequence: 1' });
  expect(ofSubject.error?.errCode).toBe(10071);
  expect(store.publish('data.a', 'y', 'Nats-Expected-Last-Sequence: 9').error?.errCode).toBe(10071);
});

test('expectations count what is accepted and not on the disk yet', async () => {
  await using store = await new GatewayStore().open();
  const outcomes = [0, 1, 1, 2].map((last) =>
    store.publish('data.a', 'x', `Nats-Expected-Last-Subject-Sequence: ${last}`),
  );
  const wild = store.publish(
    'data.b',
    'x',
    'Nats-Expected-Last-Subject-Sequence: 3\r\nNats-Expected-Last-Subject-Sequence-Subject: data.*',
  );
  store.settle();
  expect(outcomes.map((o) => o.ack?.seq ?? o.error?.message)).toEqual([
    1,
    2,
    'wrong last sequence: 2',
    3,
  ]);
  expect(wild.ack?.seq).toBe(4);
});

test('a duplicate is answered before any expectation is looked at', async () => {
  await using store = await new GatewayStore().open();
  const headers = `${id('m1')}\r\nNats-Expected-Last-Sequence: 0`;
  store.publish('data.a', 'x', headers);
  const again = store.publish('data.a', 'x', headers);
  store.settle();
  expect(again.ack).toEqual({ stream: 'DATA', seq: 1, duplicate: true });
});

test('the last message ID is known, also after a restart', async () => {
  await using store = await new GatewayStore().open();
  store.publish('data.a', 'x', id('m1'));
  store.settle();
  await store.close();
  await store.open();
  expect(store.publish('data.a', 'y', 'Nats-Expected-Last-Msg-Id: m0').error?.message).toBe(
    'wrong last msg ID: m1',
  );
  const right = store.publish('data.a', 'y', 'Nats-Expected-Last-Msg-Id: m1');
  store.settle();
  expect(right.ack?.seq).toBe(2);
});

test('a full subject refuses, or makes room for the new by its oldest', async () => {
  const perSubject = { discard: 'new', maxMsgsPerSubject: 2 } as const;
  await using strict = await new GatewayStore([
    streamOrder({ ...perSubject, discardNewPerSubject: true }),
  ]).open();
  const outcomes = ['a', 'a', 'a', 'b'].map((name) => strict.publish(`data.${name}`, 'x'));
  strict.settle();
  expect(outcomes.map((o) => o.ack?.seq ?? o.error?.message)).toEqual([
    1,
    2,
    'maximum messages per subject exceeded',
    3,
  ]);
  await using old = await new GatewayStore([streamOrder({ ...perSubject, maxMsgs: 3 })]).open();
  for (const name of ['a', 'a', 'b', 'a', 'c']) {
    const outcome = old.publish(`data.${name}`, 'x');
    old.settle();
    if (name === 'c') expect(outcome.error?.message).toBe('maximum messages exceeded');
  }
  expect(held(old)).toEqual(['2 data.a', '3 data.b', '4 data.a']);
});

test('the value of a key can be read until the new one is on the disk', async () => {
  await using store = await new GatewayStore([streamOrder({ maxMsgsPerSubject: 1 })]).open();
  const read = (): string | undefined =>
    store.stream.lastOf(new SubjectFilter(['data.k']))?.data.toString();
  store.publish('data.k', 'one');
  store.settle();
  store.publish('data.k', 'two');
  expect(read()).toBe('one');
  store.clock.turn();
  expect(read(), 'two is committed and not durable').toBe('one');
  expect(store.stream.state()).toMatchObject({ messages: 1, lastSeq: 1, subjects: 1 });
  store.settle();
  expect(read()).toBe('two');
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 2, lastSeq: 2 });
});

test('a roll-up replaces what came before it, of its subject or of all', async () => {
  await using store = await new GatewayStore([streamOrder({ allowRollup: true })]).open();
  for (const name of ['a', 'b', 'a', 'a']) store.publish(`data.${name}`, 'x');
  store.settle();
  store.publish('data.a', 'x', 'Nats-Rollup: sub');
  store.clock.turn();
  expect(held(store), 'not before it is on the disk').toHaveLength(4);
  store.settle();
  expect(held(store)).toEqual(['2 data.b', '5 data.a']);
  store.publish('data.c', 'x');
  store.publish('data.b', 'x', 'Nats-Rollup: all');
  store.publish('data.c', 'x');
  store.settle();
  expect(held(store)).toEqual(['7 data.b', '8 data.c']);
  await using plain = await new GatewayStore().open();
  expect(plain.publish('data.a', 'x', 'Nats-Rollup: sub').error?.errCode).toBe(10111);
});

test('limits of one message, a sealed stream, and one that answers nobody', async () => {
  await using small = await new GatewayStore([streamOrder({ maxMsgBytes: 10 })]).open();
  expect(small.publish('data.a', '0123456789A').error?.errCode).toBe(10054);
  await using sealed = await new GatewayStore([streamOrder({ sealed: true })]).open();
  expect(sealed.publish('data.a', 'x').error?.errCode).toBe(10109);
  await using quiet = await new GatewayStore([streamOrder({ noAck: true })]).open();
  const told: (boolean | undefined)[] = [];
  const message = { subject: 'data.a', data: Buffer.from('x') };
  quiet.broker.publish(message, (_error, _ack, isQuiet) => told.push(isQuiet));
  quiet.settle();
  expect(told).toEqual([true]);
});

test('a new stream begins where it is told to, and goes on there after a restart', async () => {
  await using store = await new GatewayStore([streamOrder({ firstSeq: 1_000 })]).open();
  expect(store.stream.state()).toMatchObject({ messages: 0, firstSeq: 1_000, lastSeq: 999 });
  await store.close();
  await store.open();
  const outcome = store.publish('data.a', 'x');
  store.settle();
  expect(outcome.ack?.seq).toBe(1_000);
  expect(store.stream.state()).toMatchObject({ messages: 1, firstSeq: 1_000, numDeleted: 0 });
});

test('a subject is transformed before anything else looks at it', async () => {
  const subjectTransform = { src: 'data.*', dest: 'stored.{{wildcard(1)}}' };
  await using store = await new GatewayStore([streamOrder({ subjectTransform })]).open();
  store.publish('data.a', 'x');
  store.settle();
  expect(held(store)).toEqual(['1 stored.a']);
});

test('what is stored is republished once it is on the disk', async () => {
  const republish = { src: 'data.>', dest: 'again.>', headersOnly: false };
  await using store = await new GatewayStore([streamOrder({ republish })]).open();
  const got: Message[] = [];
  store.broker.subscribe('again.>', { deliver: (message) => void got.push(message) });
  store.publish('data.a', 'one');
  store.clock.turn();
  expect(got).toEqual([]);
  store.settle();
  store.publish('data.a', 'two');
  store.settle();
  expect(got.map(({ subject, data }) => `${subject} ${data.toString()}`)).toEqual([
    'again.a one',
    'again.a two',
  ]);
  expect(got[1]?.headers?.toString()).toMatch(/Nats-Sequence: 2\r\n.*Nats-Last-Sequence: 1/s);
});

const batch = (seq: number, more = ''): string =>
  `Nats-Batch-Id: b1\r\nNats-Batch-Sequence: ${seq}${more}`;

test('an atomic batch is stored as one, or not at all', async () => {
  await using store = await new GatewayStore([streamOrder({ allowAtomic: true })]).open();
  const first = store.publish('data.a', 'x', batch(1));
  expect(first, 'an empty answer').toEqual({ error: null, ack: null });
  store.publish('data.b', 'x', batch(2));
  const last = store.publish('data.c', 'x', batch(3, '\r\nNats-Batch-Commit: 1'));
  expect(held(store)).toEqual([]);
  store.settle();
  expect(last.ack).toEqual({ stream: 'DATA', seq: 3, batch: 'b1', count: 3 });
  expect(held(store)).toEqual(['1 data.a', '2 data.b', '3 data.c']);
  store.publish('data.d', 'x', batch(1, '\r\nNats-Expected-Last-Sequence: 3'));
  store.publish('data.e', 'x', `${batch(2)}\r\nNats-Expected-Last-Subject-Sequence: 9`);
  const refused = store.publish('data.f', 'x', batch(3, '\r\nNats-Batch-Commit: 1'));
  store.settle();
  expect(refused.error?.errCode).toBe(10071);
  expect(store.stream.state()).toMatchObject({ messages: 3, lastSeq: 3, subjects: 3 });
});

test('an atomic batch that does not fit is refused as a whole', async () => {
  const order = streamOrder({ allowAtomic: true, discard: 'new', maxMsgs: 2 });
  await using store = await new GatewayStore([order]).open();
  for (const seq of [1, 2]) store.publish('data.a', 'x', batch(seq));
  const last = store.publish('data.a', 'x', batch(3, '\r\nNats-Batch-Commit: 1'));
  store.settle();
  expect(last.error?.message).toBe('maximum messages exceeded');
  expect(store.stream.state()).toMatchObject({ messages: 0, lastSeq: 0 });
});

test('a message with only an ID is read as one with more headers is', async () => {
  await using store = await new GatewayStore().open();
  const odd = [
    'Nats-Msg-Id: m1',
    'X: 1\r\nNats-Msg-Id:m2',
    'Nats-Msg-Id:   m3  ',
    'Nats-Msg-Id: ü4',
    'Nats-Msg-Id: ',
    'nats-msg-id: m1',
    'X-Nats-Msg-Id: m1',
    'Nats-Msg-Id: m1\r\nNats-Msg-Id: m9',
  ];
  for (const headers of odd) store.publish('data.a', 'x', headers);
  store.settle();
  const again = ['m1', 'm2', 'm3', 'ü4', 'm9'].map((value) =>
    store.publish('data.a', 'x', id(value)),
  );
  store.settle();
  expect(again.map((o) => o.ack?.duplicate === true)).toEqual([true, true, true, true, false]);
  expect(store.stream.state().messages).toBe(8);
});
