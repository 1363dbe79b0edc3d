// The hub tests for as long as you like: one gateway under traffic, a fault a round, drawn from a seed, and an audit every
// ten rounds. Ends with code 1 and the seed at the first finding.

import { parseArgs } from 'node:util';
import { randomInt } from '../support/random.ts';
import { SITUATIONS } from './clones.ts';
import { ClusterRig } from './cluster-rig.ts';
import { CLUSTER_FAULTS, Clones, WAN_FAULTS, type Round } from './faults.ts';
import type { Forward, GatewayRig } from './gateway-rig.ts';
import { EDGE } from './hub-admin.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';

const AUDIT_EVERY = 10;
const NOTICED_MAX_MS = 15_000;
const BACKLOG_BYTES = 200;
/** Messages stored at once. */
const BURST = 5_000;
const CLONES = SITUATIONS.map((situation) => `clone-${situation}`);

const HELP = `node test/hub/campaign.ts [--fault FAULT] [--rounds N] [--seed S] [--mode M] [--order O]

  --fault FAULT   what happens, one round each:
                    behind one server, ${Object.keys(WAN_FAULTS).join(', ')};
                      wan (the default): any of these
                    with a cluster of three, ${Object.keys(CLUSTER_FAULTS).join(', ')};
                      cluster: any of these
                    a second machine with a copy of the card, ${CLONES.join(', ')};
                      clone: any of these
  --rounds N      rounds (20)
  --seed S        repeats a campaign: the order of faults and their lengths; printed at the start
  --mode M        mode of [[forward]]: auto, atomic, fast, window (auto)
  --order O       order of [[forward]]: strict, relaxed (strict); relaxed is audited without the order
  --rate R        messages a second of each of two devices (300)
  --backlog N     messages that wait when a fault begins (0): it hits while they are brought to the hub
  --quorum-ms MS  how long two of three servers are gone (60000)
`;

interface Campaign {
  readonly rounds: number;
  readonly seed: number;
  readonly rate: number;
  readonly backlog: number;
  readonly quorumMs: number;
  readonly forward: Forward;
}

/** One round; returns a remark. */
type Play = (round: Round) => Promise<string | void>;
type Audit = () => Promise<string[]>;

async function play(
  rig: GatewayRig,
  { rounds, seed, rate, backlog, quorumMs }: Campaign,
  { run, audit, traffic }: { run: Play; audit: Audit; traffic: boolean },
): Promise<boolean> {
  const start = (): void => {
    if (traffic) rig.startTraffic(rate);
  };
  start();
  for (let number = 1; number <= rounds; number++) {
    if (traffic) await rig.confirmed(50, 60_000);
    for (let left = backlog; left > 0; left -= BURST)
      await burst(rig.agent, rig.ledger, Math.min(left, BURST), { bytes: BACKLOG_BYTES });
    const remark = await run({ number, rate, quorumMs });
    console.log(`round ${number}: ${remark ?? ''}; ${rig.ledger.acked} acknowledged`);
    if (number % AUDIT_EVERY !== 0 && number !== rounds) continue;
    const findings = await audit();
    if (findings.length > 0) {
      console.log(`found with --seed ${seed} after ${number} rounds:\n${findings.join('\n')}`);
      return false;
    }
    const { base, acceleration, refills } = rig.agent.status();
    const way = [base, acceleration].filter((one) => one !== null).join(', ');
    const facts = `${rig.ledger.acked} acknowledged, lost 0, duplicated 0, ${refills} refills`;
    console.log(`audit: ${facts}, by ${way}`);
    start();
  }
  return true;
}

/** Draws one fault of a table, or takes the one that is named. */
function drawn<R extends GatewayRig>(
  rig: R,
  table: Readonly<Record<string, (rig: R, round: Round) => Promise<string | void>>>,
  only: string | undefined,
): Play {
  const names = Object.keys(table);
  return async (round) => {
    const name = only ?? names[randomInt(rig.random, names.length)] ?? '';
    const remark = await table[name]?.(rig, round);
    return remark === undefined ? name : `${name}, ${remark}`;
  };
}

async function campaign(fault: string, order: Campaign): Promise<boolean> {
  const { seed, forward } = order;
  const stream = { ...EDGE, allow_batched: true };
  if (fault === 'clone' || CLONES.includes(fault)) {
    await using rig = await Rig.start({ seed, forward, stream });
    const clones = new Clones();
    const only = SITUATIONS.find((situation) => fault === `clone-${situation}`);
    const run = (): Promise<string> => clones.round(rig, only);
    const audit = (): Promise<string[]> => clones.audit(rig);
    const passed = await play(rig, order, { run, audit, traffic: false });
    console.log(`noticed after ${Math.round(clones.noticedMaxMs)} ms at most`);
    return passed && clones.noticedMaxMs <= NOTICED_MAX_MS;
  }
  if (fault === 'cluster' || fault in CLUSTER_FAULTS) {
    await using rig = await ClusterRig.start({ seed, forward, stream });
    const run = drawn(rig, CLUSTER_FAULTS, fault === 'cluster' ? undefined : fault);
    return await play(rig, order, { run, audit: () => rig.audit(), traffic: true });
  }
  await using rig = await Rig.start({ seed, forward, stream });
  const draw = drawn(rig, WAN_FAULTS, fault === 'wan' ? undefined : fault);
  const run: Play = async (round) => {
    const remark = await draw(round);
    await rig.proxy.restore();
    return remark;
  };
  return await play(rig, order, { run, audit: () => rig.audit(), traffic: true });
}

const { values } = parseArgs({
  options: {
    fault: { type: 'string', default: 'wan' },
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string' },
    mode: { type: 'string' },
    order: { type: 'string' },
    rate: { type: 'string', default: '300' },
    backlog: { type: 'string', default: '0' },
    'quorum-ms': { type: 'string', default: '60000' },
    help: { type: 'boolean', default: false },
  },
});
const { fault, mode, order } = values;
const known = [
  'wan',
  'cluster',
  'clone',
  ...CLONES,
  ...Object.keys(WAN_FAULTS),
  ...Object.keys(CLUSTER_FAULTS),
];
if (values.help) {
  console.log(HELP);
} else if (!known.includes(fault)) {
  console.error(`unknown fault ${fault}\n\n${HELP}`);
  process.exitCode = 64;
} else {
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  console.log(`--fault ${fault} --seed ${seed}`);
  const passed = await campaign(fault, {
    rounds: Number(values.rounds),
    seed,
    rate: Number(values.rate),
    backlog: Number(values.backlog),
    quorumMs: Number(values['quorum-ms']),
    forward: { mode, order },
  });
  if (!passed) process.exitCode = 1;
}
