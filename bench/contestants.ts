// The programs that are measured, each in a process of its own with its data on the disk in question: the built agent as
// an operator runs it, nats-server and mosquitto. And the load programs, which are processes too: what they burn must not
// be charged to the agent's event loop.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { natsServerBinary, freePort } from '../test/support/nats-server.ts';
import { until } from '../test/support/until.ts';
import { dataDir } from './machine.ts';

export { freePort } from '../test/support/nats-server.ts';

const ROOT = join(import.meta.dirname, '..');
/** The agent to measure: this checkout's, or with BENCH_AGENT another one's `bin/mangrove`. */
export const AGENT = process.env['BENCH_AGENT'] ?? join(ROOT, 'bin/mangrove');
/** The V8 flags that `bin/mangrove` gives the agent, for what runs of it in a load program. */
export const AGENT_FLAGS = [
  ...readFileSync(join(ROOT, 'bin/mangrove'), 'utf8').matchAll(/^exec "\$node" (.*) "\$main"/gm),
].flatMap(([, flags = '']) => flags.split(' '));
const START_MS = 60_000;
/** A server that has not ended by then is killed. */
const STOP_MS = 20_000;

/** A running server. */
export interface Contestant {
  readonly pid: number;
  readonly dir: string;
  /** Ends it; its data stays for another start unless `remove` is given. */
  stop(remove?: 'remove'): Promise<void>;
}

export interface AgentOptions {
  /** Its `bin/mangrove`, to compare two builds. */
  readonly program?: string;
  /** Kept from an earlier start; otherwise a fresh one. */
  readonly dir?: string;
  /** Its name; "bench" without. */
  readonly name?: string;
  /** Further keys of the table `[gateway]`. */
  readonly gateway?: string;
  /** Further tables of the configuration. */
  readonly config?: string;
  /** A program, with its arguments, that runs the agent: strace. */
  readonly under?: readonly string[];
  /** False: do not wait until it listens. */
  readonly wait?: boolean;
  /** The network namespace to run in; nobody waits until it listens there. */
  readonly inside?: string;
}

