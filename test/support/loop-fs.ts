// A real ext4 in a file: small enough to fill, and with a power switch. Linux and root only, because it is mounted
// through a loop device.
//
// Other tests make network namespaces, and each of those has a copy of all mounts of its time. A file system that is still
// mounted there does not end with our unmounting: the next mount would be the same one, with its power cut. So it lies
// on a mount that is shared: what is unmounted here is unmounted in every copy.

import { execFile, execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { until } from './until.ts';

const run = promisify(execFile);

/**
 * EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the device, not even the journal. It
 * waits with its finger on the switch, so that the cut comes within a fraction of a millisecond of the order.
 */
const SWITCH = `my $how = pack('I', 2); $| = 1;
open(F, '<', $ARGV[0]) or die "$!"; print "ready";
exit 0 unless defined <STDIN>;
ioctl(F, 0x8004587d, $how) or die "$!";`;

/**
 * Whether loop file systems can be had here. Where they cannot (no root), it says so once and the caller may skip;
 * in CI that is an error.
 */
export function canLoop(): boolean {
  if (process.platform === 'linux' && process.getuid?.() === 0) return true;
  const reason = 'tests with a file system of their own need Linux, root and loop devices';
  if (process.env['CI']) throw new Error(`${reason}: CI must have them`);
  console.warn(`SKIPPED: ${reason}`);
  return false;
}

export class LoopFs implements AsyncDisposable {
  readonly #folder: string;
  /** Where it is mounted. */
  readonly path: string;
  #mounted = false;
  #switch: ChildProcessByStdio<Writable, Readable, null> | undefined;
  readonly #atExit = (): void => {
    if (this.#mounted) execFileSync('umount', ['--lazy', this.path]);
    execFileSync('umount', ['--lazy', this.#folder]);
  };

  private constructor() {
    removeAbandoned();
    this.#folder = mkdtempSync(join(tmpdir(), `mangrove-loop-${process.pid}-`));
    this.path = join(this.#folder, 'mnt');
    execFileSync('mount', ['--bind', this.#folder, this.#folder]);
    execFileSync('mount', ['--make-shared', this.#folder]);
    mkdirSync(this.path);
    process.once('exit', this.#atExit);
  }

  /** Makes and mounts one of `bytes`. */
  static async create(bytes: number): Promise<LoopFs> {
    const fs = new LoopFs();
    writeFileSync(fs.#image, '');
    truncateSync(fs.#image, bytes);
    // No blocks kept for root: the tests are root, and a full disk shall be full for them too.
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', fs.#image]);
    await fs.mount();
    return fs;
  }

  get #image(): string {
    return join(this.#folder, 'image');
  }

  async mount(): Promise<void> {
    await run('mount', ['-o', 'loop,noatime,errors=remount-ro', this.#image, this.path]);
    this.#mounted = true;
  }

  /** Whoever has files open there must have ended; it waits for the last of them. */
  async unmount(): Promise<void> {
    this.#switch?.stdin.end();
    this.#switch = undefined;
    await until(`${this.path} to be unmounted`, () =>
      run('umount', [this.path]).then(
        () => true,
        () => false,
      ),
    );
    this.#mounted = false;
  }

  /** Gets the switch ready. */
  async armCut(): Promise<void> {
    const armed = spawn('perl', ['-e', SWITCH, this.path], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#switch = armed;
    await once(armed.stdout, 'data');
  }

  /**
   * Cuts the power: what the device does not have by now it never gets. Reads and writes fail from here on. The order
   * is given before this returns its promise. A sync that is under way at that moment may report success although its
   * journal commit was dropped (jbd2 forgets a transaction that it has aborted): do not count on what it covered.
   */
  async cut(): Promise<void> {
    const armed = this.#switch;
    if (armed === undefined) throw new Error('armCut() comes first');
    this.#switch = undefined;
    armed.stdin.end('\n');
    const [code] = await once(armed, 'exit');
    if (code !== 0) throw new Error('the power could not be cut');
  }

  /** The power comes back: a new mount, with the journal's recovery. */
  async powerUp(): Promise<void> {
    await this.unmount();
    await this.mount();
  }

  /**
   * The kernel finds an error and turns the file system read-only under whoever writes to it. For a sync that is under
   * way the same holds as for `cut`.
   */
  async turnReadOnly(): Promise<void> {
    writeFileSync(`/sys/fs/ext4/${await this.#device()}/trigger_fs_error`, 'a test');
  }

  async #device(): Promise<string> {
    const { stdout } = await run('findmnt', ['-n', '-o', 'SOURCE', this.path]);
    return basename(stdout.trim());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#mounted) await this.unmount();
    process.off('exit', this.#atExit);
    await run('umount', ['--lazy', this.#folder]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Unmounts and removes what test processes left behind that were killed. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^mangrove-loop-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const folder = join(tmpdir(), name);
    for (const path of [join(folder, 'mnt'), folder])
      try {
        execFileSync('umount', ['--lazy', path], { stdio: 'ignore' });
      } catch {
        // It was not mounted any more.
      }
    rmSync(folder, { recursive: true, force: true });
  }
}
