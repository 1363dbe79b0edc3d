// The listener against the programs that devices are written with: mosquitto's clients and MQTT.js. A missing mosquitto
// fails these tests; it does not skip them.

import mqtt, { type MqttClient } from 'mqtt';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MqttListener } from '../../device/mqtt/listener.ts';
import type { MqttOptions } from '../../device/mqtt/shared.ts';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { FakeStream } from '../support/mqtt-gateway.ts';
import { MemoryStore } from '../support/mqtt-store.ts';
import { until } from '../support/until.ts';

let broker: Broker;
let stream: FakeStream;
let store: MemoryStore;
let listener: MqttListener;
let port: number;
let clients: MqttClient[];
let programs: ChildProcessWithoutNullStreams[];

async function start(options: Partial<MqttOptions> = {}): Promise<void> {
  listener = new MqttListener(
    { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: true, ...options },
    { broker, clock: systemClock, log: pino({ level: 'silent' }), store },
  );
  await listener.start();
  port = listener.address?.port ?? 0;
}

beforeEach(async () => {
  broker = new Broker();
  stream = new FakeStream();
  broker.subscribe('plant1.>', stream);
  store = new MemoryStore(systemClock);
  clients = [];
  programs = [];
  await start();
});

afterEach(async () => {
  for (const client of clients) await client.endAsync(true);
  for (const program of programs)
    if (program.exitCode === null && program.signalCode === null) {
      const gone = once(program, 'exit');
      program.kill();
      await gone;
    }
  await listener.stop(1000);
});

/** Starts one of mosquitto's programs; a missing one rejects. */
async function mosquitto(name: 'pub' | 'sub', ...args: string[]) {
  const program = spawn(`mosquitto_${name}`, ['-h', '127.0.0.1', '-p', String(port), ...args]);
  await once(program, 'spawn');
  programs.push(program);
  const output: Buffer[] = [];
  program.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  const errors: Buffer[] = [];
  program.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  const exited = once(program, 'close').then(([code]) => Number(code));
  return {
    program,
    exited,
    text: () => Buffer.concat(output).toString(),
    bytes: () => Buffer.concat(output),
    errors: () => Buffer.concat(errors).toString(),
  };
}

async function connect(options: mqtt.IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 4,
    reconnectPeriod: 50,
    ...options,
  });
  clients.push(client);
  return client;
}

test.each([0, 1])('mosquitto_pub publishes with QoS %i', async (qos) => {
  const { exited, errors } = await mosquitto(
    'pub',
    '-t',
    'plant1/boiler/temp',
    '-m',
    '21.5',
    '-q',
    String(qos),
  );
  expect(await exited, errors()).toBe(0);
  expect(stream.messages.map(({ subject, data }) => [subject, data.toString()])).toEqual([
    ['plant1.boiler.temp', '21.5'],
  ]);
});

test.each([0, 1])('mosquitto_pub publishes a thousand lines with QoS %i, in order', async (qos) => {
  const { program, exited, errors } = await mosquitto(
    'pub',
    '-t',
    'plant1/a',
    '-l',
    '-q',
    String(qos),
  );
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  program.stdin.end(`${lines.join('\n')}\n`);
  expect(await exited, errors()).toBe(0);
  await until('all lines', () => stream.messages.length >= 1000);
  expect(stream.data).toEqual(lines);
});

test('mosquitto_pub publishes binary data from a pipe, byte for byte', async () => {
  const { program, exited, errors } = await mosquitto('pub', '-t', 'plant1/raw', '-s', '-q', '1');
  const data = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) & 0xff));
  program.stdin.end(data);
  expect(await exited, errors()).toBe(0);
  expect(stream.messages[0]!.data.equals(data)).toBe(true);
});

test('mosquitto_pub waits for its PUBACK until the stream has the message on disk', async () => {
  stream.auto = false;
  const { program, exited } = await mosquitto('pub', '-t', 'plant1/a', '-m', 'x', '-q', '1');
  await until('the publish', () => stream.receipts.length === 1);
  expect(program.exitCode).toBeNull();
  stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  expect(await exited).toBe(0);
});

