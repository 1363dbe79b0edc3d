// Whatever is said through a real socket, the listener closes it or goes on: nothing is thrown, nothing is left behind, no
// budget leaks, and a client beside it notices nothing. Sessions of all versions are cut up, repeated and damaged by a seed.
//
//   HOSTILE_SEED=7 npx vitest run test/device/mqtt/socket-fuzz.test.ts     (one seed)
//   HOSTILE_SEEDS=200 npx vitest run test/device/mqtt/socket-fuzz.test.ts  (many)

import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { MqttLimits } from '../../../device/mqtt/limits.ts';
import { MqttOnDisk } from '../../support/mqtt-on-disk.ts';
import { RawClient } from '../../support/mqtt-raw.ts';
import {
  rawAck,
  rawConnect,
  rawPublish,
  rawSubscribe,
  RAW_PINGREQ,
  type RawVersion,
} from '../../support/mqtt-raw-encode.ts';
import { mutate, sayings } from '../../support/mqtt-raw-sayings.ts';
import { randomInt, seededRandom } from '../../support/random.ts';
import { until } from '../../support/until.ts';

const ROUNDS = 150;
const SEEDS =
  process.env['HOSTILE_SEED'] === undefined
    ? Array.from({ length: Number(process.env['HOSTILE_SEEDS'] ?? 4) }, (_, i) => i + 1)
    : [Number(process.env['HOSTILE_SEED'])];
const MIB = 1024 * 1024;

let gateway: MqttOnDisk;
let sockets: Socket[];

beforeEach(() => {
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await gateway[Symbol.asyncDispose]();
});

async function start(limits: Partial<MqttLimits> = {}): Promise<void> {
  gateway = await MqttOnDisk.start(limits);
}

/** A connection that nobody listens to. */
async function open(): Promise<Socket> {
  const socket = connect(gateway.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => undefined);
  await new Promise((resolve) => {
    socket.once('connect', resolve);
    socket.once('close', resolve);
  });
  return socket;
}

/** A client that is well-behaved, and can tell whether it is served. */
class Witness {
  readonly client: RawClient;
  #n = 0;

  private constructor(client: RawClient) {
    this.client = client;
  }

  static async start(version: RawVersion): Promise<Witness> {
    const clientId = `witness${version}`;
    const { client } = await RawClient.connect(gateway.port, { version, clientId });
    client.send(rawSubscribe(version, 1, [{ filter: `witness/${version}`, qos: 2 }]));
    await client.expect('suback');
    return new Witness(client);
  }

