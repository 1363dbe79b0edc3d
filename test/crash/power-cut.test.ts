// Power cuts take the page cache too: what is lost here was acknowledged before it was synced.

import { expect, test } from 'vitest';
import { canLoop } from '../support/loop-fs.ts';
import { seededRandom } from '../support/random.ts';
import { NO_FDATASYNC } from './mutants.ts';
import { runCuts } from './power-cuts.ts';

/** campaign.ts has as many as you like. */
const CUTS = 20;

// The one case in which tests may be skipped: they need root, which a developer's machine rightly keeps from them.
const possible = canLoop();

test.runIf(possible)(
  'twenty power cuts in a row lose no acknowledged message, and the numbering goes on',
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const report = await runCuts({ cuts: CUTS, random: seededRandom(seed) });
    expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
    expect(report.lost).toBe(0);
    expect(report.acked).toBeGreaterThan(CUTS * 50);
    expect(report.checkpoints).toBe(CUTS / 4);
  },
  300_000,
);

test.runIf(possible)(
  'the same power cuts take acknowledged messages from an agent without the fdatasync',
  async () => {
    const report = await runCuts({
      cuts: 10,
      random: seededRandom(1),
      agent: { env: NO_FDATASYNC },
      untilLost: true,
    });
    expect(report.lost).toBeGreaterThan(0);
  },
  300_000,
);
