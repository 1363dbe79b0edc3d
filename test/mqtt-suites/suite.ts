// What the suites share: a program that runs to its end within a time, and the tests that several run at once.

import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SuiteOptions {
  readonly checkout: string;
  /** The program that takes the place of `mosquitto`. */
  readonly broker: string;
  /** Whether that is not an agent. */
  readonly real: boolean;
  readonly python: string;
  /** Temporary; its owner removes it. */
  readonly dir: string;
  readonly jobs: number;
  /** Undefined: output is not kept. */
  readonly out: string | undefined;
  readonly wanted: (name: string) => boolean;
}

export interface Outcome {
  readonly name: string;
  /** Undefined: it passed. */
  readonly why: string | undefined;
}

export interface Ended {
  readonly code: number | null;
  /** Both outputs as they came. */
  readonly text: string;
  readonly late: boolean;
}

/** What of a program's output is kept. */
const OUTPUT_CHARS_MAX = 4_000_000;

/** Runs `command` to its end; after `ms` it is killed, with its children. */
export function toTheEnd(
  [program, ...args]: readonly [string, ...string[]],
  { cwd, env, ms }: { cwd: string; env?: Record<string, string>; ms: number },
): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let text = '';
    let late = false;
    const note = (chunk: string): void => void (text = (text + chunk).slice(-OUTPUT_CHARS_MAX));
    child.stdout.setEncoding('utf8').on('data', note);
    child.stderr.setEncoding('utf8').on('data', note);
    const end = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Nobody of the group is left.
      }
    };
    const timer = setTimeout(() => {
      late = true;
      end();
    }, ms);
    child.once('error', fail);
    child.once('exit', () => {
      // A script that fails leaves its broker behind.
      end();
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      done({ code, text, late });
    });
  });
}

/** Runs `run` for each of `names`, `jobs` at once; each gets the number of its lane, from 0. */
export async function inLanes<N, T>(
  names: readonly N[],
  jobs: number,
  run: (name: N, lane: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  const waiting = names.map((name, at) => ({ name, at }));
  const lanes = Array.from({ length: jobs }, async (_, lane) => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      results[next.at] = await run(next.name, lane);
  });
  await Promise.all(lanes);
  return results;
}

/** Keeps the output of a test where the caller asked for it. */
export function keep(out: string | undefined, name: string, text: string): void {
  if (out === undefined) return;
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, `${name.replaceAll(/[^\w.-]+/g, '-').slice(0, 120)}.log`), text);
}
