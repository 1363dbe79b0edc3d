// Small parts of the interest of a leafnode link: what two filters have in common, and a map that forgets.

import { expect, test } from 'vitest';
import { collide, isCovered, matches } from '../../src/subject.ts';
import { Recent } from '../../sync/leaf/recent.ts';
import { intersection } from '../../sync/leaf/subject-list.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('what two filters have in common is one filter, and covers what both cover', () => {
  expect(intersection('a.*', '*.b')).toBe('a.b');
  expect(intersection('a.>', '*.b.*')).toBe('a.b.*');
  expect(intersection('>', 'a.>')).toBe('a.>');
  expect(intersection('a.>', 'a')).toBeUndefined();
  expect(intersection('a.b', 'a')).toBeUndefined();
  expect(intersection('a', 'a.*')).toBeUndefined();
  const tokens = ['a', 'b', '*'];
  const filters: string[] = ['>', ...tokens];
  for (const first of tokens)
    for (const second of [...tokens, '>']) {
      filters.push(`${first}.${second}`);
      if (second !== '>')
        for (const third of [...tokens, '>']) filters.push(`${first}.${second}.${third}`);
    }
  const subjects = [
    'a',
    'b',
    'c',
    'a.a',
    'a.b',
    'b.a',
    'c.b',
    'a.b.a',
    'a.b.c',
    'b.b.b',
    'a.b.a.b',
  ];
  for (const a of filters)
    for (const b of filters) {
      const both = intersection(a, b);
      expect([a, b, both !== undefined]).toEqual([a, b, collide(a, b)]);
      if (both === undefined) continue;
      expect(isCovered(both, a) && isCovered(both, b)).toBe(true);
      for (const subject of subjects)
        expect([a, b, subject, matches(both, subject)]).toEqual([
          a,
          b,
          subject,
          matches(a, subject) && matches(b, subject),
        ]);
    }
});

test('what was used lately is remembered, and the rest is forgotten', () => {
  const clock = new FakeClock();
  const gone: string[] = [];
  const recent = new Recent<number>({ clock, max: 2, ms: 1000, gone: (key) => gone.push(key) });
  recent.add('a', () => 1);
  recent.add('a', () => 2);
  expect(recent.get('a')).toBe(1);
  clock.advance(999);
  recent.add('b', () => 2);
  clock.advance(1);
  expect(recent.get('b'), 'used within the time').toBe(2);
  clock.advance(1000);
  expect(recent.has('a')).toBe(false);
  expect(recent.has('b')).toBe(true);
  expect(gone).toEqual(['a']);
  for (const key of 'cdefg') recent.add(key, () => 0);
  expect(recent.size).toBeLessThanOrEqual(4);
  expect(recent.has('b')).toBe(false);
  expect(gone).toContain('b');
  clock.advance(10_000);
  expect(recent.has('g'), 'after a long rest').toBe(false);
  recent.add('h', () => 0);
  recent.delete('h');
  expect(recent.keys()).toEqual([]);
});