export interface Agent extends Contestant {
  readonly mqttPort: number;
  readonly monitorPort: number;
  /** When the process was started, in this process's performance.now(). */
  readonly spawnedMs: number;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** Starts `bin/mangrove` with one stream SENSORS on `plant1.>`, MQTT and the monitor. */
export async function startAgent(options: AgentOptions = {}): Promise<Agent> {
  const agent = options.program ?? AGENT;
  if (!existsSync(join(dirname(agent), '../dist/src/main.js')))
    throw new Error('there is no built agent: run `npm run build` first');
  const dir = options.dir ?? dataDir('agent');
  const mqttPort = await freePort();
  const monitorPort = await freePort();
  const file = join(dir, 'agent.toml');
  writeFileSync(
    file,
    `[gateway]
name = "${options.name ?? 'bench'}"
data_dir = "${dir}/data"
${options.gateway ?? ''}
[mqtt]
listen = "127.0.0.1:${mqttPort}"
[monitor]
listen = "127.0.0.1:${monitorPort}"
[[stream]]
name = "SENSORS"
subjects = ["plant1.>"]
${options.config ?? ''}`,
  );
  const under = [...inNamespace(options.inside), ...(options.under ?? [])];
  const [program, ...args] = [...under, agent, '--config', file];
  const spawnedMs = performance.now();
  const waits = options.wait !== false && options.inside === undefined;
  // Monitoring begins when everything else listens.
  const server = await launch(program, args, { port: waits ? monitorPort : undefined });
  // Under strace the agent is its child.
  const pid = options.under === undefined ? server.pid : childOf(server.pid);
  return {
    pid,
    dir,
    mqttPort,
    monitorPort,
    spawnedMs,
    stop: ending(server.child, dir, pid),
    kill: () => end(server.child, pid, 'SIGKILL'),
  };
}

export interface Nats extends Contestant {
  readonly port: number;
  readonly mqttPort: number;
}

export interface NatsOptions {
  /** Its name; "bench" without. */
  readonly name?: string;
  /** A free one by default. */
  readonly port?: number;
  /** The address it listens on: loopback without. */
  readonly host?: string;
  /** Kept from an earlier start; otherwise a fresh one. */
  readonly dir?: string;
  /** Lines of the `jetstream` block. */
  readonly jetstream?: string;
  /** Further blocks of the configuration. */
  readonly config?: string;
  readonly under?: readonly string[];
  /** The network namespace to run in; nobody waits until it listens there. */
  readonly inside?: string;
}

/** Starts nats-server with JetStream and MQTT. */
export async function startNats(options: NatsOptions = {}): Promise<Nats> {
  const dir = options.dir ?? dataDir('nats');
  const host = options.host ?? '127.0.0.1';
  const port = options.port ?? (await freePort());
  const mqttPort = await freePort();
  const file = join(dir, 'nats.conf');
  writeFileSync(
    file,
    `server_name: ${options.name ?? 'bench'}
listen: "${host}:${port}"
jetstream { store_dir: "${dir}/jetstream"
${options.jetstream ?? ''} }
mqtt { listen: "${host}:${mqttPort}" }
${options.config ?? ''}
`,
  );
  const under = [...inNamespace(options.inside), ...(options.under ?? [])];
  const [program, ...args] = [...under, natsServerBinary(), '-c', file];
  const waitPort = options.inside === undefined ? mqttPort : undefined;
  const { child, pid: first } = await launch(program, args, { host, port: waitPort });
  const pid = options.under === undefined ? first : childOf(first);
  return { pid, dir, port, mqttPort, stop: ending(child, dir, pid) };
}

/** `ip netns exec` becomes the program that it runs: the pid is the program's. */
function inNamespace(name: string | undefined): string[] {
  return name === undefined ? [] : ['ip', 'netns', 'exec', name];
}

/** Starts mosquitto with persistence, no limit on what is in flight, and TCP_NODELAY. Undefined where it is missing. */
export async function startMosquitto(): Promise<(Contestant & { mqttPort: number }) | undefined> {
  const program = ['/usr/sbin/mosquitto', '/usr/bin/mosquitto'].find((path) => existsSync(path));
  if (program === undefined) return undefined;
  const dir = dataDir('mosquitto');
  const mqttPort = await freePort();
  mkdirSync(join(dir, 'data'), { mode: 0o777 });
  writeFileSync(
    join(dir, 'mosquitto.conf'),
    `listener ${mqttPort} 127.0.0.1
allow_anonymous true
persistence true
persistence_location ${dir}/data/
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
${process.getuid?.() === 0 ? 'user root' : ''}
`,
  );
  const { child, pid } = await launch(program, ['-c', join(dir, 'mosquitto.conf')], {
    port: mqttPort,
  });
  return { pid, dir, mqttPort, stop: ending(child, dir, pid) };
}

/** Runs a load program of bench/load with `options` as JSON; returns the JSON it prints. */
export function runLoad<T>(name: string, options: object, flags: string[] = []): Promise<T> {
  const child = spawn(
    process.execPath,
    [...flags, join(import.meta.dirname, 'load', `${name}.ts`), JSON.stringify(options)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as T);
      else reject(new Error(`the load program ${name} ended with ${code}: ${text}`));
    });
  });
}

/** Resident memory of a process, in MB (1,000,000 bytes). */
export function rssMB(pid: number): number {
  const [, kB = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (Number(kB) * 1024) / 1e6;
}

async function launch(
  program: string | undefined,
  args: string[],
  { host = '127.0.0.1', port }: { host?: string; port: number | undefined },
): Promise<{ child: ChildProcess; pid: number }> {
  const child = spawn(program ?? '', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on(
      'line',
      (line) => (said = `${said}${line}\n`.slice(-5000)),
    );
  let ended = false;
  child.once('error', (error) => {
    ended = true;
    said += String(error);
  });
  child.once('exit', () => (ended = true));
  const killed = (): void => void child.kill('SIGKILL');
  process.once('exit', killed);
  child.once('exit', () => process.off('exit', killed));
  if (port === undefined) return { child, pid: child.pid ?? 0 };
  await until(
    `${program} to listen`,
    async () => {
      if (ended) throw new Error(`${program} ended:\n${said}`);
      return listens(host, port);
    },
    START_MS,
  );
  return { child, pid: child.pid ?? 0 };
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function ending(
  child: ChildProcess,
  dir: string,
  pid: number,
): (remove?: 'remove') => Promise<void> {
  return async (remove) => {
    await end(child, pid, 'SIGTERM');
    if (remove !== undefined) rmSync(dir, { recursive: true, force: true });
  };
}

async function end(child: ChildProcess, pid: number, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  const late = setTimeout(() => process.kill(pid, 'SIGKILL'), STOP_MS);
  process.kill(pid, signal);
  await gone;
  clearTimeout(late);
}

/** The program that strace, at `pid`, runs. */
function childOf(pid: number): number {
  const listing = execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  return Number(listing.trim());
}
