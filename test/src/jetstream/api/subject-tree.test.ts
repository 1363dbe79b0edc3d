// The tree of subjects against the comparison of two subjects.

import { expect, test } from 'vitest';
import { SubjectTree } from '../../../../src/jetstream/api/subject-tree.ts';
import { collide, isCovered } from '../../../../src/subject.ts';
import { randomInt, seededRandom } from '../../../support/random.ts';

function randomFilter(random: () => number): string {
  const tokens = Array.from(
    { length: 1 + randomInt(random, 3) },
    () => 'ab*'[randomInt(random, 3)],
  );
  if (randomInt(random, 4) === 0) tokens.push('>');
  return tokens.join('.');
}

test('the tree of subjects finds an overlap exactly where two subjects collide', () => {
  const random = seededRandom(7);
  const filter = (): string => randomFilter(random);
  for (let i = 0; i < 5_000; i++) {
    const all = Array.from({ length: randomInt(random, 5) }, filter);
    const tree = new SubjectTree();
    for (const one of all) tree.add(one);
    const asked = filter();
    const found = tree.overlapping(asked);
    const wanted = all.filter((one) => collide(one, asked));
    if (wanted.length === 0) expect(found, `${asked} in ${all.join(' ')}`).toBeUndefined();
    else expect(wanted).toContain(found);
  }
});

test('the tree of subjects knows whether one of them covers another one', () => {
  const random = seededRandom(8);
  for (let i = 0; i < 5_000; i++) {
    const all = Array.from({ length: randomInt(random, 5) }, () => randomFilter(random));
    const asked = randomFilter(random);
    const wanted = all.some((one) => one !== asked && isCovered(asked, one));
    expect(SubjectTree.of(all).covers(asked), `${asked} in ${all.join(' ')}`).toBe(wanted);
  }
});
