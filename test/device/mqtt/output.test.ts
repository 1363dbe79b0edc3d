import { expect, test } from 'vitest';
import { Gateway } from '../../support/mqtt-gateway.ts';
import type { TestClient } from '../../support/mqtt-client.ts';

/** Five of the messages below, and next to nothing for each beyond. */
const LIMITS = { outputBytesTotalMax: 500_000, outputBytesFair: 1, connectionsMax: 50 };
const MESSAGE = { subject: 'a', data: Buffer.alloc(100_000) };
const TICK_MS = 500;

/** Clients that each get a message in a packet of their own. */
async function subscribers(
  gateway: Gateway,
  count: number,
  qos: 0 | 1,
  first = 'a',
): Promise<TestClient[]> {
  const clients = [];
  for (let i = 0; i < count; i++) {
    const client = gateway.client();
    const properties = { topicAliasMaximum: 10 };
    await client.connect({ protocolVersion: 5, clientId: `c${i}`, properties });
    await client.subscribe({ [i === 0 ? first : 'a']: qos });
    clients.push(client);
  }
  return clients;
}

async function wait(gateway: Gateway): Promise<void> {
  gateway.clock.advance(TICK_MS);
  await gateway.settle();
}

test('a large message of which each client gets an own copy is not in memory for all of them at once', async () => {
  using gateway = new Gateway({ limits: LIMITS });
  await subscribers(gateway, 30, 0);
  gateway.broker.publish(MESSAGE);
  const { outMsgs, droppedSlowMsgs } = gateway.listener.stats();
  expect([outMsgs, droppedSlowMsgs]).toEqual([5, 25]);
});

test('one that all clients share costs its bytes once: everybody gets it', async () => {
  using gateway = new Gateway({ limits: LIMITS });
  for (let i = 0; i < 30; i++) {
    const client = gateway.client();
    await client.connect({ clientId: `c${i}` });
    await client.subscribe({ a: 0 });
  }
  gateway.broker.publish(MESSAGE);
  expect(gateway.listener.stats().outMsgs).toBe(30);
});

test('at QoS 1 those who had to wait for others get it as soon as these have read', async () => {
  using gateway = new Gateway({ limits: LIMITS });
  const clients = await subscribers(gateway, 30, 1);
  gateway.broker.publish(MESSAGE);
  await gateway.settle();
  expect(gateway.listener.stats().outMsgs).toBeLessThan(30);
  for (let round = 0; round < 10; round++) await wait(gateway);
  for (const client of clients)
    expect((await client.expect('publish')).payload).toHaveLength(100_000);
  expect(gateway.listener.stats().slowReaders).toBe(0);
});

test('those who do not read on while others wait are closed, and the others get theirs', async () => {
  using gateway = new Gateway({ limits: LIMITS });
  const clients = await subscribers(gateway, 30, 1);
  for (const client of clients.slice(0, 10)) client.stream.pause();
  gateway.broker.publish(MESSAGE);
  for (let round = 0; round < 60; round++) await wait(gateway);
  for (const client of clients.slice(10)) await client.expect('publish');
  const { slowReaders, connections } = gateway.listener.stats();
  expect([slowReaders > 0, connections]).toEqual([true, 30 - slowReaders]);
});

test('a client that reads slowly is not taken for one that does not read', async () => {
  using gateway = new Gateway({ limits: { ...LIMITS, outputBytesMax: 50_000 } });
  const clients = await subscribers(gateway, 10, 1, 'b');
  const [slow] = clients;
  for (const client of clients) client.stream.pause();
  slow?.stream.on('data', () => slow.stream.pause());
  for (let i = 0; i < 2; i++) gateway.broker.publish({ ...MESSAGE, subject: 'b' });
  await gateway.settle();
  gateway.broker.publish(MESSAGE);
  await gateway.settle();
  await wait(gateway);
  // The first of its two; the second follows into its place.
  slow?.stream.resume();
  await gateway.settle();
  await wait(gateway);
  const left = Array.from(gateway.listener.clients(), ({ clientId }) => clientId);
  expect(left).toContain('c0');
  expect(left.length).toBeLessThan(10);
});
