// A real mosquitto with a directory of its own, on a loopback port that stays the same over restarts. It keeps its
// sessions on the disk, and limits no queue unless told to. It ends with the process that started it, however that ends.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './nats-server.ts';
import { until } from './until.ts';

const LEASH = process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
/** Debian puts it where only root looks. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;

export interface MosquittoOptions {
  /** Further lines of its configuration. */
  readonly config?: string;
  /** Lines instead of `allow_anonymous true`. */
  readonly access?: string;
  /** Files for its directory, by name; `DIR` in the configuration stands for it. */
  readonly files?: Readonly<Record<string, string>>;
}

export class Mosquitto implements AsyncDisposable {
  readonly port: number;
  readonly dir = mkdtempSync(join(tmpdir(), 'mangrove-mosquitto-'));
  readonly #options: MosquittoOptions;
  #child: ChildProcess | undefined;
  log = '';

  private constructor(port: number, options: MosquittoOptions) {
    this.port = port;
    this.#options = options;
  }

  /** A running one. */
  static async start(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort(), options);
    try {
      for (const [name, text] of Object.entries(options.files ?? {})) broker.file(name, text);
      await broker.restart();
      return broker;
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** Writes a file into its directory, and returns the path. */
  file(name: string, text: string): string {
    const path = join(this.dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Starts it after `stop` or `kill`, on what it has on its disk. */
  async restart(): Promise<void> {
    const config = `listener ${this.port} 127.0.0.1
${this.#options.access ?? 'allow_anonymous true'}
persistence true
persistence_location ${this.dir}/
max_queued_messages 0
log_type all
log_dest stderr
${process.getuid?.() === 0 ? 'user root' : ''}
${this.#options.config ?? ''}
`;
    const file = this.file('mosquitto.conf', config.replaceAll('DIR', this.dir));
    const [command, ...args] = [...LEASH, 'mosquitto', '-c', file];
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PATH },
    });
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-100_000);
    });
    await once(child, 'spawn');
    await until('mosquitto to listen', () => {
      if (child.exitCode !== null) throw new Error(`mosquitto ended:\n${this.log}`);
      return answers(this.port);
    });
  }

  /** SIGTERM: it writes what it knows to its disk. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  /** It reads its users and rights again. */
  reload(): void {
    this.#child?.kill('SIGHUP');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
