import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';

const TESTS = '**/*.test.ts';
/** Tests of modules: a worker goes on from one file to the next with the modules that it has loaded. */
const UNITS = `test/{src,device,sync}/${TESTS}`;
/** These look at their process: its heap, or what it has loaded. */
const APART = [
  'test/device/mqtt/half-open.test.ts',
  'test/device/serial/port.test.ts',
  'test/sync/forwarder-memory.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // No test waits for it: it ends one that hangs, and must not end one on a machine that is three times as slow.
    testTimeout: 90_000,
    hookTimeout: 60_000,
    // For two cores: the hub, crash and disk suites wait for processes of their own much of their time.
    maxWorkers: 3,
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/*.test.ts', `test/!(src|device|sync)/${TESTS}`, ...APART],
        },
      },
      { extends: true, test: { name: 'units', include: [UNITS], exclude: APART, isolate: false } },
    ],
  },
});
