import { expect, test } from 'vitest';
import type { TestClient } from '../../support/mqtt-client.ts';
import { Gateway, type GatewayOptions } from '../../support/mqtt-gateway.ts';

async function setup(
  options: GatewayOptions = {},
  will: { qos?: 0 | 1 | 2; retain?: boolean } = {},
) {
  const gateway = new Gateway({ streamSubject: 'status.>', ...options });
  const client = gateway.client();
  await client.connect({
    keepalive: 10,
    will: { topic: 'status/meter', payload: 'offline', qos: 1, retain: false, ...will },
  });
  return { gateway, client };
}

const endings: [string, (gateway: Gateway, client: TestClient) => unknown, string[]][] = [
  ['its socket breaks', (_, client) => client.stream.destroy(), ['offline']],
  ['its socket is closed without DISCONNECT', (_, client) => client.stream.end(), ['offline']],
  ['it falls silent', (gateway) => gateway.clock.advance(20_000), ['offline']],
  ['it breaks the protocol', (_, client) => client.write(Buffer.from([0xf0, 0])), ['offline']],
  ['another connection takes its place', (gateway) => gateway.client().connect(), ['offline']],
  ['we stop', (gateway) => void gateway.listener.stop(1000), ['offline']],
  ['it says DISCONNECT', (_, client) => client.send({ cmd: 'disconnect' }), []],
];

test.each(endings)('when %s', async (_, end, published) => {
  const { gateway, client } = await setup();
  using _gateway = gateway;
  await end(gateway, client);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(published);
  expect(gateway.listener.counters.wills).toBe(published.length);
  await gateway.settle();
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.stream.data).toEqual(published);
});

test('a retained Will is retained, with its QoS', async () => {
  const { gateway, client } = await setup({}, { qos: 2, retain: true });
  using _gateway = gateway;
  client.stream.destroy();
  await gateway.settle();
  const other = gateway.client();
  await other.connect({ clientId: 'other' });
  await other.subscribe({ 'status/+': 2 });
  expect(await other.expect('publish')).toMatchObject({
    topic: 'status/meter',
    retain: true,
    qos: 2,
  });
});

test('a QoS 0 Will is delivered with QoS 0', async () => {
  const { gateway, client } = await setup({}, { qos: 0 });
  using _gateway = gateway;
  const other = gateway.client();
  await other.connect({ clientId: 'other' });
  await other.subscribe({ '#': 1 });
  client.stream.destroy();
  expect(await other.expect('publish')).toMatchObject({ qos: 0, retain: false });
});

test('a Will that the disk refuses is counted and logged', async () => {
  const { gateway, client } = await setup({}, { retain: true });
  using _gateway = gateway;
  gateway.store.full = true;
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.listener.counters.refusedMsgs).toBe(1);
  expect(gateway.warnings.join()).toContain('Will of an MQTT client was refused');
});

test('a client that was refused leaves no Will', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.store.full = true;
  const client = gateway.client();
  const will = { topic: 'status', payload: 'offline', qos: 1, retain: false } as const;
  expect((await client.connect({ clean: false, will })).returnCode).toBe(3);
  await client.expectClosed();
  await gateway.settle();
  expect(gateway.stream.messages).toEqual([]);
});

/** A 5.0 client with a Will, and what a subscriber hears of it. */
async function five(
  gateway: Gateway,
  willDelayInterval: number,
  sessionExpiryInterval: number,
  clean = false,
) {
  const client = gateway.client();
  await client.connect({
    protocolVersion: 5,
    clientId: 'meter',
    clean,
    properties: { sessionExpiryInterval },
    will: {
      topic: 'status/meter',
      payload: 'offline',
      qos: 1,
      retain: true,
      properties: {
        willDelayInterval,
        messageExpiryInterval: 100,
        contentType: 'text/plain',
        userProperties: { site: 'dam' },
      },
    },
  });
  return client;
}

