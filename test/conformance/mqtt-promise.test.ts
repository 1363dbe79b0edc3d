// The promise: a positive PUBACK or PUBREC means that the message is in the stream it belongs to. Seen from outside, with an
// agent process, streams of every kind made through the NATS API, and raw sockets that hide nothing.

import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { came, held, MqttNatsLab, VERSIONS } from '../support/mqtt-nats-lab.ts';
import type { RawClient } from '../support/mqtt-raw.ts';
import {
  rawAck,
  rawPublish,
  rawSubscribe,
  type RawProperties,
  type RawVersion,
} from '../support/mqtt-raw-encode.ts';
import { until } from '../support/until.ts';

const QUOTA_EXCEEDED = 0x97;
const MESSAGES = 30;

let lab: MqttNatsLab;
let nats: NatsConnection;
let manager: JetStreamManager;
let count = 0;

beforeAll(async () => {
  lab = await MqttNatsLab.start({ config: '' });
});
beforeEach(async () => {
  nats = await lab.nats();
  manager = await jetstreamManager(nats);
});
afterEach(async () => {
  await lab.clear();
});
afterAll(async () => {
  await lab[Symbol.asyncDispose]();
});

/** A stream of its own; the topic under which it takes messages. */
async function stream(config: Partial<StreamConfig>): Promise<{ name: string; topic: string }> {
  const name = `S${++count}`;
  await manager.streams.add({ name, subjects: [`s${count}.>`], ...config });
  return { name, topic: `s${count}/a` };
}

interface Burst {
  readonly topic: string;
  readonly qos: number;
  readonly count?: number;
  readonly data?: (i: number) => string;
  readonly properties?: (i: number) => RawProperties;
}

/** Publishes all at once, with Packet Identifiers from 1 on. */
function burst(raw: RawClient, { topic, qos, ...rest }: Burst): void {
  const { count: total = MESSAGES, data = (i: number) => `m${i}`, properties = () => [] } = rest;
  const packets = Array.from({ length: total }, (_, i) =>
    rawPublish(raw.version, {
      topic,
      qos,
      data: data(i),
      packetId: qos === 0 ? undefined : i + 1,
      properties: properties(i),
    }),
  );
  raw.send(...packets);
}

/** What answered a burst, by Packet Identifier, once everything before a PINGREQ is read and `total` answers are there. */
async function answers(
  raw: RawClient,
  total: number,
): Promise<{ id: number; code: number; why: unknown }[]> {
  const isAnswer = (type: string): boolean => type === 'puback' || type === 'pubrec';
  await raw.until(
    `${total} answers`,
    () => raw.received.filter(({ type }) => isAnswer(type)).length >= total,
  );
  expect(await raw.ping()).toBe(true);
  return raw.take().flatMap((packet) => {
    if (packet.type !== 'puback' && packet.type !== 'pubrec') return [];
    const why = packet.properties.find(([name]) => name === 'reasonString')?.[1];
    return [{ id: packet.packetId, code: packet.code, why }];
  });
}

const texts = async (name: string): Promise<string[]> =>
  (await held(manager, name)).map(({ text }) => text);

const first = (n: number): string[] => Array.from({ length: n }, (_, i) => `m${i}`);

const NEW = { discard: DiscardPolicy.New };
/** Streams that take exactly ten of thirty messages, and why. */
const TEN: Record<string, Partial<StreamConfig>> = {
  max_msgs: { ...NEW, max_msgs: 10 },
  max_bytes: { ...NEW, max_bytes: 10 * 1000 },
  'max_msgs in memory': { ...NEW, max_msgs: 10, storage: StorageType.Memory },
  'max_msgs of a work queue': { ...NEW, max_msgs: 10, retention: RetentionPolicy.Workqueue },
  max_msgs_per_subject: {
    ...NEW,
    max_msgs: 1e3,
    max_msgs_per_subject: 10,
    discard_new_per_subject: true,
  },
};

/** One message in a stream with max_bytes 10,000 is a tenth, whatever it counts beside subject and data. */
const padded = (i: number): string => `m${i}`.padEnd(950, '.');

