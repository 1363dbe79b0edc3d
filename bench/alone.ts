// Runs one bench by itself: `node bench/mqtt.ts`.

import { machine, warnOfMemoryDisk } from './machine.ts';
import { print, type Result } from './report.ts';

/** Runs the bench and prints what it found. */
export async function runAlone(run: () => Promise<Result[]>): Promise<void> {
  warnOfMemoryDisk();
  print(await run(), machine());
}
