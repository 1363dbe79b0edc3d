// How much of a long or narrow line does a drain use? 100 and 300 ms there and back, 1 and 10 Mbit/s, and both; beside a
// nats-server leaf that the hub sources over the same line. The narrow lines need root (and say so).
//
// "link used" counts all bytes that crossed the line from the gateway while messages arrived, TCP and Ethernet headers
// included. "data" counts the messages' own bytes only.

import { runAlone } from './alone.ts';
import { agentBacklog, leafBacklog, STREAM, SUBJECT, type Backlog } from './backlog.ts';
import { freePort, startAgent, startNats } from './contestants.ts';
import { leafOptions, sourceFromLeaf, startHub, type Drain } from './hub.ts';
import { numberAt, type DataKind } from './load/data.ts';
import { delayed, NarrowLine } from './long-line.ts';
import { isRootFor } from './machine.ts';
import type { Result } from './report.ts';

const DATA_BYTES = 128;
const PATIENCE_MS = 180_000;
const LINK_USED_MIN = 90;

interface Case {
  readonly rttMs: number;
  /** Mbit/s; undefined is no limit. */
  readonly mbit?: number;
  /** For some 10 s of each contestant. */
  readonly count: number;
  readonly leafCount: number;
  readonly data: DataKind;
}

const CASES: readonly Case[] = [
  { rttMs: 100, count: 200_000, leafCount: 200_000, data: 'json' },
  { rttMs: 300, count: 200_000, leafCount: 200_000, data: 'json' },
  { rttMs: 0, mbit: 1, count: 4_000, leafCount: 12_000, data: 'json' },
  { rttMs: 0, mbit: 10, count: 40_000, leafCount: 100_000, data: 'json' },
  { rttMs: 0, mbit: 10, count: 40_000, leafCount: 60_000, data: 'random' },
  { rttMs: 100, mbit: 10, count: 40_000, leafCount: 100_000, data: 'json' },
];
/** BENCH_WAN=10/100 runs the cases with 10 Mbit/s and 100 ms only. */
const ONLY = process.env['BENCH_WAN'];
const MODE = process.env['BENCH_MODES'] ?? 'auto';

export async function run(): Promise<Result[]> {
  const results: Result[] = [];
  for (const wanted of CASES) {
    if (ONLY !== undefined && ONLY !== `${wanted.mbit ?? ''}/${wanted.rttMs}`) continue;
    const { data, mbit } = wanted;
    if (mbit !== undefined && !isRootFor(`wan: ${mbit} Mbit/s, ip netns and tc`)) continue;
    const size = { dataBytes: DATA_BYTES, data };
    const ours = await agentBacklog({ ...size, count: wanted.count });
    const leafs = await leafBacklog({ ...size, count: wanted.leafCount });
    try {
      const agent = await drain(wanted, wanted.count, ours, 'agent');
      const leaf = await drain(wanted, wanted.leafCount, leafs, 'leaf');
      const line = `${mbit === undefined ? 'no limit' : `${mbit} Mbit/s`}, ${wanted.rttMs} ms, ${data}`;
      results.push(...(mbit === undefined ? [] : used(line, mbit, agent, leaf)));
      results.push(rate(line, agent, leaf));
    } finally {
      ours.remove();
      leafs.remove();
    }
  }
  return results;
}

function used(line: string, mbit: number, agent: Drain, leaf: Drain): Result[] {
  const share = (bytes: number, { seconds }: Drain): number =>
    (100 * bytes * 8) / (mbit * 1e6 * seconds);
  const data = (drain: Drain): number => share(drain.messages * DATA_BYTES, drain);
  const perMessage = ({ metered, messages }: Drain): number => metered / messages;
  const peer = 'nats-server leaf';
  return [
    {
      bench: 'wan',
      case: `${line}: link used`,
      unit: '%',
      ours: [share(agent.metered, agent)],
      required: { atLeast: LINK_USED_MIN },
      note: `leaf ${share(leaf.metered, leaf).toFixed(0)} %`,
    },
    {
      bench: 'wan',
      case: `${line}: data as a share of the link`,
      unit: '%',
      ours: [data(agent)],
      peer: { name: peer, measured: [data(leaf)] },
    },
    {
      bench: 'wan',
      case: `${line}: bytes on the line a message`,
      unit: 'bytes',
      ours: [perMessage(agent)],
      peer: { name: peer, measured: [perMessage(leaf)] },
    },
  ];
}

function rate(line: string, agent: Drain, leaf: Drain): Result {
  return {
    bench: 'wan',
    case: `${line}: ${DATA_BYTES}-byte messages`,
    unit: 'msg/s',
    ours: [agent.rate],
    peer: { name: 'nats-server leaf', measured: [leaf.rate] },
  };
}

/** Drains one backlog over the line, and audits what arrived. */
async function drain(
  { rttMs, mbit, data }: Case,
  count: number,
  backlog: Backlog,
  who: 'agent' | 'leaf',
): Promise<Drain> {
  const narrow = mbit === undefined ? undefined : NarrowLine.open(mbit);
  const host = narrow?.host ?? '127.0.0.1';
  const port = await freePort();
  const leafPort = await freePort();
  const target = who === 'agent' ? port : leafPort;
  const long = rttMs === 0 ? undefined : await delayed(host, host, target, rttMs);
  const address = `${host}:${long?.port ?? target}`;
  const inside = narrow === undefined ? {} : { inside: narrow.namespace };
  const meter = (): number => narrow?.receivedBytes() ?? 0;
  const audit = { count, numberAt: numberAt(data), stream: 'EDGE' };
  let found: Drain;
  const hub = await startHub({ host, port, leafPort });
  if (who === 'agent') {
    const agent = await startAgent({ dir: backlog.copy(), config: forwarding(address), ...inside });
    found = await hub.watch('EDGE', count, PATIENCE_MS, meter);
    await hub.audit({ ...audit, filter: `edge.bench.${STREAM}.>` });
    await agent.stop('remove');
  } else {
    const options = leafOptions(`nats-leaf://${address}`);
    const leaf = await startNats({ ...options, dir: backlog.copy(), ...inside });
    await sourceFromLeaf(hub, 'EDGE', STREAM);
    found = await hub.watch('EDGE', count, PATIENCE_MS, meter);
    await hub.audit({ ...audit, filter: SUBJECT });
    await leaf.stop('remove');
  }
  await hub.stop('remove');
  await long?.stop();
  await narrow?.stop();
  return found;
}

function forwarding(address: string): string {
  return `[hub]\nservers = ["nats://${address}"]\ncreate = true\nreconnect_max = "200ms"
[[forward]]\nstream = "${STREAM}"\n${MODE === 'auto' ? '' : `mode = "${MODE}"\n`}`;
}

if (import.meta.main) await runAlone(run);
