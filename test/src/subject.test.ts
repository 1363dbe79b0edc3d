import { expect, test } from 'vitest';
import {
  collide,
  hasWildcard,
  isFilter,
  isName,
  isPublishSubject,
  matches,
} from '../../src/subject.ts';
import { Sublist } from '../../src/sublist.ts';
import { randomInt, seededRandom } from '../support/random.ts';

test.each([
  ['a', 'a', true],
  ['a.b', 'a.b', true],
  ['a.*', 'a.b', true],
  ['a.*', 'a', false],
  ['a.*', 'a.b.c', false],
  ['a.>', 'a.b.c', true],
  ['a.>', 'a', false],
  ['>', 'a', true],
  ['*.b.>', 'a.b.c', true],
  ['*.b.>', 'a.b', false],
  ['a*', 'ab', false],
])('%s against %s: %s', (filter, subject, expected) => {
  expect(matches(filter, subject)).toBe(expected);
});

test.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a.>.b', 'a\tb', 'a\0b', 'x'.repeat(1025)])(
  'refuses the subject %j',
  (subject) => {
    expect(isFilter(subject)).toBe(false);
    expect(isPublishSubject(subject)).toBe(false);
    expect(() => new Sublist().insert(subject, 1)).toThrow(TypeError);
  },
);

test('wildcards are whole tokens, and not for publishing', () => {
  expect(isPublishSubject('a.*')).toBe(false);
  expect(isPublishSubject('a.>')).toBe(false);
  expect(isPublishSubject('a*b.c>')).toBe(true);
  expect(hasWildcard('a*.b>')).toBe(false);
});

test.each([
  ['a.>', 'a.b', true],
  ['a.*', '*.b', true],
  ['a.*', 'a.b.c', false],
  ['a.>', 'b.>', false],
  ['>', 'x', true],
  ['a', 'a.>', false],
  ['*.*', 'a.>', true],
])('%s and %s collide: %s', (a, b, expected) => {
  expect(collide(a, b)).toBe(expected);
  expect(collide(b, a)).toBe(expected);
});

test('names are one token', () => {
  expect(isName('SENSORS_1-a')).toBe(true);
  for (const name of ['', 'a.b', 'a b', 'ä', 'a/b', '*', 'x'.repeat(256)])
    expect(isName(name)).toBe(false);
});

test('the sublist finds what a plain search finds, whatever is added and removed', () => {
  const random = seededRandom(7);
  const token = (): string => ['a', 'b', 'c'][randomInt(random, 3)] ?? 'a';
  const subject = (): string => Array.from({ length: 1 + randomInt(random, 4) }, token).join('.');
  const filter = (): string => {
    const tokens = subject()
      .split('.')
      .map((each) => (random() < 0.3 ? '*' : each));
    if (random() < 0.3) tokens.push('>');
    return tokens.join('.');
  };
  const sublist = new Sublist<number>();
  const plain = new Map<number, string>();
  for (let i = 0; i < 2_000; i++) {
    const removed = randomInt(random, i + 1);
    const known = plain.get(removed);
    if (random() < 0.4 && known !== undefined) {
      sublist.remove(known, removed);
      plain.delete(removed);
    } else {
      const added = filter();
      sublist.insert(added, i);
      plain.set(i, added);
    }
    const wanted = subject();
    const expected = [...plain].filter(([, f]) => matches(f, wanted)).map(([entry]) => entry);
    expect([...sublist.match(wanted)].sort((a, b) => a - b)).toEqual(expected);
    expect(sublist.count).toBe(plain.size);
  }
});

test('the cache of matches is bounded', () => {
  const sublist = new Sublist<string>();
  sublist.insert('>', 'all');
  for (let i = 0; i < 20_000; i++) expect(sublist.match(`s.${i}`)).toEqual(['all']);
});
