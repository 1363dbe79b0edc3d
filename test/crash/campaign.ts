// The campaigns by the thousand, for a night rather than for a push:
//
//   node test/crash/campaign.ts kill --rounds 1000 [--seed N]
//   node test/crash/campaign.ts cut --rounds 1000 [--seed N]      (root)
//
// Exit code 1 when a promise was broken. The store grows with the rounds; a new one is begun every so many.

import { parseArgs } from 'node:util';
import { seededRandom } from '../support/random.ts';
import { runKills } from './kills.ts';
import { runCuts } from './power-cuts.ts';

/** Rounds on one store: what fits on its disk, and is read through in a few seconds. */
const ROUNDS_ON_ONE_STORE = 100;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
  },
});
const [kind] = positionals;
const wanted = Number(values.rounds);
const seed = Number(values.seed);
if ((kind !== 'kill' && kind !== 'cut') || !(wanted > 0) || !Number.isInteger(seed)) {
  console.error('usage: node test/crash/campaign.ts kill|cut [--rounds N] [--seed N]');
  process.exit(64);
}
const random = seededRandom(seed);
console.log(`${kind}: ${wanted} rounds, seed ${seed}`);
let acked = 0;
for (let done = 0; done < wanted;) {
  const rounds = Math.min(ROUNDS_ON_ONE_STORE, wanted - done);
  const report = await (kind === 'kill'
    ? runKills({ rounds, random })
    : runCuts({ cuts: rounds, random }));
  done += rounds;
  acked += report.acked;
  console.log(`${done} rounds, ${acked} acknowledged`, JSON.stringify(report));
  if (report.violations.length > 0) process.exit(1);
}
console.log(`${wanted} rounds, ${acked} acknowledged messages, 0 lost`);
