// Power cuts take the page cache too: whatever was acknowledged, delivered or released before it was synced is found here.

import { expect, test } from 'vitest';
import { canLoop } from '../support/loop-fs.ts';
import { seededRandom } from '../support/random.ts';
import { NO_FDATASYNC } from './mutants.ts';
import { runMqttCuts } from './mqtt-crashes.ts';

const CUTS = 10;
const OPTIONS = { concurrent: true, timeout: 300_000 };
const possible = canLoop();

test.runIf(possible)(
  'ten power cuts lose no message of QoS 1, double none of QoS 2, and keep every session',
  OPTIONS,
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const report = await runMqttCuts({ rounds: CUTS, random: seededRandom(seed) });
    expect({ seed, violations: report.violations }).toEqual({ seed, violations: [] });
    expect(report.inTraffic).toBeGreaterThan(CUTS / 5);
    expect(report.resumed).toBeGreaterThan(CUTS);
  },
);

test.runIf(possible)(
  'the same power cuts break the promises of an agent without the fdatasync',
  OPTIONS,
  async () => {
    const agent = { env: NO_FDATASYNC };
    const options = { rounds: 4, random: seededRandom(1), agent, drainMs: 5_000 };
    const report = await runMqttCuts(options);
    expect(report.violations.length).toBeGreaterThan(0);
  },
);
