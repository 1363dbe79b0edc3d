import { expect, test } from 'vitest';
import {
  checkMapping,
  SubjectTransform,
} from '../../../../src/jetstream/publish/subject-transform.ts';

test.each<[string, string, string, string | undefined]>([
  ['a.*.*', 'b.$2.$1', 'a.x.y', 'b.y.x'],
  ['a.*.*', 'b.{{wildcard(2)}}.{{ Wildcard( 1 ) }}', 'a.x.y', 'b.y.x'],
  ['a.*.*', 'b.{{wildcard(1)}}', 'a.x', undefined],
  ['a.*', 'b.$name.$1', 'a.x', 'b.$name.x'],
  ['a.x', 'b.y', 'a.x', 'b.y'],
  ['a.>', 'b.>', 'a.x.y', 'b.x.y'],
  ['', 'b.>', 'x.y', 'b.x.y'],
  ['>', '>', 'x.y', 'x.y'],
  ['a.*.>', 'b.$1.c.>', 'a.x.y.z', 'b.x.c.y.z'],
  // The numbers are nats-server's.
  ['a.*.*', 'b.{{partition(5,1)}}', 'a.x.y', 'b.0'],
  ['a.*.*', 'b.{{partition(5,1,2)}}', 'a.x.y', 'b.2'],
  ['a.*.*', 'b.{{partition(5)}}', 'a.x.y', 'b.1'],
  ['a.x', 'b.{{partition(5)}}', 'a.x', 'b.1'],
  ['a.*', 'b.{{partition(0,1)}}', 'a.x', 'b.0'],
  ['a.*', 'b.{{splitFromLeft(1,2)}}', 'a.abcde', 'b.ab.cde'],
  ['a.*', 'b.{{SplitFromRight(1,2)}}', 'a.abcde', 'b.abc.de'],
  ['a.*', 'b.{{splitFromLeft(1,5)}}', 'a.abcde', 'b.abcde'],
  ['a.*', 'b.{{sliceFromLeft(1,2)}}', 'a.abcde', 'b.ab.cd.e'],
  ['a.*', 'b.{{sliceFromRight(1,2)}}', 'a.abcde', 'b.a.bc.de'],
  ['a.*', 'b.{{sliceFromRight(1,0)}}', 'a.abcde', 'b.abcde'],
  ['a.*', 'b.{{split(1,-)}}', 'a.-ab--cd-', 'b.ab.cd'],
  ['a.*', 'b.{{left(1,2)}}', 'a.abcde', 'b.ab'],
  ['a.*', 'b.{{right(1,2)}}', 'a.abcde', 'b.de'],
  ['a.*', 'b.{{random(1)}}', 'a.x', 'b.0'],
  ['a.*', 'b.{{split(1,-)}}', 'a.--', undefined],
  ['a.*', 'b.$1', 'a.*', undefined],
])('%s to %s makes %s %s', (src, dest, subject, expected) => {
  expect(new SubjectTransform(src, dest).apply(subject)).toBe(expected);
  expect(() => checkMapping({ src, dest })).not.toThrow();
});

const BAD = 'invalid mapping destination: ';
test.each<[string, string, string]>([
  ['a.*', 'b.$2', `${BAD}wildcard index out of range in $2: [2]`],
  ['a.x', 'b.$1', `${BAD}wildcard index out of range in $1`],
  ['a.x', 'b.{{left(1,2)}}', `${BAD}wildcard index out of range in {{left(1,2)}}`],
  [
    'a.*',
    'b.{{wildcard()}}',
    `${BAD}not enough arguments passed to the function in {{wildcard()}}`,
  ],
  [
    'a.*',
    'b.{{wildcard(1,2)}}',
    `${BAD}too many arguments passed to the function in {{wildcard(1,2)}}`,
  ],
  [
    'a.*',
    'b.{{wildcard(x)}}',
    `${BAD}function argument is invalid or in the wrong format in {{wildcard(x)}}`,
  ],
  ['a.*', 'b.{{split(1,a b)}}', `${BAD}function argument is invalid`],
  ['a.*', 'b.{{slicefromleft(1)}}', `${BAD}not enough arguments passed to the function`],
  ['a.*', 'b.{{slicefromleft(1,2,3)}}', `${BAD}too many arguments passed to the function`],
  ['a.*', 'b.{{partition(9999999999,1)}}', `${BAD}function argument is invalid`],
  ['a.*', 'b.{{WILDCARD(1)}}', `${BAD}unknown function in {{WILDCARD(1)}}`],
  ['a.*', 'b.{{foo(1)}}', `${BAD}unknown function in {{foo(1)}}`],
  ['a.*', 'b.{{1}}', `${BAD}unknown function in {{1}}`],
  ['a.*', 'b.*', 'invalid subject'],
  ['a.*', 'b.>', 'invalid subject'],
  ['a.>', 'b.c', 'invalid subject'],
  ['a..b', 'b.c', 'invalid subject'],
  ['a.*', 'b..c', `${BAD}invalid transform`],
  ['a.>', 'b.>.c', `${BAD}invalid transform in c`],
  ['a.*', 'b. c', `${BAD}invalid transform`],
])('a mapping from %s to %s is refused', (src, dest, text) => {
  expect(() => checkMapping({ src, dest })).toThrow(text);
});

test('a partition is a matter of its tokens alone, and spreads', () => {
  const transform = new SubjectTransform('a.*.*', 'p.{{partition(3,2)}}');
  const seen = new Set<string | undefined>();
  for (let i = 0; i < 100; i++) {
    expect(transform.apply(`a.${i}.k${i}`)).toBe(transform.apply(`a.x.k${i}`));
    seen.add(transform.apply(`a.x.k${i}`));
  }
  expect(seen).toEqual(new Set(['p.0', 'p.1', 'p.2']));
});
