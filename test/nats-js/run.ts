// Runs the test suites of nats.js against an agent, unmodified: a directory with a program `nats-server`, which is an agent,
// comes first in PATH. How to call it is in docs/compatibility.md. It fetches nothing but what deno fetches for the tests.

import { spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CLIENT_ALONE, NOT_APPLICABLE, REASONS, type Reason } from './not-applicable.ts';

const SUITES = ['core', 'jetstream', 'kv', 'obj', 'services'];
/** Runs in Node, with the packages of `--packages`. */
const NODE_SUITE = 'transport-node';
/** A suite that hangs is ended. The longest, `jetstream`, takes 3 minutes against nats-server. */
const SUITE_MS = 30 * 60_000;
/** Packages of the tests that are not in their workspace; where std comes from JSR, these may as well. */
const PACKAGES = {
  '@nats-io/jwt': 'npm:@nats-io/jwt@0.0.11',
  '@nats-io/nkeys': 'npm:@nats-io/nkeys@2.0.3',
  '@nats-io/nuid': 'npm:@nats-io/nuid@3.0.0',
  ajv: 'npm:ajv@8.17.1',
  'js-sha256': 'npm:js-sha256@0.11.1',
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** A checkout of denoland/std, where JSR cannot be reached. */
    std: { type: 'string' },
    /** The directory with the program `nats-server`; default: the agent's. */
    server: { type: 'string', default: join(import.meta.dirname, 'bin') },
    deno: { type: 'string', default: 'deno' },
    /** Where npm has installed what the tests of transport-node import. */
    packages: { type: 'string' },
    /** Test files that run at the same time. */
    jobs: { type: 'string', default: '2' },
    /** Only tests whose names match. */
    only: { type: 'string', default: '' },
    /** Everything, also what says nothing of an agent. */
    all: { type: 'boolean', default: false },
    /** Where the output of each suite goes; default: nowhere. */
    out: { type: 'string' },
  },
});
const [checkout, ...chosen] = positionals;

interface Outcome {
  readonly passed: number;
  readonly failed: readonly { readonly name: string; readonly why: string }[];
  /** Not run to the end. */
  readonly broken: string | undefined;
}

