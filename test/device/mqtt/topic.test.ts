import { expect, test } from 'vitest';
import {
  filterToSubject,
  isReserved,
  levelUp,
  NameCache,
  subjectToTopic,
  TopicError,
  topicToSubject,
} from '../../../device/mqtt/topic.ts';
import { isPublishSubject } from '../../../src/subject.ts';
import { randomInt, seededRandom } from '../../support/random.ts';

test.each([
  ['plant1/boiler/temp', 'plant1.boiler.temp'],
  ['temp', 'temp'],
  ['/', '/./'],
  ['//', '/././'],
  ['///', '/./././'],
  ['/temp', '/.temp'],
  ['///temp//', '/././.temp././'],
  ['temp/', 'temp./'],
  ['a//b', 'a./.b'],
  ['a////b', 'a./././.b'],
  ['.', '//'],
  ['...', '//////'],
  ['./', '//./'],
  ['.//.', '//././/'],
  ['././/.', '//.//././/'],
  ['spBv1.0/plant1', 'spBv1//0.plant1'],
  ['a../b/.', 'a////.b.//'],
  ['//.a.//', '/././/a//././'],
  ['größe/°C', 'größe.°C'],
])('the topic %s is the subject %s, as in nats-server, and back', (topic, subject) => {
  expect(topicToSubject(topic)).toBe(subject);
  expect(subjectToTopic(subject)).toBe(topic);
});

test.each([
  ['+', '*'],
  ['/+/', '/.*./'],
  ['a/+/+/b', 'a.*.*.b'],
  ['a//+//b', 'a./.*./.b'],
  ['a.b///+', 'a//b././.*'],
  ['#', '>'],
  ['/#', '/.>'],
  ['a//#', 'a./.>'],
  ['a.b/#', 'a//b.>'],
  ['a*/b', 'a*.b'],
  ['a/*/>', 'a.*.>'],
])('the filter %s is the subject filter %s, as in nats-server', (filter, subject) => {
  expect(filterToSubject(filter)).toBe(subject);
});

test.each([
  '',
  'a b',
  'a\tb',
  'a\nb',
  'a\rb',
  'a\fb',
  'a\0b',
  'a\x7fb',
  'a\u00a0b',
  'x'.repeat(1025),
])('a topic or filter that no subject can stand for is refused: %j', (name) => {
  expect(() => topicToSubject(name)).toThrow(TopicError);
  expect(() => filterToSubject(name)).toThrow(TopicError);
});

test('wildcards belong to filters, as whole levels', () => {
  for (const topic of ['a/+', '#', 'a+', 'a/*/b', 'a/>'])
    expect(() => topicToSubject(topic)).toThrow(TopicError);
  for (const filter of ['a+', '+a/b', 'a/b#', '#/a', 'a/#/b', '>/a', 'a/>/b'])
    expect(() => filterToSubject(filter)).toThrow(TopicError);
});

test('only a multi-level wildcard below a level also covers the level above', () => {
  expect(levelUp('a.>')).toBe('a');
  expect(levelUp('*.>')).toBe('*');
  expect(levelUp('>')).toBeUndefined();
  expect(levelUp('a.b')).toBeUndefined();
});

test('system subjects and inboxes are reserved', () => {
  for (const subject of ['$SYS.x', '$JS.API.INFO', '$DEAD.a', '$', '_INBOX.abc', '_INBOX'])
    expect(isReserved(subject)).toBe(true);
  for (const subject of ['a.$SYS', '_INBOXES.a', 'a']) expect(isReserved(subject)).toBe(false);
});

test('every topic of levels, slashes and dots maps to a valid subject of its own and back', () => {
  const random = seededRandom(1);
  const seen = new Map<string, string>();
  for (let i = 0; i < 20_000; i++) {
    const length = 1 + randomInt(random, 12);
    const topic = Array.from({ length }, () => '//..ab'.charAt(randomInt(random, 6))).join('');
    const subject = topicToSubject(topic);
    expect(isPublishSubject(subject), topic).toBe(true);
    expect(subjectToTopic(subject)).toBe(topic);
    expect(seen.get(subject) ?? topic).toBe(topic);
    seen.set(subject, topic);
  }
});

test('the cache forgets rather than grows, and does not remember errors', () => {
  let calls = 0;
  const cache = new NameCache((name) => {
    calls++;
    if (name === 'bad') throw new TopicError('bad');
    return name.toUpperCase();
  });
  expect([cache.get('a'), cache.get('a')]).toEqual(['A', 'A']);
  expect(calls).toBe(1);
  for (let i = 0; i < 5000; i++) cache.get(`t${i}`);
  expect(cache.get('a')).toBe('A');
  expect(calls).toBe(5002);
  expect(() => cache.get('bad')).toThrow(TopicError);
  expect(() => cache.get('bad')).toThrow(TopicError);
});