test('mosquitto_pub of an unknown user is told so', async () => {
  await listener.stop(1000);
  await start({ users: [{ user: 'meter', password: 'secret' }], allowAnonymous: false });
  const wrong = await mosquitto('pub', '-u', 'meter', '-P', 'guess', '-t', 'plant1/a', '-m', 'x');
  expect(await wrong.exited).toBe(4);
  const none = await mosquitto('pub', '-t', 'plant1/a', '-m', 'x');
  expect(await none.exited).toBe(5);
  const right = await mosquitto(
    'pub',
    '-u',
    'meter',
    '-P',
    'secret',
    '-q',
    '1',
    '-t',
    'plant1/a',
    '-m',
    'x',
  );
  expect(await right.exited, right.errors()).toBe(0);
});

test.each([0, 1])(
  'mosquitto_sub receives with QoS %i what others publish, with its wildcards',
  async (qos) => {
    const sub = await mosquitto(
      'sub',
      '-t',
      'plant1/+/temp',
      '-t',
      'alarm/#',
      '-q',
      String(qos),
      '-F',
      '%q %r %t %p',
      '-C',
      '4',
    );
    await until('the subscriptions', () => listener.stats().subscriptions === 2);
    const pub = await connect();
    await pub.publishAsync('plant1/boiler/temp', '1', { qos: 1 });
    await pub.publishAsync('plant1/boiler/pressure', 'not for us', { qos: 1 });
    await pub.publishAsync('alarm', '2', { qos: 1 });
    await pub.publishAsync('alarm/fire/1.5', '3', { qos: 1 });
    broker.publish({ subject: 'alarm.from.nats', data: Buffer.from('4') });
    expect(await sub.exited, sub.errors()).toBe(0);
    const q = String(qos);
    expect(sub.text().trim().split('\n')).toEqual([
      `${q} 0 plant1/boiler/temp 1`,
      `${q} 0 alarm 2`,
      `${q} 0 alarm/fire/1.5 3`,
      `${q} 0 alarm/from/nats 4`,
    ]);
  },
);

test('mosquitto_sub with a persistent session gets what came while it was away, after a restart too', async () => {
  const args = ['-i', 'sub-1', '-c', '-q', '1', '-t', 'plant1/#'];
  const first = await mosquitto('sub', ...args, '-E');
  expect(await first.exited, first.errors()).toBe(0);
  const pub = await connect();
  for (let i = 0; i < 50; i++) await pub.publishAsync('plant1/a', `m${i}`, { qos: 1 });
  await pub.endAsync();
  await listener.stop(1000);
  store = store.afterPowerCut();
  broker = new Broker();
  await start();
  const second = await mosquitto('sub', ...args, '-C', '50');
  expect(await second.exited, second.errors()).toBe(0);
  expect(second.text().trim().split('\n')).toEqual(Array.from({ length: 50 }, (_, i) => `m${i}`));
});

test('mosquitto retains, and forgets again', async () => {
  const retain = await mosquitto('pub', '-t', 'plant1/state', '-m', 'on', '-r', '-q', '1');
  expect(await retain.exited, retain.errors()).toBe(0);
  const sub = await mosquitto('sub', '-t', 'plant1/#', '-F', '%r %t %p', '-C', '1');
  expect(await sub.exited, sub.errors()).toBe(0);
  expect(sub.text()).toBe('1 plant1/state on\n');
  const forget = await mosquitto('pub', '-t', 'plant1/state', '-n', '-r', '-q', '1');
  expect(await forget.exited, forget.errors()).toBe(0);
  expect(listener.stats().retained).toBe(0);
});

