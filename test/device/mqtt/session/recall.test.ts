import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createBase, type Base } from '../../../../device/mqtt/base.ts';
import type { MqttLimits } from '../../../../device/mqtt/limits.ts';
import { Retained } from '../../../../device/mqtt/retained.ts';
import { Recall, type Recaller } from '../../../../device/mqtt/session/recall.ts';
import type { Form, Subscription } from '../../../../device/mqtt/session/types.ts';
import { filterToSubject } from '../../../../device/mqtt/topic.ts';
import type { QoS } from '../../../../device/mqtt/wire/types.ts';
import { Broker } from '../../../../src/broker.ts';
import type { Message } from '../../../../src/message.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/mqtt-store.ts';

/** Retained messages over tables in memory, and a session that takes what it is given. */
class Rig implements Recaller {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly base: Base;
  readonly retained: Retained;
  readonly recall: Recall;
  readonly got: [topic: string, data: string, qos: QoS, identifiers: readonly number[]][] = [];
  room = Infinity;
  hidden: string | undefined;
  pumps = 0;

  constructor(
    limits: Partial<MqttLimits> = {},
    clock = new FakeClock(),
    store = new MemoryStore(clock),
  ) {
    this.clock = clock;
    this.store = store;
    const log = pino({ level: 'silent' });
    this.base = createBase({ broker: new Broker(), clock, log, store }, limits);
    this.retained = new Retained(this.base);
    this.retained.load();
    this.recall = new Recall(this.base, this.retained);
  }

  get ready(): boolean {
    return this.got.length < this.room;
  }

  mayReceive(subject: string): boolean {
    return subject !== this.hidden;
  }

  take(form: Form, qos: QoS, identifiers: readonly number[]): void {
    this.got.push([form.topic.toString('utf8', 2), String(form.data), qos, identifiers]);
  }

  keep(subject: string, data: string, qos: QoS = 1, headers?: string): void {
    const message: Message = { subject, data: Buffer.from(data) };
    this.retained.set(
      headers === undefined ? message : { ...message, headers: Buffer.from(headers) },
      qos,
    );
  }

  readonly pump = (): void => {
    this.pumps++;
    this.recall.pump(this, this.pump);
  };

  /** What one SUBSCRIBE brings. */
  subscribe(...subscriptions: Subscription[]): void {
    this.recall.add(subscriptions);
    this.pump();
    this.clock.turn();
  }

  get topics(): string[] {
    return this.got.map(([topic]) => topic);
  }

  get rows(): number {
    return this.store.retained.range('', '\u{10ffff}', 100_000).length;
  }
}

function subscription(filter: string, options: Partial<Subscription> = {}): Subscription {
  return {
    filter,
    subject: filterToSubject(filter),
    share: undefined,
    qos: 2,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    identifier: undefined,
    ...options,
  };
}

const EXPIRES = 'NATS/1.0\r\nMqtt-Message-Expiry: 30\r\n\r\n';

test('the QoS is the lower of message and subscription, QoS 2 included', () => {
  const rig = new Rig();
  for (const qos of [0, 1, 2] as const) rig.keep(`a.${qos}`, 'x', qos);
  rig.clock.turn();
  rig.subscribe(subscription('a/+'));
  rig.subscribe(subscription('a/+', { qos: 1 }));
  expect(rig.got.map(([, , qos]) => qos)).toEqual([0, 1, 2, 0, 1, 1]);
});

test('filters of one SUBSCRIBE that overlap bring a message once, with the highest QoS and each identifier', () => {
  const rig = new Rig();
  for (const subject of ['a', 'a.b', 'c']) rig.keep(subject, 'x', 2);
  rig.clock.turn();
  const identifier = 5;
  rig.subscribe(
    subscription('a/#', { qos: 0, identifier }),
    subscription('+/b', { qos: 2, identifier }),
    subscription('c', { qos: 1, identifier }),
  );
  expect(rig.got).toEqual([
    ['a', 'x', 0, [5]],
    ['a/b', 'x', 2, [5, 5]],
    ['c', 'x', 1, [5]],
  ]);
  expect(rig.recall.waiting).toBe(false);
});

test('ten thousand come some at a time, each once, while the session makes room', () => {
  const rig = new Rig({ retainedMax: 20_000 });
  for (let i = 0; i < 10_000; i++) rig.keep(`a.${i % 100}.${i}`, 'x');
  rig.clock.turn();
  rig.room = 100;
  rig.recall.add([subscription('#')]);
  rig.pump();
  expect(rig.got).toHaveLength(64);
  rig.clock.turn();
  expect(rig.got).toHaveLength(100);
  for (let i = 0; i < 1000 && rig.recall.waiting; i++) {
    rig.room += 100;
    rig.pump();
    rig.clock.turn();
  }
  expect(new Set(rig.topics).size).toBe(10_000);
  expect(rig.got).toHaveLength(10_000);
  expect(rig.recall.waiting).toBe(false);
});

