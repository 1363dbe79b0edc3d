// The broker tests of mosquitto: scripts that write a configuration, start `../../src/mosquitto` with it, and speak to it
// in packets. A copy of their directory lies where that path is ours.

import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { inLanes, keep, toTheEnd, type Outcome, type SuiteOptions } from './suite.ts';

/** The longest takes a minute, where nothing hangs. */
const SCRIPT_MS = 2 * 60_000;
const SEQUENCES = 'msg_sequence_test.py';
/** What a script gets: no other may be using them. */
const PORTS = 5;
const PORT_BASE = 18_900;
/** Where the sequences publish from a second connection, whatever port they are told. */
const SEQUENCES_PORT = 1888;
const PYTHON_HOOKS = join(import.meta.dirname, 'python');
const CLIENTS = ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr'];

export async function runMosquitto(options: SuiteOptions): Promise<Outcome[]> {
  const lanes = Array.from({ length: options.jobs }, (_, lane) => prepare(options, lane));
  const tests = join(options.checkout, 'test/broker');
  const scripts = readdirSync(tests)
    .filter((name) => /^\d\d-.*\.py$/.test(name) && !/helper|-core\.py$/.test(name))
    .filter((name) => options.wanted(name));
  return inLanes(scripts, options.jobs, (name, lane) =>
    runScript(name, lane, lanes[lane] ?? '', options),
  );
}

/** A directory in which the scripts of one lane run; returns where they lie. */
function prepare({ checkout, dir, broker, real }: SuiteOptions, lane: number): string {
  const home = join(dir, `mosquitto-${lane}`);
  cpSync(join(checkout, 'test'), join(home, 'test'), { recursive: true });
  for (const name of ['src', 'client', 'bin']) mkdirSync(join(home, name));
  symlinkSync(broker, join(home, 'src/mosquitto'));
  for (const name of CLIENTS) symlinkSync(join('/usr/bin', name), join(home, 'client', name));
  // Under valgrind a script gives the broker twenty seconds to start instead of two.
  const valgrind = join(home, 'bin/valgrind');
  writeFileSync(
    valgrind,
    '#!/bin/sh\nwhile :; do case $1 in -*) shift ;; *) exec "$@" ;; esac; done\n',
  );
  chmodSync(valgrind, 0o755);
  if (real) writeFileSync(join(home, 'real'), '');
  return join(home, 'test/broker');
}

async function runScript(
  name: string,
  lane: number,
  cwd: string,
  options: SuiteOptions,
): Promise<Outcome> {
  const ports = Array.from({ length: PORTS }, (_, at) => String(PORT_BASE + lane * PORTS + at));
  const wants = /\((\d), *'\.\/([^']+)'\)/g;
  const listed = [...readFileSync(join(cwd, 'test.py'), 'utf8').matchAll(wants)].find(
    ([, , file]) => file === name,
  );
  const { code, text, late } = await toTheEnd(
    [options.python, name, ...ports.slice(0, Number(listed?.[1] ?? 1))],
    { cwd, env: environment(cwd, options), ms: SCRIPT_MS },
  );
  keep(options.out, name, text);
  const why = late ? 'it did not end' : code === 0 ? undefined : reasonIn(text, code);
  return { name, why };
}

function environment(cwd: string, { real }: SuiteOptions): Record<string, string> {
  const bin = join(cwd, '../../bin');
  return {
    PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`,
    PYTHONDONTWRITEBYTECODE: '1',
    MQTT_SUITES_DIR: join(cwd, '../..'),
    ...(real ? {} : { PYTHONPATH: PYTHON_HOOKS, MOSQ_USE_VALGRIND: '1' }),
  };
}

/** `msg_sequence_test.py`: one sequence of packets of `data/*.json` is a test. */
export async function runSequences(options: SuiteOptions): Promise<Outcome[]> {
  const cwd = prepare(options, options.jobs);
  const { text } = await toTheEnd([options.python, SEQUENCES, String(SEQUENCES_PORT)], {
    cwd,
    env: environment(cwd, options),
    ms: 8 * SCRIPT_MS,
  });
  keep(options.out, SEQUENCES, text);
  // Green: it passed; red: it failed, with a reason.
  const ESC = '\u001B';
  const lines = text.matchAll(
    new RegExp(`${ESC}\\[(3[12])m(.*?)(?: failed: (.*?))?${ESC}\\[0m`, 'gs'),
  );
  return [...lines]
    .map(([, colour, name = '', why]) => ({
      name,
      why: colour === '32' ? undefined : (why ?? 'it failed'),
    }))
    .filter(({ name }) => options.wanted(name));
}

/** The line that says most. */
function reasonIn(text: string, code: number | null): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const telling = lines.findLast((line) => /FAIL|Error|mosquitto: |refused|Expected/.test(line));
  return (telling ?? lines.at(-1) ?? `exit code ${code}`).slice(0, 300);
}
