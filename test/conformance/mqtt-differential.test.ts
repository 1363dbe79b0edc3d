// The same packets, step by step, to a real mosquitto and to our listener: every client hears the same of both. What shall
// differ stands in test/support/mqtt-differential-rules.ts. More seeds, or one alone:
//
//   DIFFERENTIAL_FROM=1000 DIFFERENTIAL_SEEDS=500 npx vitest run test/conformance/mqtt-differential.test.ts

import { expect, test } from 'vitest';
import { Mosquitto } from '../support/mosquitto.ts';
import {
  cleanUp,
  compare,
  minimise,
  report,
  type Fresh,
  type Target,
} from '../support/mqtt-differential.ts';
import { scriptOf, themeOf, THEMES } from '../support/mqtt-differential-generator.ts';
import { RULES } from '../support/mqtt-differential-rules.ts';
import { TIMED } from '../support/mqtt-differential-timed.ts';
import { MqttOnDisk } from '../support/mqtt-on-disk.ts';
import type { RawVersion } from '../support/mqtt-raw-encode.ts';

/** Without an order: this many of each theme. */
const SEEDS_A_THEME = 12;
const FROM = Number(process.env['DIFFERENTIAL_FROM'] ?? 1);
const SEEDS = Number(process.env['DIFFERENTIAL_SEEDS'] ?? SEEDS_A_THEME * THEMES.length);
const VERSIONS = process.env['DIFFERENTIAL_VERSIONS']
  ?.split(',')
  .map((version) => Number(version) as RawVersion);
/** A campaign goes on after a difference, but not for ever. */
const REPORTS_MAX = Number(process.env['DIFFERENTIAL_REPORTS'] ?? 5);
const SEED_MS_MAX = 20_000;

const CONFIG =
  'sys_interval 0\nset_tcp_nodelay true\nmax_inflight_messages 0\nallow_duplicate_messages true';

/** Most of the time a script waits for what shall not come: as many run at once, each with two brokers of its own. */
const LANES = 4;

test.concurrent(
  'random packets have the same effects at mosquitto and at ours',
  async () => {
    const reports: string[] = [];
    let next = FROM;
    const lane = async (): Promise<void> => {
      await using peer = await Mosquitto.start({ config: CONFIG });
      await using own = await MqttOnDisk.start();
      const brokers = pair(peer, own);
      while (next < FROM + SEEDS && reports.length < REPORTS_MAX) {
        const seed = next++;
        const text = await differenceOf(brokers, seed);
        if (text !== undefined) reports.push(`seed ${seed} (${themeOf(seed)})\n${text}`);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(reports.join('\n\n')).toBe('');
  },
  60_000 + SEEDS * SEED_MS_MAX,
);

interface Pair {
  readonly theirs: Fresh;
  readonly ours: Fresh;
}

/** The two, cleaned after each script. */
function pair(peer: Mosquitto, own: MqttOnDisk): Pair {
  return {
    theirs: async (script) => ({
      port: peer.port,
      [Symbol.asyncDispose]: () => cleanUp(peer.port, script),
    }),
    ours: async (script) => ({
      port: own.port,
      settled: () => own.settled(),
      [Symbol.asyncDispose]: async () => {
        await cleanUp(own.port, script);
        await own.expectEmpty();
      },
    }),
  };
}

/** What the two do differently, with a script as short as may be; undefined for nothing. */
async function differenceOf(brokers: Pair, seed: number): Promise<string | undefined> {
  const script = scriptOf(seed, VERSIONS);
  const compared = await compare(brokers, script, RULES);
  if (compared.difference === undefined) return undefined;
  const shorter = await minimise(brokers, script, RULES);
  const { difference } = await compare(brokers, shorter, RULES);
  return difference === undefined
    ? report(script, compared.difference)
    : report(shorter, difference);
}

/** A broker for one script. */
function alone(broker: Target): Fresh {
  return async () => ({
    port: broker.port,
    ...(broker.settled === undefined
      ? {}
      : { settled: () => broker.settled?.() ?? Promise.resolve() }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

test.concurrent('what time brings about comes as from mosquitto', async () => {
  const reports = await Promise.all(
    TIMED.map(async ({ name, script }) => {
      await using their = await Mosquitto.start({ config: CONFIG });
      await using our = await MqttOnDisk.start();
      const { difference } = await compare(
        { theirs: alone(their), ours: alone(our) },
        script,
        RULES,
      );
      return difference === undefined ? [] : [`${name}\n${report(script, difference)}`];
    }),
  );
  expect(reports.flat().join('\n\n')).toBe('');
}, 120_000);
