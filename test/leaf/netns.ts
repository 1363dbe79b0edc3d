// A path of real packets between this machine and a network namespace: delay, loss, a narrow rate, and packets that vanish
// in one direction while nobody is told. Delay, loss and vanishing are path-router.py's, between two tun devices, since not
// every kernel has netem; the rate is a token bucket of the kernel's on both of them. A second pair of devices without any
// of this is there for whoever watches. Linux and root only.

import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

const ROUTER = join(import.meta.dirname, 'path-router.py');
/** What the bottleneck queues: a modem's buffer, in time. */
const QUEUE_MS = 2_000;
/** Bytes that the token bucket lets through at once, if not told otherwise: two packets at least. */
const BURST_BYTES = 4 * 1024;
/** Of 10.214.0.0/15, a /30 for each pid and path. */
const PATHS = 16_384;
/** Of one process: what is beyond would be another's, whose ID is the next one. */
const PATHS_EACH = 16;
/** Namespaces are called so, with the process and a number behind. */
const NAMES = 'mangrove-path-';

/** One direction; what is left out stays as it is. */
export interface Way {
  readonly delayMs?: number;
  readonly lossPercent?: number;
  /** Every packet vanishes. */
  readonly drop?: boolean;
}

export interface PathOptions {
  /** Both ways. */
  readonly way?: Way;
  /** kbit/s each way; undefined is no limit. */
  readonly kbit?: number;
  /** How long a packet may wait at the bottleneck before further ones are lost. */
  readonly queueMs?: number;
  /** How much the line lets pass at once after it was idle. */
  readonly burstBytes?: number;
}

export interface PathCounts {
  readonly packets: number;
  readonly lost: number;
  readonly bytes: number;
}

/**
 * Whether such paths can be had here. Where they cannot (no root), it says so once and the caller may skip; in CI that is
 * an error.
 */
export function canRoute(): boolean {
  const able =
    process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/dev/net/tun');
  if (able) return true;
  const reason = 'tests with network paths of their own need Linux, root and /dev/net/tun';
  if (process.env['CI']) throw new Error(`${reason}: CI must have them`);
  console.warn(`SKIPPED: ${reason}`);
  return false;
}

let opened = 0;

/** A test that fails may leave without disposing. */
const present = new Set<NetnsPath>();
process.once('exit', () => {
  for (const path of present) path.remove();
});

export class NetnsPath implements AsyncDisposable {
  /** Where the far side lives. */
  readonly namespace: string;
  /** Address of the far side as the watcher reaches it. */
  readonly watchHost: string;
  /** Address of the far side over the path. */
  readonly pathHost: string;
  /** A command that runs another one at the far side. */
  readonly wrapper: readonly string[];
  readonly #devices: { readonly near: string; readonly far: string; readonly watch: string };
  #router: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #lines: Interface | undefined;

  private constructor() {
    const number = opened++;
    const index = (process.pid * PATHS_EACH + (number % PATHS_EACH)) % PATHS;
    const [high, low] = [Math.floor(index / 64) % 256, (index % 64) * 4];
    this.namespace = `${NAMES}${process.pid}-${number}`;
    this.#devices = { near: `mgn${index}`, far: `mgf${index}`, watch: `mgw${index}` };
    this.watchHost = `10.214.${high}.${low + 2}`;
    this.pathHost = `10.215.${high}.${low + 2}`;
    this.wrapper = ['ip', 'netns', 'exec', this.namespace];
  }

  static async open(options: PathOptions = {}): Promise<NetnsPath> {
    const { way, kbit } = options;
    removeAbandoned();
    const path = new NetnsPath();
    path.remove();
    present.add(path);
    ip('netns', 'add', path.namespace);
    path.#watch();
    await path.#route();
    if (kbit !== undefined) path.#narrow(kbit, options);
    if (way !== undefined) await path.change({ up: way, down: way });
    return path;
  }

