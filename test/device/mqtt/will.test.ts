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

test('a retained Will is retained; QoS 2 of it becomes 1', async () => {
  const { gateway, client } = await setup({}, { qos: 2, retain: true });
  using _gateway = gateway;
  client.stream.destroy();
  await gateway.settle();
  const other = gateway.client();
  await other.connect({ clientId: 'other' });
  await other.subscribe({ 'status/+': 1 });
  expect(await other.expect('publish')).toMatchObject({
    topic: 'status/meter',
    retain: true,
    qos: 1,
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
