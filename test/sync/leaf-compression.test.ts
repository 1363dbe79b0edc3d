// Compression of a leafnode link with real hubs of today and yesterday: what both sides say of it, and what crosses.

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { connect, headers, nkeys, type MsgHdrs } from '@nats-io/transport-node';
import { Broker } from '../../src/broker.ts';
import { systemClock, type Clock } from '../../src/clock.ts';
import type { Credentials } from '../../sync/credentials.ts';
import type { LeafLink } from '../../sync/leaf/leaf-link.ts';
import { randomToken } from '../../sync/random-token.ts';
import { Operator } from '../hub/operator.ts';
import { Plant } from '../leaf/plant.ts';
import { LeafRig } from '../leaf/rig.ts';
import { MeddlingLine } from '../support/meddling-line.ts';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import {
  afterwards,
  at,
  connected,
  logged,
  newLink,
  refusal,
  startHub,
  tearDown,
  type LeafHub,
} from './leaf-link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const dir = mkdtempSync(join(tmpdir(), 'mangrove-leaf-compression-'));
const boundary = { exports: ['up.>'], imports: ['down.>'], domain: 'gw7' };
const PAYLOAD_BYTES = 8 * 1024 * 1024;
const PAYLOAD = `max_payload: ${PAYLOAD_BYTES}`;

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** A line of `delayMs` there and as much back. It ends after the test. */
async function longLine(hub: LeafHub, delayMs: number): Promise<MeddlingLine> {
  const line = await new MeddlingLine(hub.port).listen();
  line.delayMs = delayMs;
  afterwards(() => line.close());
  return line;
}

/** What the hub shows of the link; the links before it may not be gone there. */
async function atHub(hub: LeafHub): Promise<string | undefined> {
  const leafs = await until('one leafnode', async () => {
    const all = await hub.leafs();
    return all.length === 1 ? all : undefined;
  });
  return leafs[0]?.compression;
}

function ours(link: LeafLink): string | undefined {
  return link.status().hub?.compression;
}

/** Loopback is a LAN also where the machine is busy: time passes slowly. */
const slow: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() / 1_000 };

interface Case {
  readonly name: string;
  readonly data: Buffer;
  readonly headers?: MsgHdrs;
}

const readings = Buffer.from(
  Array.from({ length: 20_000 }, (_, i) => `{"sensor":"t${i % 7}","value":${i / 10}}\n`).join(''),
);
const noise = randomBytes(3_000_000);

function marked(value: string): MsgHdrs {
  const given = headers();
  given.set('Mark', value);
  return given;
}

const SMALL: readonly Case[] = [
  { name: 'empty', data: Buffer.alloc(0) },
  { name: 'empty, with headers', data: Buffer.alloc(0), headers: marked('a: b') },
  { name: 'small', data: Buffer.from('{"value":21.5}') },
  { name: 'a reading, with headers', data: readings.subarray(0, 1_500), headers: marked('x') },
  { name: 'a block, and one byte more', data: readings.subarray(0, 65_537) },
];
const LARGE: readonly Case[] = [
  ...SMALL,
  { name: '1 MiB of noise', data: noise.subarray(0, 1 << 20), headers: marked('n'.repeat(5_000)) },
  { name: '1 MiB of one byte', data: Buffer.alloc(1 << 20, 'x') },
  {
    name: '8 MiB of both',
    data: Buffer.concat([noise, Buffer.alloc(PAYLOAD_BYTES - noise.length)]),
  },
];

function told(name: string, data: Uint8Array, mark: string | undefined): string {
  return `${name}: ${data.length} ${createHash('sha1').update(data).digest('hex')} ${mark ?? ''}`;
}

