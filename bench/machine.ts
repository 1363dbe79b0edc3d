// The machine a figure was measured on: without it no figure means anything.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';

/** Where the contestants keep their data: BENCH_DIR, or the system's temporary directory. All on one file system. */
export const DATA_ROOT = process.env['BENCH_DIR'] ?? tmpdir();

const dirs = new Set<string>();

/** A fresh directory for one contestant; the caller removes it, and the end of the process what he has left. */
export function dataDir(who: string): string {
  const dir = mkdtempSync(join(DATA_ROOT, `mangrove-bench-${who}-`));
  if (dirs.size === 0) process.once('exit', removeDirs);
  dirs.add(dir);
  return dir;
}

function removeDirs(): void {
  for (const dir of dirs) {
    try {
      // What was killed just now may still be writing.
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
    } catch {
      console.error(`${dir} is still there`);
    }
  }
}

/** What identifies the machine and the code. */
export function machine(): object {
  const [cpu] = cpus();
  return {
    date: new Date().toISOString(),
    cpu: cpu?.model.trim() ?? 'unknown',
    board: read('/proc/device-tree/model'),
    cores: cpus().length,
    memoryMB: Math.round(totalmem() / 1e6),
    kernel: release(),
    disk: output('findmnt', ['-no', 'FSTYPE,SOURCE,OPTIONS', '-T', DATA_ROOT]),
    node: process.version,
    commit: output('git', ['-C', import.meta.dirname, 'describe', '--always', '--dirty']),
    load: loadavg()[0],
  };
}

/** Whether we are root; where not, says that `what` is not measured. */
export function isRootFor(what: string): boolean {
  if (process.getuid?.() === 0) return true;
  console.error(`${what}: needs root, not measured`);
  return false;
}

/** Says so when the data would lie in memory, where a sync costs nothing and no figure of a disk is one. */
export function warnOfMemoryDisk(): void {
  if (!output('findmnt', ['-no', 'FSTYPE', '-T', DATA_ROOT]).startsWith('tmpfs')) return;
  console.error(
    `${DATA_ROOT} is in memory: set BENCH_DIR to a directory on the disk you ask about`,
  );
}

function output(program: string, args: string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .trim()
      .replace(/\s+/g, ' ');
  } catch {
    return '';
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/\0+$/, '');
  } catch {
    return undefined;
  }
}
