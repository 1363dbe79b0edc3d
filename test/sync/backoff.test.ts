import { expect, test } from 'vitest';
import { Backoff } from '../../sync/backoff.ts';
import { seededRandom } from '../support/random.ts';

test('delays are drawn from a range that doubles up to the cap', () => {
  const most = new Backoff({ baseMs: 100, capMs: 1_500 }, () => 0.999999);
  expect(Array.from({ length: 7 }, () => most.nextMs())).toEqual([
    100, 200, 400, 800, 1500, 1500, 1500,
  ]);
  const least = new Backoff({ baseMs: 100, capMs: 1_500 }, () => 0);
  expect(Array.from({ length: 7 }, () => least.nextMs())).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test('a success begins anew', () => {
  const backoff = new Backoff({ baseMs: 100, capMs: 60_000 }, () => 0.999999);
  for (let i = 0; i < 5; i++) backoff.nextMs();
  expect(backoff.attempts).toBe(5);
  backoff.reset();
  expect(backoff.attempts).toBe(0);
  expect(backoff.nextMs()).toBe(100);
});

test('years of attempts stay within the cap', () => {
  const backoff = new Backoff({ baseMs: 500, capMs: 15_000 }, seededRandom(3));
  for (let i = 0; i < 5_000; i++) {
    const ms = backoff.nextMs();
    expect(ms).toBeGreaterThanOrEqual(0);
    expect(ms).toBeLessThanOrEqual(15_000);
  }
});

test('a fleet that lost its hub in one second comes back spread over the range', () => {
  const first = Array.from({ length: 1_000 }, (_, i) => {
    const backoff = new Backoff({ baseMs: 500, capMs: 15_000 }, seededRandom(i));
    for (let attempt = 0; attempt < 5; attempt++) backoff.nextMs();
    return backoff.nextMs();
  });
  for (let tenth = 0; tenth < 10; tenth++) {
    const there = first.filter((ms) => ms >= tenth * 1_500 && ms < (tenth + 1) * 1_500);
    expect(there.length).toBeGreaterThan(50);
  }
});