test('the Will of a mosquitto_sub that is killed is published; of one that ends, not', async () => {
  const will = ['--will-topic', 'plant1/status', '--will-payload', 'lost', '--will-qos', '1'];
  const polite = await mosquitto('sub', '-i', 'polite', '-t', 'x', ...will, '-E');
  expect(await polite.exited, polite.errors()).toBe(0);
  const killed = await mosquitto('sub', '-i', 'killed', '-t', 'x', ...will);
  await until('its subscription', () => listener.stats().subscriptions === 1);
  killed.program.kill('SIGKILL');
  await until('its Will', () => stream.messages.length > 0);
  expect(stream.messages.map(({ subject, data }) => [subject, data.toString()])).toEqual([
    ['plant1.status', 'lost'],
  ]);
  expect(listener.counters.wills).toBe(1);
});

test.each([
  [1, 4],
  [2, 4],
  [1, 5],
  [2, 5],
] as const)(
  'MQTT.js publishes ten thousand with QoS %i by protocol level %i, all acknowledged, in order',
  async (qos, protocolVersion) => {
    const client = await connect({ protocolVersion });
    const count = 10_000;
    // It sends more than the Receive Maximum of 5.0 allows where it is given more at once.
    const wave = protocolVersion === 5 ? 500 : count;
    for (let from = 0; from < count; from += wave)
      await Promise.all(
        Array.from({ length: wave }, (_, i) =>
          client.publishAsync('plant1/n', String(from + i), { qos }),
        ),
      );
    expect(stream.data).toEqual(Array.from({ length: count }, (_, i) => String(i)));
  },
);

test('MQTT.js subscribes: granted QoS, refusals, retained, overlapping, unsubscribe', async () => {
  const client = await connect();
  const got: [string, string, number, boolean][] = [];
  client.on('message', (topic, payload, { qos, retain }) => {
    got.push([topic, payload.toString(), qos, retain]);
  });
  await client.publishAsync('plant1/kept', 'k', { qos: 1, retain: true });
  const granted = await client.subscribeAsync({ 'plant1/#': { qos: 2 }, 'plant1/+': { qos: 0 } });
  expect(granted.map(({ qos }) => qos)).toEqual([2, 0]);
  await until('the retained message', () => got.length === 1);
  await expect(client.subscribeAsync('$JS/#')).rejects.toThrow();
  await client.publishAsync('plant1/a', 'x', { qos: 1 });
  await until('the message', () => got.length === 2);
  await client.unsubscribeAsync(['plant1/#', 'plant1/+']);
  await client.publishAsync('plant1/a', 'y', { qos: 1 });
  expect(got).toEqual([
    ['plant1/kept', 'k', 1, true],
    ['plant1/a', 'x', 1, false],
  ]);
});

test('MQTT.js with a persistent session misses nothing over reconnects', async () => {
  const sub = await connect({ clientId: 'sub', clean: false });
  await sub.subscribeAsync('plant1/#', { qos: 1 });
  const got = new Set<string>();
  sub.on('message', (_, payload) => void got.add(payload.toString()));
  const pub = await connect();
  for (let i = 0; i < 500; i++) {
    if (i % 100 === 50) sub.stream.destroy();
    await pub.publishAsync('plant1/n', String(i), { qos: 1 });
  }
  await until('all messages', () => got.size === 500);
  await until('an empty queue', () => listener.stats().queuedBytes === 0);
});

/** MQTT.js speaks all three; 3.1 under its own name. */
const LEVELS = [
  { protocolVersion: 3, protocolId: 'MQIsdp' },
  { protocolVersion: 4, protocolId: 'MQTT' },
  { protocolVersion: 5, protocolId: 'MQTT' },
] as const;

test.each(LEVELS)(
  'MQTT.js of protocol level $protocolVersion sends and hears every QoS',
  async (level) => {
    const client = await connect(level);
    const got: [string, number][] = [];
    client.on('message', (topic, _data, { qos }) => void got.push([topic, qos]));
    for (const granted of [0, 1, 2] as const)
      await client.subscribeAsync(`plant1/${granted}/#`, { qos: granted });
    const expected: [string, number][] = [];
    for (const granted of [0, 1, 2] as const)
      for (const qos of [0, 1, 2] as const) {
        const topic = `plant1/${granted}/${qos}`;
        await client.publishAsync(topic, 'x', { qos });
        expected.push([topic, Math.min(granted, qos)]);
      }
    await until('all of it', () => got.length === expected.length);
    const inOrder = (all: [string, number][]): string[] => all.map((each) => each.join(' ')).sort();
    expect(inOrder(got)).toEqual(inOrder(expected));
  },
);

