// What others feel of JetStream: how long they wait while a stream of a million messages is searched, purged and dropped;
// and what memory streams and consumers take beside nats-server.

import { runAlone } from './alone.ts';
import { freePort, rssMB, runLoad, startAgent, startNats, type Agent } from './contestants.ts';
import type { RoundTrips } from './load/round-trips.ts';
import type { Result } from './report.ts';

const COUNT = Number(process.env['BENCH_COUNT'] ?? 1_000_000);
const DATA_BYTES = 128;
const TRIPS_SECONDS = 6;
const CONSUMERS = 1_000;
const STREAMS = 250;
const BENCH = 'jetstream-loop';

type Trips = Record<'ping' | 'request' | 'mqtt', RoundTrips>;

interface Ours {
  readonly agent: Agent;
  readonly port: number;
}

export async function run(): Promise<Result[]> {
  return [...(await longWork()), ...(await memory())];
}

async function startOurs(): Promise<Ours> {
  const port = await freePort();
  return { agent: await startAgent({ config: `[nats]\nlisten = "127.0.0.1:${port}"` }), port };
}

// --- others, meanwhile ---

function meanwhile({ agent, port }: Ours): Promise<Trips> {
  const options = { port, mqttPort: agent.mqttPort, everyMs: 3, seconds: TRIPS_SECONDS };
  return runLoad<Trips>('round-trips', options);
}

function waits(name: string, trips: Trips): Result[] {
  return Object.entries(trips).map(([kind, { p99 }]) => ({
    bench: BENCH,
    case: `${name}: ${kind}, p99`,
    unit: 'ms',
    ours: [p99],
  }));
}

// --- long work ---

async function longWork(): Promise<Result[]> {
  const ours = await startOurs();
  const { port } = ours;
  const data = { port, subject: 'bench.a', ids: false, window: 2_000, dataBytes: DATA_BYTES };
  const results: Result[] = [];
  const during = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    const [trips] = await Promise.all([meanwhile(ours), work()]);
    results.push(...waits(name, trips));
  };
  await runLoad('nats-publish', { ...data, stream: 'BENCH', count: COUNT });
  await during(`a consumer finds nothing in ${COUNT.toLocaleString('en-US')}`, () =>
    ask(port, 'CONSUMER.CREATE.BENCH.none', {
      stream_name: 'BENCH',
      config: {
        name: 'none',
        ack_policy: 'none',
        opt_start_seq: 2,
        deliver_policy: 'by_start_sequence',
        filter_subject: '*.*',
      },
    }),
  );
  await during(`purge of all but 10 of ${COUNT.toLocaleString('en-US')}`, () =>
    ask(port, 'STREAM.PURGE.BENCH', { keep: 10 }),
  );
  await runLoad('nats-publish', { ...data, stream: 'BENCH', count: COUNT });
  await during(`delete of a stream of ${COUNT.toLocaleString('en-US')}`, () =>
    ask(port, 'STREAM.DELETE.BENCH'),
  );
  await ours.agent.stop('remove');
  return results;
}

function ask(port: number, subject: string, request?: object): Promise<unknown> {
  return runLoad('jetstream-request', {
    port,
    subject: `$JS.API.${subject}`,
    ...(request === undefined ? {} : { data: JSON.stringify(request) }),
  });
}

// --- memory ---

async function memory(): Promise<Result[]> {
  const ours = await startOurs();
  const nats = await startNats();
  const servers = [
    { pid: ours.agent.pid, port: ours.port, costs: [] as number[] },
    { pid: nats.pid, port: nats.port, costs: [] as number[] },
  ];
  for (const { pid, port, costs } of servers) {
    const measured = async (count: number, kind: string): Promise<void> => {
      const before = rssMB(pid);
      await runLoad('jetstream-many', { port, kind, count });
      costs.push((1000 * (rssMB(pid) - before)) / count);
    };
    await measured(STREAMS, 'streams');
    await measured(CONSUMERS, 'consumers');
  }
  for (const server of [ours.agent, nats]) await server.stop('remove');
  return [`${STREAMS} streams`, `${CONSUMERS} consumers`].map((name, i) => ({
    bench: BENCH,
    case: `memory of each of ${name}, idle`,
    unit: 'KB',
    ours: [servers[0]?.costs[i] ?? NaN],
    peer: { name: 'nats-server', measured: [servers[1]?.costs[i] ?? NaN] },
  }));
}

if (import.meta.main) await runAlone(run);