  /** From now on; `up` is to the far side. Resolves, with what has passed so far, when it holds. */
  async change(ways: { readonly up?: Way; readonly down?: Way }): Promise<{
    readonly up: PathCounts;
    readonly down: PathCounts;
  }> {
    this.#router?.stdin.write(`${JSON.stringify(ways)}\n`);
    return JSON.parse(await this.#line()) as { up: PathCounts; down: PathCounts };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    present.delete(this);
    const router = this.#router;
    if (router !== undefined) {
      const gone = new Promise((resolve) => router.once('close', resolve));
      router.stdin.end();
      await gone;
    }
    this.remove();
  }

  /** Takes away what is there of it, at once. */
  remove(): void {
    this.#router?.kill('SIGKILL');
    const { near, watch } = this.#devices;
    quietly('ip', 'link', 'del', near);
    quietly('ip', 'link', 'del', watch);
    quietly('ip', 'netns', 'del', this.namespace);
  }

  /** Devices between here and there that are as good as a cable. */
  #watch(): void {
    const { watch } = this.#devices;
    const here = this.watchHost.replace(/\d+$/, (last) => String(Number(last) - 1));
    ip('link', 'add', watch, 'type', 'veth', 'peer', 'name', `${watch}n`, 'netns', this.namespace);
    ip('addr', 'add', `${here}/30`, 'dev', watch);
    ip('link', 'set', watch, 'up');
    ip(...this.#inside, 'addr', 'add', `${this.watchHost}/30`, 'dev', `${watch}n`);
    ip(...this.#inside, 'link', 'set', `${watch}n`, 'up');
    ip(...this.#inside, 'link', 'set', 'lo', 'up');
  }

  /** The path itself. */
  async #route(): Promise<void> {
    const { near, far } = this.#devices;
    const here = this.pathHost.replace(/\d+$/, (last) => String(Number(last) - 1));
    this.#router = spawn('setpriv', ['--pdeathsig', 'KILL', 'python3', ROUTER, near, far], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface(this.#router.stdout);
    await this.#line();
    ip('link', 'set', far, 'netns', this.namespace);
    ip('addr', 'add', here, 'peer', this.pathHost, 'dev', near);
    ip('link', 'set', near, 'up');
    ip(...this.#inside, 'addr', 'add', this.pathHost, 'peer', here, 'dev', far);
    ip(...this.#inside, 'link', 'set', far, 'up');
    // How much a sender queues depends on it. This one every kernel has, and lets a namespace have; cubic is near to it.
    const control = 'net.ipv4.tcp_congestion_control=reno';
    quietly('ip', 'netns', 'exec', this.namespace, 'sysctl', '-q', '-w', control);
  }

  #narrow(kbit: number, options: PathOptions): void {
    const { queueMs = QUEUE_MS, burstBytes = BURST_BYTES } = options;
    const { near, far } = this.#devices;
    const bucket = ['root', 'tbf', 'rate', `${kbit}kbit`, 'burst', String(burstBytes)];
    const limit = ['latency', `${queueMs}ms`];
    execFileSync('tc', ['qdisc', 'add', 'dev', near, ...bucket, ...limit]);
    execFileSync('tc', ['-n', this.namespace, 'qdisc', 'add', 'dev', far, ...bucket, ...limit]);
  }

  get #inside(): string[] {
    return ['-n', this.namespace];
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#lines?.once('line', resolve);
      this.#router?.once('exit', () => reject(new Error('the router of the path ended')));
    });
  }
}

/** Of processes that were killed. The devices go with their namespace. */
function removeAbandoned(): void {
  for (const line of execFileSync('ip', ['netns'], { encoding: 'utf8' }).split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = name.startsWith(NAMES) ? name.slice(NAMES.length).split('-')[0] : undefined;
    if (pid !== undefined && pid !== '' && !existsSync(`/proc/${pid}`))
      quietly('ip', 'netns', 'del', name);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function quietly(program: string, ...args: string[]): void {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
  } catch {
    // It was not there.
  }
}
