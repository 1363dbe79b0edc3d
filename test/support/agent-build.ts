// The built agent for tests that start it as a process: the source as it is now, compiled once and kept by its content
// under .cache/, so that neither an old dist/ nor one half written by somebody else is ever tested.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const CACHE = join(ROOT, '.cache');
/** Builds older than this belong to no test run any more. */
const STALE_MS = 3_600_000;

let built: string | undefined;

/** The directory of a built project: bin/, dist/, node_modules/. Compiles it unless this very source has been before. */
export function agentBuild(): string {
  return (built ??= build());
}

function build(): string {
  const folder = join(CACHE, `agent-${contentHash()}`);
  if (existsSync(folder)) return folder;
  mkdirSync(CACHE, { recursive: true });
  removeStale();
  const making = mkdtempSync(join(CACHE, 'making-'));
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  try {
    const project = join(ROOT, 'tsconfig.build.json');
    execFileSync(tsc, ['-p', project, '--outDir', join(making, 'dist')], { encoding: 'utf8' });
  } catch (error) {
    // It emits all the same; types are the business of `npm run check`.
    if (!existsSync(join(making, 'dist/src/main.js'))) throw error;
  }
  cpSync(join(ROOT, 'bin'), join(making, 'bin'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(making, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(making, 'node_modules'));
  try {
    renameSync(making, folder);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    // Another worker was faster.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function contentHash(): string {
  const hash = createHash('sha256');
  const files = globSync(['{src,device,sync}/**/*.ts', 'tsconfig*.json', 'bin/*'], { cwd: ROOT });
  for (const file of files.toSorted()) hash.update(file).update(readFileSync(join(ROOT, file)));
  return hash.digest('hex').slice(0, 16);
}

function removeStale(): void {
  for (const name of readdirSync(CACHE)) {
    if (!/^(agent|making)-/.test(name)) continue;
    const folder = join(CACHE, name);
    const age = Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > STALE_MS) rmSync(folder, { recursive: true, force: true });
  }
}
