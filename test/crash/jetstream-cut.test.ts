// The same programs, and a disk whose power is cut: what was not synced is gone.

import { expect, test } from 'vitest';
import { canLoop } from '../support/loop-fs.ts';
import { seededRandom } from '../support/random.ts';
import { runJetStreamCuts } from './jetstream-crashes.ts';
import { NO_FDATASYNC } from './mutants.ts';

const CUTS = 8;
const OPTIONS = { concurrent: true, timeout: 300_000 };

// See power-cut.test.ts.
const possible = canLoop();

test.runIf(possible)(
  'eight power cuts break no promise of the JetStream API',
  OPTIONS,
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const report = await runJetStreamCuts({ rounds: CUTS, random: seededRandom(seed) });
    expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
    expect(report.promises['orders']).toBeGreaterThan(CUTS * 20);
  },
);

test.runIf(possible)(
  'the same power cuts break promises of an agent without the fdatasync',
  OPTIONS,
  async () => {
    const report = await runJetStreamCuts({
      rounds: 6,
      random: seededRandom(1),
      agent: { env: NO_FDATASYNC },
    });
    expect(report.violations.join('\n')).toMatch(/orders|worker|bucket/);
  },
);
