// A serial device made of a pseudo-terminal: socat holds its master side and makes a link to the slave, as udev does for
// a plugged-in device. What is written here comes out of the port; unplugging kills socat.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { until } from './until.ts';

export class Pty {
  /** What an agent opens: a link that is there (and leads somewhere) while the device is plugged in. */
  readonly path: string;
  #socat: ChildProcessByStdio<Writable, null, Readable> | undefined;
  #exited: Promise<void> = Promise.resolve();
  #complaint = '';

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Resolves when the device is there. A missing socat is an error: install it, no test can do without. With `replace`
   * the link may be there already, and is taken over from the device it leads to.
   */
  async plug(replace = false): Promise<void> {
    if (this.#socat !== undefined) throw new Error('already plugged in');
    const before = target(this.path);
    if (before !== undefined && !replace) throw new Error(`${this.path} is there already`);
    const socat = spawn('socat', ['-u', 'STDIN', `pty,raw,echo=0,link=${this.path}`], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    socat.stderr.on('data', (text: Buffer) => (this.#complaint += text.toString()));
    socat.stdin.on('error', () => {}); // Unplugged while something was being written.
    let failed: Error | undefined;
    socat.on('error', (error) => (failed = error));
    this.#exited = new Promise((resolve) => {
      socat.on('close', () => resolve());
    });
    this.#socat = socat;
    await until(`socat to make ${this.path}`, () => {
      if (failed !== undefined) throw new Error('socat cannot be started', { cause: failed });
      if (socat.exitCode !== null) throw new Error(`socat ended: ${this.#complaint}`);
      return target(this.path) !== before && existsSync(this.path);
    });
  }

  /** The device sends; resolves when the kernel has taken it all, which waits while nobody reads the port. */
  write(bytes: Buffer | string): Promise<void> {
    const socat = this.#socat;
    if (socat === undefined) throw new Error('not plugged in');
    return new Promise((resolve, reject) => {
      socat.stdin.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Pulls the plug: the device is gone at once, and the link with it. */
  async unplug(): Promise<void> {
    const socat = this.#socat;
    if (socat === undefined) return;
    this.#socat = undefined;
    socat.kill('SIGKILL');
    await this.#exited;
    await rm(this.path, { force: true }); // A killed socat leaves it behind; udev does not.
  }
}

/** Where the link leads, or undefined when there is none. */
function target(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** A plugged-in device in a directory of its own; `await using` unplugs and removes it. */
export async function pluggedPty(): Promise<Pty & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'mangrove-pty-'));
  const pty = new Pty(join(directory, 'ttyDEVICE'));
  await pty.plug();
  return Object.assign(pty, {
    async [Symbol.asyncDispose]() {
      await pty.unplug();
      await rm(directory, { recursive: true, force: true });
    },
  });
}