test('MQTT.js of 5.0 hears retained messages, its own messages and identifiers as it asked for', async () => {
  const client = await connect({ protocolVersion: 5 });
  const got: string[] = [];
  client.on('message', (topic, _data, { retain, properties }) => {
    const id = properties?.subscriptionIdentifier;
    got.push(`${topic} ${String(retain)} ${[id].flat().join('+')}`);
  });
  await client.publishAsync('plant1/kept', 'k', { qos: 1, retain: true });
  const subscribe = (
    topic: string,
    subscriptionIdentifier: number,
    options: object,
  ): Promise<unknown> =>
    client.subscribeAsync(topic, { qos: 1, ...options, properties: { subscriptionIdentifier } });
  await subscribe('plant1/#', 1, { rap: true, rh: 2 });
  await subscribe('plant1/live', 2, { rh: 0 });
  await subscribe('+/kept', 3, { nl: true, rh: 1 });
  await until('the retained message', () => got.length === 1);
  await client.publishAsync('plant1/live', 'l', { qos: 1, retain: true });
  await client.publishAsync('plant1/kept', '', { qos: 1, retain: true });
  await until('the messages', () => got.length === 3);
  expect(got[0]).toBe('plant1/kept true 3');
  expect(got[1]).toMatch(/^plant1\/live true (1\+2|2\+1)$/);
  // Its own message goes by the subscription that wants it.
  expect(got[2]).toBe('plant1/kept true 1');
});

test('MQTT.js of 5.0 uses topic aliases both ways', async () => {
  const options = { protocolVersion: 5, properties: { topicAliasMaximum: 4 } } as const;
  const client = await connect({ ...options, autoUseTopicAlias: true, autoAssignTopicAlias: true });
  const got: string[] = [];
  const aliases = new Set<number>();
  client.on('message', (topic, data) => void got.push(`${topic} ${data.toString()}`));
  client.on('packetreceive', (packet) => {
    const alias = packet.cmd === 'publish' ? packet.properties?.topicAlias : undefined;
    if (alias !== undefined) aliases.add(alias);
  });
  await client.subscribeAsync('plant1/#', { qos: 1 });
  const expected: string[] = [];
  for (let i = 0; i < 60; i++) {
    const topic = `plant1/topic-${i % 6}`;
    await client.publishAsync(topic, `${i}`, { qos: 1 });
    expected.push(`${topic} ${i}`);
  }
  await until('all of it', () => got.length === 60);
  expect(got).toEqual(expected);
  expect(aliases.size).toBeGreaterThan(0);
  for (const alias of aliases) expect(alias).toBeLessThanOrEqual(4);
});

test('MQTT.js asks, and hears the answer on its Response Topic', async () => {
  const [asker, service] = [
    await connect({ protocolVersion: 5 }),
    await connect({ protocolVersion: 5 }),
  ];
  service.on('message', (_topic, data, { properties }) => {
    const { responseTopic = '', correlationData } = properties ?? {};
    service.publish(responseTopic, `${data.toString()}!`, {
      qos: 1,
      properties: correlationData === undefined ? {} : { correlationData },
    });
  });
  await service.subscribeAsync('plant1/ask', { qos: 1 });
  const got: [string, string | undefined][] = [];
  asker.on('message', (_topic, data, { properties }) => {
    got.push([data.toString(), properties?.correlationData?.toString('hex')]);
  });
  await asker.subscribeAsync('plant1/answers/me', { qos: 1 });
  const properties = { responseTopic: 'plant1/answers/me', correlationData: Buffer.from([0, 255]) };
  await asker.publishAsync('plant1/ask', 'well', { qos: 1, properties });
  await until('the answer', () => got.length === 1);
  expect(got).toEqual([['well!', '00ff']]);
});