if (checkout === undefined || !existsSync(join(checkout, 'nst/src/launcher.ts'))) {
  console.error('usage: node test/nats-js/run.ts CHECKOUT-OF-NATS.JS [options] [suite …]');
  process.exitCode = 64;
} else {
  const dir = mkdtempSync(join(tmpdir(), 'nats-js-'));
  try {
    await runAll(resolve(checkout), dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function runAll(nats: string, dir: string): Promise<void> {
  const flags = ['--config', join(dir, 'deno.json')];
  writeFileSync(join(dir, 'deno.json'), JSON.stringify({ nodeModulesDir: 'none' }));
  if (options.std !== undefined) {
    const map = join(dir, 'import-map.json');
    writeFileSync(map, JSON.stringify(importMap(nats, resolve(options.std))));
    flags.push('--import-map', map);
  } else flags[1] = join(nats, 'deno.json');
  for (const suite of chosen.length === 0 ? SUITES : chosen) {
    const junit = join(dir, `${suite}.xml`);
    const [program, args, cwd] =
      suite === NODE_SUITE
        ? forNode(nats, dir, junit)
        : forDeno(suite, nats, [...flags, `--junit-path=${junit}`]);
    const outcome = await runSuite(suite, dir, junit, { program, args, cwd });
    report(suite, outcome);
    if (outcome.failed.length > 0 || outcome.broken !== undefined) process.exitCode = 1;
  }
}

/** A program with its arguments, and where it runs. */
type Command = [program: string, args: string[], cwd: string];

function forDeno(suite: string, nats: string, flags: readonly string[]): Command {
  const tests = join(nats, suite, 'tests');
  const files = readdirSync(tests)
    .filter((name) => name.endsWith('_test.ts') && !CLIENT_ALONE.has(name))
    .map((name) => join(tests, name));
  const preload = join(import.meta.dirname, 'leave-out.ts');
  return [
    options.deno,
    ['test', '-A', '--no-check', '--no-lock', '--quiet', '--parallel', '--preload', preload].concat(
      flags,
      files,
    ),
    nats,
  ];
}

/** The tests import the transport as it was built, and the launcher of servers: both are laid beside them. */
function forNode(nats: string, dir: string, junit: string): Command {
  const modules = resolve(options.packages ?? '.', 'node_modules');
  const home = join(dir, NODE_SUITE);
  cpSync(join(nats, NODE_SUITE, 'tests'), join(home, 'tests'), { recursive: true });
  cpSync(join(nats, NODE_SUITE, 'index.js'), join(home, 'index.js'));
  cpSync(join(nats, NODE_SUITE, 'package.json'), join(home, 'package.json'));
  symlinkSync(join(modules, '@nats-io', NODE_SUITE, 'lib'), join(home, 'lib'));
  cpSync(join(nats, 'nst/src'), join(dir, 'nst/src'), { recursive: true });
  const entry = { name: '@nats-io/nst', type: 'module', exports: './src/mod.ts' };
  writeFileSync(join(dir, 'nst/package.json'), JSON.stringify(entry));
  mkdirSync(join(dir, 'node_modules/@nats-io'), { recursive: true });
  symlinkSync(join(dir, 'nst'), join(dir, 'node_modules/@nats-io/nst'));
  for (const name of [
    ...readdirSync(join(modules, '@nats-io')).map((each) => `@nats-io/${each}`),
    'minimist',
  ])
    symlinkSync(join(modules, name), join(dir, 'node_modules', name));
  const skipped = options.all ? [] : left(NODE_SUITE).map(([name]) => name);
  return [
    process.execPath,
    ['--test', '--test-force-exit', '--test-reporter=junit', `--test-reporter-destination=${junit}`]
      .concat(skipped.map((name) => `--test-skip-pattern=/${RegExp.escape(name)}$/`))
      .concat(options.only === '' ? [] : [`--test-name-pattern=/${options.only}/`])
      .concat(
        readdirSync(join(home, 'tests'))
          .filter((name) => name.endsWith('_test.js'))
          .map((name) => join('tests', name)),
      ),
    home,
  ];
}

async function runSuite(
  suite: string,
  dir: string,
  junit: string,
  { program, args, cwd }: { program: string; args: string[]; cwd: string },
): Promise<Outcome> {
  const leaveOut = options.all ? [] : left(suite).map(([name]) => name);
  const child = spawn(program, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${resolve(options.server)}${delimiter}${process.env['PATH'] ?? ''}`,
      DENO_JOBS: options.jobs,
      TMPDIR: dir,
      NO_COLOR: '1',
      NATS_JS_LEAVE_OUT: JSON.stringify(leaveOut),
      NATS_JS_ONLY: options.only,
    },
  });
  const output: Buffer[] = [];
  const log = options.out === undefined ? undefined : join(options.out, `${suite}.log`);
  if (log !== undefined) writeFileSync(log, '');
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output.push(chunk);
      if (log !== undefined) appendFileSync(log, chunk);
    });
  const late = setTimeout(() => child.kill('SIGKILL'), SUITE_MS);
  const code = await new Promise<number | null>((done, fail) => {
    child.on('error', fail);
    child.on('close', done);
  });
  clearTimeout(late);
  const text = Buffer.concat(output).toString();
  return outcomeOf(existsSync(junit) ? readFileSync(junit, 'utf8') : '', text, code);
}

/** Reads what deno wrote. Steps of a test are not counted. */
function outcomeOf(junit: string, text: string, code: number | null): Outcome {
  const failed: { name: string; why: string }[] = [];
  let passed = 0;
  for (const [, attributes = '', content = ''] of junit.matchAll(
    /<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs,
  )) {
    const name = plain(/name="([^"]*)"/.exec(attributes)?.[1] ?? '');
    if (name.includes(' > ') || content.includes('<skipped')) continue;
    const why = /<failure [^>]*?message="([^"]*)"/.exec(content)?.[1];
    if (why === undefined) passed++;
    else failed.push({ name, why: plain(why).split('\n')[0] ?? '' });
  }
  const uncaught = /^Uncaught error from (\S+)/m.exec(text)?.[1];
  const broken =
    code === null
      ? 'it took too long'
      : junit === ''
        ? text.slice(-1000)
        : uncaught && `${uncaught} ended in the middle`;
  return { passed, failed, broken };
}

function plain(xml: string): string {
  const known: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return xml.replaceAll(/&(#\d+|\w+);/g, (_, code: string) =>
    code.startsWith('#') ? String.fromCharCode(Number(code.slice(1))) : (known[code] ?? ''),
  );
}

function report(suite: string, { passed, failed, broken }: Outcome): void {
  const absent = options.all || options.only !== '' ? [] : left(suite);
  console.log(
    `${suite}: ${passed} passed, ${failed.length} failed, ${absent.length} not applicable`,
  );
  for (const { name, why } of failed) console.log(`  failed: ${name}: ${why}`);
  for (const [name, reason] of absent) console.log(`  not applicable: ${name}: ${REASONS[reason]}`);
  if (broken !== undefined) console.log(`  broken: ${broken}`);
}

function left(suite: string): [string, Reason][] {
  const reasons = Object.entries(NOT_APPLICABLE[suite] ?? {}) as [Reason, readonly string[]][];
  return reasons.flatMap(([reason, names]) =>
    names.map((name): [string, Reason] => [name, reason]),
  );
}

/** Maps everything that the tests import to the checkouts of nats.js and of std, and to packages of npm. */
function importMap(nats: string, std: string): object {
  const imports: Record<string, string> = { ...PACKAGES, nst: `${nats}/nst/src/mod.ts` };
  const modules = [
    ...[...SUITES, 'nst', 'transport-deno'].map((name) => join(nats, name)),
    ...readdirSync(std).map((name) => join(std, name)),
  ].filter((module) => existsSync(join(module, 'deno.json')));
  for (const module of modules) {
    const { name, exports = {} } = JSON.parse(readFileSync(join(module, 'deno.json'), 'utf8')) as {
      name?: string;
      exports?: string | Record<string, string>;
    };
    const paths = typeof exports === 'string' ? { '.': exports } : exports;
    for (const [key, path] of Object.entries(paths))
      imports[`${name}${key.slice(1)}`] = join(module, path);
  }
  const scopes = [...SUITES, 'transport-deno'].map((name) => [
    `file://${nats}/${name}/tests/`,
    { nst: `file://${nats}/${name}/tests/nst.ts` },
  ]);
  const urls = Object.entries(imports).map(([key, path]) => [
    key,
    path.startsWith('/') ? `file://${path}` : path,
  ]);
  return { imports: Object.fromEntries(urls), scopes: Object.fromEntries(scopes) };
}
