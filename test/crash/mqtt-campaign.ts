// The MQTT crash campaigns by the thousand, for a night rather than for a push:
//
//   node test/crash/mqtt-campaign.ts kill --rounds 1000 [--seed N]
//   node test/crash/mqtt-campaign.ts cut --rounds 300 [--seed N]      (root)
//
// Exit code 1 when a promise was broken. A new store is begun every so many rounds.

import { parseArgs } from 'node:util';
import { seededRandom } from '../support/random.ts';
import { runMqttCuts, runMqttKills } from './mqtt-crashes.ts';

const ROUNDS_ON_ONE_STORE = 50;

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
  console.error('usage: node test/crash/mqtt-campaign.ts kill|cut [--rounds N] [--seed N]');
  process.exit(64);
}
const random = seededRandom(seed);
console.log(`${kind}: ${wanted} rounds, seed ${seed}`);
for (let done = 0; done < wanted;) {
  const rounds = Math.min(ROUNDS_ON_ONE_STORE, wanted - done);
  const report = await (kind === 'kill' ? runMqttKills : runMqttCuts)({ rounds, random });
  done += rounds;
  console.log(`${done} rounds`, JSON.stringify(report, null, 1));
  if (report.violations.length > 0) process.exit(1);
}
