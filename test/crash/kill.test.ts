// SIGKILL takes the process, not the page cache: what is lost here was acknowledged before it was written at all.

import { expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { runKills } from './kills.ts';

/** campaign.ts has as many as you like. */
const ROUNDS = 40;

test('forty SIGKILLs lose no acknowledged message, and the numbering goes on', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const report = await runKills({ rounds: ROUNDS, random: seededRandom(seed) });
  expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
  // What the kills met, so that this test cannot come to test nothing.
  expect(report.acked).toBeGreaterThan(ROUNDS * 20);
  expect(report.stored).toBeGreaterThanOrEqual(report.acked);
  expect(report.duringStart).toBeGreaterThan(ROUNDS / 20);
  expect(report.inTraffic).toBeGreaterThan(ROUNDS / 4);
  expect(report.duringCheckpoint).toBe(ROUNDS / 10);
}, 480_000);
