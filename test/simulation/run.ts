// Runs seeds from the command line: node test/simulation/run.ts [--seeds N] [--from S] [--fast | --late] [--log] [--keep-going]

import { parseArgs } from 'node:util';
import { drawFastOptions, drawLateOptions, drawOptions } from './options.ts';
import { report } from './report.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    fast: { type: 'boolean', default: false },
    late: { type: 'boolean', default: false },
    log: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});
const from = Number(values.from);
const seeds = Number(values.seeds);
const draw = values.fast ? drawFastOptions : values.late ? drawLateOptions : drawOptions;
const counts = new Map<string, number>();
let failed = 0;
let simulatedMs = 0;
const startedMs = performance.now();
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate(seed, {}, draw);
  simulatedMs += result.simulatedMs;
  for (const [what, times] of result.counts) counts.set(what, (counts.get(what) ?? 0) + times);
  if (result.problems.length === 0) continue;
  failed++;
  console.log(report(result, values.log ? 400 : 0));
  if (!values['keep-going']) break;
}
for (const [what, times] of [...counts].sort(([a], [b]) => a.localeCompare(b)))
  console.log(`${String(times).padStart(10)} ${what}`);
const seconds = (performance.now() - startedMs) / 1000;
console.log(
  `${seeds} seeds from ${from}: ${failed} failed, ${(simulatedMs / 3_600_000).toFixed(1)} h simulated in ${seconds.toFixed(1)} s`,
);
process.exitCode = failed === 0 ? 0 : 1;
