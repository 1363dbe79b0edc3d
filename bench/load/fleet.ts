// Some gateways of a fleet in one process: whole agents with data directories of their own, without devices. Told by lines
// on standard input: "fill" stores a backlog in each, "report" prints how each stands. Prints a line of JSON for each order,
// and one when all have started.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import type * as ClockModule from '../../src/clock.ts';
import type * as ConfigModule from '../../src/config.ts';
import type * as MainModule from '../../src/main.ts';
import { NUMBER_DIGITS } from './data.ts';

export interface FleetOptions {
  /** The agent's directory of built code: `dist`. */
  readonly dist: string;
  readonly dir: string;
  readonly hub: string;
  /** The numbers of these gateways. */
  readonly first: number;
  readonly gateways: number;
  readonly backlog: number;
  readonly dataBytes: number;
  /** Further lines of `[[forward]]`. */
  readonly forward: string;
}

export interface FleetReport {
  /** Messages that the hub has not confirmed, of all gateways. */
  readonly pending: number;
  /** Gateways with nothing pending. */
  readonly drained: number;
  readonly counters: Record<string, number>;
  /** How often each thing was logged at warn or above. */
  readonly warnings: Record<string, number>;
}

type Main = typeof MainModule;

/** Stored at once, then the disk gets its turn. */
const AT_ONCE = 500;

const options = JSON.parse(process.argv[2] ?? '') as FleetOptions;
const { startAgent } = await built<Main>('main');
const { loadConfig } = await built<typeof ConfigModule>('config');
const { systemClock } = await built<typeof ClockModule>('clock');
const warnings = new Map<string, number>();
const log = pino({ level: 'warn', base: null }, { write: (line) => noteWarning(line) });
const agents: Awaited<ReturnType<Main['startAgent']>>[] = [];
for (let i = 0; i < options.gateways; i++) {
  const config = loadConfig(configFile(options.first + i), {});
  const onFatal = (error: Error): never => {
    throw error;
  };
  agents.push(await startAgent(config, { clock: systemClock, log, onFatal }));
}
console.log(JSON.stringify({ started: agents.length }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'fill') {
    for (const agent of agents) await fill(agent.parts.broker);
    console.log(JSON.stringify({ filled: agents.length }));
  } else if (line === 'report') {
    console.log(JSON.stringify(report()));
  }
}
await Promise.all(agents.map((agent) => agent.stop()));
process.exit(0);

function built<T>(name: string): Promise<T> {
  return import(pathToFileURL(join(options.dist, `src/${name}.js`)).href) as Promise<T>;
}

function configFile(number: number): string {
  const name = `gw${String(number).padStart(3, '0')}`;
  const dir = join(options.dir, name);
  mkdirSync(dir, { recursive: true });
  const file = join(dir, 'agent.toml');
  writeFileSync(
    file,
    `[gateway]\nname = "${name}"\ndata_dir = "${dir}/data"
[[stream]]\nname = "SENSORS"\nsubjects = ["plant1.>"]\nmax_bytes = "64MiB"
[hub]\nservers = ["${options.hub}"]\ncreate = true
[[forward]]\nstream = "SENSORS"\n${options.forward}\n`,
    { mode: 0o600 },
  );
  return file;
}

async function fill(broker: (typeof agents)[number]['parts']['broker']): Promise<void> {
  for (let from = 0; from < options.backlog; from += AT_ONCE)
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, options.backlog - from) }, (_, i) => {
        const data = Buffer.alloc(options.dataBytes, 'x');
        data.write(String(from + i).padStart(NUMBER_DIGITS, '0'), 'latin1');
        return new Promise<void>((resolve, reject) => {
          broker.publish({ subject: 'plant1.boiler.temp', data }, (error) =>
            error === null ? resolve() : reject(error),
          );
        });
      }),
    );
}

function report(): FleetReport {
  const counters: Record<string, number> = {};
  let pending = 0;
  let drained = 0;
  for (const agent of agents) {
    const status = agent.parts.forwarders[0]?.status() as unknown as Record<string, unknown>;
    const waiting = Number(status['pending']);
    pending += waiting;
    if (waiting === 0) drained++;
    for (const name of ['batches', 'retries', 'readBacks', 'duplicates', 'rejected'])
      counters[name] = (counters[name] ?? 0) + Number(status[name] ?? 0);
  }
  return { pending, drained, counters, warnings: Object.fromEntries(warnings) };
}

function noteWarning(line: string): void {
  const { msg, err_code: errCode } = JSON.parse(line) as { msg: string; err_code?: number };
  const key = errCode === undefined ? msg : `${msg}: ${errCode}`;
  warnings.set(key, (warnings.get(key) ?? 0) + 1);
}
