// What does a slow card do to local programs: with 20 ms added to every sync, how many publishes a second does a stream of
// the API acknowledge, and how long do requests that touch no disk, and MQTT pings, wait meanwhile?

import { runAlone } from './alone.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';
import { STRACE } from './slow-disk.ts';

const ROUNDS = 3;
const WINDOW = 1_000;
/** Some 2 s of ours, and some 5 s of a server that does one sync a message. */
const COUNT = 50_000;
const NATS_COUNT = 250;
const DATA_BYTES = 128;
const PING = { everyMs: 5, seconds: 8 };
const REQUESTS = 8_000;
/** Enough publishes to outlast the pings. */
const BESIDE = 400_000;
const P99_MS_MAX = 10;

export async function run(): Promise<Result[]> {
  const port = await freePort();
  const config = `[nats]\nlisten = "127.0.0.1:${port}"`;
  const agent = await startAgent({ under: STRACE, config });
  const nats = await startNats({ under: STRACE, jetstream: 'sync_interval: always' });
  const publish = async (at: number, count: number): Promise<number> => {
    const options = { stream: 'BENCH', subject: 'bench.a', ids: true, window: WINDOW };
    const load = { port: at, ...options, count, dataBytes: DATA_BYTES };
    return (await runLoad<{ rate: number }>('nats-publish', load)).rate;
  };
  await publish(port, COUNT);
  const { ours, theirs } = await inRounds(ROUNDS, {
    ours: () => publish(port, COUNT),
    theirs: () => publish(nats.port, NATS_COUNT),
  });
  const pings: number[] = [];
  const requests: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const beside = publish(port, BESIDE);
    const ping = runLoad<{ p99: number }>('mqtt-ping', { port: agent.mqttPort, ...PING });
    const core = { port, kind: 'request', subscribers: 1, count: REQUESTS, dataBytes: DATA_BYTES };
    const request = runLoad<{ p99: number }>('nats-core', core);
    pings.push((await ping).p99);
    requests.push((await request).p99 / 1_000);
    await beside;
  }
  for (const server of [agent, nats]) await server.stop('remove');
  const common = { bench: 'jetstream-slow-disk' };
  const required = { atMost: P99_MS_MAX };
  const during = 'p99, beside publishes';
  return [
    {
      ...common,
      case: `publish with IDs over NATS, window ${WINDOW.toLocaleString('en-US')}`,
      unit: 'msg/s',
      ours,
      peer: { name: 'nats-server, sync_interval: always', measured: theirs },
      required: { atLeast: 200 },
    },
    { ...common, case: `MQTT PING, ${during}`, unit: 'ms', ours: pings, required },
    { ...common, case: `core request, ${during}`, unit: 'ms', ours: requests, required },
  ];
}

if (import.meta.main) await runAlone(run);
