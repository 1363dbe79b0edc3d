// The hub tests for as long as you like: `node test/hub/campaign.ts --rounds N [--seed S]`. One gateway under traffic,
// faults drawn from the seed, and an audit every ten rounds. Ends with code 1 and the seed at the first finding.

import { parseArgs } from 'node:util';
import { freePort } from '../support/nats-server.ts';
import { randomInt } from '../support/random.ts';
import { until } from '../support/until.ts';
import { LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';

const AUDIT_EVERY = 10;

type Fault = readonly [name: string, run: (rig: Rig) => Promise<void>];

const outageMs = ({ random }: Rig): number => LONGER_THAN_WINDOW_MS + randomInt(random, 3_000);

const FAULTS: readonly Fault[] = [
  [
    'refuse',
    async (rig) => {
      await rig.proxy.refuse();
      rig.proxy.resetAll();
      await lasting(outageMs(rig));
    },
  ],
  [
    'resets',
    async (rig) => {
      for (let i = 0; i < 20; i++) {
        rig.proxy.resetAll();
        await lasting(randomInt(rig.random, 200));
      }
    },
  ],
  [
    'black hole',
    async (rig) => {
      rig.proxy.blackHole();
      await lasting(outageMs(rig));
    },
  ],
  [
    'black hole from the hub',
    async (rig) => {
      rig.proxy.blackHole('down');
      await lasting(outageMs(rig));
    },
  ],
  [
    'zombie',
    async (rig) => {
      const { connects } = rig.link.status();
      const ms = 2_000 + randomInt(rig.random, 7_000);
      rig.proxy.delayOld(ms);
      if (rig.random() < 0.5) rig.link.reconnect('for the campaign');
      await until('another connection', () => rig.link.status().connects > connects);
      await lasting(ms);
    },
  ],
  [
    'cut',
    async (rig) => {
      const { connects } = rig.link.status();
      const up = rig.random() < 0.5;
      rig.proxy.cutAfter(up ? 'up' : 'down', 1 + randomInt(rig.random, up ? 100_000 : 500));
      await until('a cut', () => !rig.link.connected || rig.link.status().connects > connects);
      await rig.proxy.refuse();
      await lasting(outageMs(rig));
    },
  ],
  [
    'hub killed',
    async (rig) => {
      await rig.hub.kill();
      await lasting(randomInt(rig.random, 3_000));
      await rig.hub.restart();
    },
  ],
  [
    'agent restarted in an outage',
    async (rig) => {
      rig.proxy.delayOld(randomInt(rig.random, 5_000));
      await rig.stopTraffic();
      await rig.stopAgent();
      await rig.startAgent();
      rig.startTraffic(300);
    },
  ],
];

async function campaign(rounds: number, seed: number): Promise<boolean> {
  await using rig = await Rig.start({ seed, server: { port: await freePort() } });
  rig.startTraffic(300);
  for (let round = 1; round <= rounds; round++) {
    await rig.confirmed(50);
    const [name, run] = FAULTS[randomInt(rig.random, FAULTS.length)]!;
    await run(rig);
    await rig.proxy.restore();
    console.log(`round ${round}: ${name}; ${rig.ledger.acked} acknowledged`);
    if (round % AUDIT_EVERY !== 0 && round !== rounds) continue;
    const findings = await rig.audit();
    if (findings.length > 0) {
      console.log(`found with --seed ${seed} after ${round} rounds:\n${findings.join('\n')}`);
      return false;
    }
    console.log(`audit: ${rig.ledger.acked} acknowledged, lost 0, duplicated 0`);
    rig.startTraffic(300);
  }
  return true;
}

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, seed: { type: 'string' } },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);
if (!(await campaign(Number(values.rounds), seed))) process.exitCode = 1;
