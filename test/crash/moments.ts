// When to strike.

import { watch } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../support/random.ts';

/** Resolves at the first write to the database file, which only a checkpoint makes. */
export function databaseWritten(dataDir: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(join(dataDir, 'mangrove.db'), () => {
      watcher.close();
      resolve();
    });
  });
}

/** Resolves at a moment of chance. */
export function chance(random: Random, belowMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, random() * belowMs));
}
