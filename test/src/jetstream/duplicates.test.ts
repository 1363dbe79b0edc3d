import { expect, test } from 'vitest';
import { DuplicateWindow } from '../../../src/jetstream/duplicates.ts';
import { FakeClock } from '../../support/fake-clock.ts';

test('numbers of refused messages that are given out again get a window of their own', () => {
  const clock = new FakeClock();
  const window = new DuplicateWindow(clock, 60_000, 1_000);
  window.add('kept', 1);
  clock.advance(10_000);
  for (let seq = 2; seq <= 50; seq++) window.add(`refused ${seq}`, seq);
  for (let seq = 2; seq <= 50; seq++) window.remove(`refused ${seq}`);
  window.takeBack(1);
  clock.advance(40_000);
  window.add('stored', 2);
  clock.advance(25_000);
  expect(window.find('kept')).toBeUndefined();
  expect(window.find('stored'), 'only 25 s old').toBe(2);
});
