// Agents that are broken on purpose: an environment that preloads a module which breaks one promise of the system.

import { join } from 'node:path';

/** Syncs return at once and do nothing. */
export const NO_FDATASYNC = preload('no-fdatasync.ts');

function preload(module: string): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--import=${join(import.meta.dirname, module)}` };
}
