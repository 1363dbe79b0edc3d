// The tests of MQTT.js that speak with a server: client.ts (3.1.1) and client_mqtt5.ts (5.0). Their servers answer by script;
// here a broker answers, and what needs another answer is left out (see mqtt-js/server.ts). Each test runs alone: one that waits
// for another answer throws into those behind it.

import { cpSync, existsSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBroker } from './broker.ts';
import { inLanes, keep, toTheEnd, type Outcome, type SuiteOptions } from './suite.ts';

const FILES = ['client.ts', 'client_mqtt5.ts'];
/** What both files run. */
const COMMON = 'abstract_client.ts';
const TEST_MS = 30_000;
/** Where the ports of the tests begin, and how many a lane has. */
const PORT_BASE = 10_000;
const LANE_PORTS = 4000;

/** A test: its file and its name. */
type Test = readonly [file: string, name: string];

export async function runMqttJs(options: SuiteOptions): Promise<Outcome[]> {
  const homes = Array.from({ length: options.jobs }, (_, lane) => prepare(options, lane));
  const tests = FILES.flatMap((file) =>
    [file, COMMON]
      .flatMap((each) => namesIn(join(options.checkout, 'test/node', each)))
      .map((name) => [file, name] as const),
  ).filter((test) => options.wanted(titleOf(test)));
  const brokers = await Promise.all(homes.map(() => startBroker(options, '')));
  try {
    const outcomes = await inLanes(tests, options.jobs, (test, lane) =>
      runTest(test, homes[lane] ?? '', brokers[lane]?.port ?? 0, options),
    );
    return outcomes.filter((outcome) => outcome !== undefined);
  } finally {
    await Promise.all(brokers.map(({ stop }) => stop()));
  }
}

/** A directory of one lane: theirs, with our servers. The ports that the tests name differ from lane to lane. */
function prepare({ dir, checkout }: SuiteOptions, lane: number): string {
  const home = mkdtempSync(join(dir, `mqtt-js-${lane}-`));
  for (const name of ['src', 'test', 'package.json', 'tsconfig.json'])
    cpSync(join(checkout, name), join(home, name), { recursive: true });
  symlinkSync(join(checkout, 'node_modules'), join(home, 'node_modules'));
  const servers = {
    'server.ts': 'server.ts',
    'server-builder.ts': 'server_helpers_for_client_tests.ts',
  };
  for (const [ours, theirs] of Object.entries(servers))
    cpSync(join(import.meta.dirname, 'mqtt-js', ours), join(home, 'test/node', theirs));
  const ports = join(home, 'test/node/helpers/port_list.ts');
  const base = String(PORT_BASE + lane * LANE_PORTS);
  writeFileSync(ports, readFileSync(ports, 'utf8').replace('= 10000 +', `= ${base} +`));
  return home;
}

function namesIn(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const found = [...text.matchAll(/^\s*it\(\s*(['`])(.*?)\1,/gms)].map(([, , name = '']) => name);
  // Names that are put together at run time have no pattern.
  return found.filter((name) => !name.includes('${') && !name.includes('\n'));
}

function titleOf([file, name]: Test): string {
  return `${file}: ${name}`;
}

/** Undefined: the test played the server, and says nothing of a broker; or it is skipped. */
async function runTest(
  test: Test,
  home: string,
  port: number,
  { out }: SuiteOptions,
): Promise<Outcome | undefined> {
  const [file, name] = test;
  const played = join(mkdtempSync(join(home, 'played-')), 'played');
  const { text, late } = await toTheEnd(
    [
      process.execPath,
      '--require=esbuild-register',
      '--test',
      `--test-name-pattern=${RegExp.escape(name)}$`,
      '--test-reporter=junit',
      '--test-reporter-destination=stdout',
      join('test/node', file),
    ],
    {
      cwd: home,
      env: { MQTT_SUITES_PORT: String(port), MQTT_SUITES_SCRIPTED: played },
      ms: TEST_MS,
    },
  );
  keep(out, titleOf(test), text);
  if (existsSync(played)) return undefined;
  if (late) return { name: titleOf(test), why: 'it did not end' };
  const cases = [
    ...text.matchAll(/<testcase name="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs),
  ].filter(([, , content = '']) => !content.includes('<skipped'));
  if (cases.length === 0) return undefined;
  const failures = cases.flatMap(
    ([, , content = '']) => /<failure [^>]*?message="([^"]*)"/.exec(content)?.[1] ?? [],
  );
  return { name: titleOf(test), why: failures[0]?.slice(0, 200) };
}
