// Starts real nats-servers for tests: one, or a cluster of three, on free loopback ports, with JetStream in a
// directory of the caller's. kill() is SIGKILL, stop() lets the server shut down; both keep port and directory, so that
// restart() brings the same server back. A missing binary is a failure, never a skip.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

const SCRIPT = join(import.meta.dirname, '../../scripts/fetch-nats-server.sh');

export interface NatsServerOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Default: a temporary directory, removed by stop(). */
  readonly storeDir?: string;
  /** Lines for the `jetstream { … }` block, e.g. `sync_interval: always`. */
  readonly jetstream?: string;
  /** Further top-level configuration: accounts, tls, limits. */
  readonly config?: string;
  /** The binary, where it shall not be the one of nats-server.sh. */
  readonly binary?: string;
}

export interface NatsServer {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** SIGKILL: what was not synced may be lost with the machine, but not with the process. */
  kill(): Promise<void>;
  /** SIGTERM, and the temporary directory is removed when nothing restarts the server any more: see dispose(). */
  stop(): Promise<void>;
  /** Starts it again after kill() or stop(), same port, same directory. */
  restart(): Promise<void>;
  /** Kills it and removes its temporary directory. */
  dispose(): Promise<void>;
}

let binary: string | undefined;

/** The path of a nats-server of at least 2.15; fetches one on the first use. Throws where none can be had. */
export function natsServerBinary(): string {
  binary ??= execFileSync('sh', [SCRIPT], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
  return binary;
}

/** Ports are drawn below the range that the kernel gives to outgoing connections: those would come in between. */
const PORTS_FROM = 10_240;
const PORTS_TO = 32_000;
/** Draws until a free port is found. */
const DRAWS_MAX = 100;

/** A TCP port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const port = PORTS_FROM + Math.floor(Math.random() * (PORTS_TO - PORTS_FROM));
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port in ${DRAWS_MAX} draws`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** Starts one server and resolves when it takes connections and JetStream is up. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = new Server(
    'hub',
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

/** Starts `size` servers that form one cluster, and resolves when its JetStream has a leader. */
export async function startCluster(
  size = 3,
  options: NatsServerOptions = {},
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
        `cluster { name: hub, listen: "127.0.0.1:${route}", routes: [${routes}] }\n`,
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
  readonly #options: NatsServerOptions;
  readonly #monitorPort: number;
  readonly #cluster: string;
  readonly #dir: string;
  #child: ChildProcess | undefined;
  #output = '';

  constructor(
    name: string,
    options: NatsServerOptions,
    port: number,
    monitorPort: number,
    cluster: string,
  ) {
    this.name = name;
    this.port = port;
    this.url = `nats://127.0.0.1:${port}`;
    this.#options = options;
    this.#monitorPort = monitorPort;
    this.#cluster = cluster;
    this.#dir = mkdtempSync(join(tmpdir(), 'mangrove-nats-'));
  }

  async restart(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.name} is still running`);
    const child = spawn(this.#options.binary ?? natsServerBinary(), ['-c', this.#configFile()], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#output = '';
    const note = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
    };
    child.stdout.on('data', note);
    child.stderr.on('data', note);
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    // A test that fails may leave without dispose(): no server outlives the process that started it.
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
    await until(`${this.name} to be ready`, () => this.#isReady(), 30_000).catch(
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

  async #isReady(): Promise<boolean> {
    if (this.#child === undefined) throw new Error(`${this.name} ended:\n${this.#output}`);
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#monitorPort}/healthz`);
      return answer.ok;
    } catch {
      return false;
    }
  }

  #configFile(): string {
    const storeDir = this.#options.storeDir ?? join(this.#dir, 'jetstream');
    mkdirSync(storeDir, { recursive: true });
    const file = join(this.#dir, 'nats.conf');
    writeFileSync(
      file,
      `server_name: ${this.name}
listen: "127.0.0.1:${this.port}"
http: "127.0.0.1:${this.#monitorPort}"
jetstream {
  store_dir: "${storeDir}"
  ${this.#options.jetstream ?? ''}
}
${this.#cluster}${this.#options.config ?? ''}
`,
    );
    return file;
  }
}
