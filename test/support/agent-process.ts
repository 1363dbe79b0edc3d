// The agent as the operator runs it: a process of its own, started by bin/mangrove on a generated configuration, killed
// and started again as often as a test likes. Ports, configuration and data directory stay the same over restarts.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { agentBuild } from './agent-build.ts';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

/** Characters of log kept of each start; a noisy one loses its beginning. */
const LOG_CHARS_MAX = 1_000_000;

/** The kernel kills the agent with the process that started it, however that ends. */
const LEASH = process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];

export interface AgentOptions {
  /** Default: a directory in the agent's own temporary one. */
  readonly dataDir?: string;
  /** Tables to add to [gateway], [mqtt] and [monitor]: [[stream]], [[serial]], [hub], [[forward]]. */
  readonly config?: string;
  /** Default: gw7. */
  readonly gatewayName?: string;
  /** Keys to add to [gateway]. */
  readonly gateway?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A command that runs another one, such as `['nice']` or `['strace', '-D', …]`; it must leave us the agent's pid. */
  readonly wrapper?: readonly string[];
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One line of the agent's log. */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly hint?: string;
  readonly [key: string]: unknown;
}

/** Tables that forward `stream` to the hub at `url`. */
export function forwardTo(url: string, stream = 'DATA'): string {
  return `[hub]
servers = ["${url}"]
create = true
[[forward]]
stream = "${stream}"
`;
}

/** One stream that takes everything under `data`. */
export const ONE_STREAM = `[[stream]]
name = "DATA"
subjects = ["data.>"]
max_bytes = "1GiB"
`;

export class AgentProcess {
  readonly dir: string;
  readonly dataDir: string;
  readonly configFile: string;
  readonly mqttPort: number;
  readonly monitorPort: number;
  /** May be changed between two starts. */
  options: AgentOptions;
  #child: ChildProcessByStdio<null, Readable, Readable> | undefined;
  #exited: Promise<Exit> = Promise.resolve({ code: null, signal: null });
  #output = '';

  private constructor(options: AgentOptions, mqttPort: number, monitorPort: number) {
    this.options = options;
    this.mqttPort = mqttPort;
    this.monitorPort = monitorPort;
    this.dir = mkdtempSync(join(tmpdir(), 'mangrove-agent-'));
    this.dataDir = options.dataDir ?? join(this.dir, 'data');
    this.configFile = join(this.dir, 'agent.toml');
  }

  /** Chooses ports and writes the configuration; `start` follows. Call `dispose` when done. */
  static async create(options: AgentOptions = {}): Promise<AgentProcess> {
    return new AgentProcess(options, await freePort(), await freePort());
  }

  /** The process ID while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** How the last start ended, once it has. */
  get exited(): Promise<Exit> {
    return this.#exited;
  }

  /** What the last start wrote to stdout and stderr. */
  get output(): string {
    return this.#output;
  }

  /** The log of the last start. */
  get log(): LogLine[] {
    return this.#output
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Starts the process without waiting for it to be up. */
  spawn(): void {
    if (this.#child !== undefined) throw new Error('the agent is still running');
    this.#writeConfig();
    const mangrove = join(agentBuild(), 'bin/mangrove');
    const [command, ...args] = [...LEASH, ...(this.options.wrapper ?? []), mangrove];
    const child = spawn(command ?? mangrove, [...args, '--config', this.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.options.env },
    });
    this.#child = child;
    this.#output = '';
    const note = (chunk: string): void => {
      this.#output = (this.#output + chunk).slice(-LOG_CHARS_MAX);
    };
    child.stdout.setEncoding('utf8').on('data', note);
    child.stderr.setEncoding('utf8').on('data', note);
    // A test that fails may leave without dispose().
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    this.#exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        process.off('exit', end);
        if (this.#child === child) this.#child = undefined;
        resolve({ code, signal });
      });
    });
    this.#exited.catch(() => undefined);
  }

  /** Starts the agent and resolves when it takes messages. Rejects with its log when it ends instead. */
  async start(): Promise<this> {
    this.spawn();
    await until('the agent to run', () => {
      if (this.#child === undefined) throw new Error(`the agent ended:\n${this.#output}`);
      return this.#output.includes('"msg":"the agent is running"');
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#output}`);
    });
    return this;
  }

  /** Sends `signal` and resolves when the process is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.#child?.kill(signal);
    return this.#exited;
  }

  /** Stops it as systemd does. */
  stop(): Promise<Exit> {
    return this.kill('SIGTERM');
  }

  /** Kills what still runs, and removes the temporary directory. */
  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** What an endpoint of the monitor answers, such as `/healthz`. */
  async monitor(path: string): Promise<{ status: number; body: Record<string, unknown> }> {
    const answer = await fetch(`http://127.0.0.1:${this.monitorPort}${path}`, {
      signal: AbortSignal.timeout(5_000),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  }

  /** How far the hub has `stream`: the last sequence that it confirmed. */
  async confirmedSeq(stream = 'DATA'): Promise<number> {
    const { body } = await this.monitor('/varz');
    const { forwards } = body['hub'] as { forwards: { stream: string; confirmed_seq: number }[] };
    return forwards.find((forward) => forward.stream === stream)?.confirmed_seq ?? 0;
  }

  #writeConfig(): void {
    mkdirSync(this.dir, { recursive: true });
    writeFileSync(
      this.configFile,
      `[gateway]
name = "${this.options.gatewayName ?? 'gw7'}"
data_dir = "${this.dataDir}"
${this.options.gateway ?? ''}
[mqtt]
listen = "127.0.0.1:${this.mqttPort}"
[monitor]
listen = "127.0.0.1:${this.monitorPort}"
${this.options.config ?? ONE_STREAM}`,
    );
  }
}
