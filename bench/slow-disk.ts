// What does a slow card do: with 20 ms added to every sync, how long does the event loop make a client wait, and how
// many messages a second are still acknowledged?

import { runAlone } from './alone.ts';
import { runLoad, startAgent, startNats, type Agent, type Nats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const DELAY_MS = 20;
/** Stops the process at syncs only; everything else runs at full speed. */
const INJECT = `inject=fdatasync,fsync:delay_enter=${DELAY_MS * 1000}`;
export const STRACE =
  `strace -f --seccomp-bpf -qq -o /dev/null -e trace=fdatasync,fsync -e ${INJECT}`.split(' ');
const ROUNDS = 3;
const RATES = [2_000, 20_000];
const LOOP_P99_MS_MAX = 10;
const SECONDS = 10;
/** `count` for some 2 s of ours; `natsCount` for some 5 s of a server that does one sync a message. */
const WINDOWS = [
  { window: 250, connections: 1, count: 20_000, natsCount: 250 },
  { window: 1_000, connections: 1, count: 50_000, natsCount: 250 },
  { window: 1_000, connections: 5, count: 150_000, natsCount: 250 },
];
const MESSAGE = { dataBytes: 128, topic: 'plant1/boiler/temp' };

export async function run(): Promise<Result[]> {
  const agent = await startAgent({ under: STRACE });
  const nats = await startNats({ under: STRACE, jetstream: 'sync_interval: always' });
  await publish(agent, { window: 1_000, connections: 1, count: 50_000 });
  const results: Result[] = [];
  for (const rate of RATES) {
    const { p99 } = await inRounds(ROUNDS, { p99: () => loopP99(agent, rate) });
    results.push({
      bench: 'slow-disk',
      case: `PING answered, p99, at ${rate.toLocaleString('en-US')} msg/s`,
      unit: 'ms',
      ours: p99,
      required: { atMost: LOOP_P99_MS_MAX },
    });
  }
  for (const { window, connections, count, natsCount } of WINDOWS) {
    const measured = await inRounds(ROUNDS, {
      ours: () => publish(agent, { window, connections, count }),
      nats: () => natsPublish(nats, window * connections, natsCount),
    });
    results.push({
      bench: 'slow-disk',
      case: `window ${window * connections}, MQTT QoS 1`,
      unit: 'msg/s',
      ours: measured.ours,
      peer: { name: 'nats-server, sync_interval: always', measured: measured.nats },
    });
  }
  await agent.stop('remove');
  await nats.stop('remove');
  return results;
}

/** The 99th percentile of how long a PINGREQ waits beside `rate` messages a second, in ms. */
async function loopP99({ mqttPort: port }: Agent, rate: number): Promise<number> {
  const count = rate * SECONDS;
  const [{ p99 }] = await Promise.all([
    runLoad<{ p99: number }>('mqtt-ping', { port, everyMs: 5, seconds: SECONDS }),
    runLoad('mqtt-publish', { port, ...MESSAGE, connections: 2, window: 1_000, count, rate }),
  ]);
  return p99;
}

async function publish(
  { mqttPort: port }: Agent,
  load: { window: number; connections: number; count: number },
): Promise<number> {
  return (await runLoad<{ rate: number }>('mqtt-publish', { port, ...MESSAGE, ...load })).rate;
}

async function natsPublish({ port }: Nats, window: number, count: number): Promise<number> {
  const stream = { stream: 'BENCH', subject: 'bench.a', ids: true };
  const options = { port, ...stream, window, count, dataBytes: MESSAGE.dataBytes };
  return (await runLoad<{ rate: number }>('nats-publish', options)).rate;
}

if (import.meta.main) await runAlone(run);
