// Backpressure before loss, seen from outside: a disk that answers late slows down who publishes, a subscriber that does not
// read slows down nobody, what is away has a bounded queue, and every message that is dropped is counted.

import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { AgentOptions } from '../support/agent-process.ts';
import { came, held, MqttNatsLab, VERSIONS } from '../support/mqtt-nats-lab.ts';
import type { RawClient } from '../support/mqtt-raw.ts';
import {
  rawAck,
  rawPublish,
  rawSubscribe,
  type RawConnect,
  type RawVersion,
} from '../support/mqtt-raw-encode.ts';
import { until } from '../support/until.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Commits that come after one another wait so long: a card that answers late, on every machine alike. */
const LATE_DISK: AgentOptions = { gateway: 'commit_interval = "100ms"' };

/** What /mqttz says of one session. */
async function session(at: MqttNatsLab, clientId: string): Promise<Record<string, unknown>> {
  const { body } = await at.agent.monitor(`/mqttz?client_id=${clientId}`);
  const [found] = body['sessions'] as Record<string, unknown>[];
  return found ?? {};
}

async function away(at: MqttNatsLab, clientId: string): Promise<void> {
  await until('it to be away', async () => (await session(at, clientId))['state'] === 'away');
}

async function subscriber(
  at: MqttNatsLab,
  version: RawVersion,
  clientId: string,
  qos: number,
  filter: string,
): Promise<RawClient> {
  const raw = await at.raw({ version, clientId });
  raw.send(rawSubscribe(version, 1, [{ filter, qos }]));
  await raw.expect('suback');
  return raw;
}

/** A device that publishes `total` messages, 5.0 within our Receive Maximum of 20, and checks their answers. */
async function publishAll(
  at: MqttNatsLab,
  version: RawVersion,
  qos: number,
  total: number,
): Promise<void> {
  const name = `${version}-${qos}`;
  const { client: raw, connack } = await at.open({ version, clientId: name });
  const told = connack.properties.find(([key]) => key === 'receiveMaximum')?.[1];
  expect(told).toBe(version === 5 ? 20 : undefined);
  let sent = 0;
  const ids: number[] = [];
  const publish = (): void => {
    if (sent >= total) return;
    sent++;
    raw.send(rawPublish(version, { topic: `data/${name}`, qos, packetId: sent, data: `m${sent}` }));
  };
  raw.onPacket = (packet) => {
    if (packet.type === 'puback' || packet.type === 'pubrec') ids.push(packet.packetId);
    if (packet.type === 'pubrec') raw.send(rawAck('pubrel', packet.packetId));
    if (version === 5 && (packet.type === 'puback' || packet.type === 'pubcomp')) publish();
  };
  // Only 5.0 knows of a window; the others send as fast as the socket takes it.
  for (let i = 0; i < (version === 5 ? 20 : total); i++) publish();
  await until('all answers', () => ids.length >= total || raw.closed);
  expect(raw.closed).toBe(false);
  expect(ids).toEqual(Array.from({ length: total }, (_, i) => i + 1));
}

test('a late disk slows devices of every version down through their window, in order, and loses nothing', async () => {
  await using at = await MqttNatsLab.start({
    ...LATE_DISK,
    env: { MANGROVE_MQTT_RECEIVE_MAXIMUM: '20' },
  });
  const manager = await jetstreamManager(await at.nats());
  await Promise.all(
    VERSIONS.flatMap((version) => [1, 2].map((qos) => publishAll(at, version, qos, 200))),
  );
  const stored = await held(manager, 'DATA');
  for (const version of VERSIONS)
    for (const qos of [1, 2])
      expect(
        stored
          .filter(({ subject }) => subject === `data.${version}-${qos}`)
          .map(({ text }) => text),
      ).toEqual(Array.from({ length: 200 }, (_, i) => `m${i + 1}`));
});

