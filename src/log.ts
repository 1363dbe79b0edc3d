// The log: pino's JSON lines on stdout, pretty on a terminal. A repeating condition logs once, then at most every 30 s.

import { pino, type Logger } from 'pino';
import type { Clock } from './clock.ts';

export type { Logger } from 'pino';

/** How long a repeating condition stays quiet after it was logged. */
const REPEAT_MS = 30_000;
/** Distinct conditions remembered; beyond it the oldest is forgotten and may log again early. */
const CONDITIONS_MAX = 256;

/** Creates the process's logger. `level` is pino's (default `info`). */
export async function createLogger(level = 'info', pretty = process.stdout.isTTY): Promise<Logger> {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    onChild: (child: Logger): void => void children.add(new WeakRef(child)),
  };
  if (!pretty) return pino(options, pino.destination({ fd: 1, sync: true }));
  const { default: prettyStream } = await import('pino-pretty');
  return pino(
    options,
    prettyStream({ colorize: true, sync: true, translateTime: 'SYS:HH:MM:ss.l' }),
  );
}

/**
 * Loggers made of others (one of each serial port), which pino lets keep the level that they were made with. Whoever is
 * gone is taken out when the level changes; there are as few as ports that were ever opened in between.
 */
const children = new Set<WeakRef<Logger>>();

/** Changes the level of the process's logger and of all made of it. */
export function setLevel(log: Logger, level: string): void {
  log.level = level;
  for (const reference of children) {
    const child = reference.deref();
    if (child === undefined) children.delete(reference);
    else child.level = level;
  }
}

/** Says each condition once, then at most every 30 s with how often it happened meanwhile. */
export class RepeatGuard {
  readonly #clock: Clock;
  readonly #seen = new Map<string, { atMs: number; suppressed: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `say(times)` if `condition` is due; `times` counts the calls since it was last said, this one included. */
  run(condition: string, say: (times: number) => void): void {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#seen.get(condition);
    if (last !== undefined && nowMs - last.atMs < REPEAT_MS) {
      last.suppressed++;
      return;
    }
    if (last === undefined && this.#seen.size >= CONDITIONS_MAX) {
      const oldest = this.#seen.keys().next();
      if (!oldest.done) this.#seen.delete(oldest.value);
    }
    this.#seen.set(condition, { atMs: nowMs, suppressed: 0 });
    say((last?.suppressed ?? 0) + 1);
  }

  /** Forgets a condition that has ended, so that its next start is logged at once. */
  clear(condition: string): void {
    this.#seen.delete(condition);
  }
}