for (const [name, config] of Object.entries(TEN))
  for (const qos of [1, 2])
    test(`30 messages at QoS ${qos} to a stream that takes 10 (${name}): 5.0 gets 10 positive answers and 20 that say why`, async () => {
      const { name: kept, topic } = await stream(config);
      const raw = await lab.raw({ version: 5, clientId: 'five' });
      const data = name === 'max_bytes' ? padded : undefined;
      burst(raw, { topic, qos, ...(data === undefined ? {} : { data }) });
      const heard = await answers(raw, MESSAGES);
      expect(heard.map(({ id }) => id)).toEqual(first(MESSAGES).map((_, i) => i + 1));
      const good = heard.filter(({ code }) => code === 0);
      const bad = heard.filter(({ code }) => code === QUOTA_EXCEEDED);
      expect([good.length, bad.length]).toEqual([10, 20]);
      expect(heard.slice(0, 10)).toEqual(good);
      for (const { why } of bad) expect(why).toMatch(/\w+ \w+/);
      const stored = (await texts(kept)).map((text) => text.replaceAll('.', ''));
      expect(stored).toEqual(first(10));
      if (qos === 1) return;
      for (const { id } of good) raw.send(rawAck('pubrel', id));
      for (const { id } of good)
        expect(await raw.expect('pubcomp')).toMatchObject({ packetId: id, code: 0 });
      // A refused identifier is free again.
      await manager.streams.purge(kept);
      raw.send(rawPublish(5, { topic, qos, packetId: 20, data: 'again' }));
      expect(await raw.expect('pubrec')).toMatchObject({ packetId: 20, code: 0 });
      expect(await texts(kept)).toEqual(['again']);
    });

for (const version of [3, 4] as const)
  for (const qos of [1, 2])
    test(`the same with MQTT 3.1${version === 4 ? '.1' : ''} at QoS ${qos}: 10 answers, no more, and the connection goes on`, async () => {
      const { name, topic } = await stream({ ...NEW, max_msgs: 10 });
      const watcher = await lab.device(5);
      await watcher.client.subscribeAsync('other/#');
      const raw = await lab.raw({ version, clientId: `older-${version}-${qos}`, clean: false });
      burst(raw, { topic, qos });
      const heard = await answers(raw, 10);
      expect(heard.map(({ id, code }) => `${id} ${code}`)).toEqual(
        first(10).map((_, i) => `${i + 1} 0`),
      );
      expect(await texts(name)).toEqual(first(10));
      raw.send(
        rawPublish(version, { topic: 'other/x', qos: 0, data: 'still here' }),
        rawPublish(version, { topic: 'other/y', qos, packetId: 99, data: 'and so' }),
      );
      await came(watcher.got, 2);
      expect((await answers(raw, 1)).map(({ id }) => id)).toEqual([99]);
      await lab.looked();
      expect(await raw.ping()).toBe(true);
      raw.destroy();
      // With room again, what was refused is taken when the device sends it again, which it does when it comes back.
      await manager.streams.purge(name);
      const back = await lab.raw({ version, clientId: `older-${version}-${qos}`, clean: false });
      for (let i = 10; i < 20; i++)
        back.send(rawPublish(version, { topic, qos, packetId: i + 1, dup: true, data: `m${i}` }));
      expect((await answers(back, 10)).map(({ id }) => id)).toEqual(
        first(10).map((_, i) => i + 11),
      );
      expect(await texts(name)).toEqual(first(20).slice(10));
    });

test('a message that its stream will never take is refused, and harms nothing that comes behind it', async () => {
  const { name, topic } = await stream({ max_msg_size: 100 });
  const sealed = await stream({});
  // The types of the client leave it out; it passes it on.
  await manager.streams.update(sealed.name, { sealed: true } as Partial<StreamConfig>);
  const devices: RawClient[] = [];
  for (const version of VERSIONS)
    for (const qos of [1, 2]) {
      const raw = await lab.raw({ version, clientId: `large-${version}-${qos}` });
      raw.send(
        rawPublish(version, { topic, qos, packetId: 1, data: 'x'.repeat(101) }),
        rawPublish(version, { topic: sealed.topic, qos, packetId: 2, data: 'x' }),
        rawPublish(version, { topic, qos, packetId: 3, data: 'fits' }),
      );
      const heard = await answers(raw, version === 5 ? 3 : 1);
      const codes = heard.map(({ id, code }) => `${id} ${code}`);
      expect(codes).toEqual(version === 5 ? ['1 151', '2 151', '3 0'] : ['3 0']);
      devices.push(raw);
    }
  await lab.looked();
  for (const raw of devices) expect(await raw.ping()).toBe(true);
  expect(await texts(name)).toEqual(Array.from({ length: 6 }, () => 'fits'));
  expect(await texts(sealed.name)).toEqual([]);
});

test('what a stream has refused is not retained', async () => {
  const { topic } = await stream({ ...NEW, max_msgs: 1 });
  const raw = await lab.raw({ version: 5, clientId: 'retains' });
  for (const [i, data] of ['kept', 'refused'].entries())
    raw.send(rawPublish(5, { topic, qos: 1, packetId: i + 1, data, retain: true }));
  expect((await answers(raw, 2)).map(({ code }) => code)).toEqual([0, QUOTA_EXCEEDED]);
  raw.send(rawSubscribe(5, 9, [{ filter: topic, qos: 0 }]));
  await raw.expect('suback');
  expect((await raw.expect('publish')).data.toString()).toBe('kept');
});