test('5.0 that leaves more than our Receive Maximum unreleased is told 0x93, and what it had acknowledged is there', async () => {
  await using at = await MqttNatsLab.start({ env: { MANGROVE_MQTT_RECEIVE_MAXIMUM: '5' } });
  const raw = await at.raw({ version: 5, clientId: 'greedy' });
  for (let id = 1; id <= 6; id++)
    raw.send(rawPublish(5, { topic: 'data/x', qos: 2, packetId: id, data: `m${id}` }));
  for (let id = 1; id <= 5; id++) expect((await raw.expect('pubrec')).packetId).toBe(id);
  expect((await raw.expect('disconnect')).code).toBe(0x93);
  await raw.expectClosed();
  const manager = await jetstreamManager(await at.nats());
  expect((await held(manager, 'DATA')).map(({ text }) => text)).toEqual(
    Array.from({ length: 5 }, (_, i) => `m${i + 1}`),
  );
});

test('devices that send faster than the disk takes are not read on: memory stays bounded, and others are served', async () => {
  await using at = await MqttNatsLab.start(LATE_DISK);
  const manager = await jetstreamManager(await at.nats());
  const memory = async (): Promise<number> => {
    const { body } = await at.agent.monitor('/varz');
    return Number(body['mem']);
  };
  const begun = await memory();
  const data = Buffer.alloc(64 * KIB, 'x');
  const COUNT = 200;
  const floods = await Promise.all(
    [0, 1, 2, 3].map((i) => at.raw({ version: i % 2 === 0 ? 4 : 3, clientId: `flood-${i}` })),
  );
  const other = await at.device(5);
  await other.client.subscribeAsync('quick', { qos: 0 });
  for (const [n, raw] of floods.entries())
    for (let id = 1; id <= COUNT; id++)
      raw.send(rawPublish(raw.version, { topic: `data/${n}`, qos: 1, packetId: id, data }));
  let [most, inFlight, quick, held4] = [0, 0, 0, false];
  const acked = (): number =>
    floods.reduce(
      (sum, raw) => sum + raw.received.filter(({ type }) => type === 'puback').length,
      0,
    );
  await until(
    'all to be stored',
    async () => {
      most = Math.max(most, (await memory()) - begun);
      inFlight = Math.max(inFlight, (await at.varz())['publishes_in_flight'] ?? 0);
      held4 ||= floods.every(({ stream }) => stream.writableLength > MIB);
      await other.client.publishAsync('quick', `${++quick}`, { qos: 0 });
      return acked() === floods.length * COUNT;
    },
    60_000,
  );
  expect(held4).toBe(true);
  // Four MiB are on their way to the disk at most.
  expect(inFlight).toBeLessThanOrEqual(4 * 16);
  expect(most).toBeLessThan(120 * MIB);
  await came(other.got, quick);
  const { state } = await manager.streams.info('DATA');
  expect(state.messages).toBe(floods.length * COUNT);
}, 90_000);

test('a subscriber that does not read holds back nobody, and every message it misses is counted', async () => {
  await using at = await MqttNatsLab.start();
  const data = (i: number): Buffer => Buffer.from(`${i}`.padEnd(8 * KIB, '.'));
  const COUNT = 3000;
  const lazy = new Map<number, { raw: RawClient; got: number[] }>();
  for (const qos of [0, 1, 2]) {
    const raw = await subscriber(at, qos === 1 ? 4 : 5, `lazy-${qos}`, qos, 'flood');
    const got: number[] = [];
    raw.onPacket = (packet) => {
      if (packet.type === 'publish') got.push(Number.parseInt(packet.data.toString(), 10));
      if (packet.type === 'publish' && qos > 0)
        raw.send(rawAck(qos === 1 ? 'puback' : 'pubrec', packet.packetId));
      if (packet.type === 'pubrel') raw.send(rawAck('pubcomp', packet.packetId));
    };
    raw.stream.pause();
    lazy.set(qos, { raw, got });
  }
  const busy = await at.device(5);
  await busy.client.subscribeAsync('flood', { qos: 1 });
  const publisher = await at.device(5);
  for (let from = 0; from < COUNT; from += 100) {
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        publisher.client.publishAsync('flood', data(from + i), { qos: 2 }),
      ),
    );
    await came(busy.got, from + 100);
  }
  const counters = await at.varz();
  expect(counters['output_bytes'] ?? 0).toBeLessThan(32 * MIB);
  for (const { raw } of lazy.values()) raw.stream.resume();
  for (const { raw } of lazy.values()) expect(await raw.ping()).toBe(true);
  await until('the queues to be empty', async () => {
    const states = await Promise.all([1, 2].map((qos) => session(at, `lazy-${qos}`)));
    return states.every((state) => state['queued_messages'] === 0);
  });
  for (const { got } of lazy.values()) expect(got).toEqual(got.toSorted((a, b) => a - b));
  const missed = (qos: number): number => COUNT - (lazy.get(qos)?.got.length ?? 0);
  const after = await at.varz();
  expect(missed(0)).toBeGreaterThan(0);
  expect(after['dropped_slow_msgs']).toBe(missed(0));
  expect(after['dropped_queue_msgs']).toBe(missed(1) + missed(2));
  for (const qos of [1, 2]) {
    expect(missed(qos)).toBeGreaterThan(0);
    expect((await session(at, `lazy-${qos}`))['dropped']).toMatchObject({ full: missed(qos) });
  }
}, 120_000);

