// MQTT and NATS as one subject space, seen from outside: an agent process, MQTT.js and raw sockets on one side, the
// official NATS clients on the other. What one side publishes is what the other side gets, whole, in order, once.

import { AckPolicy, jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import type { IPublishPacket } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { subjectToTopic, topicToSubject } from '../../device/mqtt/topic.ts';
import { came, held, MqttNatsLab, QOS_LEVELS, VERSIONS } from '../support/mqtt-nats-lab.ts';
import { ODD_TOPICS, randomProperties } from '../support/mqtt-nats-samples.ts';
import { rawAck, rawPublish, rawSubscribe } from '../support/mqtt-raw-encode.ts';
import { collect } from '../support/nats-clients.ts';
import { seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';

let lab: MqttNatsLab;
let nats: NatsConnection;
let manager: JetStreamManager;

beforeAll(async () => {
  lab = await MqttNatsLab.start({
    config: `[[mqtt.acl]]
publish = ["#", "$KV/#"]
subscribe = ["#", "$KV/#"]
`,
  });
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

const shown = (messages: readonly Msg[]): string[] =>
  messages.map((message) => `${message.subject} ${message.string()}`);

test('a device of every version publishes at every QoS to NATS subscribers, queue groups and a stream', async () => {
  await manager.streams.add({ name: 'PLANT', subjects: ['plant.>'] });
  const copies = ['plant.boiler.temp', 'plant.*.temp', 'plant.>', '>'].map((filter) =>
    collect(nats, filter),
  );
  const crew = [collect(nats, 'plant.>', 'crew'), collect(nats, 'plant.>', 'crew')];
  await nats.flush();
  const expected: string[] = [];
  for (const version of VERSIONS) {
    const { client } = await lab.device(version);
    for (const qos of QOS_LEVELS) {
      await client.publishAsync('plant/boiler/temp', `${version}-${qos}`, { qos });
      expected.push(`plant.boiler.temp ${version}-${qos}`);
    }
  }
  for (const got of copies) {
    await until('all', () => shown(got).filter((each) => expected.includes(each)).length >= 9);
    const plant = got.filter(({ subject }) => subject.startsWith('plant'));
    expect(shown(plant)).toEqual(expected);
    expect(plant.every(({ headers: block, reply }) => block === undefined && !reply)).toBe(true);
  }
  await until('the group', () => crew.flat().length >= 9);
  expect(shown(crew.flat()).toSorted()).toEqual(expected.toSorted());
  const stored = await held(manager, 'PLANT');
  expect(stored.map(({ subject, text }) => `${subject} ${text}`)).toEqual(expected);
});

test('a NATS publish reaches devices of every version at the QoS of their subscription, not retained', async () => {
  const devices = [];
  for (const version of VERSIONS)
    for (const qos of QOS_LEVELS) {
      const device = await lab.device(version);
      await device.client.subscribeAsync('to/+/device', { qos });
      devices.push({ ...device, qos });
    }
  const texts = Array.from({ length: 200 }, (_, i) => `m${i}`);
  for (const text of texts) nats.publish('to.the.device', text);
  for (const { got, qos } of devices) {
    await came(got, texts.length);
    expect(got.map(({ text }) => text)).toEqual(texts);
    const flags = got.map(({ topic, packet: { retain, dup, qos: at } }) =>
      [topic, at, retain, dup].join(),
    );
    expect(new Set(flags)).toEqual(new Set([`to/the/device,${qos},false,false`]));
  }
});

test('consumers deliver what devices published, and a push consumer delivers to devices', async () => {
  await manager.streams.add({ name: 'LINE', subjects: ['line.*'] });
  await manager.consumers.add('LINE', { durable_name: 'puller', ack_policy: AckPolicy.Explicit });
  await manager.consumers.add('LINE', {
    durable_name: 'pusher',
    deliver_subject: 'panel.line',
    ack_policy: AckPolicy.None,
  });
  const panel = await lab.device(5);
  await panel.client.subscribeAsync('panel/line', { qos: 1 });
  const shared = await lab.device(5);
  await shared.client.subscribeAsync('$share/g/panel/+', { qos: 0 });
  const { client } = await lab.device(4);
  for (let i = 0; i < 20; i++) await client.publishAsync('line/a', `n${i}`, { qos: i % 2 ? 1 : 2 });
  const consumer = await jetstream(nats).consumers.get('LINE', 'puller');
  const pulled: string[] = [];
  for await (const message of await consumer.fetch({ max_messages: 20, expires: 5000 })) {
    pulled.push(message.string());
    message.ack();
  }
  const expected = Array.from({ length: 20 }, (_, i) => `n${i}`);
  expect(pulled).toEqual(expected);
  for (const { got } of [panel, shared]) {
    await came(got, 20);
    expect(got.map(({ text }) => text)).toEqual(expected);
    expect(got.every(({ topic }) => topic === 'panel/line')).toBe(true);
  }
});

test('a stream republishes what a device published to other devices, with where it lies', async () => {
  await manager.streams.add({
    name: 'REPUB',
    subjects: ['rp.>'],
    republish: { src: 'rp.>', dest: 'seen.>' },
  });
  const watcher = await lab.device(5);
  await watcher.client.subscribeAsync('seen/#', { qos: 2 });
  const { client } = await lab.device(5);
  await client.publishAsync('rp/x', 'one', { qos: 1 });
  const [{ packet, text, topic } = {} as never] = await came(watcher.got, 1);
  expect([topic, text]).toEqual(['seen/x', 'one']);
  expect({ ...packet.properties?.userProperties }).toMatchObject({
    'Nats-Stream': 'REPUB',
    'Nats-Sequence': '1',
    'Nats-Subject': 'rp.x',
  });
});

test('a device that an entry allows reads and writes a key-value bucket', async () => {
  const kv = await new Kvm(nats).create('settings', { history: 5 });
  const device = await lab.device(5);
  const [granted] = await device.client.subscribeAsync('$KV/settings/#', { qos: 1 });
  expect(granted?.qos).toBe(1);
  await kv.put('pump.speed', '7');
  await came(device.got, 1);
  expect(device.got[0]).toMatchObject({ topic: '$KV/settings/pump/speed', text: '7' });
  const watch = await kv.watch();
  const seen: string[] = [];
  void (async () => {
    for await (const entry of watch) seen.push(`${entry.key}=${entry.string()}`);
  })();
  await came(seen, 1);
  await device.client.publishAsync('$KV/settings/pump/speed', '9', { qos: 1 });
  await came(seen, 2);
  expect(seen).toEqual(['pump.speed=7', 'pump.speed=9']);
  expect((await kv.get('pump.speed'))?.string()).toBe('9');
  await kv.delete('pump.speed');
  await came(device.got, 3);
  expect(device.got[2]).toMatchObject({ text: '' });
  const told = device.got[2]?.packet.properties?.userProperties;
  expect({ ...told }).toMatchObject({ 'KV-Operation': 'DEL' });
  watch.stop();
});

test('what no entry names of the system is out of reach for devices', async () => {
  const device = await lab.device(5);
  for (const filter of ['#', '+/hidden/#', '+/+/+'])
    await device.client.subscribeAsync(filter, { qos: 0 });
  const kv = await new Kvm(nats).create('hidden');
  await kv.put('a', 'secret');
  for (const topic of ['$JS/API/INFO', '$SYS/x', '_INBOX/x/y', '$x'])
    await expect(device.client.publishAsync(topic, '', { qos: 1 })).rejects.toThrow(/auth/i);
  nats.publish('free', 'x');
  await until('the free one', () => device.got.some(({ topic }) => topic === 'free'));
  expect(device.got.filter(({ topic }) => /^(\$|_INBOX)/.test(topic))).toEqual([]);
});

test('all properties of a device become headers, and come back to a device as they were', async () => {
  const seen = collect(nats, 'p.*');
  const other = await lab.device(5);
  await other.client.subscribeAsync('p/+', { qos: 2 });
  const { client } = await lab.device(5);
  const properties: IPublishPacket['properties'] = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 3600,
    contentType: 'text/plain; charset=utf-8',
    responseTopic: 'answers/to me/é.1',
    correlationData: Buffer.from([0, 1, 254, 255, 13, 10]),
    userProperties: {
      Unit: '°C',
      list: ['1', '2'],
      'Nats-Msg-Id': 'id-1',
      'a: b': 'x\r\ny',
      '': '',
      'Nats-Rollup': 'all',
    },
  };
  await client.publishAsync('p/all', '21.5', { qos: 2, properties });
  const [{ headers: block, reply } = {} as Msg] = await came(seen, 1);
  await came(other.got, 1);
  expect(block?.get('Unit')).toBe('°C');
  expect(block?.values('list')).toEqual(['1', '2']);
  expect(block?.get('Nats-Msg-Id')).toBe('id-1');
  expect(block?.has('Nats-Rollup')).toBe(false);
  expect(block?.get('Content-Type')).toBe('text/plain; charset=utf-8');
  expect(block?.get('Mqtt-Message-Expiry')).toBe('3600');
  expect(block?.get('Mqtt-Payload-Format-Indicator')).toBe('1');
  const correlation = Buffer.from(block?.get('Mqtt-Correlation-Data') ?? '', 'base64');
  expect(correlation).toEqual(properties.correlationData);
  expect(reply).toBe(topicToSubject('answers/to me/é.1'));
  const back = other.got[0]?.packet.properties;
  expect({ ...back, userProperties: { ...back?.userProperties } }).toEqual(properties);
});

/** A NATS client keeps the lines of one name together, and not their order among others. */
function sorted(properties: Record<string, string | string[]> = {}): Record<string, string[]> {
  const lists = Object.entries(properties).map(([name, values]) => [
    name,
    [values].flat().toSorted(),
  ]);
  return Object.fromEntries(lists) as Record<string, string[]>;
}

test('a NATS program that passes on what it gets, with its headers, loses nothing of any properties', async () => {
  const random = seededRandom(5150);
  const other = await lab.device(5);
  await other.client.subscribeAsync('copy', { qos: 1 });
  nats.subscribe('orig', {
    callback: (_error, { data, headers: block }) =>
      nats.publish('copy', data, block === undefined ? {} : { headers: block }),
  });
  await nats.flush();
  const { client } = await lab.device(5);
  const sent = Array.from({ length: 150 }, () => randomProperties(random));
  for (const [i, properties] of sent.entries())
    await client.publishAsync('orig', `${i}`, { qos: 1, properties });
  await came(other.got, sent.length);
  for (const [i, { packet, text }] of other.got.entries()) {
    const { userProperties, messageExpiryInterval, ...rest } = packet.properties ?? {};
    const { userProperties: names, messageExpiryInterval: seconds, ...wanted } = sent[i] ?? {};
    const told = JSON.stringify(sent[i]);
    expect(text).toBe(`${i}`);
    expect(rest, told).toEqual(wanted);
    expect(sorted(userProperties), told).toEqual(sorted(names));
    expect(messageExpiryInterval === undefined, told).toBe(seconds === undefined);
    expect(messageExpiryInterval ?? 0).toBeLessThanOrEqual(seconds ?? 0);
    expect(messageExpiryInterval ?? 0).toBeGreaterThanOrEqual((seconds ?? 0) - 30);
  }
});

test('headers of a NATS program reach 5.0 as properties, and older versions get the data alone', async () => {
  const modern = await lab.device(5);
  const older = await lab.device(4);
  for (const { client } of [modern, older]) await client.subscribeAsync('h/#', { qos: 1 });
  const block = headers();
  block.set('Content-Type', 'application/json');
  block.append('X-Trace', 'one');
  block.append('X-Trace', 'two');
  block.set('Nats-Msg-Id', 'n-1');
  block.set('Traceparent', '00-abc-01');
  nats.publish('h.a', '{}', { headers: block, reply: 'reply.here' });
  const [{ packet } = {} as never] = await came(modern.got, 1);
  await came(older.got, 1);
  expect(older.got[0]).toMatchObject({ topic: 'h/a', text: '{}' });
  const { userProperties, ...properties } = packet.properties ?? {};
  expect(properties).toEqual({ contentType: 'application/json', responseTopic: 'reply/here' });
  expect({ ...userProperties }).toEqual({
    'X-Trace': ['one', 'two'],
    'Nats-Msg-Id': 'n-1',
    Traceparent: '00-abc-01',
  });
});

test('a device of 5.0 answers the requests of NATS programs, at every QoS', async () => {
  for (const qos of QOS_LEVELS) {
    const { client } = await lab.device(5);
    client.on('message', (_topic, data, { properties }) => {
      const { responseTopic = 'none', correlationData } = properties ?? {};
      client.publish(responseTopic, `${data.toString()}!`, {
        qos,
        properties: {
          ...(correlationData === undefined ? {} : { correlationData }),
          userProperties: { Status: 'fine' },
        },
      });
    });
    await client.subscribeAsync(`ask/${qos}`, { qos });
    for (let i = 0; i < 10; i++) {
      const answer = await nats.request(`ask.${qos}`, `q${i}`, { timeout: 5000 });
      expect(answer.string()).toBe(`q${i}!`);
      expect(answer.headers?.get('Status')).toBe('fine');
    }
    const block = headers();
    block.set('Mqtt-Correlation-Data', Buffer.from('c7').toString('base64'));
    const answer = await nats.request(`ask.${qos}`, 'q', { timeout: 5000, headers: block });
    expect(answer.headers?.get('Mqtt-Correlation-Data')).toBe(block.get('Mqtt-Correlation-Data'));
    await client.endAsync();
    const unanswered = nats.request(`ask.${qos}`, 'q', { timeout: 5000 });
    await expect(unanswered).rejects.toThrow(/no responders/i);
  }
});

test('a NATS service answers a device of 5.0, with the correlation data in the headers', async () => {
  nats.subscribe('service.add', {
    queue: 'adders',
    callback: (_error, message) => {
      const [a = 0, b = 0] = message.json<number[]>();
      message.respond(
        `${a + b}`,
        message.headers === undefined ? {} : { headers: message.headers },
      );
    },
  });
  await nats.flush();
  const { client, got } = await lab.device(5);
  await client.subscribeAsync('answers/me', { qos: 1 });
  for (let i = 0; i < 20; i++)
    await client.publishAsync('service/add', JSON.stringify([i, 1]), {
      qos: (i % 3) as 0 | 1 | 2,
      properties: { responseTopic: 'answers/me', correlationData: Buffer.from(`c${i}`) },
    });
  await came(got, 20);
  expect(
    got.map(({ text, packet }) => `${packet.properties?.correlationData?.toString()}=${text}`),
  ).toEqual(Array.from({ length: 20 }, (_, i) => `c${i}=${i + 1}`));
});

test('a device that asks where nobody answers hears that nobody is there, where its version can say so', async () => {
  const properties = [['responseTopic', 'answers/me']] as const;
  for (const version of VERSIONS) {
    const raw = await lab.raw({ version, clientId: `asker-${version}` });
    const ask = { topic: 'nobody/here', data: 'x', properties };
    raw.send(
      rawPublish(version, { ...ask, qos: 1, packetId: 1 }),
      rawPublish(version, { ...ask, qos: 2, packetId: 2 }),
    );
    const code = version === 5 ? 0x10 : 0;
    expect(await raw.expect('puback')).toMatchObject({ packetId: 1, code });
    expect(await raw.expect('pubrec')).toMatchObject({ packetId: 2, code });
    raw.send(rawAck('pubrel', 2));
    expect(await raw.expect('pubcomp')).toMatchObject({ packetId: 2, code: 0 });
  }
});

test('every topic goes to NATS and comes back to devices as it was, and no two are one', async () => {
  const seen = collect(nats, '>');
  const device = await lab.device(5);
  await device.client.subscribeAsync('#', { qos: 1 });
  await nats.flush();
  const { client } = await lab.device(4);
  for (const [i, topic] of ODD_TOPICS.entries())
    await client.publishAsync(topic, `t${i}`, { qos: 1 });
  await came(device.got, ODD_TOPICS.length);
  expect(device.got.map(({ topic }) => topic)).toEqual(ODD_TOPICS);
  await until(
    'all',
    () => seen.filter((each) => /^t\d+$/.test(each.string())).length >= ODD_TOPICS.length,
  );
  const there = seen.filter((each) => /^t\d+$/.test(each.string()));
  expect(new Set(there.map(({ subject }) => subject)).size).toBe(ODD_TOPICS.length);
  // The way back: a NATS program publishes to what it saw.
  device.got.length = 0;
  for (const [i, { subject }] of there.entries()) {
    expect(subjectToTopic(subject)).toBe(ODD_TOPICS[i]);
    nats.publish(subject, `back ${i}`);
  }
  await came(device.got, ODD_TOPICS.length);
  expect(device.got.map(({ topic }) => topic)).toEqual(ODD_TOPICS);
});

test('every topic can be subscribed to by itself, gets itself alone, and is retained by itself', async () => {
  const watchers = [];
  for (const topic of ODD_TOPICS) {
    const device = await lab.device(4);
    await device.client.subscribeAsync(topic, { qos: 1 });
    watchers.push({ topic, ...device });
  }
  const { client } = await lab.device(5);
  for (const topic of ODD_TOPICS) await client.publishAsync(topic, topic, { qos: 2, retain: true });
  for (const { topic, got } of watchers) {
    await came(got, 1);
    expect(got.map((each) => each.topic)).toEqual([topic]);
  }
  // Retained ones are found under the same names.
  const later = await lab.device(5);
  await later.client.subscribeAsync('#', { qos: 1 });
  await came(later.got, ODD_TOPICS.length);
  expect(later.got.map(({ topic }) => topic).toSorted()).toEqual([...ODD_TOPICS].toSorted());
  for (const topic of ODD_TOPICS) await client.publishAsync(topic, '', { qos: 1, retain: true });
});

test('a subject that no device could publish to is shown to devices all the same', async () => {
  const { client, got } = await lab.device(4);
  await client.subscribeAsync('odd/#', { qos: 1 });
  const odd = ['odd.a+b', 'odd.#', 'odd.+', 'odd.a/b', 'odd.a/', 'odd.a#'];
  for (const subject of odd) nats.publish(subject, subject);
  await came(got, odd.length);
  for (const { topic } of got) expect(topic).not.toMatch(/[+#]/);
  expect(new Set(got.map(({ topic }) => topic)).size).toBe(odd.length);
});

test('what a device retains stays as it is when a NATS program publishes there', async () => {
  const { client } = await lab.device(5);
  await client.publishAsync('state/lamp', 'on', { qos: 1, retain: true });
  nats.publish('state.lamp', 'off');
  await nats.flush();
  const later = await lab.device(4);
  await later.client.subscribeAsync('state/#', { qos: 1 });
  const [{ text, packet } = {} as never] = await came(later.got, 1);
  expect([text, packet.retain]).toEqual(['on', true]);
});

test('a megabyte goes both ways, and what is larger than either side takes harms nobody', async () => {
  const seen = collect(nats, 'big.up');
  await nats.flush();
  const device = await lab.device(5);
  await device.client.subscribeAsync('big/down', { qos: 1 });
  const bytes = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 31) & 255));
  await device.client.publishAsync('big/up', bytes, { qos: 2 });
  const [up] = await came(seen, 1);
  expect(Buffer.from(up?.data ?? []).equals(bytes)).toBe(true);
  nats.publish('big.down', bytes);
  nats.publish('big.down', 'after');
  await came(device.got, 2);
  expect(device.got[0]?.data.equals(bytes)).toBe(true);
  const small = await lab.raw({
    version: 5,
    clientId: 'small',
    properties: [['maximumPacketSize', 1000]],
  });
  small.send(rawSubscribe(5, 1, [{ filter: 'big/down', qos: 0 }]));
  await small.expect('suback');
  nats.publish('big.down', bytes);
  nats.publish('big.down', 'small');
  expect((await small.expect('publish')).data.toString()).toBe('small');
  expect((await lab.varz())['dropped_large_msgs']).toBe(1);
});
