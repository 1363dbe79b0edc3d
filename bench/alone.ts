// Runs one bench by itself: `node bench/mqtt.ts`.

import { machine, warnOfMemoryDisk } from './machine.ts';
import { print, type Result } from './report.ts';

/** On SIGINT and SIGTERM everything is still cleaned up: processes, directories and devices go with 'exit'. */
export function endOnSignals(): void {
  // Each process, directory and device has a listener of its own there.
  process.setMaxListeners(0);
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
}

/** Runs the bench and prints what it found. */
export async function runAlone(run: () => Promise<Result[]>): Promise<void> {
  endOnSignals();
  warnOfMemoryDisk();
  print(await run(), machine());
}