for (const [discard, first] of [
  ['new', 1],
  ['old', 71],
] as const)
  test(`devices that are away find the ${discard === 'new' ? 'first' : 'last'} messages that their queues hold, and the others counted`, async () => {
    await using at = await MqttNatsLab.start({
      env: { MANGROVE_MQTT_QUEUE_MESSAGES_MAX: '50', MANGROVE_MQTT_QUEUE_DISCARD: discard },
    });
    const lasting = (version: RawVersion): RawConnect => ({
      version,
      clientId: `away-${version}`,
      clean: false,
      properties: version === 5 ? [['sessionExpiryInterval', 600]] : [],
    });
    for (const version of VERSIONS) {
      const before = await at.raw(lasting(version));
      before.send(rawSubscribe(version, 1, [{ filter: 'q/#', qos: 2 }]));
      await before.expect('suback');
      before.destroy();
      await away(at, `away-${version}`);
    }
    const nats = await at.nats();
    const device = await at.device(4);
    for (let i = 1; i <= 120; i++)
      if (i % 3 === 0) nats.publish('q.a', `${i}`);
      else {
        await nats.flush();
        await device.client.publishAsync('q/b', `${i}`, { qos: i % 3 === 1 ? 1 : 2 });
      }
    // The last one came from NATS, which hears of no disk: the answer to this one speaks of both.
    await nats.flush();
    await device.client.publishAsync('data/fence', '', { qos: 1 });
    for (const version of VERSIONS)
      expect(await session(at, `away-${version}`)).toMatchObject({
        queued_messages: 50,
        dropped: { full: 70 },
      });
    expect((await at.varz())['dropped_queue_msgs']).toBe(3 * 70);
    await at.agent.kill('SIGKILL');
    await at.agent.start();
    for (const version of VERSIONS) {
      const back = await at.raw(lasting(version));
      const got: number[] = [];
      for (let i = 0; i < 50; i++) {
        const { data, qos, packetId } = await back.expect('publish');
        got.push(Number(data.toString()));
        back.send(rawAck(qos === 1 ? 'puback' : 'pubrec', packetId));
        if (qos === 2) back.send(rawAck('pubcomp', (await back.expect('pubrel')).packetId));
      }
      expect(got).toEqual(Array.from({ length: 50 }, (_, i) => first + i));
      expect(await back.ping()).toBe(true);
      expect(back.take()).toEqual([]);
      expect((await session(at, `away-${version}`))['queued_messages']).toBe(0);
    }
  });

test('a queue is bounded in bytes too', async () => {
  await using at = await MqttNatsLab.start({ env: { MANGROVE_MQTT_QUEUE_BYTES_MAX: '64KiB' } });
  const lasting = { version: 4, clientId: 'away', clean: false } as const;
  const before = await at.raw(lasting);
  before.send(rawSubscribe(4, 1, [{ filter: 'q/#', qos: 1 }]));
  await before.expect('suback');
  before.destroy();
  await away(at, 'away');
  const device = await at.device(5);
  for (let i = 0; i < 20; i++)
    await device.client.publishAsync('q/b', Buffer.alloc(10_000, 'x'), { qos: 1 });
  const state = await session(at, 'away');
  expect(state['queued_bytes']).toBeLessThanOrEqual(64 * KIB);
  expect(state).toMatchObject({ queued_messages: 6, dropped: { full: 14 } });
});
