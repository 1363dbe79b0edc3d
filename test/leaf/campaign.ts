// The leaf tests for as long as you like: a gateway under load whose way to the hub is cut, or something else of the table
// below happens, a round each, and the audit in the end. Ends with code 1 at the first finding.

import { parseArgs } from 'node:util';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../support/random.ts';
import { lasting } from './lasting.ts';
import { NetnsPath } from './netns.ts';
import { Plant } from './plant.ts';
import { LeafRig, leafz, type LeafRigOptions } from './rig.ts';

const MESSAGE_BYTES = 1_000;
const REPORT_MS = 10_000;

interface Round {
  readonly ms: number;
  readonly random: Random;
}

type Fault = (rig: LeafRig, round: Round) => Promise<void>;

const FAULTS: Readonly<Record<string, Fault>> = {
  async cut(rig, { ms }) {
    await rig.cut();
    await lasting(ms);
  },
  async hole(rig, { ms }) {
    for (const wan of rig.wans) wan.blackHole();
    await lasting(ms);
  },
  async up(rig, { ms }) {
    for (const wan of rig.wans) wan.blackHole('up');
    await lasting(ms);
  },
  async down(rig, { ms }) {
    for (const wan of rig.wans) wan.blackHole('down');
    await lasting(ms);
  },
  async 'gateway-kill'(rig, { ms }) {
    await rig.gateway.kill();
    await lasting(ms / 10);
    await rig.gateway.start();
  },
  async 'gateway-freeze'(rig, { ms }) {
    rig.gateway.freeze();
    await lasting(ms);
    rig.gateway.thaw();
  },
  async 'hub-kill'(rig, { ms }) {
    const server = await rig.connected();
    await server.kill();
    await lasting(ms);
    await server.restart('server');
  },
  async 'hub-stop'(rig, { ms }) {
    const server = await rig.connected();
    await server.stop();
    await lasting(ms);
    await server.restart('server');
  },
  async 'hub-freeze'(rig, { ms }) {
    const server = await rig.connected();
    server.freeze();
    await lasting(ms);
    server.thaw();
  },
  async 'step-down'(rig, { ms }) {
    for (const name of ['M_LIM', 'S_LIM', 'S_INT', 'S_WQ'])
      await rig.hub.api(`STREAM.LEADER.STEPDOWN.${name}`).catch(() => undefined);
    await lasting(ms);
  },
};

const HELP = `node test/leaf/campaign.ts [--fault FAULT] [--rounds N] [--seconds S] [--servers 1|3] [--hub 2.9|2.10] [--compression off] [--peer]
node test/leaf/campaign.ts --fault thin [--kbit N] [--seconds S] [--ping-interval 2s] [--write-deadline 60s] (root)

  --fault FAULT     what happens, one round each (cut): ${Object.keys(FAULTS).join(', ')};
                    any: one of these by chance; thin: two megabytes each way over a narrow line
  --rounds N        rounds (50)
  --seconds S       how long each lasts (60), and for thin: each direction (120)
  --pause S         how long there is quiet between two (10)
  --rate R          messages a second for each of three streams (50)
  --servers N       servers of the hub (1)
  --hub VERSION     an old hub: 2.9 or 2.10
  --compression C   of the link, on loopback too: on, off (on)
  --seed S          repeats a campaign; printed at the start
  --peer            with a nats-server as the leaf
`;

