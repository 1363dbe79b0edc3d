// 200 gateways lose their hub, gather a backlog each, and find it again: how do they spread when it is back, how long
// until all are drained, and is anything lost? Whole agents, 20 to a process: 200 processes would measure this
// machine's scheduler.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { runAlone } from './alone.ts';
import { AGENT, freePort } from './contestants.ts';
import { sleep, startHub, type Hub, type HubOptions } from './hub.ts';
import type { FleetOptions, FleetReport } from './load/fleet.ts';
import { dataDir } from './machine.ts';
import type { Result } from './report.ts';
import { quantile } from './rounds.ts';

const GATEWAYS = Number(process.env['BENCH_GATEWAYS'] ?? 200);
const PER_PROCESS = 20;
const BACKLOG = Number(process.env['BENCH_COUNT'] ?? 1_000);
const DATA_BYTES = 128;
/** Long enough for the back-off of each to be at its cap (`reconnect_max`, 15 s by default). */
const OUTAGE_MS = 25_000;
const PATIENCE_MS = 300_000;
const POLL_MS = 100;
const MODE = process.env['BENCH_MODES'] ?? 'auto';

export async function run(): Promise<Result[]> {
  const http = await freePort();
  const at: HubOptions = { port: await freePort(), config: `http: "127.0.0.1:${http}"` };
  let hub = await startHub(at);
  const processes: FleetProcess[] = [];
  try {
    for (let first = 0; first < GATEWAYS; first += PER_PROCESS)
      processes.push(new FleetProcess(first, `nats://127.0.0.1:${at.port}`));
    await Promise.all(processes.map((process) => process.started));
    await connected(http);
    await hub.stop();
    const downMs = performance.now();
    await Promise.all(processes.map((process) => process.order('fill')));
    await sleep(Math.max(0, OUTAGE_MS - (performance.now() - downMs)));
    const upAt = Date.now();
    hub = await startHub({ ...at, dir: hub.dir });
    return await comeback({ hub, http, upAt, processes });
  } finally {
    for (const process of processes) await process.stop();
    await hub.stop('remove');
  }
}

/** Watches the fleet come back to a hub that was started at `upAt` (wall clock, ms). */
async function comeback(on: {
  readonly hub: Hub;
  readonly http: number;
  readonly upAt: number;
  readonly processes: readonly FleetProcess[];
}): Promise<Result[]> {
  const { hub, http, upAt, processes } = on;
  const starts = (await connected(http)).map((ms) => (ms - upAt) / 1000);
  const report = await drained(processes);
  const drainedS = (Date.now() - upAt) / 1000;
  const audit = await hub.audit({
    stream: 'EDGE',
    filter: 'edge.*.SENSORS.>',
    count: BACKLOG,
    numberAt: 0,
    gatewayToken: 1,
  });
  console.error(`connections a second after the hub's start: ${histogram(starts)}`);
  console.error(JSON.stringify({ audit, ...report }));
  const row = (name: string, unit: string, value: number, atMost?: number): Result => ({
    bench: 'fleet',
    case: name,
    unit,
    ours: [value],
    ...(atMost === undefined ? {} : { required: { atMost } }),
  });
  const total = GATEWAYS * BACKLOG;
  return [
    row(`${GATEWAYS} gateways connected again, half of them after`, 's', quantile(starts, 0.5)),
    row(`${GATEWAYS} gateways connected again, the last after`, 's', Math.max(...starts)),
    row('most connections within one second', 'gateways', Math.max(...perSecond(starts))),
    row(`${BACKLOG.toLocaleString('en-US')} messages of each at the hub after`, 's', drainedS),
    row('of all together', 'msg/s', total / drainedS),
    row('missing, twice or out of order', 'messages', audit.missing + audit.twice, 0),
    row('attempts that failed and were repeated', 'attempts', report.counters['retries'] ?? NaN),
  ];
}

/** When each gateway's connection was made (wall clock, ms), once all are there. */
async function connected(http: number): Promise<number[]> {
  const giveUpMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${http}/connz?limit=2000`);
    const { connections } = (await answer.json()) as {
      connections: { name?: string; start: string }[];
    };
    const gateways = connections.filter(({ name }) => name?.startsWith('mangrove gw') === true);
    if (gateways.length >= GATEWAYS) return gateways.map(({ start }) => Date.parse(start));
    if (performance.now() > giveUpMs) throw new Error(`${gateways.length} gateways came in time`);
    await sleep(POLL_MS);
  }
}

async function drained(processes: readonly FleetProcess[]): Promise<FleetReport> {
  const giveUpMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const reports = await Promise.all(
      processes.map((process) => process.order('report') as Promise<FleetReport>),
    );
    const all = reports.reduce((sum, report) => ({
      pending: sum.pending + report.pending,
      drained: sum.drained + report.drained,
      counters: added(sum.counters, report.counters),
      warnings: added(sum.warnings, report.warnings),
    }));
    if (all.drained === GATEWAYS) return all;
    if (performance.now() > giveUpMs) throw new Error(`not drained: ${JSON.stringify(all)}`);
    await sleep(POLL_MS);
  }
}

function added(a: Record<string, number>, b: Record<string, number>): Record<string, number> {
  const sum = { ...a };
  for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
  return sum;
}

function perSecond(seconds: readonly number[]): number[] {
  const counts: number[] = [];
  for (const second of seconds) {
    const bucket = Math.max(0, Math.floor(second));
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  return Array.from(counts, (count: number | undefined) => count ?? 0);
}

function histogram(seconds: readonly number[]): string {
  return perSecond(seconds)
    .map((count, second) => `${second}: ${count}`)
    .join(', ');
}

/** A process with some gateways; it answers orders one by one. */
class FleetProcess {
  readonly started: Promise<unknown>;
  readonly #dir = dataDir('fleet');
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #killed = (): void => void this.#child.kill('SIGKILL');

  constructor(first: number, hub: string) {
    const options: FleetOptions = {
      dist: join(dirname(AGENT), '../dist'),
      dir: this.#dir,
      hub,
      first,
      gateways: Math.min(PER_PROCESS, GATEWAYS - first),
      backlog: BACKLOG,
      dataBytes: DATA_BYTES,
      forward: MODE === 'auto' ? '' : `mode = "${MODE}"`,
    };
    const program = join(import.meta.dirname, 'load/fleet.ts');
    const child = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Each gateway has a thread for its syncs, as it would have by itself.
      env: { ...process.env, UV_THREADPOOL_SIZE: String(PER_PROCESS + 4) },
    });
    this.#child = child;
    process.prependOnceListener('exit', this.#killed);
    const lines: Interface = createInterface({ input: child.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
    this.started = this.#answer();
  }

  order(what: 'fill' | 'report'): Promise<unknown> {
    this.#child.stdin?.write(`${what}\n`);
    return this.#answer();
  }

  async stop(): Promise<void> {
    process.off('exit', this.#killed);
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await gone;
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('a process of the fleet has ended');
    return JSON.parse(value);
  }
}

if (import.meta.main) await runAlone(run);
