// The leafnode link beside a nats-server leaf: how fast a stream of the hub sources 500,000 messages, on loopback and over
// a long line that loses packets; core messages across the link, both ways; and what one message costs on the wire, sourced
// by the hub and pushed by us. On a long line both compress unless they are told otherwise. Lines of their own need root
// (and say so).

import { NetnsPath, type Way } from '../test/leaf/netns.ts';
import { runAlone } from './alone.ts';
import { agentBacklog, leafBacklog, STREAM, SUBJECT, type Backlog } from './backlog.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import { leafOptions, sleep, sourceFromLeaf, startHub, type Drain, type Hub } from './hub.ts';
import { numberAt, type DataKind } from './load/data.ts';
import { isRootFor } from './machine.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const COUNT = Number(process.env['BENCH_COUNT'] ?? 500_000);
const LOSSY: Way = { delayMs: 50, lossPercent: 1 };
/** Long enough that both compress. */
const LONG: Way = { delayMs: 15 };
const CORE_COUNT = 500_000;
/** On their way at once: a leaf of ours holds 2 MiB of messages that a slow link has not taken, and drops what comes then. */
const CORE_WINDOW = 5_000;
const BYTES_COUNT = 50_000;
const DATA_BYTES = 200;
const PATIENCE_MS = 300_000;
const PEER = 'nats-server leaf';
/** BENCH_LEAF=sourcing,lossy runs some. */
const ONLY = process.env['BENCH_LEAF']?.split(',');

type Who = 'agent' | 'leaf';
/** `compressed`: where the line is long, as both do of themselves. */
type How = 'compressed' | 'plain';

export async function run(): Promise<Result[]> {
  const results: Result[] = [];
  const wants = (name: string): boolean => ONLY === undefined || ONLY.includes(name);
  if (wants('sourcing')) results.push(await sourcing());
  if (wants('lossy') && isRootFor('leaf: 100 ms and 1 % loss, ip netns and tun')) {
    results.push(await lossy('json', 'compressed'), await lossy('random', 'compressed'));
    results.push(await lossy('json', 'plain'));
  }
  if (wants('core')) results.push(...(await core()));
  if (wants('bytes') && isRootFor('leaf: bytes on the wire, ip netns and tun'))
    results.push(...(await bytes()));
  return results;
}

// --- sourcing ---

async function sourcing(): Promise<Result> {
  const measured = await sideBySide(ROUNDS, COUNT, 'x', async (who, backlog) => {
    const hub = await startHub();
    const address = `127.0.0.1:${hub.leafPort}`;
    return (await sourced(hub, { address, who, backlog, count: COUNT, data: 'x' })).rate;
  });
  return {
    bench: 'leaf',
    case: `${COUNT.toLocaleString('en-US')} messages sourced by a hub on loopback`,
    unit: 'msg/s',
    ours: measured.agent,
    peer: { name: PEER, measured: measured.leaf },
    required: { atLeast: 0.8 },
  };
}

async function lossy(data: DataKind, how: How): Promise<Result> {
  const measured = await sideBySide(ROUNDS, COUNT, data, async (who, backlog) => {
    await using path = await NetnsPath.open({ way: LOSSY });
    const hub = await startInside(path);
    const address = `${path.pathHost}:${hub.leafPort}`;
    return (await sourced(hub, { address, who, backlog, count: COUNT, data, how })).rate;
  });
  const said = how === 'plain' ? `${data}, compression off` : data;
  return {
    bench: 'leaf',
    case: `${COUNT.toLocaleString('en-US')} messages sourced over 100 ms and 1 % loss, ${said}`,
    unit: 'msg/s',
    ours: measured.agent,
    peer: { name: PEER, measured: measured.leaf },
    ...(how === 'plain' ? {} : { required: { atLeast: 1 } }),
  };
}

async function sideBySide(
  rounds: number,
  count: number,
  data: DataKind,
  measure: (who: Who, backlog: Backlog) => Promise<number>,
): Promise<Record<Who, number[]>> {
  const ours = await agentBacklog({ count, dataBytes: DATA_BYTES, data });
  const leafs = await leafBacklog({ count, dataBytes: DATA_BYTES, data });
  try {
    return await inRounds(rounds, {
      agent: () => measure('agent', ours),
      leaf: () => measure('leaf', leafs),
    });
  } finally {
    ours.remove();
    leafs.remove();
  }
}

/** A hub that listens on all addresses at the far side of a path. */
function startInside(path: NetnsPath): Promise<Hub> {
  return startHub({ host: '0.0.0.0', watchHost: path.watchHost, inside: path.namespace });
}

interface Sourcing {
  readonly address: string;
  readonly who: Who;
  readonly backlog: Backlog;
  readonly count: number;
  readonly data: DataKind;
  readonly how?: How;
}

