// Real input comes out at the hub byte for byte: recordings of devices over a pty, files by mosquitto_pub, and messages
// with headers that a hub would take for orders.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { encodeHeaders } from '../../src/headers.ts';
import type { HubRecord } from '../support/audit.ts';
import { Pty } from '../support/pty.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { recordings, type Recording } from '../support/recordings.ts';
import { until } from '../support/until.ts';
import { EDGE } from './hub-admin.ts';
import { lasting, Rig } from './rig.ts';

const run = promisify(execFile);
const TEST_MS = 180_000;

function port(name: string, path: string, { framing }: Recording): string {
  const keys = [`name = "${name}"`, `path = "${path}"`, `framing = "${framing.type}"`];
  if (framing.type === 'delimiter')
    keys.push(`delimiter = "hex:${framing.delimiter.toString('hex')}"`);
  if (framing.type === 'fixed') keys.push(`frame_length = ${framing.length}`);
  return `[[serial]]\n${keys.join('\n')}\n`;
}

/** The device's bytes behind a delimiter: what comes before the first one after opening may be half a frame. */
function joined({ framing, bytes }: Recording): Buffer {
  if (framing.type === 'fixed') return bytes;
  return Buffer.concat([framing.type === 'line' ? Buffer.from('\n') : framing.delimiter, bytes]);
}

function bySubject(found: readonly HubRecord[]): Map<string, Buffer[]> {
  const groups = new Map<string, Buffer[]>();
  for (const { subject, data } of found)
    groups.set(subject, [...(groups.get(subject) ?? []), data]);
  return groups;
}

