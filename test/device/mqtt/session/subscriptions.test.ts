import { expect, test } from 'vitest';
import {
  subscriptionMatches,
  Subscriptions,
} from '../../../../device/mqtt/session/subscriptions.ts';
import type { Subscription } from '../../../../device/mqtt/session/types.ts';
import { filterToSubject, topicToSubject } from '../../../../device/mqtt/topic.ts';
import { randomInt, seededRandom } from '../../../support/random.ts';

function subscription(filter: string, options: Partial<Subscription> = {}): Subscription {
  return {
    filter,
    subject: filterToSubject(filter.replace(/^\$share\/[^/]+\//, '')),
    share: undefined,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    identifier: undefined,
    ...options,
  };
}

function having(...wanted: Subscription[]): Subscriptions {
  const subscriptions = new Subscriptions();
  for (const each of wanted) subscriptions.set(each);
  return subscriptions;
}

/** What the standard says, level by level. */
function mqttMatches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

test.each([
  ['sport/tennis/player1/#', 'sport/tennis/player1', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
  ['sport/#', 'sport', true],
  ['#', 'a/b', true],
  ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
  ['sport/+', 'sport', false],
  ['sport/+', 'sport/', true],
  ['+/+', '/finance', true],
  ['/+', '/finance', true],
  ['+', '/finance', false],
  ['#', '$SYS/uptime', false],
  ['+/monitor/Clients', '$SYS/monitor/Clients', false],
  ['$SYS/#', '$SYS/uptime', true],
  ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
  ['+/#', '$SYS', false],
  ['#', '_INBOX/abc', false],
  ['a', 'A', false],
])('whether %s matches %s: %s', (filter, topic, expected) => {
  const found = having(subscription(filter)).match(topicToSubject(topic), false);
  expect(found !== undefined).toBe(expected);
});

test('filters match as the standard says, level by level, on 20,000 random pairs', () => {
  const random = seededRandom(5);
  const pick = (of: readonly string[]): string => of[randomInt(random, of.length)] ?? '';
  for (let i = 0; i < 20_000; i++) {
    const depth = 1 + randomInt(random, 4);
    const levels = Array.from({ length: depth }, () => pick(['a', 'b', '', '$c', 'd.e']));
    const topic = levels.join('/');
    const filter = levels
      .slice(0, 1 + randomInt(random, depth))
      .map((level) => (randomInt(random, 3) === 0 ? pick(['+', 'a', '#']) : level));
    const hash = filter.indexOf('#');
    const whole = (hash < 0 ? filter : filter.slice(0, hash + 1)).join('/');
    if (topic === '' || whole === '') continue;
    const got = subscriptionMatches(filterToSubject(whole), topicToSubject(topic));
    expect([whole, topic, got]).toEqual([whole, topic, mqttMatches(whole, topic)]);
  }
});

test('overlapping filters make one delivery: the highest QoS, all identifiers, in the order of the first SUBSCRIBE', () => {
  const subscriptions = having(
    subscription('a/+', { qos: 0, identifier: 7 }),
    subscription('a/#', { qos: 2, identifier: 3 }),
    subscription('a/b', { qos: 1 }),
    subscription('+/b', { qos: 1, identifier: 7 }),
    subscription('c', { identifier: 9 }),
  );
  expect(subscriptions.match('a.b', false)).toEqual({
    qos: 2,
    identifiers: [7, 3, 7],
    retainAsPublished: false,
  });
  subscriptions.set(subscription('a/+', { qos: 1, identifier: 8 }));
  expect(subscriptions.match('a.b', false)?.identifiers).toEqual([8, 3, 7]);
});

test('one filter alone gives its own QoS, identifier and flag', () => {
  const found = having(
    subscription('a', { qos: 2, identifier: 268_435_455, retainAsPublished: true }),
  ).match('a', false);
  expect(found).toEqual({ qos: 2, identifiers: [268_435_455], retainAsPublished: true });
  expect(having(subscription('a')).match('a', false)?.identifiers).toEqual([]);
});

test('the RETAIN flag stays as published when any of the filters wants it', () => {
  const plain = subscription('a');
  const kept = subscription('#', { retainAsPublished: true });
  expect(having(plain, kept).match('a', false)?.retainAsPublished).toBe(true);
  expect(having(kept, plain).match('a', false)?.retainAsPublished).toBe(true);
  expect(having(plain, subscription('+')).match('a', false)?.retainAsPublished).toBe(false);
});

test('No Local keeps only the own messages away, and only from that filter', () => {
  const local = subscription('a', { noLocal: true, qos: 2, identifier: 1 });
  expect(having(local).match('a', true)).toBeUndefined();
  expect(having(local).match('a', false)).toMatchObject({ qos: 2 });
  const both = having(local, subscription('#', { qos: 0, identifier: 2 }));
  expect(both.match('a', true)).toMatchObject({ qos: 0, identifiers: [2] });
  const many = having(local, subscription('b'), subscription('c'), subscription('d'));
  expect(many.match('a', false)).toMatchObject({ qos: 2 });
  expect(many.match('a', true)).toBeUndefined();
  expect(many.match('a', false)).toMatchObject({ qos: 2 });
});

test('a replaced subscription is handed back and counts once', () => {
  const first = subscription('a', { qos: 0 });
  const second = subscription('a', { qos: 2 });
  const subscriptions = new Subscriptions();
  expect(subscriptions.set(first)).toBeUndefined();
  expect(subscriptions.set(second)).toBe(first);
  expect(subscriptions.size).toBe(1);
  expect([...subscriptions.all]).toEqual([second]);
  expect(subscriptions.match('a', false)?.qos).toBe(2);
  expect(subscriptions.delete('b')).toBeUndefined();
  expect(subscriptions.delete('a')).toBe(second);
  expect(subscriptions.match('a', false)).toBeUndefined();
});

test('filters that mean the same topics are two subscriptions all the same', () => {
  // `a//b` and `a/b` differ; `$share/x/a` and `a` are two.
  const subscriptions = having(
    subscription('$share/x/a', { share: 'x', qos: 2, identifier: 2 }),
    subscription('a', { identifier: 1 }),
  );
  expect(subscriptions.size).toBe(2);
  expect(subscriptions.match('a', false)).toMatchObject({ qos: 1, identifiers: [1] });
});

test('what a session remembers of subjects is forgotten when its subscriptions change', () => {
  const subscriptions = having(subscription('a'), subscription('b'), subscription('c/#'));
  expect(subscriptions.match('c.d', false)?.qos).toBe(1);
  expect(subscriptions.match('d', false)).toBeUndefined();
  subscriptions.set(subscription('d', { qos: 2 }));
  subscriptions.set(subscription('+/d', { qos: 2 }));
  expect(subscriptions.match('d', false)?.qos).toBe(2);
  expect(subscriptions.match('c.d', false)?.qos).toBe(2);
  for (let i = 0; i < 10_000; i++) subscriptions.match(`c.${i}`, i % 2 === 0);
  expect(subscriptions.match('c.d', false)?.qos).toBe(2);
  subscriptions.delete('+/d');
  expect(subscriptions.match('c.d', false)?.qos).toBe(1);
});

test('the broker hears of each NATS filter once, and of its end with the last one that needs it', () => {
  const known: string[] = [];
  const subscriptions = new Subscriptions((filter) => {
    known.push(filter);
    return () => known.splice(known.indexOf(filter), 1);
  });
  subscriptions.set(subscription('a/#'));
  subscriptions.set(subscription('a'));
  subscriptions.set(subscription('a', { qos: 2 }));
  subscriptions.set(subscription('$share/g/b', { share: 'g' }));
  expect(known.sort()).toEqual(['a', 'a.>']);
  subscriptions.delete('a/#');
  expect(known).toEqual(['a']);
  subscriptions.delete('$share/g/b');
  subscriptions.set(subscription('c'));
  subscriptions.clear();
  expect(known).toEqual([]);
  expect(subscriptions.size).toBe(0);
  expect(subscriptions.match('a', false)).toBeUndefined();
});
