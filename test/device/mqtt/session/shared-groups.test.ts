import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createBase, type Base } from '../../../../device/mqtt/base.ts';
import { SharedGroups, type SharedMember } from '../../../../device/mqtt/session/shared-groups.ts';
import type { Form, Subscription } from '../../../../device/mqtt/session/types.ts';
import { filterToSubject } from '../../../../device/mqtt/topic.ts';
import type { QoS } from '../../../../device/mqtt/wire/types.ts';
import { Broker } from '../../../../src/broker.ts';
import type { Message } from '../../../../src/message.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/mqtt-store.ts';

/** A session that takes what it is given, while it has room. */
class Member implements SharedMember {
  readonly clientId: string;
  owner: { roomy: boolean } | undefined = { roomy: true };
  room = Infinity;
  readonly got: string[] = [];
  readonly qos: QoS[] = [];

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  enqueueShared({ data }: Message, qos: QoS, subscription: Subscription): boolean {
    return this.#take(data, qos, subscription);
  }

  enqueueSharedForm({ data }: Form, qos: QoS, subscription: Subscription): boolean {
    return this.#take(data, qos, subscription);
  }

  #take(data: Buffer, qos: QoS, subscription: Subscription): boolean {
    if (this.got.length >= this.room) return false;
    this.got.push(String(data));
    this.qos.push(qos < subscription.qos ? qos : subscription.qos);
    return true;
  }
}

function setup(): {
  base: Base;
  groups: SharedGroups;
  publish: (subject: string, data: string, qos?: QoS) => void;
} {
  const clock = new FakeClock();
  const base = createBase({
    broker: new Broker(),
    clock,
    log: pino({ level: 'silent' }),
    store: new MemoryStore(clock),
  });
  const publish = (subject: string, data: string, qos?: QoS): void => {
    const message = { subject, data: Buffer.from(data) };
    if (qos === undefined) return void base.broker.publish(message);
    base.routing.run({ message, qos, retain: false, clientId: 'p', hold: undefined }, () =>
      base.broker.publish(message),
    );
  };
  return { base, groups: new SharedGroups(base), publish };
}

function shared(filter: string, qos: QoS = 1, name = 'g'): Subscription {
  return {
    filter: `$share/${name}/${filter}`,
    subject: filterToSubject(filter),
    share: name,
    qos,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    identifier: undefined,
  };
}

function members(groups: SharedGroups, count: number, subscription = shared('a')): Member[] {
  const all = Array.from({ length: count }, (_, i) => new Member(`m${i}`));
  for (const member of all) groups.join(member, subscription);
  return all;
}

function form(data: string): Form {
  return {
    topic: Buffer.alloc(2),
    properties: Buffer.alloc(0),
    data: Buffer.from(data),
    expiresMs: Infinity,
  };
}

test('each message goes to one member, in turn', () => {
  const { groups, publish } = setup();
  const all = members(groups, 3);
  for (let i = 0; i < 6; i++) publish('a', String(i), 1);
  expect(all.map(({ got }) => got)).toEqual([
    ['0', '3'],
    ['1', '4'],
    ['2', '5'],
  ]);
});

test('groups of another name, and another filter of the same name, get their own copy', () => {
  const { groups, publish } = setup();
  const [one] = members(groups, 1, shared('a'));
  const [two] = members(groups, 1, shared('a', 1, 'h'));
  const [three] = members(groups, 1, shared('+'));
  publish('a', 'x', 1);
  expect([one?.got, two?.got, three?.got]).toEqual([['x'], ['x'], ['x']]);
  expect(groups.size).toBe(3);
});

test('a member that is in two groups gets a message of each', () => {
  const { groups, publish } = setup();
  const member = new Member('m');
  groups.join(member, shared('a', 1, 'g'));
  groups.join(member, shared('a', 1, 'h'));
  publish('a', 'x', 1);
  expect(member.got).toEqual(['x', 'x']);
});

test('a shared filter with # matches its parent too, once, and leaves the system alone', () => {
  const { groups, publish } = setup();
  const [parent] = members(groups, 1, shared('a/#'));
  const [all] = members(groups, 1, shared('#'));
  publish('a', '1', 1);
  publish('a.b', '2', 1);
  publish('$SYS.x', '3', 1);
  publish('_INBOX.x', '4', 1);
  expect(parent?.got).toEqual(['1', '2']);
  expect(all?.got).toEqual(['1', '2']);
});

test('the QoS is the lower of the message and the chosen subscription; what NATS publishes takes that of the subscription', () => {
  const { groups, publish } = setup();
  const [zero, two] = [new Member('zero'), new Member('two')];
  groups.join(zero, shared('a', 0));
  groups.join(two, shared('a', 2));
  for (const qos of [1, 1, 2, 2, 0, 0] as const) publish('a', String(qos), qos);
  publish('a', 'nats');
  publish('a', 'nats');
  expect(zero.qos).toEqual([0, 0, 0, 0]);
  expect(two.qos).toEqual([1, 2, 0, 2]);
});