/** Sends each in both directions, and waits until it is there. */
async function cross(hub: LeafHub, broker: Broker, cases: readonly Case[]): Promise<void> {
  const nc = await connect({ servers: hub.server.url });
  const up: string[] = [];
  const down: string[] = [];
  nc.subscribe('up.>', {
    callback: (_, message) =>
      void up.push(told(message.subject, message.data, message.headers?.get('Mark'))),
  });
  await nc.flush();
  const end = broker.subscribe('down.>', {
    offer: ({ subject, data, headers: given }) => {
      const [, mark] = /\r\nMark: (.*)\r\n/.exec(given?.toString() ?? '') ?? [];
      return down.push(told(subject, data, mark)) > 0;
    },
  });
  await until('the way down', () => {
    nc.publish('down.ready');
    return down.length > 0;
  });
  await until('the way up', () => {
    broker.publish({ subject: 'up.ready', data: Buffer.alloc(0) });
    return up.length > 0;
  });
  for (const [i, { data, headers: given }] of cases.entries()) {
    const mark = given?.get('Mark');
    const raw = Buffer.from(`NATS/1.0\r\nMark: ${mark}\r\n\r\n`);
    nc.publish(`down.${i}`, data, given === undefined ? {} : { headers: given });
    broker.publish({ subject: `up.${i}`, data, ...(given === undefined ? {} : { headers: raw }) });
    // What waits in the lane of live messages may be dropped where more comes.
    await until(`message ${i}`, () => up.at(-1)?.startsWith(`up.${i}:`));
    expect(up.at(-1)).toBe(told(`up.${i}`, data, mark));
    await until(`message ${i}`, () => down.at(-1)?.startsWith(`down.${i}:`));
    expect(down.at(-1)).toBe(told(`down.${i}`, data, mark));
  }
  end();
  await nc.close();
}