test('5.0: a delayed Will comes after its delay, with its properties, and is retained with its expiry', async () => {
  using gateway = new Gateway();
  const client = await five(gateway, 30, 3600);
  const watcher = gateway.client();
  await watcher.connect({ protocolVersion: 5, clientId: 'watcher' });
  await watcher.subscribe({ 'status/#': 1 });
  client.stream.destroy();
  await gateway.settle();
  gateway.clock.advance(29_000);
  await gateway.settle();
  expect(watcher.pending).toEqual([]);
  gateway.clock.advance(1500);
  const heard = await watcher.expect('publish');
  expect(heard).toMatchObject({ topic: 'status/meter', qos: 1, retain: false });
  expect(heard.properties).toMatchObject({
    contentType: 'text/plain',
    messageExpiryInterval: 100,
    userProperties: { site: 'dam' },
  });
  gateway.clock.advance(40_000);
  const late = gateway.client();
  await late.connect({ protocolVersion: 5, clientId: 'late' });
  await late.subscribe({ 'status/#': 1 });
  const recalled = await late.expect('publish');
  expect(recalled).toMatchObject({ retain: true });
  expect(recalled.properties?.messageExpiryInterval).toBeGreaterThan(55);
  expect(recalled.properties?.messageExpiryInterval).toBeLessThanOrEqual(60);
});

test.each([
  ['the session ends before the delay', 100, 10, 10_500, ['offline']],
  ['the client is back in time', 30, 3600, 0, []],
  ['the client comes back with Clean Start', 30, 3600, -1, ['offline']],
] as const)('5.0: %s', async (_, delay, expiry, waitMs, published) => {
  using gateway = new Gateway({ streamSubject: 'status.>' });
  const client = await five(gateway, delay, expiry);
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.stream.data).toEqual([]);
  if (waitMs > 0) gateway.clock.advance(waitMs);
  else await five(gateway, delay, expiry, waitMs === -1);
  await gateway.settle();
  gateway.clock.advance(1000);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(published);
  gateway.clock.advance(60_000);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(published);
});

test('5.0: a delayed Will of a connection that another one takes over is not published', async () => {
  using gateway = new Gateway({ streamSubject: 'status.>' });
  await five(gateway, 30, 3600);
  await five(gateway, 30, 3600);
  gateway.clock.advance(100_000);
  await gateway.settle();
  expect(gateway.stream.data).toEqual([]);
});

test('5.0: DISCONNECT with reason 4 publishes the Will, and may end the session with it', async () => {
  using gateway = new Gateway({ streamSubject: 'status.>' });
  const client = await five(gateway, 3600, 3600);
  const properties = { sessionExpiryInterval: 0 };
  client.send({ cmd: 'disconnect', reasonCode: 4, properties });
  await client.expectClosed();
  await gateway.settle();
  expect(gateway.stream.data).toEqual(['offline']);
});

test('the process is killed with the connection open: the Will comes after the restart', async () => {
  using gateway = new Gateway();
  await five(gateway, 0, 3600);
  using next = new Gateway({
    clock: gateway.clock,
    store: gateway.store.afterKill(),
    streamSubject: 'status.>',
  });
  next.clock.advance(4000);
  await next.settle();
  expect(next.stream.data).toEqual([]);
  next.clock.advance(2000);
  await next.settle();
  expect(next.stream.data).toEqual(['offline']);
  expect(next.store.synced.wills.size).toBe(0);
});

test('the process is killed with the connection open: a client that is back in time takes its Will with it', async () => {
  using gateway = new Gateway();
  await five(gateway, 0, 3600);
  using next = new Gateway({
    clock: gateway.clock,
    store: gateway.store.afterKill(),
    streamSubject: 'status.>',
  });
  const back = await five(next, 0, 3600);
  next.clock.advance(60_000);
  await next.settle();
  expect(next.stream.data).toEqual([]);
  back.stream.destroy();
  await next.settle();
  expect(next.stream.data).toEqual(['offline']);
});
