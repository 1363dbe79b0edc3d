// Programs that use JetStream through the official client, and an agent that is killed under them again and again.

import { expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { allActors } from './jetstream-actors.ts';
import { runJetStreamKills } from './jetstream-crashes.ts';

const ROUNDS = 10;

test('ten SIGKILLs break no promise of the JetStream API', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const report = await runJetStreamKills({ rounds: ROUNDS, random: seededRandom(seed) });
  expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
  // What was promised, so that this test cannot come to test nothing.
  for (const { name } of allActors())
    expect([name, report.promises[name]]).toEqual([name, expect.toSatisfy((count) => count > 0)]);
}, 360_000);