  /** Sends itself a message of QoS 2. */
  async ask(): Promise<void> {
    const { client } = this;
    const packetId = 1 + (this.#n++ % 60_000);
    const topic = `witness/${client.version}`;
    client.send(rawPublish(client.version, { topic, data: `${this.#n}`, qos: 2, packetId }));
    expect((await client.expect('pubrec')).packetId).toBe(packetId);
    client.send(rawAck('pubrel', packetId));
    await client.expect('pubcomp');
    const publish = await client.expect('publish');
    expect(publish.data.toString()).toBe(String(this.#n));
    client.send(rawAck('pubrec', publish.packetId));
    await client.expect('pubrel');
    client.send(rawAck('pubcomp', publish.packetId));
  }
}

test.each(SEEDS)(
  'seed %i of damaged sessions',
  async (seed) => {
    await start({ halfOpenMax: 20, queuedMessagesMax: 50, lingerMs: 100 });
    const random = seededRandom(seed);
    const witness = await Witness.start(5);
    for (let round = 0; round < ROUNDS; round++) {
      const version = ([3, 4, 5] as const)[randomInt(random, 3)] ?? 4;
      const { hello, rest } = sayings(version, `fuzz${randomInt(random, 5)}`);
      const socket = await open();
      const say = (bytes: Buffer): void => {
        const at = randomInt(random, bytes.length + 1);
        socket.write(bytes.subarray(0, at));
        socket.write(bytes.subarray(at));
      };
      // Some never read.
      if (randomInt(random, 6) > 0) socket.resume();
      if (randomInt(random, 8) > 0) say(hello[randomInt(random, hello.length)] ?? RAW_PINGREQ);
      for (let i = randomInt(random, 15); i >= 0; i--) {
        const bytes = rest[randomInt(random, rest.length)] ?? RAW_PINGREQ;
        say(randomInt(random, 10) > 0 ? bytes : mutate(bytes, random));
      }
      if (randomInt(random, 2) === 0) await witness.client.ping();
      if (randomInt(random, 3) === 0) socket.destroy();
      if (round % 15 === 0) await witness.ask();
    }
    await witness.ask();
    for (const socket of sockets) socket.destroy();
    await expectCalm(1);
    expect(witness.client.faults).toEqual([]);
    // What it met, so that it cannot come to test nothing.
    const stats = gateway.listener.stats();
    expect(stats.protocolErrors).toBeGreaterThan(ROUNDS / 10);
    expect(stats.connects).toBeGreaterThan(ROUNDS / 5);
    expect(stats.inMsgs).toBeGreaterThan(ROUNDS / 5);
    // Sessions that were kept end when their client starts anew, and take everything with them.
    for (let i = 0; i < 5; i++) await forget(`fuzz${i}`);
    witness.client.destroy();
    await until('the sessions to end', () => gateway.listener.stats().sessions === 0);
    await clearRetained();
    await until('the last one to end', () => gateway.listener.stats().sessions === 0);
    await gateway.expectEmpty();
  },
  120_000,
);

/** All but `connections` are gone, and nothing of theirs is held. */
async function expectCalm(connections: number): Promise<void> {
  await until('the connections to be gone', () => {
    const stats = gateway.listener.stats();
    const { connections: there, halfOpen, publishesInFlight } = stats;
    return there === connections && halfOpen === 0 && publishesInFlight === 0;
  });
  expect(gateway.listener.stats().partialBytes).toBe(0);
}

async function forget(clientId: string): Promise<void> {
  const { client } = await RawClient.connect(gateway.port, { version: 4, clientId });
  client.send(Buffer.from([0xe0, 0]));
  await client.expectClosed();
}

/** By what there is. */
async function clearRetained(): Promise<void> {
  const { client } = await RawClient.connect(gateway.port, { version: 4, clientId: 'cleaner' });
  client.send(rawSubscribe(4, 1, [{ filter: '#', qos: 0 }]));
  await client.expect('suback');
  await client.ping();
  for (const packet of client.take())
    if (packet.type === 'publish')
      client.send(rawPublish(4, { topic: packet.topic, data: '', retain: true }));
  await client.ping();
  client.send(Buffer.from([0xe0, 0]));
  await client.expectClosed();
}

test('a thousand connections that send half a CONNECT keep nobody out, and are closed', async () => {
  await start({ connectTimeoutMs: 1_000, lingerMs: 100 });
  const half = rawConnect({ version: 5, clientId: 'half'.repeat(20) }).subarray(0, 40);
  for (let i = 0; i < 1_000; i++) {
    const socket = await open();
    socket.resume();
    socket.write(half);
  }
  const witness = await Witness.start(4);
  await witness.ask();
  const { halfOpen, halfOpenEvicted, connectTimeouts } = gateway.listener.stats();
  expect(halfOpen).toBeLessThanOrEqual(256);
  expect(halfOpenEvicted + connectTimeouts).toBeGreaterThan(500);
  await until('the rest to be closed', () => sockets.every(({ closed }) => closed));
  await expectCalm(1);
  expect(witness.client.closed).toBe(false);
  witness.client.destroy();
}, 120_000);

test('a connection that sends a byte now and then is closed when the time for its CONNECT is over', async () => {
  await start({ connectTimeoutMs: 500, lingerMs: 100 });
  const socket = await open();
  socket.resume();
  const bytes = rawConnect({ version: 4, clientId: 'slow'.repeat(50) });
  let at = 0;
  await until('its end', () => {
    if (at < bytes.length - 1) socket.write(bytes.subarray(at, ++at));
    return socket.closed;
  });
  expect(gateway.listener.stats()).toMatchObject({ connectTimeouts: 1, connects: 0 });
});

test.each([
  ['CONNECT', 0x10, false],
  ['PUBLISH', 0x30, true],
  ['SUBSCRIBE', 0x82, true],
  ['PUBACK', 0x40, true],
  ['DISCONNECT', 0xe0, true],
])('a %s that announces 256 MiB is not waited for', async (_, first, connected) => {
  await start({ lingerMs: 100 });
  const client = connected
    ? (await RawClient.connect(gateway.port, { version: 5, clientId: 'huge' })).client
    : await RawClient.to(gateway.port, 5);
  client.send(Buffer.from([first, 0xff, 0xff, 0xff, 0x7f]));
  await client.expectClosed();
  await expectCalm(0);
});

test('clients that begin large packets share a budget, and those beyond it are closed', async () => {
  await start({ partialBytesMax: 4 * MIB, lingerMs: 100 });
  const whole = rawPublish(5, { topic: 'large', data: Buffer.alloc(900_000) });
  const clients: RawClient[] = [];
  for (let i = 0; i < 20; i++) {
    const options = { version: 5, clientId: `large${i}` } as const;
    const { client } = await RawClient.connect(gateway.port, options);
    client.send(whole.subarray(0, 800_000));
    clients.push(client);
  }
  await until('most to be closed', () => clients.filter(({ closed }) => closed).length >= 12);
  expect(gateway.listener.stats().partialBytes).toBeLessThanOrEqual(4 * MIB);
  // What is begun can be ended.
  for (const client of clients) client.send(whole.subarray(800_000));
  await until('a whole one', () => gateway.listener.stats().inMsgs > 0);
  for (const client of clients) client.destroy();
  await expectCalm(0);
});

test.each([0, 1, 2])(
  'a subscriber of QoS %i that never reads costs a bounded amount, and holds up nobody',
  async (qos) => {
    await start({ memoryBytesTotalMax: 2 * MIB, lingerMs: 100 });
    const lazy = await open();
    lazy.pause();
    lazy.write(rawConnect({ version: 5, clientId: 'lazy' }));
    lazy.write(rawSubscribe(5, 1, [{ filter: 'flood', qos }]));
    const witness = await Witness.start(5);
    await until('its subscription', () => gateway.listener.stats().subscriptions === 2);
    const options = { version: 5, clientId: 'flooder' } as const;
    const { client } = await RawClient.connect(gateway.port, options);
    const data = Buffer.alloc(32_768);
    let most = 0;
    for (let i = 0; i < 1_000; i++) {
      client.send(rawPublish(5, { topic: 'flood', data, qos: 1, packetId: 1 }));
      await client.expect('puback');
      most = Math.max(most, gateway.listener.stats().memoryBytes);
      if (i % 100 === 0) await witness.ask();
    }
    expect(most).toBeLessThanOrEqual(2 * MIB);
    const stats = gateway.listener.stats();
    expect(stats.slowReaders + stats.droppedSlowMsgs + stats.droppedQueueMsgs).toBeGreaterThan(0);
    lazy.destroy();
    client.destroy();
    await expectCalm(1);
    await until('its memory back', () => gateway.listener.stats().memoryBytes === 0);
    witness.client.destroy();
  },
  120_000,
);
