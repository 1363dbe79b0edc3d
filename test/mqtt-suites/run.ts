// Runs test suites of other projects against an agent, unmodified: the Paho interoperability tests, the broker tests of
// mosquitto, those of MQTT.js. How to call it is in README.md; it fetches nothing. What passed and failed goes to stdout.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { EXPECTED } from './expected.ts';
import { NOT_APPLICABLE, REASONS, type Reason } from './not-applicable.ts';
import { runMosquitto, runSequences } from './mosquitto-suite.ts';
import { runMqttJs } from './mqtt-js-suite.ts';
import { runPaho } from './paho-suite.ts';
import type { Outcome, SuiteOptions } from './suite.ts';

const SUITES: Readonly<
  Record<string, { directory: string; run: (options: SuiteOptions) => Promise<Outcome[]> }>
> = {
  'paho-3': {
    directory: 'paho.mqtt.testing',
    run: (options) => runPaho('client_test.py', options),
  },
  'paho-5': {
    directory: 'paho.mqtt.testing',
    run: (options) => runPaho('client_test5.py', options),
  },
  mosquitto: { directory: 'mosquitto', run: runMosquitto },
  'mosquitto-sequences': { directory: 'mosquitto', run: runSequences },
  'mqtt.js': { directory: 'MQTT.js', run: runMqttJs },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** The program under test; default: the agent as `mosquitto`. Try a real one to know what fails there. */
    broker: { type: 'string', default: join(import.meta.dirname, 'bin/mosquitto') },
    python: { type: 'string', default: '/usr/bin/python3' },
    /** Scripts that run at the same time. */
    jobs: { type: 'string', default: '2' },
    /** Only tests whose names contain this. */
    only: { type: 'string', default: '' },
    /** Everything, also what says nothing of an agent. */
    all: { type: 'boolean', default: false },
    /** Where the output of each test goes; default: nowhere. */
    out: { type: 'string' },
  },
});
const [checkouts, ...chosen] = positionals;

if (checkouts === undefined || !existsSync(checkouts)) {
  console.error('usage: node test/mqtt-suites/run.ts DIRECTORY-OF-CHECKOUTS [options] [suite …]');
  process.exitCode = 64;
} else {
  const dir = mkdtempSync(join(tmpdir(), 'mqtt-suites-'));
  try {
    for (const suite of chosen.length === 0 ? Object.keys(SUITES) : chosen)
      await runSuite(suite, resolve(checkouts), dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function runSuite(suite: string, home: string, dir: string): Promise<void> {
  const entry = SUITES[suite];
  if (entry === undefined)
    throw new Error(`there is no suite ${suite}: ${Object.keys(SUITES).join(', ')}`);
  const apart = NOT_APPLICABLE[suite] ?? {};
  const outcomes = await entry.run({
    checkout: join(home, entry.directory),
    broker: resolve(options.broker),
    real: options.broker !== join(import.meta.dirname, 'bin/mosquitto'),
    python: options.python,
    dir,
    jobs: Number(options.jobs),
    out: options.out === undefined ? undefined : resolve(options.out),
    wanted: (name) => name.includes(options.only) && (options.all || !(name in apart)),
  });
  const failed = outcomes.flatMap(({ name, why }) =>
    why === undefined ? [] : [`${name}: ${why}`],
  );
  const reasonOf = (line: string): string | undefined =>
    EXPECTED[suite]?.find(({ pattern }) => pattern.test(line))?.reason;
  const unexpected = failed.filter((line) => reasonOf(line) === undefined);
  const expected = failed.length - unexpected.length;
  console.log(
    `\n${suite}: ${outcomes.length - failed.length} passed, ${unexpected.length} failed, ${expected} fail as expected`,
  );
  for (const line of unexpected) console.log(`  ${line}`);
  if (unexpected.length > 0) process.exitCode = 1;
  const reasons = Map.groupBy(failed, reasonOf);
  for (const [reason, lines] of reasons)
    if (reason !== undefined) console.log(`  as expected, ${lines.length}: ${reason}`);
  if (options.all) return;
  const counts = new Map<Reason, number>();
  for (const reason of Object.values(apart)) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  for (const [reason, count] of counts)
    console.log(`  not applicable, ${count}: ${REASONS[reason]}`);
}
