import { expect, test } from 'vitest';
import { Sublist } from '../../src/sublist.ts';
import { matches } from '../../src/subject.ts';

/** Numbers from 0 to below 1, the same in every run. */
function seeded(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

test('whoever looks for an inbox finds the same as whoever reads all filters, while subscriptions come and go', () => {
  const random = seeded(4711);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const heads = [
    '_INBOX.a',
    '_INBOX.b',
    '_INBOX.a.c',
    '$JS.ACK.S.C',
    '$JS.ACK.S.D',
    '$JS.ACK.T.C',
    '_INBOX',
    'x',
  ];
  const tails = ['1', '2', '3.4', '3.4.5', 'c', 'c.1', 'C.9'];
  const filters = [
    '>',
    '_INBOX.>',
    '_INBOX.*',
    '_INBOX.*.1',
    '$JS.ACK.>',
    '$JS.*.S.>',
    '*.*.*',
    '_INBOX.a.*.4',
    ...heads,
  ];
  for (const head of heads)
    for (const tail of [...tails, '*', '>', '*.*']) filters.push(`${head}.${tail}`);
  const sublist = new Sublist<string>();
  const there = new Set<string>();
  const wrong: object[] = [];
  for (let step = 0; step < 3000; step++) {
    const filter = pick(filters);
    if (there.delete(filter)) sublist.remove(filter, filter);
    else if (there.size < 12) {
      there.add(filter);
      sublist.insert(filter, filter);
    }
    for (let i = 0; i < 12; i++) {
      const subject = `${pick(heads)}.${pick(tails)}`;
      const expected = [...there].filter((each) => matches(each, subject)).toSorted();
      const found = [...sublist.find(subject).plain].toSorted();
      const listed = sublist.entriesOn(subject).map(({ filter }) => filter);
      if (String(listed.toSorted()) !== String(expected)) wrong.push({ step, subject, listed });
      if (String(found) !== String(expected)) wrong.push({ step, subject, found, expected });
    }
  }
  expect(wrong).toEqual([]);
  expect(sublist.cached, 'nothing is remembered by its whole subject').toBe(0);
});

test('an inbox that many listen to, or a group of them, is found as well', () => {
  const sublist = new Sublist<number>();
  for (let i = 0; i < 100; i++) sublist.insert('_INBOX.crowd.*', i);
  sublist.insert('_INBOX.crew.*', 1, 'crew');
  for (let i = 0; i < 3; i++) {
    expect(sublist.find(`_INBOX.crowd.${i}`).plain.length).toBe(100);
    expect(sublist.find(`_INBOX.crew.${i}`).groups).toEqual([
      { queue: 'crew', members: [1], last: [] },
    ]);
  }
  sublist.remove('_INBOX.crew.*', 1, 'crew');
  expect(sublist.find('_INBOX.crew.1').groups).toEqual([]);
});

test('what comes last is told apart, alone and in a group, and everything that is there can be listed', () => {
  const sublist = new Sublist<string>((entry) => entry.startsWith('far'));
  expect(sublist.insert('a.*', 'near')).toBe(true);
  expect(sublist.insert('a.*', 'near'), 'the same again').toBe(false);
  sublist.insert('a.>', 'far');
  sublist.insert('a.b', 'far', 'crew');
  sublist.insert('a.b', 'mate', 'crew');
  const expected = {
    plain: ['near'],
    last: ['far'],
    groups: [{ queue: 'crew', members: ['mate'], last: ['far'] }],
  };
  expect(sublist.route('a.b')).toEqual(expected);
  expect(sublist.find('a.b')).toEqual(expected);
  expect(sublist.match('a.c')).toEqual(['near']);
  const all = [...sublist.all()].map(({ filter, entry, queue }) => `${filter} ${queue} ${entry}`);
  expect(all.toSorted()).toEqual([
    'a.* undefined near',
    'a.> undefined far',
    'a.b crew far',
    'a.b crew mate',
  ]);
  expect(sublist.remove('a.>', 'far')).toBe(true);
  expect(sublist.remove('a.>', 'far')).toBe(false);
  expect(sublist.find('a.c')).toEqual({ plain: ['near'], last: [], groups: [] });
});