test('the index may change under way: what stays comes once', () => {
  const rig = new Rig();
  for (let i = 0; i < 200; i++) rig.keep(`a.${i}`, 'x');
  rig.clock.turn();
  rig.room = 50;
  rig.subscribe(subscription('#'));
  for (let i = 0; i < 100; i++) rig.keep(`a.${i}`, '');
  rig.clock.turn();
  for (let i = 0; i < 50; i++) rig.keep(`a.${i}`, 'again');
  rig.clock.turn();
  rig.room = Infinity;
  rig.pump();
  rig.clock.turn();
  const kept = Array.from({ length: 100 }, (_, i) => `a/${100 + i}`);
  expect(kept.filter((topic) => rig.topics.filter((each) => each === topic).length !== 1)).toEqual(
    [],
  );
});

test('nothing that the disk has not: a newer message on its way is waited for', () => {
  const rig = new Rig();
  rig.keep('a', 'old');
  rig.clock.turn();
  rig.store.auto = false;
  rig.keep('a', 'new');
  rig.subscribe(subscription('a'));
  expect(rig.got).toEqual([]);
  expect(rig.retained.read('a')).toBe('pending');
  rig.store.sync();
  rig.clock.turn();
  expect(rig.got.map(([, data]) => data)).toEqual(['new']);
});

test('the disk refuses a newer message: the older one holds', () => {
  const rig = new Rig();
  rig.keep('a', 'old', 1);
  rig.clock.turn();
  rig.store.full = true;
  rig.keep('a', 'new', 2);
  rig.keep('b', 'new');
  rig.clock.turn();
  rig.subscribe(subscription('#'));
  expect(rig.got).toEqual([['a', 'old', 1, []]]);
  expect([rig.retained.count, rig.base.counters.retainedRefused]).toEqual([1, 2]);
});

test('a topic that got a newer message as a live one meanwhile is left out, until the next SUBSCRIBE', () => {
  const rig = new Rig();
  for (const subject of ['a', 'b', 'c']) rig.keep(subject, 'x');
  rig.clock.turn();
  rig.room = 1;
  rig.subscribe(subscription('+'));
  rig.recall.passed('b');
  rig.room = 10;
  rig.pump();
  rig.clock.turn();
  expect(rig.topics).toEqual(['a', 'c']);
  rig.subscribe(subscription('b'));
  expect(rig.topics).toEqual(['a', 'c', 'b']);
});

test('a SUBSCRIBE after the newer message brings the retained one, while an earlier one still goes on', () => {
  const rig = new Rig();
  for (const subject of ['a', 'b', 'c']) rig.keep(subject, 'x');
  rig.clock.turn();
  rig.room = 1;
  rig.subscribe(subscription('+'));
  rig.recall.passed('b');
  rig.subscribe(subscription('b'));
  rig.room = 10;
  rig.pump();
  rig.clock.turn();
  expect(rig.topics).toEqual(['a', 'c', 'b']);
});

test('a subscription that goes takes its retained messages with it, but not those of the others', () => {
  const rig = new Rig();
  for (let i = 0; i < 4; i++) rig.keep(`a.${i}`, 'x');
  rig.clock.turn();
  rig.room = 2;
  rig.subscribe(subscription('a/+'), subscription('a/3'));
  rig.recall.drop('a/+');
  rig.room = 10;
  rig.pump();
  expect(rig.topics).toEqual(['a/0', 'a/1', 'a/3']);
  rig.recall.add([subscription('#')]);
  rig.recall.clear();
  rig.pump();
  expect(rig.got).toHaveLength(3);
});

test('subscribing again and again begins anew and piles nothing up', () => {
  const rig = new Rig();
  for (let i = 0; i < 10; i++) rig.keep(`a.${i}`, 'x');
  rig.clock.turn();
  rig.room = 3;
  rig.subscribe(subscription('#'));
  for (let i = 0; i < 1000; i++) rig.recall.add([subscription('#')]);
  rig.room = 1000;
  rig.pump();
  rig.clock.turn();
  expect(rig.got).toHaveLength(13);
});

test('what the client may not see is left out', () => {
  const rig = new Rig();
  for (const subject of ['a', 'b', 'c']) rig.keep(subject, 'x');
  rig.clock.turn();
  rig.hidden = 'b';
  rig.subscribe(subscription('#'));
  expect(rig.topics).toEqual(['a', 'c']);
});

