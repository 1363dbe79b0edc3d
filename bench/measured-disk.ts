// An ext4 of its own for one contestant, in a file behind a loop device: what is written to that device is what its data
// directory, the file system's journal included, costs a flash card. Needs root.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { dataDir } from './machine.ts';

const IMAGE_BYTES = 1024 * 1024 * 1024;
const SECTOR_BYTES = 512;

export class MeasuredDisk {
  readonly #folder: string;
  /** Where it is mounted. */
  readonly path: string;
  readonly #device: string;
  readonly #atExit = (): void => this.#unmount('--lazy');

  constructor() {
    if (process.getuid?.() !== 0)
      throw new Error('bytes written are counted at a loop device: run this bench as root');
    this.#folder = dataDir('disk');
    this.path = join(this.#folder, 'mnt');
    mkdirSync(this.path);
    const image = join(this.#folder, 'image');
    writeFileSync(image, '');
    truncateSync(image, IMAGE_BYTES);
    // Nothing is left to be initialized later: the file system writes on its own account only what data causes.
    run('mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image);
    // The way a Raspberry Pi's card is mounted.
    run('mount', '-o', 'loop,noatime', image, this.path);
    this.#device = basename(run('findmnt', '-n', '-o', 'SOURCE', this.path).trim());
    process.prependOnceListener('exit', this.#atExit);
  }

  /** Bytes written to the device so far. */
  writtenBytes(): number {
    const stat = readFileSync(`/sys/block/${this.#device}/stat`, 'utf8').trim().split(/\s+/);
    return Number(stat[6]) * SECTOR_BYTES;
  }

  /** Brings everything that is still in memory to the device. */
  flush(): void {
    run('sync', '-f', this.path);
  }

  remove(): void {
    process.off('exit', this.#atExit);
    this.#unmount();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #unmount(...how: string[]): void {
    try {
      run('umount', ...how, this.path);
    } catch {
      run('umount', '--lazy', this.path);
    }
  }
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' });
}
