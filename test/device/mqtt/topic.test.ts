import { expect, test } from 'vitest';
import {
  filterToSubject,
  isReserved,
  isTopicSubject,
  levelUp,
  NameCache,
  subjectToTopic,
  TopicError,
  topicToSubject,
} from '../../../device/mqtt/topic.ts';
import { isFilter, isPublishSubject, matches } from '../../../src/subject.ts';
import { randomInt, seededRandom, type Random } from '../../support/random.ts';

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
  ['a/+/>x/#', 'a.*.>x.>'],
])('the filter %s is the subject filter %s, as in nats-server', (filter, subject) => {
  expect(filterToSubject(filter)).toBe(subject);
});

test.each([
  ['a b', 'a/20b'],
  [' ', '/20'],
  ['a/ /b', 'a./20.b'],
  ['a. b', 'a///20b'],
  ['.20', '//20'],
  ['tab\there', 'tab/09here'],
  ['a\r\nb', 'a/0d/0ab'],
  ['a\vb\fc', 'a/0bb/0cc'],
  ['a\x01b\x1fc', 'a/01b/1fc'],
  ['a\x7fb', 'a/7fb'],
  ['a\u0085b', 'a/c2/85b'],
  ['a\u00a0b', 'a/c2/a0b'],
  ['a\u3000b', 'a/e3/80/80b'],
  ['\ufeffa', '/ef/bb/bfa'],
  ['*', '/2a'],
  ['>', '/3e'],
  ['a/*/>', 'a./2a./3e'],
  ['a*b/>>/**', 'a*b.>>.**'],
  ['100%/%20', '100%.%20'],
  ['\ufffe/\ufffd', '\ufffe.\ufffd'],
  ['$SYS/broker', '$SYS.broker'],
])(
  'what no subject can carry is escaped: the topic %j is the subject %s, and back',
  (topic, subject) => {
    expect(topicToSubject(topic)).toBe(subject);
    expect(filterToSubject(topic)).toBe(subject);
    expect(subjectToTopic(subject)).toBe(topic);
  },
);

test.each([
  ['', 'an empty topic'],
  ['\0', 'U+0000'],
  ['a\0b', 'U+0000'],
])('%j is no topic and no filter, and the error says why', (name, why) => {
  expect(() => topicToSubject(name)).toThrow(why);
  expect(() => filterToSubject(name)).toThrow(TopicError);
});

test('a topic is as long as its subject may be, and the refusal says so', () => {
  expect(topicToSubject('x'.repeat(1024))).toHaveLength(1024);
  expect(() => topicToSubject('x'.repeat(1025))).toThrow(
    'the topic name is too long: its subject has 1025 characters of at most 1024',
  );
  expect(() => topicToSubject('.'.repeat(513))).toThrow(TopicError);
  expect(() => filterToSubject(`${' '.repeat(342)}/#`)).toThrow(
    'the topic filter is too long: its subject has 1028 characters of at most 1024',
  );
});

test('wildcards belong to filters, as whole levels', () => {
  for (const topic of ['a/+', '#', 'a+', 'a/b#'])
    expect(() => topicToSubject(topic)).toThrow(TopicError);
  for (const filter of ['a+', '+a/b', 'a/b#', '#/a', 'a/#/b', '++', '##', '# '])
    expect(() => filterToSubject(filter)).toThrow(/must be (a|the) whole/);
});

test.each([
  ['a/b', 'a%2Fb'],
  ['a/', 'a%2F'],
  ['/', '%2F'],
  ['a+b.#', 'a%2Bb/%23'],
  ['a/2a', 'a%2F2a'],
  ['a/41', 'a%2F41'],
  ['a/2A', 'a%2F2A'],
  ['a/00', 'a%2F00'],
  ['a/c2.b', 'a%2Fc2/b'],
  ['a/c0/80', 'a%2Fc0%2F80'],
  ['a///', 'a.%2F'],
  ['a\x01b', 'a%01b'],
  ['a\u0085b', 'a%C2%85b'],
])('the subject %j, which is no topic, is shown as the topic %s', (subject, topic) => {
  expect(isPublishSubject(subject)).toBe(true);
  expect(subjectToTopic(subject)).toBe(topic);
  expect(isTopicSubject(subject)).toBe(false);
});

test('only a multi-level wildcard below a level also covers the level above', () => {
  expect(levelUp('a.>')).toBe('a');
  expect(levelUp('*.>')).toBe('*');
  expect(levelUp('>')).toBeUndefined();
  expect(levelUp('/.>')).toBeUndefined();
  expect(levelUp('a.b')).toBeUndefined();
});