const { values } = parseArgs({
  options: {
    fault: { type: 'string', default: 'cut' },
    rounds: { type: 'string', default: '50' },
    seconds: { type: 'string' },
    pause: { type: 'string', default: '10' },
    rate: { type: 'string', default: '50' },
    servers: { type: 'string', default: '1' },
    hub: { type: 'string' },
    compression: { type: 'string', default: 'on' },
    seed: { type: 'string' },
    kbit: { type: 'string', default: '50' },
    'ping-interval': { type: 'string' },
    'write-deadline': { type: 'string' },
    peer: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const began = performance.now();

function say(text: string): void {
  console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(8)} s  ${text}`);
}

function rigOptions(): LeafRigOptions {
  const { hub, peer, servers, compression } = values;
  const old = hub === '2.9' || hub === '2.10' ? { binary: oldNatsServer(hub) } : {};
  return { ...old, peer, servers: servers === '3' ? 3 : 1, gateway: gateway(compression) };
}

function gateway(compression: string): NonNullable<LeafRigOptions['gateway']> {
  return { keepAlive: '15s', leaf: `compression = "${compression}"` };
}

async function rounds(seed: number): Promise<boolean> {
  const random = seededRandom(seed);
  const ms = Number(values.seconds ?? 60) * 1_000;
  const options = rigOptions();
  await using rig = await LeafRig.start(options);
  const replicas = options.servers ?? 1;
  const plant = await Plant.build(rig, { replicas, rate: Number(values.rate), seed });
  await plant.publish();
  const names = Object.keys(FAULTS);
  for (let round = 1; round <= Number(values.rounds); round++) {
    const drawn = names[randomInt(random, names.length)] ?? 'cut';
    const name = values.fault === 'any' ? drawn : values.fault;
    await FAULTS[name]?.(rig, { ms, random });
    await rig.mend();
    await rig.connected(120_000);
    const sourced = await Promise.all(plant.lines.map((line) => plant.sourced(line)));
    say(`round ${round}: ${name}; ${plant.acked} acknowledged, at the hub ${sourced.join(', ')}`);
    await lasting(Number(values.pause) * 1_000);
  }
  await plant.stop();
  say(`${plant.acked} acknowledged, ${plant.failed} not; ${rig.dialled} connections`);
  await plant.drained(600_000);
  const findings = await plant.audit();
  say(findings.length === 0 ? 'audit: nothing found' : `found:\n${findings.join('\n')}`);
  return findings.length === 0;
}

/** Both directions, one after the other, over real packets. */
async function thin(): Promise<boolean> {
  const ms = Number(values.seconds ?? 120) * 1_000;
  const { 'ping-interval': interval, 'write-deadline': deadline } = values;
  await using path = await NetnsPath.open({ kbit: Number(values.kbit), way: { delayMs: 50 } });
  await using rig = await LeafRig.start({
    ...rigOptions(),
    path,
    hub: [
      ...(interval === undefined ? [] : [`ping_interval: "${interval}"`]),
      ...(deadline === undefined ? [] : [`write_deadline: "${deadline}"`]),
    ].join('\n'),
    gateway: { imports: ['down.>'], ...gateway(values.compression) },
  });
  const plant = await Plant.build(rig, { retentions: ['limits'], rate: 0 });
  await plant.publish();
  const ports = new Set<number>();
  const watch = async (what: string): Promise<void> => {
    const endMs = performance.now() + ms;
    while (performance.now() < endMs) {
      await lasting(Math.min(REPORT_MS, ms));
      const [server] = rig.hubs;
      const leafs = server === undefined ? [] : await leafz(server);
      for (const { port } of leafs) ports.add(port);
      const { up, down } = await path.change({});
      say(`${what}: ${leafs.length} leafnodes, ${up.bytes} bytes up, ${down.bytes} down`);
    }
  };
  await plant.lines[0]?.publisher?.burst(2_000_000 / MESSAGE_BYTES, MESSAGE_BYTES);
  await watch('to the hub');
  rig.local.nc.subscribe('down.>', { callback: () => undefined });
  await rig.local.nc.flush();
  await lasting(5_000);
  const data = randomBytes(seededRandom(1), MESSAGE_BYTES);
  for (let i = 0; i < 2_000_000 / MESSAGE_BYTES; i++) rig.hub.nc.publish('down.data', data);
  await rig.hub.nc.flush();
  await watch('to the gateway');
  await plant.stop();
  say(`${ports.size} connections in all`);
  if (ports.size !== 1) {
    const closed = rig.hubs[0]?.output
      .split('\n')
      .filter((line) => /closed|slow|stale/i.test(line));
    say(`the hub said:\n${(closed ?? []).join('\n')}`);
    say(`the gateway said:\n${rig.gateway.complaints.join('\n')}`);
  }
  return ports.size === 1;
}

const known = ['any', 'thin', ...Object.keys(FAULTS)];
if (values.help || !known.includes(values.fault)) {
  console.log(HELP);
  if (!values.help) process.exitCode = 64;
} else {
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  console.log(`--fault ${values.fault} --seed ${seed}`);
  const passed = values.fault === 'thin' ? await thin() : await rounds(seed);
  if (!passed) process.exitCode = 1;
}
