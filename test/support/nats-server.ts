// Starts real nats-servers for tests: one, or a cluster of three, on free loopback ports, with JetStream in a
// directory of the caller's. kill() is SIGKILL, stop() lets the server shut down; both keep port and directory, so that
// restart() brings the same server back. No server outlives the process that started it, however that ends. A missing
// binary is a failure, never a skip.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

export { freePort } from './free-port.ts';

const SCRIPT = join(import.meta.dirname, '../../scripts/fetch-nats-server.sh');

/** The kernel kills a server with the process that started it, also where that is killed itself. */
const LEASH = process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];

/** A server that shall leave gently tells its clients and leaders to move, waits for them this long, and ends. */
const LAME_DUCK = 'lame_duck_grace_period: "1s"\nlame_duck_duration: "30s"';

export interface NatsServerOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Default: a temporary directory, removed by stop(). */
  readonly storeDir?: string;
  /** Lines for the `jetstream { … }` block, e.g. `sync_interval: always`; null for a server without JetStream. */
  readonly jetstream?: string | null;
  /** Further top-level configuration: accounts, tls, limits. */
  readonly config?: string;
  /** The binary, where it shall not be the one of nats-server.sh. */
  readonly binary?: string;
  /** Default: hub. */
  readonly name?: string;
  /** Default: the loopback. */
  readonly host?: string;
  /** A command that runs another one, such as `['ip', 'netns', 'exec', …]`. */
  readonly wrapper?: readonly string[];
}

const LOOPBACK = '127.0.0.1';
const NEWLINE = 10;

/** Servers of a cluster that were all killed elect a leader first, which takes 2.9 half a minute on a busy machine. */
const READY_MS = 90_000;

type Ready = 'streams' | 'server';

export interface NatsServer {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** Where JetStream keeps its streams. */
  readonly storeDir: string;
  /** Where it answers `/varz`, `/leafz`, …. */
  readonly monitorUrl: string;
  /** The end of what it has logged since its last start. */
  readonly output: string;
  /** Lines that it has logged since its last start. */
  readonly linesLogged: number;
  /** Whether the process lives, also a stopped one (SIGSTOP). */
  readonly running: boolean;
  /** SIGKILL: what was not synced may be lost with the machine, but not with the process. */
  kill(): Promise<void>;
  /** SIGTERM, and the temporary directory is removed when nothing restarts the server any more: see dispose(). */
  stop(): Promise<void>;
  /** Leaves gently: lame duck mode moves clients and leaders to others, then the server ends. */
  leave(): Promise<void>;
  /** The process stands still (or goes on): connections stay open, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** Other options from the next restart() on. */
  configure(change: Pick<NatsServerOptions, 'jetstream' | 'config'>): void;
  /** Reads its configuration again: what configure() changed, or a file that it includes. It takes a moment. */
  reload(): void;
  /**
   * Starts it again after kill() or stop(), same port, same directory. Resolves when it is ready: with all of its
   * `streams`, or the `server` alone.
   */
  restart(ready?: Ready): Promise<void>;
  /** Kills it and removes its temporary directory. */
  dispose(): Promise<void>;
}