test('a leading wildcard finds nothing of the system, its own name does', () => {
  const rig = new Rig();
  rig.retained.setVolatile({ subject: '$SYS.uptime', data: Buffer.from('7') });
  rig.retained.setVolatile({ subject: '$SYS.uptime', data: Buffer.from('8') });
  rig.keep('$odd.a', 'x');
  rig.keep('a', 'x');
  rig.clock.turn();
  rig.subscribe(subscription('#'), subscription('+/uptime'), subscription('+/#'));
  expect(rig.topics).toEqual(['a']);
  rig.subscribe(subscription('$SYS/#'));
  rig.subscribe(subscription('$odd/+'));
  expect(rig.got.slice(1)).toEqual([
    ['$SYS/uptime', '8', 0, []],
    ['$odd/a', 'x', 1, []],
  ]);
  expect([rig.retained.count, rig.rows]).toEqual([3, 2]);
  expect([...rig.retained.walk('>')]).toEqual(['a']);
  expect([...rig.retained.walk('*.uptime')]).toEqual([]);
});

test('messages of our own are bounded', () => {
  const rig = new Rig();
  for (let i = 0; i < 300; i++)
    rig.retained.setVolatile({ subject: `$SYS.${i}`, data: Buffer.from('x') });
  expect(rig.retained.count).toBe(256);
});

test('an expired message is shown no more, and carries its time until then', () => {
  const rig = new Rig();
  rig.keep('a', 'short', 1, EXPIRES);
  rig.keep('b', 'long');
  rig.clock.turn();
  rig.clock.advance(29_000);
  expect(rig.retained.read('a')).toMatchObject({ form: { expiresMs: 30_000 } });
  rig.clock.advance(1000);
  expect(rig.retained.read('a')).toBeUndefined();
  rig.subscribe(subscription('#'));
  expect(rig.topics).toEqual(['b']);
});

test('an expired message is removed from the disk by and by', () => {
  const rig = new Rig();
  for (let i = 0; i < 1000; i++) rig.keep(`a.${i}`, 'x', 1, EXPIRES);
  rig.keep('b', 'x');
  rig.clock.turn();
  rig.clock.advance(59_000);
  expect(rig.rows).toBe(1001);
  rig.clock.advance(2000);
  expect([rig.rows, rig.retained.count]).toEqual([1, 1]);
});

test('after a restart an expired message is not shown, and removed', () => {
  const rig = new Rig();
  rig.keep('a', 'x', 1, EXPIRES);
  rig.keep('b', 'y', 2);
  rig.clock.turn();
  rig.clock.advance(30_000);
  const next = new Rig({}, rig.clock, rig.store.afterKill());
  next.subscribe(subscription('#'));
  expect(next.got).toEqual([['b', 'y', 2, []]]);
  next.clock.advance(60_000);
  expect([next.rows, next.retained.count]).toEqual([1, 1]);
});

test('expired messages make room for new ones at the limit', () => {
  const rig = new Rig({ retainedMax: 2 });
  rig.keep('a', 'x', 1, EXPIRES);
  rig.keep('b', 'x');
  rig.clock.turn();
  rig.keep('c', 'x');
  expect(rig.base.counters.retainedRefused).toBe(1);
  rig.clock.advance(30_000);
  rig.keep('c', 'x');
  rig.clock.turn();
  expect(rig.base.counters.retainedRefused).toBe(1);
  rig.subscribe(subscription('#'));
  expect(rig.topics).toEqual(['b', 'c']);
});

test('a message without an expiry in place of one with it stays', () => {
  const rig = new Rig();
  rig.keep('a', 'x', 1, EXPIRES);
  rig.keep('a', 'y');
  rig.clock.turn();
  rig.clock.advance(120_000);
  rig.subscribe(subscription('a'));
  expect(rig.got.map(([, data]) => data)).toEqual(['y']);
});

test('properties and binary data come back as they were', () => {
  const rig = new Rig();
  rig.keep('a', 'x', 2, 'NATS/1.0\r\nunit: m\r\nContent-Type: text/plain\r\n\r\n');
  const before = rig.retained.read('a');
  expect(before).toBe('pending');
  rig.clock.turn();
  const next = new Rig({}, rig.clock, rig.store.afterKill());
  const kept = next.retained.read('a');
  if (kept === undefined || kept === 'pending') throw new Error('nothing kept');
  expect(kept.form.properties.toString('latin1')).toContain('text/plain');
  expect(kept.form.properties.toString('latin1')).toContain('unit');
  expect([kept.qos, String(kept.form.data), kept.form.expiresMs]).toEqual([2, 'x', Infinity]);
});