test('system subjects and inboxes are reserved', () => {
  for (const subject of ['$SYS.x', '$JS.API.INFO', '$DEAD.a', '$', '_INBOX.abc', '_INBOX'])
    expect(isReserved(subject)).toBe(true);
  for (const subject of ['a.$SYS', '_INBOXES.a', 'a']) expect(isReserved(subject)).toBe(false);
});

const PIECES = [
  '/',
  '/',
  '/',
  '.',
  '.',
  'a',
  'b',
  '2',
  '0',
  '*',
  '>',
  ' ',
  '\t',
  '\x01',
  '\u00a0',
  '\u2028',
  '$',
  'é',
  '%',
  '2a',
  '3e',
  'c2',
];

function randomTopic(random: Random, piecesMax: number): string {
  const length = 1 + randomInt(random, piecesMax);
  return Array.from({ length }, () => PIECES[randomInt(random, PIECES.length)]).join('');
}

test('every topic has a valid subject of its own, and is found again from it', () => {
  const random = seededRandom(1);
  const seen = new Map<string, string>();
  for (let i = 0; i < 50_000; i++) {
    const topic = randomTopic(random, 8);
    const subject = topicToSubject(topic);
    expect(isPublishSubject(subject), topic).toBe(true);
    expect(subjectToTopic(subject)).toBe(topic);
    expect(isTopicSubject(subject)).toBe(true);
    expect(seen.get(subject) ?? topic).toBe(topic);
    seen.set(subject, topic);
  }
});

test('every single character of Unicode can stand in a topic', () => {
  for (let code = 1; code < 0x11000; code++) {
    if ((code >= 0xd800 && code < 0xe000) || code === 0x23 || code === 0x2b) continue;
    const topic = `a${String.fromCodePoint(code)}`;
    const subject = topicToSubject(topic);
    if (!isPublishSubject(subject) || subjectToTopic(subject) !== topic)
      throw new Error(`U+${code.toString(16)} does not survive`);
  }
});

test('every subject has a valid topic, and those of topics are told from the others', () => {
  const random = seededRandom(2);
  const pieces = [
    '/',
    '/',
    '//',
    '.',
    '.',
    '+',
    '#',
    'a',
    '20',
    '2a',
    'c2',
    'a0',
    '\x01',
    '*',
    '>',
    '\x7f',
  ];
  let others = 0;
  for (let i = 0; i < 50_000; i++) {
    const length = 1 + randomInt(random, 7);
    const subject = Array.from({ length }, () => pieces[randomInt(random, pieces.length)]).join('');
    if (!isPublishSubject(subject)) continue;
    const topic = subjectToTopic(subject);
    expect(topic, subject).not.toMatch(/^$|[+#\0]/);
    const isOurs = topicToSubject(topic) === subject;
    expect(isTopicSubject(subject)).toBe(isOurs);
    if (isOurs) continue;
    others++;
    expect(topic, subject).toContain('%');
  }
  expect(others).toBeGreaterThan(1000);
});

/** [4.7.1], but for the `$` rule, which is not one of mapping. */
function topicMatches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [i, want] of wanted.entries()) {
    if (want === '#') return levels.length >= i;
    if (i >= levels.length || (want !== '+' && want !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** A filter that is like `topic`: levels of it, wildcards and others. */
function randomFilter(random: Random, topic: string): string {
  const levels = topic.split('/').map((level) => {
    const dice = randomInt(random, 8);
    if (dice < 3) return '+';
    return dice < 4 ? (['', '*', '>', 'a'][randomInt(random, 4)] ?? '') : level;
  });
  const dice = randomInt(random, 4);
  if (dice === 0) levels.push('#');
  else if (dice === 1) levels.splice(randomInt(random, levels.length), levels.length, '#');
  else if (dice === 2) levels.pop();
  return levels.length === 0 || levels.join('/') === '' ? '#' : levels.join('/');
}

test('a filter matches a topic by the rules of MQTT exactly where its subject does by those of NATS', () => {
  const random = seededRandom(3);
  let both = 0;
  for (let i = 0; i < 50_000; i++) {
    const topic = randomTopic(random, 6);
    const filter = randomFilter(random, randomInt(random, 4) > 0 ? topic : randomTopic(random, 6));
    const subject = topicToSubject(topic);
    const mapped = filterToSubject(filter);
    expect(isFilter(mapped)).toBe(true);
    const above = levelUp(mapped);
    const matched = matches(mapped, subject) || (above !== undefined && matches(above, subject));
    expect(matched, `${JSON.stringify(filter)} ${JSON.stringify(topic)}`).toBe(
      topicMatches(filter, topic),
    );
    if (matched) both++;
  }
  expect(both).toBeGreaterThan(10_000);
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