test('duplicates by Nats-Msg-Id are stored once and acknowledged each time', async () => {
  const { name, topic } = await stream({ ...NEW, max_msgs: 10 });
  const raw = await lab.raw({ version: 5, clientId: 'twice' });
  for (const qos of [1, 2]) {
    const properties = (i: number): RawProperties => [
      ['userProperty', ['Nats-Msg-Id', `${qos}-${i % 5}`]],
    ];
    burst(raw, { topic, qos, properties, data: (i) => `m${i % 5}` });
    expect((await answers(raw, MESSAGES)).every(({ code }) => code === 0)).toBe(true);
    for (let id = 1; id <= MESSAGES && qos === 2; id++) raw.send(rawAck('pubrel', id));
  }
  expect(await texts(name)).toEqual([...first(5), ...first(5)]);
});

test('a stream that keeps only what somebody wants acknowledges what nobody does, and keeps what somebody does', async () => {
  const { name, topic } = await stream({ retention: RetentionPolicy.Interest });
  const raw = await lab.raw({ version: 5, clientId: 'interest' });
  burst(raw, { topic, qos: 1, count: 5 });
  expect((await answers(raw, 5)).every(({ code }) => code < 0x80)).toBe(true);
  expect(await texts(name)).toEqual([]);
  await manager.consumers.add(name, { durable_name: 'c' });
  burst(raw, { topic, qos: 1, count: 5 });
  expect((await answers(raw, 5)).every(({ code }) => code === 0)).toBe(true);
  expect(await texts(name)).toEqual(first(5));
});

test('while streams come and go, what 5.0 hears as stored is stored, and nothing else', async () => {
  const topic = 'late/a';
  const raw = await lab.raw({ version: 5, clientId: 'late' });
  const data = new Map<number, string>();
  const codes = new Map<string, number>();
  let sent = 0;
  raw.onPacket = (packet) => {
    if (packet.type === 'pubrec' && packet.code < 0x80) raw.send(rawAck('pubrel', packet.packetId));
    if (packet.type !== 'puback' && packet.type !== 'pubrec') return;
    codes.set(data.get(packet.packetId) ?? '', packet.code);
    if (packet.type === 'puback') next(packet.packetId);
    else if (packet.code >= 0x80) next(packet.packetId);
  };
  const next = (packetId: number): void => {
    if (sent >= 3000) return;
    const text = `n${sent++}`;
    data.set(packetId, text);
    raw.send(rawPublish(5, { topic, qos: packetId % 2 === 0 ? 2 : 1, packetId, data: text }));
  };
  const onPacket = raw.onPacket;
  raw.onPacket = (packet) => {
    onPacket(packet);
    if (packet.type === 'pubcomp') next(packet.packetId);
  };
  for (let id = 1; id <= 50; id++) next(id);
  await until('a thousand', () => codes.size > 1000);
  await manager.streams.add({ name: 'LATE', subjects: ['late.>'] });
  await until('all', () => codes.size >= 3000);
  const stored = new Set(await texts('LATE'));
  const told = [...codes].filter(([, code]) => code === 0).map(([text]) => text);
  expect(told.length).toBeGreaterThan(100);
  expect(told.length).toBeLessThan(3000);
  expect(new Set(told)).toEqual(stored);
  expect([...codes.values()].every((code) => code === 0 || code === 0x10)).toBe(true);
  await manager.streams.delete('LATE');
  raw.onPacket = undefined;
  raw.take();
  burst(raw, { topic, qos: 1, count: 3 });
  expect((await answers(raw, 3)).map(({ code }) => code)).toEqual([0x10, 0x10, 0x10]);
});

test('a full stream holds back nobody but who publishes to it', async () => {
  const full = await stream({ ...NEW, max_msgs: 1 });
  const open = await stream({});
  const devices = await Promise.all(
    ([3, 4, 5] as const).map((version: RawVersion) =>
      lab.raw({ version, clientId: `mixed-${version}` }),
    ),
  );
  for (const raw of devices)
    for (let i = 0; i < 20; i++)
      raw.send(
        rawPublish(raw.version, { topic: full.topic, qos: 1, packetId: 100 + i, data: 'x' }),
        rawPublish(raw.version, { topic: open.topic, qos: 1, packetId: 1 + i, data: `m${i}` }),
      );
  for (const raw of devices) {
    const heard = (await answers(raw, raw.version === 5 ? 40 : 20)).filter(({ id }) => id < 100);
    expect(heard.map(({ id, code }) => `${id} ${code}`)).toEqual(
      first(20).map((_, i) => `${i + 1} 0`),
    );
  }
  expect(await texts(full.name)).toHaveLength(1);
  expect(await texts(open.name)).toHaveLength(60);
});