/** Lets the hub source a backlog of one contestant, audits it, and stops both. */
async function sourced(hub: Hub, sourcing: Sourcing): Promise<Drain> {
  const { address, who, backlog, count, data, how } = sourcing;
  const dir = backlog.copy();
  const off = how === 'plain' ? 'off' : undefined;
  const leaf =
    who === 'agent'
      ? await startAgent({ dir, config: leafTable(address, off && 'compression = "off"\n') })
      : await startNats({ ...leafOptions(`nats-leaf://${address}`, off), dir });
  await sourceFromLeaf(hub, 'EDGE', STREAM);
  const found = await hub.watch('EDGE', count, PATIENCE_MS);
  await hub.audit({ stream: 'EDGE', filter: SUBJECT, count, numberAt: numberAt(data) });
  await leaf.stop('remove');
  await hub.stop('remove');
  return found;
}

function leafTable(address: string, more = ''): string {
  return `[leaf]\nurl = "nats-leaf://${address}"\ndomain = "leaf"\nreconnect_max = "200ms"\n${more}`;
}

// --- core ---

async function core(): Promise<Result[]> {
  const hub = await startHub();
  const address = `127.0.0.1:${hub.leafPort}`;
  const natsPort = await freePort();
  const agent = await startAgent({
    config: `${leafTable(address, 'exports = ["bench.>"]\nimports = ["bench.>"]\n')}
[nats]\nlisten = "127.0.0.1:${natsPort}"`,
  });
  const leaf = await startNats({ ...leafOptions(`nats-leaf://${address}`), name: 'peer' });
  await sleep(1_000);
  const across = (from: number, to: number) => async (): Promise<number> => {
    const load = { publishPort: from, port: to, subscribers: 1, window: CORE_WINDOW };
    const options = { kind: 'fanout', count: CORE_COUNT, dataBytes: DATA_BYTES, ...load };
    return (await runLoad<{ rate: number }>('nats-core', options)).rate;
  };
  const out = await inRounds(ROUNDS, {
    agent: across(natsPort, hub.port),
    leaf: across(leaf.port, hub.port),
  });
  const back = await inRounds(ROUNDS, {
    agent: across(hub.port, natsPort),
    leaf: across(hub.port, leaf.port),
  });
  await agent.stop('remove');
  await leaf.stop('remove');
  await hub.stop('remove');
  const result = (way: string, measured: Record<Who, number[]>): Result => ({
    bench: 'leaf',
    case: `core messages of ${DATA_BYTES} bytes across the link, ${way}`,
    unit: 'msg/s',
    ours: measured.agent,
    peer: { name: PEER, measured: measured.leaf },
  });
  return [result('to the hub', out), result('from the hub', back)];
}

// --- bytes ---

async function bytes(): Promise<Result[]> {
  const wanted = { count: BYTES_COUNT, dataBytes: DATA_BYTES, data: 'json' } as const;
  const ours = await agentBacklog(wanted);
  const leafs = await leafBacklog(wanted);
  try {
    const wire = (who: Who, backlog: Backlog, way: Way): Promise<number> =>
      onTheWire(way, (path, hub) =>
        sourcedBytes(hub, `${path.pathHost}:${hub.leafPort}`, who, backlog),
      );
    const plain = [await wire('agent', ours, {}), await wire('leaf', leafs, {})] as const;
    const compressed = [await wire('agent', ours, LONG), await wire('leaf', leafs, LONG)] as const;
    const pushed = await onTheWire({}, (path, hub) => pushedBytes(hub, path, ours));
    const result = (way: string, [mine, its]: readonly [number, number]): Result => ({
      bench: 'leaf',
      case: `bytes on the wire a message of ${DATA_BYTES} bytes (IP, both ways), ${way}`,
      unit: 'bytes',
      ours: [mine],
      peer: { name: `${PEER}, sourced`, measured: [its] },
    });
    return [
      result('sourced by the hub', plain),
      result('sourced by the hub, 30 ms away', compressed),
      result('pushed', [pushed, plain[1]]),
    ];
  } finally {
    ours.remove();
    leafs.remove();
  }
}

/** Bytes of all packets of a path, both ways, a message. */
async function onTheWire(
  way: Way,
  drain: (path: NetnsPath, hub: Hub) => Promise<void>,
): Promise<number> {
  await using path = await NetnsPath.open({ way });
  const hub = await startInside(path);
  await drain(path, hub);
  const { up, down } = await path.change({});
  return (up.bytes + down.bytes) / BYTES_COUNT;
}

async function sourcedBytes(hub: Hub, address: string, who: Who, backlog: Backlog): Promise<void> {
  await sourced(hub, { address, who, backlog, count: BYTES_COUNT, data: 'json' });
}

async function pushedBytes(hub: Hub, path: NetnsPath, backlog: Backlog): Promise<void> {
  const agent = await startAgent({
    dir: backlog.copy(),
    config: `[hub]\nservers = ["nats://${path.pathHost}:${hub.port}"]\ncreate = true
[[forward]]\nstream = "${STREAM}"\n`,
  });
  await hub.watch('EDGE', BYTES_COUNT, PATIENCE_MS);
  const filter = `edge.bench.${STREAM}.>`;
  await hub.audit({ stream: 'EDGE', filter, count: BYTES_COUNT, numberAt: numberAt('json') });
  await agent.stop('remove');
  await hub.stop('remove');
}

if (import.meta.main) await runAlone(run);
