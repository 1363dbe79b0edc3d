// What a failing seed says of itself: what is wrong, what was drawn, and how to run it again.

import type { Result } from './simulate.ts';

function flagOf({ mode, faults }: Result['options']): string {
  if (faults['cut after a confirmation'] !== undefined) return ' --late';
  return mode === 'fast' ? ' --fast' : '';
}

export function report({ seed, options, problems, lines }: Result, linesMax = 0): string {
  return [
    `seed ${seed} failed. Run it again: MANGROVE_SEED=${seed} npx vitest run test/simulation`,
    `or with its log: node test/simulation/run.ts --seeds 1 --from ${seed} --log${flagOf(options)}`,
    ...problems.map((problem) => `  ${problem}`),
    `drawn: ${JSON.stringify(options)}`,
    ...(linesMax === 0 ? [] : lines.slice(-linesMax)),
  ].join('\n');
}