describe.each([
  ['2.15', undefined],
  ['2.10', '2.10'],
] as const)('a hub of %s', (name, version) => {
  const binary = version === undefined ? {} : { binary: oldNatsServer(version) };

  test.each([
    // Fixed thresholds: how busy the machine is does not matter.
    ['{ mode: s2_auto, rtt_thresholds: ["1h"] }', 's2_uncompressed', LARGE],
    ['{ mode: s2_auto, rtt_thresholds: ["0s", "1h"] }', 's2_fast', SMALL],
    ['s2_auto', /^s2_/, SMALL],
    ['true', /^s2_/, SMALL],
    ['s2_fast', 's2_fast', SMALL],
    ['s2_better', 's2_better', SMALL],
    ['s2_best', 's2_best', LARGE],
    ['accept', 's2_fast', SMALL],
    ['off', undefined, SMALL],
  ] as const)('that has compression %s: everything crosses', async (mode, level, cases) => {
    const leafnodes = `compression: ${mode}`;
    const hub = await startHub({ ...binary, leafnodes, config: PAYLOAD, jetstream: null });
    for (const compression of ['on', 'off', 'auto'] as const) {
      const broker = new Broker();
      const clock = compression === 'auto' ? slow : systemClock;
      const config = { urls: [hub.url], boundary, compression };
      const link = await connected(newLink(config, { broker, clock }));
      const isOn = compression === 'on' && level !== undefined;
      expect(ours(link)).toBe(isOn ? 's2_fast' : 'off');
      expect(await atHub(hub)).toMatch(isOn ? level : /^(off|not supported)$/);
      expect(logged('connected to the hub').at(-1)).toMatchObject({ compressed: isOn });
      if (compression === 'on') await cross(hub, broker, cases);
      expect(link.status()).toMatchObject({ problem: null, counters: { connects: 1 } });
      await link.stop();
    }
  });

  const certificates = `cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem"`;
  const caFile = `${TLS}/ca.pem`;
  const client = { certFile: `${TLS}/client.pem`, keyFile: `${TLS}/client-key.pem` };

  test.each([
    ['that begins behind INFO', '', { caFile }, LARGE],
    ['that begins before it', 'handshake_first: true', { caFile, handshakeFirst: true }, SMALL],
    [
      'with certificates of both',
      `ca_file: "${caFile}", verify: true`,
      { caFile, ...client },
      SMALL,
    ],
  ] as const)('over TLS %s', async (_name, more, tls, cases) => {
    const leafnodes = `compression: s2_better\ntls { ${certificates}\n${more} }`;
    const hub = await startHub({ ...binary, leafnodes, config: PAYLOAD, jetstream: null });
    const broker = new Broker();
    const urls = [`localhost:${hub.port}`];
    const link = await connected(newLink({ urls, tls, boundary }, { broker }));
    expect(link.status().hub).toMatchObject({ tls: true, compression: 's2_fast' });
    expect(await atHub(hub)).toBe('s2_better');
    await cross(hub, broker, cases);
  });

  test('that wants a certificate, and sees none: it is said, though our first words are how we compress', async () => {
    const verify = `ca_file: "${caFile}", verify: true`;
    const leafnodes = `compression: s2_fast\ntls { ${certificates}\n${verify} }`;
    const hub = await startHub({ ...binary, leafnodes, jetstream: null });
    newLink({ urls: [`localhost:${hub.port}`], tls: { caFile } });
    expect((await refusal()).hint).toMatch(/cert (and key )?in \[leaf\.tls\]/);
  });

  test('to which we prove who we are with an nkey or with credentials', async () => {
    const user = nkeys.createUser();
    const nkey = { kind: 'nkey', file: file('gw7.nk', Buffer.from(user.getSeed()).toString()) };
    const operator = new Operator();
    const creds = { kind: 'creds', file: file('gw7.creds', operator.user().creds) };
    for (const [credentials, config] of [
      [nkey, `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`],
      [creds, operator.config(join(dir, `accounts-${name}`))],
    ] as const) {
      const hub = await startHub({ ...binary, config, leafnodes: 'compression: s2_fast' });
      const link = await connected(
        newLink({ urls: [hub.url], credentials: credentials as Credentials }),
      );
      expect([ours(link), await atHub(hub)]).toEqual(['s2_fast', 's2_fast']);
      expect(logged('no leafnode connection')).toEqual([]);
    }
  });

  test('that does not advertise itself', async () => {
    const leafnodes = 'compression: s2_fast\nno_advertise: true';
    const hub = await startHub({ ...binary, leafnodes, jetstream: null });
    const link = await connected(newLink({ urls: [hub.url] }));
    expect([ours(link), await atHub(hub)]).toEqual(['s2_fast', 's2_fast']);
  });

  test('that changes how it compresses while we are connected', async () => {
    const mode = '{ mode: s2_auto, rtt_thresholds: ["200ms", "0s", "0s", "1h"] }';
    const config = `ping_interval: "500ms"\n${PAYLOAD}`;
    const leafnodes = `compression: ${mode}`;
    const hub = await startHub({ ...binary, config, leafnodes, jetstream: null });
    const line = await longLine(hub, 0);
    const broker = new Broker();
    const link = await connected(newLink({ urls: [line.url], boundary }, { broker }));
    for (const [delayMs, level] of [
      [0, 's2_uncompressed'],
      [150, 's2_best'],
      [0, 's2_uncompressed'],
    ] as const) {
      line.delayMs = delayMs;
      await until(level, async () => (await atHub(hub)) === level);
      await cross(hub, broker, SMALL);
    }
    const set = (level: string): void => {
      const listen = `listen: "127.0.0.1:${hub.port}"`;
      hub.server.configure({ config: `leafnodes { ${listen}\ncompression: ${level} }` });
    };
    set('s2_better');
    hub.server.reload();
    await until('the other level', async () => (await atHub(hub)) === 's2_better');
    await cross(hub, broker, SMALL);
    expect(link.status()).toMatchObject({ counters: { connects: 1 }, problem: null });
    // Only a new connection can do without.
    set('off');
    hub.server.reload();
    await until('a plain link', () => ours(link) === 'off');
    await cross(hub, broker, SMALL);
    expect(link.status().counters.connects).toBe(2);
    set('s2_best');
    await hub.server.kill();
    await until('the end to be noticed', () => !link.status().connected);
    await hub.server.restart();
    await connected(link);
    expect([ours(link), await atHub(hub)]).toEqual(['s2_fast', 's2_best']);
    await cross(hub, broker, SMALL);
  });

  test('that is about to stop, and comes back', async () => {
    const hub = await startHub({ ...binary, leafnodes: 'compression: s2_fast', jetstream: null });
    const broker = new Broker();
    const link = await connected(newLink({ urls: [hub.url], boundary }, { broker }));
    await hub.server.leave();
    await until('the end to be noticed', () => !link.status().connected);
    await hub.server.restart();
    await until('the link', () => ours(link) === 's2_fast');
    await cross(hub, broker, SMALL);
  });

  test('hears of a loop, and says whom it has given our place to', async () => {
    const hub = await startHub({ ...binary, leafnodes: 'compression: s2_best', jetstream: null });
    const random = (): number => 0.5;
    const nc = await connect({ servers: hub.server.url });
    afterwards(() => nc.close());
    const link = await connected(newLink({ urls: [hub.url] }, { random }));
    expect(ours(link)).toBe('s2_fast');
    nc.subscribe(`$LDS.${randomToken(random)}`);
    await until('its log', () =>
      hub.server.output.includes('Loop detected: the mark of this leafnode came back'),
    );
    expect(await refusal()).toMatchObject({ kind: 'loop' });
    await link.stop();
    at.lines = [];
    const pair = [newLink({ urls: [hub.url] }), newLink({ urls: [hub.url] })];
    await until('the other one', () =>
      pair.some((each) => each.status().problem?.includes('another gateway with the name "gw7"')),
    );
    expect(logged('connected to the hub').every(({ compressed }) => compressed === true)).toBe(
      true,
    );
  });
});

