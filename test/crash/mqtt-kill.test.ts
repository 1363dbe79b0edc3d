// Devices with sessions, QoS 1 and 2 on their way in both directions, and an agent that is killed under them again and again.

import { expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { runMqttKills } from './mqtt-crashes.ts';

const ROUNDS = 25;

test('twenty-five SIGKILLs lose no message of QoS 1, double none of QoS 2, and keep every session', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const report = await runMqttKills({ rounds: ROUNDS, random: seededRandom(seed) });
  expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
  // What the kills met, so that this test cannot come to test nothing.
  expect(report.inTraffic).toBeGreaterThan(ROUNDS / 5);
  expect(report.resumed).toBeGreaterThan(ROUNDS);
  expect(report.dup).toBeGreaterThan(0);
  expect(report.retainedLooks).toBeGreaterThan(0);
  expect(report.delivered).toBeGreaterThan(report.sent);
}, 360_000);
