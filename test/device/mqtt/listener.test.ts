import { generate } from 'mqtt-packet';
import { connect, createServer, type AddressInfo } from 'node:net';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { MqttListener } from '../../../device/mqtt/listener.ts';
import type { MqttOptions } from '../../../device/mqtt/shared.ts';
import { Broker } from '../../../src/broker.ts';
import { systemClock } from '../../../src/clock.ts';
import { TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';
import { MemoryStore } from '../../support/mqtt-store.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function listener(options: Partial<MqttOptions> = {}): MqttListener {
  return new MqttListener(
    { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: false, ...options },
    {
      broker: new Broker(),
      clock: systemClock,
      log: pino({ level: 'silent' }),
      store: new MemoryStore(systemClock),
    },
  );
}

test('it listens where it is told, serves over TCP, and is gone after stop', async () => {
  const mqtt = listener();
  expect(mqtt.address).toBeUndefined();
  await mqtt.start();
  const port = mqtt.address?.port ?? 0;
  const client = new TestClient(connect(port, '127.0.0.1'), turn);
  expect((await client.connect()).returnCode).toBe(0);
  client.publish('a', 'x', 1);
  await client.expect('puback');
  await mqtt.stop(5000);
  await client.expectClosed();
  expect(mqtt.stats()).toMatchObject({ connections: 0, halfOpen: 0, pubacks: 1 });
  await expect(
    new Promise((resolve, reject) => {
      connect(port, '127.0.0.1').on('connect', resolve).on('error', reject);
    }),
  ).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await mqtt.stop(5000);
});

test('an address that is taken is an error of start', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => {
    other.listen(0, '127.0.0.1', resolve);
  });
  const { port } = other.address() as AddressInfo;
  await expect(listener({ listen: { host: '127.0.0.1', port } }).start()).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
  other.close();
});

test('off loopback it wants users, or to be told that none are needed', () => {
  const listen = { host: '0.0.0.0', port: 0 };
  expect(() => listener({ listen })).toThrow('needs users');
  listener({ listen, allowAnonymous: true });
  listener({ listen, users: [{ user: 'a', password: 'b' }] });
  for (const host of ['localhost', '::1', '127.0.0.2']) listener({ listen: { host, port: 0 } });
});

test('stop lets the PUBACKs of what was taken leave, takes nothing more, and closes', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  const silent = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  client.publish('a', '2', 2);
  await gateway.settle();
  let stopped = false;
  const stop = gateway.listener.stop(5000).then(() => (stopped = true));
  client.publish('a', '3', 3);
  await gateway.settle();
  expect([client.closed, silent.closed, stopped]).toEqual([false, true, false]);
  for (const receipt of gateway.stream.receipts) receipt(null, { stream: 'S', seq: 1 });
  await client.expectClosed();
  expect(client.received.map(({ cmd, messageId }) => [cmd, messageId])).toEqual([
    ['puback', 1],
    ['puback', 2],
  ]);
  client.stream.end();
  await gateway.settle();
  await stop;
  expect(gateway.stream.data).toEqual(['1', '2']);
  const late = gateway.client();
  await late.expectClosed();
});

test('stop ends after its grace although a receipt is missing', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  await gateway.settle();
  const stop = gateway.listener.stop(5000);
  await gateway.settle();
  expect(client.closed).toBe(false);
  await gateway.clock.advanceAsync(5000);
  await gateway.settle();
  await stop;
  expect(client.closed).toBe(true);
  expect(client.pending).toEqual([]);
});

test('stop waits until the Wills of its clients are on disk', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  await client.connect({ will: { topic: 'status', payload: 'off', qos: 1, retain: true } });
  gateway.store.auto = false;
  let stopped = false;
  const stop = gateway.listener.stop(60_000).then(() => (stopped = true));
  await client.expectClosed();
  client.stream.end();
  await gateway.settle();
  expect(stopped).toBe(false);
  gateway.store.sync();
  await gateway.settle();
  gateway.store.sync();
  await stop;
  expect(gateway.store.synced.retained.size).toBe(1);
});

test('a client that does not read loses QoS 0 messages, counted, and no QoS 1 message', async () => {
  using gateway = new Gateway({ limits: { outputBytesMax: 10_000 } });
  const client = gateway.client();
  await client.connect();
  await client.subscribe({ zero: 0, one: 1 });
  client.stream.pause();
  for (let i = 0; i < 50; i++) {
    gateway.publish('zero', 'x'.repeat(1000));
    gateway.publish('one', String(i).padEnd(1000));
  }
  await gateway.settle();
  const { droppedSlowMsgs } = gateway.listener.stats();
  expect(droppedSlowMsgs).toBeGreaterThan(30);
  client.stream.resume();
  const got: number[] = [];
  let plain = 0;
  while (got.length < 50) {
    const { qos, messageId, payload } = await client.expect('publish');
    if (qos === 0) plain++;
    else {
      got.push(Number(payload));
      client.puback(messageId!);
    }
  }
  expect(got).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(plain + droppedSlowMsgs).toBe(50);
});

test('a client that asks and never reads is closed', async () => {
  using gateway = new Gateway({ limits: { outputBytesCut: 100_000 } });
  const client = gateway.client();
  await client.connect();
  client.stream.pause();
  const pings = Buffer.concat(Array<Buffer>(10_000).fill(generate({ cmd: 'pingreq' })));
  for (let i = 0; i < 10; i++) client.write(pings);
  await gateway.settle();
  expect(gateway.listener.stats()).toMatchObject({ connections: 0, slowReaders: 1 });
});

test('a refused client that never closes its side is cut off after a moment', async () => {
  using gateway = new Gateway();
  const client = gateway.client();
  client.write(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: '',
      clean: true,
      keepalive: 0,
      username: 'x',
    }),
  );
  await client.expect('connack');
  const old = gateway.client();
  old.write(Buffer.from('100c00044d51545406020000000000', 'hex').subarray(0, 14));
  await old.expectClosed();
  expect(Buffer.concat(old.bytes).toString('hex')).toMatch(/^20..0084/);
  gateway.clock.advance(2000);
  await gateway.settle();
  expect(old.stream.destroyed || old.stream.readableEnded).toBe(true);
  expect(gateway.listener.stats()).toMatchObject({ connections: 1, halfOpen: 0 });
});

test('nothing ticks any more after stop', async () => {
  using gateway = new Gateway();
  expect(gateway.clock.nextDueMs()).toBeDefined();
  let stopped = false;
  void gateway.listener.stop(1000).then(() => (stopped = true));
  for (let round = 0; round < 100 && !stopped; round++) await gateway.idle();
  expect(stopped).toBe(true);
  expect(gateway.clock.nextDueMs()).toBeUndefined();
});