test(
  'every frame of every recording, over a pty and through an outage',
  { timeout: TEST_MS },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mangrove-ttys-'));
    const ports = recordings().map((recording, i) => {
      const pty = new Pty(join(directory, `tty${i}`));
      return { recording, name: `port${i}`, pty };
    });
    try {
      for (const { pty } of ports) await pty.plug();
      const tables = ports
        .map(({ name, pty, recording }) => port(name, pty.path, recording))
        .join('');
      await using rig = await Rig.start({ agent: { tables } });
      await until(
        'every port to be open',
        () =>
          rig.agent.log.filter(({ msg }) => msg === 'Serial port open.').length === ports.length,
      );
      const written = Promise.all(ports.map(({ pty, recording }) => pty.write(joined(recording))));
      await rig.confirmed(100);
      await rig.proxy.refuse();
      rig.proxy.resetAll();
      await written;
      const frames = ports.reduce((sum, { recording }) => sum + recording.frames.length, 0);
      await until(`${frames} frames on the disk`, () => {
        const { durableSeq } = rig.agent.agent.parts.jetstream.stream('SENSORS')!;
        return durableSeq >= frames;
      });
      await lasting(100);
      await rig.proxy.restore();
      await rig.agent.drained();
      const found = bySubject(await rig.admin.readAll());
      for (const { name, recording } of ports) {
        const got = found.get(`edge.gw7.SENSORS.serial.${name}`) ?? [];
        expect(`${recording.name}: ${got.length}`).toBe(
          `${recording.name}: ${recording.frames.length}`,
        );
        const wrong = recording.frames.findIndex((frame, i) => !frame.equals(got[i]!));
        expect(`${recording.name}: ${wrong}`).toBe(`${recording.name}: -1`);
      }
      expect([...found.keys()]).toHaveLength(ports.length);
    } finally {
      for (const { pty } of ports) await pty.unplug();
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test.each([0, 1])('files by mosquitto_pub with QoS %i', { timeout: TEST_MS }, async (qos) => {
  await using rig = await Rig.start();
  const random = seededRandom(5);
  const files: [string, Buffer][] = [
    ['text', Buffer.from('21.5 °C\r\n')],
    ['nuls', Buffer.alloc(1_000)],
    ['bytes', Buffer.from(Array.from({ length: 256 }, (_, i) => i))],
    ['crlf', Buffer.from('\r\nNATS/1.0\r\nPUB edge.x 1\r\n\r\n')],
    ['large', randomBytes(random, 200_000)],
    ['megabyte', randomBytes(random, 1_000_000)],
  ];
  const publish = async (topic: string, ...what: string[]): Promise<void> => {
    const to = ['-h', '127.0.0.1', '-p', String(rig.agent.mqttPort), '-q', String(qos)];
    await run('mosquitto_pub', [...to, '-t', `plant1/${topic}`, ...what]);
  };
  for (const [name, data] of files) {
    const file = join(rig.dir.path, name);
    writeFileSync(file, data);
    await publish(name, '-f', file);
  }
  await publish('empty', '-n');
  const sent = [...files, ['empty', Buffer.alloc(0)] as [string, Buffer]];
  // QoS 0 is not acknowledged: mosquitto_pub ends before the agent has read it all.
  await until('everything stored', () => {
    return rig.agent.agent.parts.jetstream.stream('SENSORS')!.durableSeq >= sent.length;
  });
  await rig.agent.drained();
  const found = await rig.admin.readAll();
  expect(found.map(({ subject }) => subject)).toEqual(
    sent.map(([name]) => `edge.gw7.SENSORS.plant1.${name}`),
  );
  const wrong = sent.filter(([, data], i) => !data.equals(found[i]!.data)).map(([name]) => name);
  expect(wrong).toEqual([]);
});

/** What a local stream has done with each, and stores; sent as they are, they would be orders to the hub. */
const ORDERS: readonly ((n: number) => [string, string])[] = [
  (n) => ['Nats-Expected-Last-Sequence', `${n}`],
  (n) => ['Nats-Expected-Last-Subject-Sequence', `${n}`],
  () => ['Nats-Expected-Stream', 'SENSORS'],
  () => ['Nats-Msg-Id', 'the same for all'],
  () => ['Nats-Expected-Last-Msg-Id', 'the same for all'],
  () => ['nats-rollup', 'all'],
  () => ['Nats-Schedule-Target', 'edge.x'],
  () => ['Nats-Marker-Reason', 'MaxAge'],
];

/** What it does not do for whoever asks: nothing is stored, and the publisher hears why. */
const REFUSED: readonly [string, string][] = [
  ['Nats-Expected-Last-Sequence', '999999'],
  ['Nats-Expected-Last-Msg-Id', 'nobody'],
  ['Nats-Expected-Stream', 'OTHER'],
  ['Nats-Rollup', 'all'],
  ['Nats-TTL', '1s'],
  ['Nats-Batch-Id', 'mine'],
  ['Nats-Incr', '+1'],
];

test.each([
  ['in atomic batches', true],
  ['one by one', false],
])('stored messages with control headers pass, their headers renamed (%s)', async (_, atomic) => {
  const stream = { ...EDGE, allow_atomic: atomic, allow_rollup_hdrs: true, allow_msg_ttl: true };
  await using rig = await Rig.start({ stream });
  const one = (headers: [string, string][], n: number): Promise<unknown> => {
    const block = encodeHeaders([...headers, ['Unit', `${n} °C`]]);
    return rig.agent.publish('plant1.kv.update', Buffer.from(`value ${n}`), block);
  };
  await rig.proxy.refuse();
  rig.proxy.resetAll();
  for (const order of REFUSED) await expect(one([order], 0), order[0]).rejects.toThrow();
  for (const [n, order] of ORDERS.entries()) await one([order(n)], n);
  await rig.proxy.restore();
  await rig.agent.drained();
  const found = await rig.admin.readAll();
  expect(found.map(({ data }) => data.toString())).toEqual(ORDERS.map((_order, n) => `value ${n}`));
  for (const [n, order] of ORDERS.entries()) {
    const { headers } = found[n]!;
    const [name, value] = order(n);
    expect(headers.get(`Mangrove-${name}`)).toBe(value);
    expect(headers.get('Unit')).toBe(`${n} °C`);
  }
  const ids = new Set(found.map(({ id }) => id));
  expect(ids.size).toBe(found.length);
});
