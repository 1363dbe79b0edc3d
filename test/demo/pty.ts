// A pseudo-terminal for the simulated sensor, made by what the machine has: Node cannot make one itself, and a fresh
// machine may not install anything. Whatever makes it copies its standard input to the terminal's far side.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Writable } from 'node:stream';

const PYTHON = `
import os, pty, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
os.symlink(os.ttyname(slave), sys.argv[1])
while True:
    data = os.read(0, 4096)
    if not data: break
    while data: data = data[os.write(master, data):]
`;
/** TIOCSPTLCK and TIOCGPTN of x86 and ARM. */
const PERL = `
open(my $master, '+<', '/dev/ptmx') or die "ptmx: $!";
ioctl($master, 0x40045431, my $unlock = pack('i', 0)) or die "unlock: $!";
ioctl($master, 0x80045430, my $number = pack('i', 0)) or die "number: $!";
my $path = '/dev/pts/' . unpack('i', $number);
open(my $slave, '+<', $path) or die "$path: $!";
system('stty', '-F', $path, 'raw', '-echo') == 0 or die 'stty';
symlink($path, $ARGV[0]) or die "link: $!";
while (sysread(STDIN, my $data, 4096)) { syswrite($master, $data) }
`;

/** In this order; the last two are part of every Debian. */
const WAYS: readonly (readonly [program: string, args: (link: string) => string[]])[] = [
  ['socat', (link) => ['-u', 'STDIN', `pty,raw,echo=0,link=${link}`]],
  ['python3', (link) => ['-c', PYTHON, link]],
  ['perl', (link) => ['-e', PERL, link]],
  [
    'script',
    (link) => [
      '-qfc',
      `stty raw -echo && ln -s "$(tty)" '${link}' && exec sleep 3600`,
      '/dev/null',
    ],
  ],
];

type SensorChild = ChildProcessByStdio<Writable, null, null>;

/** How long a program may take to make its terminal. */
const MAKE_MS = 5_000;

export class SensorPty {
  /** The device's path for the agent: a link, as udev makes them. */
  readonly path: string;
  /** What made it. */
  readonly madeBy: string;
  readonly #child: SensorChild;

  constructor(path: string, madeBy: string, child: SensorChild) {
    this.path = path;
    this.madeBy = madeBy;
    this.#child = child;
  }

  /** The device behind the link, such as /dev/pts/3. */
  get device(): string {
    return realpathSync(this.path);
  }

  /** Makes one whose device is linked at `path`; undefined when this machine has nothing that can. */
  static async make(path: string, only?: string): Promise<SensorPty | undefined> {
    for (const [program, args] of WAYS) {
      if (only !== undefined && only !== program) continue;
      const child = await startOne(program, args(path), path);
      if (child !== undefined) return new SensorPty(path, program, child);
    }
    return undefined;
  }

  /** Resolves when the pipe has taken it. */
  write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stdin.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    this.#child.stdin.destroy();
    this.#child.kill('SIGKILL');
  }
}

async function startOne(
  program: string,
  args: string[],
  path: string,
): Promise<SensorChild | undefined> {
  const child: SensorChild = spawn(program, args, {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Ctrl-C is the demo's to answer; without the demo its standard input ends.
    detached: true,
  });
  let ended = false;
  child.once('error', () => (ended = true));
  child.once('exit', () => (ended = true));
  child.stdin.on('error', () => undefined);
  const deadlineMs = performance.now() + MAKE_MS;
  while (!ended && performance.now() < deadlineMs) {
    if (existsSync(path)) return child;
    await sleep(20);
  }
  child.kill('SIGKILL');
  return undefined;
}
