import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // No test waits for it: it ends one that hangs, and must not end one on a machine that is three times as slow.
    testTimeout: 90_000,
    hookTimeout: 60_000,
    // Two cores, and the hub, crash and disk suites start processes of their own.
    maxWorkers: 2,
    pool: 'forks',
  },
});
