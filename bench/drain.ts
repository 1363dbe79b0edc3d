// How fast does a backlog of 500,000 messages of 128 bytes reach a hub on loopback, each once and in order? Beside it:
// a nats-server leaf with the same messages, whose stream a stream of the hub sources.

import { runAlone } from './alone.ts';
import { agentBacklog, leafBacklog, STREAM, SUBJECT, type Backlog } from './backlog.ts';
import { freePort, startAgent, startNats } from './contestants.ts';
import { leafOptions, sourceFromLeaf, startHub } from './hub.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const COUNT = Number(process.env['BENCH_COUNT'] ?? 500_000);
const DATA_BYTES = 128;
/** Of the rate of a nats-server leaf. */
const REQUIRED = 0.8;
const PATIENCE_MS = 120_000;
/** `mode` of the forwards that are measured; BENCH_MODES names others, comma-separated. */
const MODES = (process.env['BENCH_MODES'] ?? 'auto').split(',');

export async function run(): Promise<Result[]> {
  const wanted = { count: COUNT, dataBytes: DATA_BYTES, data: 'x' } as const;
  const ours = await agentBacklog(wanted);
  const leafs = await leafBacklog(wanted);
  try {
    const contestants: Record<string, () => Promise<number>> = {
      leaf: () => drainLeaf(leafs),
    };
    for (const mode of MODES) contestants[mode] = () => drainAgent(ours, mode);
    const measured = await inRounds(ROUNDS, contestants);
    return MODES.map((mode) => ({
      bench: 'drain',
      case: `backlog of ${COUNT.toLocaleString('en-US')} to a hub on loopback, mode ${mode}`,
      unit: 'msg/s',
      ours: measured[mode] ?? [],
      peer: { name: 'nats-server leaf, sourced by the hub', measured: measured['leaf'] ?? [] },
      required: { atLeast: REQUIRED },
    }));
  } finally {
    ours.remove();
    leafs.remove();
  }
}

/** Messages a second of the agent's, from the first that the hub holds to the last; audited. */
async function drainAgent(backlog: Backlog, mode: string): Promise<number> {
  const port = await freePort();
  // "auto" is what an agent does that is told nothing, one of before there were modes too.
  const modeLine = mode === 'auto' ? '' : `mode = "${mode}"\n`;
  const agent = await startAgent({
    dir: backlog.copy(),
    config: `[hub]\nservers = ["nats://127.0.0.1:${port}"]\ncreate = true\nreconnect_max = "200ms"
[[forward]]\nstream = "${STREAM}"\n${modeLine}`,
  });
  const hub = await startHub({ port });
  const { rate } = await hub.watch('EDGE', COUNT, PATIENCE_MS);
  await hub.audit({
    stream: 'EDGE',
    filter: `edge.bench.${STREAM}.>`,
    count: COUNT,
    numberAt: 0,
  });
  await agent.stop('remove');
  await hub.stop('remove');
  return rate;
}

/** The same of a leaf, whose stream the hub sources. */
async function drainLeaf(backlog: Backlog): Promise<number> {
  const hub = await startHub();
  const url = `nats-leaf://127.0.0.1:${hub.leafPort}`;
  const leaf = await startNats({ ...leafOptions(url), dir: backlog.copy() });
  await sourceFromLeaf(hub, 'EDGE', STREAM);
  const { rate } = await hub.watch('EDGE', COUNT, PATIENCE_MS);
  await hub.audit({ stream: 'EDGE', filter: SUBJECT, count: COUNT, numberAt: 0 });
  await leaf.stop('remove');
  await hub.stop('remove');
  return rate;
}

if (import.meta.main) await runAlone(run);