test('a hub of 2.9 knows nothing of it', async () => {
  const hub = await startHub({ binary: oldNatsServer('2.9'), config: PAYLOAD, jetstream: null });
  const broker = new Broker();
  const link = await connected(newLink({ urls: [hub.url], boundary }, { broker }));
  expect(ours(link)).toBe('off');
  expect(await atHub(hub)).toBeUndefined();
  await cross(hub, broker, LARGE);
});

describe('auto', () => {
  const tls = `tls { cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem"`;
  const caFile = `${TLS}/ca.pem`;

  test.each([
    ['13 ms', 13, '', undefined, true],
    ['13 ms, with TLS', 13, `${tls} }`, { caFile }, true],
    [
      '13 ms, with TLS first',
      13,
      `${tls}\nhandshake_first: true }`,
      { caFile, handshakeFirst: true },
      true,
    ],
    ['455 ms', 455, '', undefined, false],
  ] as const)('over a line of twice %s', async (_name, delayMs, more, files, isOn) => {
    const leafnodes = `compression: s2_best\n${more}`;
    const hub = await startHub({ leafnodes, jetstream: null });
    const line = await longLine(hub, delayMs);
    const urls = [`localhost:${line.port}`];
    const link = await connected(newLink({ urls, tls: files, compression: 'auto' }));
    expect(ours(link)).toBe(isOn ? 's2_fast' : 'off');
    expect(await atHub(hub)).toMatch(isOn ? 's2_best' : 'not supported');
  });
});

test('what is damaged on its way ends the link, is said, and costs a hub that sources our streams nothing', async () => {
  let line: MeddlingLine | undefined;
  await using rig = await LeafRig.start({
    leafnodes: 'compression: s2_fast',
    gateway: { leaf: 'compression = "on"', exports: ['up.>'], imports: ['down.>'] },
    between: async (port) => (line = await new MeddlingLine(port).listen()).port,
  });
  if (line === undefined) throw new Error('there is no line');
  afterwards(() => line?.close());
  const plant = await Plant.build(rig, { retentions: ['workqueue'], rate: 200 });
  await plant.publish();
  // A hub takes its time to ask for streams again; live messages are there at once.
  rig.hub.nc.subscribe('up.>');
  rig.local.nc.subscribe('down.>');
  const talk = setInterval(() => {
    rig.local.nc.publish('up.x', randomBytes(1_000));
    rig.hub.nc.publish('down.x', randomBytes(1_000));
  }, 5);
  const [stream] = plant.lines;
  if (stream === undefined) throw new Error('there is no stream');
  let before = await rig.connection();
  for (const damage of ['flip', 'drop', 'cut'] as const)
    for (const direction of ['down', 'up'] as const) {
      line.spoil(direction, damage, 10_000 + Math.floor(Math.random() * 20_000));
      await until(`${damage} ${direction}`, () => line?.lies === false);
      before = await until('another connection', async () => {
        const now = await rig.connection();
        return now === before ? undefined : now;
      });
      // It has asked for the stream before the next one.
      const { lastSeq } = stream.ledger;
      await until('the stream to flow', async () => (await plant.sourced(stream)) > lastSeq);
    }
  clearInterval(talk);
  await plant.stop();
  await plant.drained();
  expect(plant.failed).toBe(0);
  expect(await plant.audit()).toEqual([]);
  expect(rig.gateway.complaints.join()).toContain('no leafnode connection to the hub');
  expect(rig.gateway.complaints.join()).not.toContain('not a hub');
});
