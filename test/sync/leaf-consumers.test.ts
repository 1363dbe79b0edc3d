// What the hub is told of the consumers here that it hears: enough to answer them, and nothing of those that are gone.

import { expect, test } from 'vitest';
import { LeafEnds, made } from '../support/leaf-ends.ts';

/** A hub that makes a new consumer after each outage, and hears one delivery of it. */
function outage(ends: LeafEnds, n: number): void {
  ends.consumers.clear();
  ends.consumers.add(`S c${n}`);
  ends.wants('$JS.S.abc');
  ends.broker.deliverTo('$JS.S.abc', made('plant.temp', `$JS.ACK.S.c${n}.1.7.1.99.0`));
}

const told = (ends: LeafEnds): readonly string[] =>
  ends.interest.advertised.filter((subject) => subject.startsWith('$JS.ACK.'));

test('after weeks of outages the hub is told of the consumers that are there, not of all that ever were', () => {
  const ends = new LeafEnds();
  for (let n = 0; n < 20; n++) {
    ends.connect();
    outage(ends, n);
  }
  expect(told(ends.connect())).toEqual(['$JS.ACK.S.c19.>']);
});

test('on one connection consumers that are gone are let go by and by, and never the one that speaks', () => {
  const ends = new LeafEnds().connect();
  for (let n = 0; n < 500; n++) {
    outage(ends, n);
    ends.heard();
    expect(told(ends)).toContain(`$JS.ACK.S.c${n}.>`);
  }
  expect(told(ends).length).toBeLessThan(64);
  ends.heard();
  outage(ends, 499);
  expect(ends.heard().filter((line) => line.startsWith('LS'))).toEqual([]);
});
