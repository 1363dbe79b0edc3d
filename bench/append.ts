// How many durable appends a second: 128-byte messages with IDs through Broker.publish, the receipt after fdatasync?

import { rmSync } from 'node:fs';
import { runAlone } from './alone.ts';
import { AGENT_FLAGS, runLoad, startNats } from './contestants.ts';
import { dataDir } from './machine.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 5;
const WINDOWS = [250, 1_000, 5_000];
const DATA_BYTES = 128;
const COUNT = 200_000;
/** At some 5,000 a second. */
const COUNT_ALWAYS = 10_000;

export async function run(): Promise<Result[]> {
  const nats = await startNats();
  const always = await startNats({ jetstream: 'sync_interval: always' });
  const results: Result[] = [];
  await publish(nats.port, 1_000, COUNT);
  for (const window of WINDOWS) {
    const measured = await inRounds(ROUNDS, {
      ours: () => append(window),
      nats: () => publish(nats.port, window, COUNT),
      always: () => publish(always.port, window, COUNT_ALWAYS),
    });
    const { ours } = measured;
    const common = { bench: 'append', unit: 'msg/s', case: `window ${window}`, ours };
    results.push({
      ...common,
      peer: { name: 'nats-server, default: no sync', measured: measured.nats },
      required: { atLeast: 1 },
    });
    results.push({
      ...common,
      peer: { name: 'nats-server, sync_interval: always', measured: measured.always },
      required: { atLeast: 40 },
    });
  }
  await nats.stop('remove');
  await always.stop('remove');
  return results;
}

async function append(window: number): Promise<number> {
  const dir = dataDir('append');
  const options = { dir, count: COUNT, window, dataBytes: DATA_BYTES };
  const { rate } = await runLoad<{ rate: number }>('append', options, AGENT_FLAGS);
  rmSync(dir, { recursive: true });
  return rate;
}

async function publish(port: number, window: number, count: number): Promise<number> {
  const stream = { stream: 'BENCH', subject: 'bench.a', ids: true };
  const options = { port, ...stream, count, window, dataBytes: DATA_BYTES };
  return (await runLoad<{ rate: number }>('nats-publish', options)).rate;
}

if (import.meta.main) await runAlone(run);
