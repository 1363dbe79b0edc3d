// The agent as an operator runs it: `bin/mangrove --config FILE` in a process of its own, watched over HTTP. Its log goes
// to whoever wants to show it.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { until } from '../support/until.ts';

const BINARY = join(import.meta.dirname, '../../bin/mangrove');
/** Lines of its output kept for the case that it fails. */
const TAIL_LINES = 30;

/** One line of its log. */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly error?: string;
}

export interface StreamView {
  readonly messages: number;
  readonly bytes: number;
  /** Messages that the hub has not confirmed. */
  readonly pending: number;
}

interface Varz {
  readonly serial?: readonly { readonly ready: boolean; readonly stored: number }[];
  readonly hub?: { readonly connected: boolean };
}

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly state: { readonly messages: number; readonly bytes: number };
      readonly forward?: { readonly pending: number };
    }[];
  }[];
}

export class AgentProcess {
  readonly #config: string;
  readonly #monitorPort: number;
  readonly #onLog: (line: LogLine) => void;
  readonly #tail: string[] = [];
  #child: ChildProcessByStdio<null, Readable, Readable> | undefined;
  #over = false;

  constructor(config: string, monitorPort: number, onLog: (line: LogLine) => void) {
    this.#config = config;
    this.#monitorPort = monitorPort;
    this.#onLog = onLog;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Its last lines, for an error. */
  get tail(): string {
    return this.#tail.join('\n');
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    if (this.#over) throw new Error('the demo is over');
    // What is meant for the demo is no configuration of the agent's.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('MANGROVE_')),
    );
    const child = spawn(BINARY, ['--config', this.#config], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
      // Ctrl-C is the demo's to answer.
      detached: true,
    });
    this.#child = child;
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => {
      process.off('exit', end);
      if (this.#child === child) this.#child = undefined;
    });
    child.once('error', (error) => this.#note(String(error)));
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.#note(line));
    await until('the agent to answer', async () => {
      if (this.#child !== child) throw new Error(`the agent ended:\n${this.tail}`);
      return (await this.#get('healthz').catch(() => undefined)) !== undefined;
    });
  }

  /** Resolves when the serial port would not cut the next line. */
  async serialReady(): Promise<void> {
    await until('the serial port to be open', async () => {
      const { serial = [] } = await this.#get<Varz>('varz');
      return serial.every(({ ready }) => ready);
    });
  }

  /** Resolves when all `lines` of the serial port are on the disk. */
  async serialSettled(lines: number): Promise<void> {
    await until('the serial lines to be stored', async () => {
      const { serial = [] } = await this.#get<Varz>('varz');
      return serial.every(({ stored }) => stored >= lines);
    });
  }

  async hubConnected(): Promise<boolean> {
    return (await this.#get<Varz>('varz')).hub?.connected === true;
  }

  async stream(): Promise<StreamView> {
    const { account_details: accounts } = await this.#get<Jsz>('jsz?streams=true');
    const detail = accounts?.[0]?.stream_detail?.[0];
    if (detail === undefined) throw new Error('the agent shows no stream');
    const { messages, bytes } = detail.state;
    return { messages, bytes, pending: detail.forward?.pending ?? 0 };
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** The same, and it is not started again. */
  end(): Promise<void> {
    this.#over = true;
    return this.kill();
  }

  #note(line: string): void {
    this.#tail.push(line);
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    try {
      this.#onLog(JSON.parse(line) as LogLine);
    } catch {
      // Not a line of the log: what it said before there was one.
    }
  }

  async #get<T = unknown>(path: string): Promise<T> {
    const answer = await fetch(`http://127.0.0.1:${this.#monitorPort}/${path}`, {
      signal: AbortSignal.timeout(2_000),
    });
    return (await answer.json()) as T;
  }
}