/** A test that fails may leave without dispose(); and not every system has the leash. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let binary: string | undefined;

/** The path of a nats-server of at least 2.15; fetches one on the first use. Throws where none can be had. */
export function natsServerBinary(): string {
  binary ??= execFileSync('sh', [SCRIPT], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
  return binary;
}

/** Starts one server and resolves when it takes connections and JetStream is up. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = new Server(
    options.name ?? 'hub',
    options,
    options.port ?? (await freePort()),
    await freePort(),
    '',
  );
  await server.restart();
  return server;
}

export interface NatsCluster {
  readonly servers: readonly NatsServer[];
  readonly urls: readonly string[];
  dispose(): Promise<void>;
}

/**
 * Starts `size` servers that form one cluster, and resolves when its JetStream has a leader. `each` adds configuration to
 * one of them.
 */
export async function startCluster(
  size = 3,
  options: NatsServerOptions = {},
  each: (index: number) => string = () => '',
): Promise<NatsCluster> {
  const ports: { client: number; monitor: number; route: number }[] = [];
  for (let i = 0; i < size; i++)
    ports.push({ client: await freePort(), monitor: await freePort(), route: await freePort() });
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`).join(', ');
  const servers = ports.map(
    ({ client, monitor, route }, i) =>
      new Server(
        `hub${i + 1}`,
        options,
        client,
        monitor,
        `cluster { name: hub, listen: "127.0.0.1:${route}", routes: [${routes}] }\n${each(i)}\n`,
      ),
  );
  await Promise.all(servers.map((server) => server.restart()));
  return {
    servers,
    urls: servers.map((server) => server.url),
    dispose: async () => void (await Promise.all(servers.map((server) => server.dispose()))),
  };
}

class Server implements NatsServer {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  readonly monitorUrl: string;
  #options: NatsServerOptions;
  readonly #monitorPort: number;
  readonly #cluster: string;
  readonly #dir: string;
  #child: ChildProcess | undefined;
  #output = '';
  #lines = 0;

  constructor(
    name: string,
    options: NatsServerOptions,
    port: number,
    monitorPort: number,
    cluster: string,
  ) {
    this.name = name;
    this.port = port;
    this.url = `nats://${options.host ?? LOOPBACK}:${port}`;
    this.monitorUrl = `http://${options.host ?? LOOPBACK}:${monitorPort}`;
    this.#options = options;
    this.#monitorPort = monitorPort;
    this.#cluster = cluster;
    this.#dir = mkdtempSync(join(tmpdir(), 'mangrove-nats-'));
    this.storeDir = options.storeDir ?? join(this.#dir, 'jetstream');
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get output(): string {
    return this.#output;
  }

  get linesLogged(): number {
    return this.#lines;
  }

  async restart(ready: Ready = 'streams'): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.name} is still running`);
    const binaryPath = this.#options.binary ?? natsServerBinary();
    const { wrapper = [] } = this.#options;
    const [program, ...args] = [...LEASH, ...wrapper, binaryPath, '-c', this.#configFile()];
    const child = spawn(program ?? binaryPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#output = '';
    this.#lines = 0;
    const note = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
      for (const byte of chunk) if (byte === NEWLINE) this.#lines++;
    };
    child.stdout.on('data', note);
    child.stderr.on('data', note);
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    await until(`${this.name} to be ready`, () => this.#isReady(ready), READY_MS).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${this.#output}`);
      },
    );
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  leave(): Promise<void> {
    return this.#end('SIGUSR2');
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  reload(): void {
    this.#configFile();
    this.#child?.kill('SIGHUP');
  }

  configure(change: Pick<NatsServerOptions, 'jetstream' | 'config'>): void {
    this.#options = { ...this.#options, ...change };
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
    child.kill(signal);
    await gone;
  }

  async #isReady(ready: Ready): Promise<boolean> {
    if (this.#child === undefined) throw new Error(`${this.name} ended:\n${this.#output}`);
    try {
      const what = ready === 'server' ? '?js-server-only=true' : '';
      const answer = await fetch(`${this.monitorUrl}/healthz${what}`);
      return answer.ok;
    } catch {
      return false;
    }
  }

  #configFile(): string {
    mkdirSync(this.storeDir, { recursive: true });
    const file = join(this.#dir, 'nats.conf');
    const { jetstream = '', config = '', host = LOOPBACK } = this.#options;
    const store = `jetstream {\n  store_dir: "${this.storeDir}"\n  ${jetstream ?? ''}\n}`;
    writeFileSync(
      file,
      `server_name: ${this.name}
listen: "${host}:${this.port}"
http: "${host}:${this.#monitorPort}"
${jetstream === null ? '' : store}
${LAME_DUCK}
${this.#cluster}${config}
`,
    );
    return file;
  }
}