test('who is connected and reads comes first, then who is connected, then who is away', () => {
  const { groups, publish } = setup();
  const [away, slow, roomy] = members(groups, 3);
  if (away === undefined || slow === undefined || roomy === undefined) throw new Error('three');
  away.owner = undefined;
  slow.owner = { roomy: false };
  for (let i = 0; i < 3; i++) publish('a', String(i), 1);
  expect([away.got, slow.got, roomy.got]).toEqual([[], [], ['0', '1', '2']]);
  roomy.room = 3;
  publish('a', '3', 1);
  slow.room = 1;
  publish('a', '4', 1);
  expect([away.got, slow.got]).toEqual([['4'], ['3']]);
});

test('a QoS 0 message, or a QoS 0 subscription, never waits for who is away', () => {
  const { base, groups, publish } = setup();
  const [away] = members(groups, 1);
  if (away === undefined) throw new Error('one');
  away.owner = undefined;
  publish('a', 'x', 0);
  expect(away.got).toEqual([]);
  groups.join(away, shared('a', 0));
  publish('a', 'y', 1);
  expect(away.got).toEqual([]);
  expect(base.counters.sharedDroppedMsgs).toBe(2);
  groups.join(away, shared('a', 1));
  publish('a', 'z', 1);
  expect(away.got).toEqual(['z']);
});

test('what nobody takes is counted', () => {
  const { base, groups, publish } = setup();
  const all = members(groups, 3);
  for (const member of all) member.room = 1;
  for (let i = 0; i < 5; i++) publish('a', String(i), 1);
  expect(all.map(({ got }) => got.length)).toEqual([1, 1, 1]);
  expect(base.counters.sharedDroppedMsgs).toBe(2);
});

test('a thousand members without room are not all asked', () => {
  const { base, groups, publish } = setup();
  const all = members(groups, 1000);
  let asked = 0;
  for (const member of all)
    member.enqueueShared = () => {
      asked++;
      return false;
    };
  publish('a', 'x', 1);
  expect(asked).toBe(64);
  expect(base.counters.sharedDroppedMsgs).toBe(1);
});

test('who left gets nothing more, the turn goes on, and the last one ends the group', () => {
  const { base, groups, publish } = setup();
  const [first, second, third] = members(groups, 3);
  if (first === undefined || second === undefined || third === undefined) throw new Error('three');
  publish('a', '0', 1);
  publish('a', '1', 1);
  groups.leave(first, '$share/g/a');
  publish('a', '2', 1);
  publish('a', '3', 1);
  expect([first.got, second.got, third.got]).toEqual([['0'], ['1', '3'], ['2']]);
  groups.leave(second, '$share/g/a');
  groups.leave(second, '$share/g/a');
  groups.leave(third, '$share/g/b');
  expect(base.broker.hasInterest('a')).toBe(true);
  groups.leave(third, '$share/g/a');
  expect(groups.size).toBe(0);
  expect(base.broker.hasInterest('a')).toBe(false);
  publish('a', '4', 1);
  expect(base.counters.sharedDroppedMsgs).toBe(0);
});

test('a subscription that is made again keeps its place once', () => {
  const { groups, publish } = setup();
  const [first, second] = members(groups, 2);
  if (first === undefined) throw new Error('two');
  groups.join(first, shared('a', 2));
  for (let i = 0; i < 4; i++) publish('a', String(i), 2);
  expect([first.got, second?.got]).toEqual([
    ['0', '2'],
    ['1', '3'],
  ]);
  expect(first.qos).toEqual([2, 2]);
});

test('what an ended session left goes to the others in turn, and ends with the last member', () => {
  const { base, groups } = setup();
  const [ended, one, two] = members(groups, 3);
  if (ended === undefined) throw new Error('three');
  groups.leave(ended, '$share/g/a');
  const left = ['0', '1', '2'].map((data) => ({
    filter: '$share/g/a',
    form: form(data),
    qos: 1 as const,
  }));
  groups.handOver([...left, { filter: '$share/gone/a', form: form('3'), qos: 1 }]);
  expect([ended.got, one?.got, two?.got]).toEqual([[], ['0', '2'], ['1']]);
  expect(base.counters.sharedDroppedMsgs).toBe(0);
  if (one === undefined || two === undefined) throw new Error('three');
  one.room = two.room = 0;
  groups.handOver(left);
  expect(base.counters.sharedDroppedMsgs).toBe(3);
});

test('a member that ends while it is being asked does no harm', () => {
  const { groups, publish } = setup();
  const [first, second] = members(groups, 2);
  if (first === undefined) throw new Error('two');
  first.enqueueShared = () => {
    groups.leave(first, '$share/g/a');
    return false;
  };
  publish('a', 'x', 1);
  publish('a', 'y', 1);
  expect(second?.got).toContain('y');
});
