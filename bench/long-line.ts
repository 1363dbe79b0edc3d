// Lines that are long (a delaying proxy, in a process of its own) or narrow (a network namespace behind a veth pair
// whose both ends have a token bucket). netem is not everywhere; these two are. A narrow line needs root.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './contestants.ts';
import type { DelayProxyOptions } from './load/delay-proxy.ts';

export interface Line {
  stop(): Promise<void>;
}

/** Starts a proxy that answers at `host` and hands on to a port there, `rttMs` there and back. */
export async function delayed(
  host: string,
  toHost: string,
  toPort: number,
  rttMs: number,
): Promise<Line & { readonly port: number }> {
  const port = await freePort();
  const options: DelayProxyOptions = { host, port, toHost, toPort, delayMs: rttMs / 2 };
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'load/delay-proxy.ts'), JSON.stringify(options)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => Promise.reject(new Error('the delaying proxy ended'))),
  ]);
  return {
    port,
    stop: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

/** Bytes that the token bucket lets through at once: some packets, so that a timer tick loses nothing. */
const BURST_BYTES = 16 * 1024;
/** What the bottleneck queues: a modem's buffer, in time. */
const QUEUE_MS = 200;

/** A namespace behind a line of `mbit` Mbit/s each way. The namespace reaches us at `host`, and nothing else. */
export class NarrowLine implements Line {
  readonly namespace: string;
  readonly host: string;
  readonly #device: string;
  readonly #atExit = (): void => this.#remove();

  private constructor(index: number) {
    this.namespace = `mangrove-bench-${index}`;
    this.#device = `mgb${index}`;
    // 10.213.0.0/16, a /30 for each pid: pids of two benches at once differ.
    const [high, low] = [Math.floor(index / 64) % 256, (index % 64) * 4];
    this.host = `10.213.${high}.${low + 1}`;
  }

  static open(mbit: number): NarrowLine {
    if (process.getuid?.() !== 0)
      throw new Error('a narrow line needs root: ip netns, veth and tc; run this bench as root');
    const line = new NarrowLine(process.pid % 16_384);
    line.#remove();
    process.once('exit', line.#atExit);
    const { namespace, host } = line;
    const [near, far] = [line.#device, `${line.#device}n`];
    const peer = host.replace(/\d+$/, (last) => String(Number(last) + 1));
    const inside = ['netns', 'exec', namespace];
    const bucket = ['root', 'tbf', 'rate', `${mbit}mbit`, 'burst', String(BURST_BYTES)];
    ip('netns', 'add', namespace);
    ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', namespace);
    ip('addr', 'add', `${host}/30`, 'dev', near);
    ip('link', 'set', near, 'up');
    ip(...inside, 'ip', 'addr', 'add', `${peer}/30`, 'dev', far);
    ip(...inside, 'ip', 'link', 'set', far, 'up');
    ip(...inside, 'ip', 'link', 'set', 'lo', 'up');
    execFileSync('tc', ['qdisc', 'add', 'dev', near, ...bucket, 'latency', `${QUEUE_MS}ms`]);
    ip(...inside, 'tc', 'qdisc', 'add', 'dev', far, ...bucket, 'latency', `${QUEUE_MS}ms`);
    return line;
  }

  /** Bytes that came over the line from the namespace so far, Ethernet headers included. */
  receivedBytes(): number {
    return Number(
      readFileSync(`/sys/class/net/${this.#device}/statistics/rx_bytes`, 'utf8').trim(),
    );
  }

  stop(): Promise<void> {
    process.off('exit', this.#atExit);
    this.#remove();
    return Promise.resolve();
  }

  #remove(): void {
    quietly('ip', 'link', 'del', this.#device);
    quietly('ip', 'netns', 'del', this.namespace);
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
