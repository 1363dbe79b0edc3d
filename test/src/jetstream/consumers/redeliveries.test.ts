// The queue of what is to be delivered once more.

import { expect, test } from 'vitest';
import { Redeliveries } from '../../../../src/jetstream/consumers/redeliveries.ts';
import { seededRandom, randomInt } from '../../../support/random.ts';

function drain(queue: Redeliveries): number[] {
  const out: number[] = [];
  for (let seq = queue.next(); seq !== undefined; seq = queue.next()) out.push(seq);
  return out;
}

test('what waits already is not queued twice', () => {
  const queue = new Redeliveries();
  for (const seq of [3, 1, 3, 2, 1]) queue.add(seq);
  expect(queue.size).toBe(3);
  expect(drain(queue)).toEqual([3, 1, 2]);
  expect(queue.size).toBe(0);
});

test('what was taken out and comes back waits once, at the end', () => {
  const queue = new Redeliveries();
  for (const seq of [1, 2, 3]) queue.add(seq);
  queue.delete(1);
  queue.add(1);
  expect(queue.size).toBe(3);
  expect(new Set(drain(queue))).toEqual(new Set([1, 2, 3]));
});

test('what nobody took is the next again', () => {
  const queue = new Redeliveries();
  for (const seq of [1, 2]) queue.add(seq);
  expect(queue.next()).toBe(1);
  queue.putBack(1);
  expect(queue.has(1)).toBe(true);
  expect(drain(queue)).toEqual([1, 2]);
  queue.add(5);
  expect(queue.next()).toBe(5);
  queue.putBack(5);
  queue.add(6);
  expect(drain(queue)).toEqual([5, 6]);
});

test('whatever happens to it, each one that waits comes exactly once', () => {
  const random = seededRandom(7);
  const queue = new Redeliveries();
  const waiting = new Set<number>();
  for (let i = 0; i < 50_000; i++) {
    const seq = randomInt(random, 200);
    switch (randomInt(random, 4)) {
      case 0:
        queue.delete(seq);
        waiting.delete(seq);
        break;
      case 1: {
        const next = queue.next();
        if (waiting.size === 0) expect(next).toBeUndefined();
        else expect(waiting.delete(next ?? -1), `${next} waits`).toBe(true);
        if (next !== undefined && randomInt(random, 3) === 0) {
          queue.putBack(next);
          waiting.add(next);
        }
        break;
      }
      default:
        queue.add(seq);
        waiting.add(seq);
    }
    expect(queue.size).toBe(waiting.size);
  }
  expect(new Set(drain(queue))).toEqual(waiting);
});
