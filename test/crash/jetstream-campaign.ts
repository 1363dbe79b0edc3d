// The crashes of JetStream by the hundred, for a night rather than for a push:
//
//   node test/crash/jetstream-campaign.ts kill --rounds 500 [--seed N]
//   node test/crash/jetstream-campaign.ts cut --rounds 500 [--seed N]      (root)
//
// Exit code 1 when a promise was broken. The store grows with the rounds; a new one is begun every so many.

import { parseArgs } from 'node:util';
import { seededRandom } from '../support/random.ts';
import { runJetStreamCuts, runJetStreamKills } from './jetstream-crashes.ts';

const ROUNDS_ON_ONE_STORE = 25;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '500' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
  },
});
const [kind] = positionals;
const wanted = Number(values.rounds);
const seed = Number(values.seed);
if ((kind !== 'kill' && kind !== 'cut') || !(wanted > 0) || !Number.isInteger(seed)) {
  console.error('usage: node test/crash/jetstream-campaign.ts kill|cut [--rounds N] [--seed N]');
  process.exit(64);
}
const random = seededRandom(seed);
console.log(`${kind}: ${wanted} rounds, seed ${seed}`);
for (let done = 0; done < wanted;) {
  const rounds = Math.min(ROUNDS_ON_ONE_STORE, wanted - done);
  const report = await (kind === 'kill' ? runJetStreamKills : runJetStreamCuts)({ rounds, random });
  done += rounds;
  console.log(`${done} rounds`, JSON.stringify(report));
  if (report.violations.length > 0) process.exit(1);
}
console.log(`${wanted} rounds, no promise broken`);
process.exit(0);
