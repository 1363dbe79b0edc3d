// How many bytes reach the disk for each message of 200 bytes, at 1, 10, 100 and 1,000 a second, and how long is the
// acknowledgement awaited? For each commit_interval, and for nats-server as it is and with sync_interval: always. Needs root.
//
// Each contestant has a file system of its own, and every block counts that it or its journal writes, also what is still in
// memory at the end. Counted from a state like that of months: the WAL has gone round.

import { runAlone } from './alone.ts';
import { runLoad, startAgent, startNats, type Contestant } from './contestants.ts';
import { sleep, startHub, type Hub } from './hub.ts';
import type { Latency } from './load/latency.ts';
import { isRootFor } from './machine.ts';
import { MeasuredDisk } from './measured-disk.ts';
import type { Result } from './report.ts';

const DATA_BYTES = 200;
const SUBJECT = 'plant1.boiler.temp';
/** Before anything is counted: twice round the WAL. */
const PREFILL = 40_000;
/** The file system's own journal is at rest, and what the start caused is written. */
const SETTLE_MS = 6_000;
const RATES = [1, 10, 100, 1_000];
/** Below this they run at the same time: together they do not keep a disk busy. */
const TOGETHER_BELOW = 100;
/** At the low rates; BENCH_SECONDS=60 for a table to decide by. */
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 15);
/** At the high ones, where much happens in little time. */
const SECONDS_BUSY = Math.min(10, SECONDS);
const INTERVALS = (process.env['BENCH_INTERVALS'] ?? '0s,5ms,20ms,100ms,1s').split(',');

interface Measured {
  readonly bytes: number;
  readonly ack: Latency['ack'];
}

interface Worn {
  readonly name: string;
  measure(rate: number): Promise<Measured>;
  stop(): Promise<void>;
}

export async function run(): Promise<Result[]> {
  if (!isRootFor('wear: a file system of its own on a loop device')) return [];
  const all: Worn[] = [];
  const hubs: Hub[] = [];
  try {
    for (const interval of INTERVALS) all.push(await agent(interval));
    const hub = await startHub();
    hubs.push(hub);
    all.push(await agent(INTERVALS[0] ?? '0s', hub));
    all.push(await nats('nats-server', ''));
    all.push(await nats('nats-server, sync_interval: always', 'sync_interval: always'));
    const results: Result[] = [];
    for (const rate of RATES) {
      const measured = await (rate < TOGETHER_BELOW ? together(all, rate) : inTurn(all, rate));
      results.push(...rows(all, measured, rate));
    }
    return results;
  } finally {
    for (const worn of all) await worn.stop();
    for (const hub of hubs) await hub.stop('remove');
  }
}

function together(all: readonly Worn[], rate: number): Promise<Measured[]> {
  return Promise.all(all.map((worn) => worn.measure(rate)));
}

async function inTurn(all: readonly Worn[], rate: number): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const worn of all) measured.push(await worn.measure(rate));
  return measured;
}

function rows(all: readonly Worn[], measured: readonly Measured[], rate: number): Result[] {
  return all.flatMap(({ name }, i) => {
    const found = measured[i];
    if (found === undefined) return [];
    const row = (what: string, unit: string, value: number): Result => ({
      bench: 'wear',
      case: `${rate.toLocaleString('en-US')} msg/s, ${name}: ${what}`,
      unit,
      ours: [value],
    });
    return [
      row('written', 'bytes/msg', found.bytes),
      row('ack p50', 'ms', found.ack.p50),
      row('ack p99', 'ms', found.ack.p99),
    ];
  });
}

/** With a hub each message is also forwarded as it comes. */
async function agent(interval: string, hub?: Hub): Promise<Worn> {
  const disk = new MeasuredDisk();
  const options = {
    dir: disk.path,
    gateway: `commit_interval = "${interval}"`,
    config: hub === undefined ? '' : forwardTo(hub),
  };
  const server = await startAgent(options);
  const fill = { connections: 1, window: 1_000, dataBytes: DATA_BYTES, count: PREFILL };
  const topic = SUBJECT.replaceAll('.', '/');
  await runLoad('mqtt-publish', { port: server.mqttPort, topic, ...fill });
  const name = `commit_interval ${interval}${hub === undefined ? '' : ', forwarded'}`;
  return worn(name, disk, server, { by: 'mqtt', port: server.mqttPort });
}

function forwardTo({ port }: Hub): string {
  return `[hub]\nservers = ["nats://127.0.0.1:${port}"]\ncreate = true
[[forward]]\nstream = "SENSORS"\n`;
}

async function nats(name: string, jetstream: string): Promise<Worn> {
  const disk = new MeasuredDisk();
  const server = await startNats({ dir: disk.path, jetstream });
  const fill = { window: 1_000, dataBytes: DATA_BYTES, count: PREFILL, ids: false };
  const stream = { stream: 'SENSORS', subject: SUBJECT };
  await runLoad('nats-publish', { port: server.port, ...stream, ...fill });
  return worn(name, disk, server, { by: 'nats', port: server.port });
}

function worn(
  name: string,
  disk: MeasuredDisk,
  server: Contestant,
  by: { readonly by: 'mqtt' | 'nats'; readonly port: number },
): Worn {
  return {
    name,
    measure: async (rate) => {
      disk.flush();
      await sleep(SETTLE_MS);
      disk.flush();
      const before = disk.writtenBytes();
      const seconds = rate < TOGETHER_BELOW ? SECONDS : SECONDS_BUSY;
      const load = { ...by, subject: SUBJECT, rate, seconds, dataBytes: DATA_BYTES };
      const { sent, ack } = await runLoad<Latency>('latency', load);
      disk.flush();
      return { bytes: (disk.writtenBytes() - before) / sent, ack };
    },
    stop: async () => {
      await server.stop();
      disk.remove();
    },
  };
}

if (import.meta.main) await runAlone(run);
