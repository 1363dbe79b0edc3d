import { expect, test } from 'vitest';
import type { TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';
import type { MemoryStore } from '../../support/mqtt-store.ts';

const kept = { clientId: 'meter', clean: false };

/** A client with a persistent session that subscribes to `a/#` at QoS 1. */
async function subscriber(gateway: Gateway): Promise<TestClient> {
  const client = gateway.client();
  await client.connect(kept);
  await client.subscribe({ 'a/#': 1 });
  return client;
}

async function leave(gateway: Gateway, client: TestClient): Promise<void> {
  client.stream.destroy();
  await gateway.settle();
}

/** The next process on the same disk. */
function restart(gateway: Gateway, store: MemoryStore): Gateway {
  return new Gateway({ clock: gateway.clock, store });
}

test('a persistent session keeps its subscriptions and queues while its client is away', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  for (let i = 0; i < 200; i++) gateway.publish('a.b', String(i));
  await gateway.settle();
  const client = gateway.client();
  expect((await client.connect(kept)).sessionPresent).toBe(true);
  const got: string[] = [];
  while (got.length < 200) {
    const { messageId, payload, dup } = await client.expect('publish');
    got.push(String(payload));
    expect(dup).toBe(false);
    client.puback(messageId!);
  }
  expect(got).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
  await gateway.settle();
  expect(gateway.listener.stats().queuedBytes).toBe(0);
  expect(gateway.store.synced.queue.size).toBe(0);
});

test('QoS 0 messages are not kept for a client that is away', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  const publisher = gateway.client();
  await publisher.connect();
  publisher.publishPlain('a', 'fleeting');
  publisher.publish('a', 'lasting', 1);
  await publisher.expect('puback');
  const client = gateway.client();
  await client.connect(kept);
  expect(await client.expectData(1)).toEqual(['lasting']);
  await gateway.settle();
  expect(client.pending).toEqual([]);
});

test('what was sent and not acknowledged comes again with DUP, first and in order', async () => {
  using gateway = new Gateway();
  const first = await subscriber(gateway);
  for (const data of ['0', '1', '2']) gateway.publish('a', data);
  const sent = [
    await first.expect('publish'),
    await first.expect('publish'),
    await first.expect('publish'),
  ];
  first.puback(sent[1]!.messageId!);
  await gateway.settle();
  await leave(gateway, first);
  gateway.publish('a', '3');
  await gateway.settle();
  const second = gateway.client();
  await second.connect(kept);
  const again = [
    await second.expect('publish'),
    await second.expect('publish'),
    await second.expect('publish'),
  ];
  expect(again.map(({ payload, dup }) => [String(payload), dup])).toEqual([
    ['0', true],
    ['2', true],
    ['3', false],
  ]);
  expect(again[0]!.messageId).toBe(sent[0]!.messageId);
  expect(again[1]!.messageId).toBe(sent[2]!.messageId);
});

test.each(['afterKill', 'afterPowerCut'] as const)(
  'subscriptions and acknowledged messages survive: %s',
  async (how) => {
    using gateway = new Gateway();
    await leave(gateway, await subscriber(gateway));
    const publisher = gateway.client();
    await publisher.connect();
    for (let i = 1; i <= 150; i++) publisher.publish('a', String(i), i);
    for (let i = 1; i <= 150; i++) await publisher.expect('puback');

    using next = restart(gateway, gateway.store[how]());
    expect(next.listener.stats()).toMatchObject({ sessions: 1, subscriptions: 1 });
    next.publish('a.b', 'after the restart');
    await next.settle();
    const client = next.client();
    expect((await client.connect(kept)).sessionPresent).toBe(true);
    const got: string[] = [];
    const dups: boolean[] = [];
    while (got.length < 151) {
      const { messageId, payload, dup } = await client.expect('publish');
      got.push(String(payload));
      dups.push(dup);
      client.puback(messageId!);
    }
    const numbers = Array.from({ length: 150 }, (_, i) => String(i + 1));
    expect(got).toEqual([...numbers, 'after the restart']);
    // The client had left before they came: none was ever sent.
    expect(dups.filter(Boolean)).toHaveLength(0);
    await next.settle();

    using last = restart(next, next.store[how]());
    expect(last.listener.stats()).toMatchObject({ sessions: 1, queuedBytes: 0 });
  },
);

test('nothing is said before the disk has it: CONNACK, SUBACK, UNSUBACK of a persistent session', async () => {
  using gateway = new Gateway();
  gateway.store.auto = false;
  const client = gateway.client();
  const connack = client.connect(kept);
  await gateway.settle();
  expect(client.bytes).toEqual([]);
  gateway.store.sync();
  expect((await connack).sessionPresent).toBe(false);
  const suback = client.subscribe({ a: 1 });
  client.send({ cmd: 'pingreq' });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await suback;
  await client.expect('pingresp');
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await client.expect('unsuback');
});

test('a power cut before the sync loses only what nobody was told of', async () => {
  using gateway = new Gateway();
  const client = await subscriber(gateway);
  const publisher = gateway.client();
  await publisher.connect({ clientId: 'publisher' });
  publisher.publish('a', 'told', 1);
  await publisher.expect('puback');
  gateway.store.auto = false;
  publisher.publish('a', 'not told', 2);
  await gateway.settle();
  expect(publisher.pending).toEqual([]);
  expect(await client.expectData(1)).toEqual(['told']);
  expect(client.pending).toEqual([]);
  using next = restart(gateway, gateway.store.afterPowerCut());
  const again = next.client();
  await again.connect(kept);
  expect(await again.expectData(1)).toEqual(['told']);
  await next.settle();
  expect(again.pending).toEqual([]);
});

test('a full disk at CONNECT is CONNACK 3, and no session remains', async () => {
  using gateway = new Gateway();
  gateway.store.full = true;
  const client = gateway.client();
  expect((await client.connect(kept)).returnCode).toBe(3);
  await client.expectClosed();
  gateway.store.full = false;
  expect(gateway.listener.stats()).toMatchObject({ sessions: 0, connections: 0, connects: 0 });
  expect((await gateway.client().connect(kept)).sessionPresent).toBe(false);
});

test('two connections in a row for a session that the disk refuses: neither is told that it has one', async () => {
  using gateway = new Gateway();
  gateway.store.full = true;
  const first = gateway.client();
  const second = gateway.client();
  first.connect(kept).catch(() => undefined);
  const connack = second.connect(kept);
  expect((await connack).returnCode).toBe(3);
  await first.expectClosed();
  expect(first.bytes).toEqual([]);
  await gateway.settle();
  expect(gateway.listener.stats()).toMatchObject({ sessions: 0, connections: 0 });
});

test('a session that is on disk can be resumed although the disk is full', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  gateway.publish('a', 'x');
  await gateway.settle();
  gateway.store.full = true;
  const client = gateway.client();
  expect(await client.connect(kept)).toMatchObject({ returnCode: 0, sessionPresent: true });
  const { messageId } = await client.expect('publish');
  client.puback(messageId!);
  await gateway.settle();
  expect(gateway.store.synced.queue.size).toBe(0);
});

test('a full disk at SUBSCRIBE is 0x80, and the old subscriptions hold', async () => {
  using gateway = new Gateway();
  const client = await subscriber(gateway);
  gateway.store.full = true;
  expect((await client.subscribe({ b: 1, 'a/#': 0 })).granted).toEqual([128, 128]);
  gateway.store.full = false;
  gateway.publish('b', 'x');
  gateway.publish('a', 'y');
  expect(await client.expect('publish')).toMatchObject({ topic: 'a', qos: 1 });
  expect(gateway.listener.stats().subscriptions).toBe(1);
});

test('a full disk at UNSUBSCRIBE closes the connection, and the subscription holds', async () => {
  using gateway = new Gateway();
  const client = await subscriber(gateway);
  gateway.store.full = true;
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a/#'] });
  await client.expectClosed();
  expect(client.pending).toEqual([]);
  expect(gateway.listener.stats().subscriptions).toBe(1);
});

test('messages that the disk refused leave no trace in the queue', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  gateway.publish('a', 'before');
  await gateway.settle();
  gateway.store.full = true;
  for (let i = 0; i < 5; i++) gateway.publish('a', 'refused');
  gateway.store.commit();
  gateway.store.full = false;
  gateway.publish('a', 'same turn');
  await gateway.settle();
  gateway.publish('a', 'after');
  await gateway.settle();
  const client = gateway.client();
  await client.connect(kept);
  expect(await client.expectData(3)).toEqual(['before', 'same turn', 'after']);
  expect(gateway.listener.stats().droppedRefusedMsgs).toBe(5);
  // Identifiers follow the sequence, in which the refused ones had their places.
  for (const id of [1, 7, 8]) client.puback(id);
  await gateway.settle();
  expect(gateway.listener.stats().queuedBytes).toBe(0);
  expect(gateway.store.synced.queue.size).toBe(0);
});

test('messages that the disk refused are not delivered to a client that is there', async () => {
  using gateway = new Gateway();
  const client = await subscriber(gateway);
  gateway.publish('a', 'before');
  const { messageId } = await client.expect('publish');
  client.puback(messageId!);
  gateway.store.full = true;
  gateway.publish('a', 'refused');
  await gateway.settle();
  gateway.store.full = false;
  gateway.publish('a', 'after');
  expect(await client.expectData(1)).toEqual(['after']);
  expect(gateway.listener.stats().droppedRefusedMsgs).toBe(1);
});

test('a clean CONNECT ends the persistent session of the same client, on the disk too', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  for (let i = 0; i < 50; i++) gateway.publish('a', 'x');
  await gateway.settle();
  gateway.store.auto = false;
  const client = gateway.client();
  const connack = client.connect({ ...kept, clean: true });
  await gateway.settle();
  expect(client.bytes).toEqual([]);
  gateway.store.sync();
  gateway.store.auto = true;
  expect((await connack).sessionPresent).toBe(false);
  expect(gateway.store.synced).toMatchObject({ sessions: new Map(), queue: new Map() });
  expect(gateway.listener.stats()).toMatchObject({ queuedBytes: 0, subscriptions: 0 });
  client.send({ cmd: 'disconnect' });
  await gateway.settle();
  expect((await gateway.client().connect(kept)).sessionPresent).toBe(false);
});

test('a session that ends with messages in flight and on their way to the disk leaves no row', async () => {
  using gateway = new Gateway();
  const client = await subscriber(gateway);
  for (let i = 0; i < 150; i++) gateway.publish('a', 'x');
  await gateway.settle();
  gateway.store.auto = false;
  gateway.publish('a', 'on its way');
  await gateway.settle();
  gateway.publish('a', 'just now');
  const other = gateway.client();
  const connack = other.connect({ ...kept, clean: true });
  await gateway.settle();
  gateway.store.sync();
  await connack;
  await client.expectClosed();
  expect(gateway.store.synced.queue.size).toBe(0);
  expect(gateway.listener.stats().queuedBytes).toBe(0);
});

test('a session that ended while its messages were refused leaves the counters right', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  gateway.publish('a', 'x');
  await gateway.settle();
  const client = gateway.client();
  gateway.store.full = true;
  gateway.publish('a', 'on its way');
  const connack = client.connect({ ...kept, clean: true });
  // The removal and the refusal are one transaction.
  await connack;
  await gateway.settle();
  expect(gateway.store.synced).toMatchObject({ sessions: new Map(), queue: new Map() });
  expect(gateway.listener.stats()).toMatchObject({ subscriptions: 0, queuedBytes: 0 });
});

test('rows that an earlier session of the same client left are not taken for new ones', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  for (let i = 0; i < 20; i++) gateway.publish('a', 'old');
  await gateway.settle();
  // A session that is gone without its queue.
  gateway.store.sessions.delete('meter');
  await gateway.settle();
  const { queue } = gateway.store.afterPowerCut().synced;
  const store = gateway.store.afterPowerCut();
  using next = restart(gateway, store);
  await next.settle();
  for (const [key, value] of queue) store.queue.put(key, value);
  await next.settle();
  await leave(next, await subscriber(next));
  next.publish('a', 'new');
  await next.settle();
  using last = restart(next, store.afterPowerCut());
  const client = last.client();
  await client.connect(kept);
  expect(await client.expectData(1)).toEqual(['new']);
  await last.settle();
  expect(client.pending).toEqual([]);
});

test('a clean CONNECT forgets a session that only the disk remembers', async () => {
  using gateway = new Gateway();
  gateway.store.sessions.put('meter', Buffer.from('{"v":1,"subscriptions":[["a/#",1]]}'));
  await gateway.settle();
  const client = gateway.client();
  expect((await client.connect({ ...kept, clean: true })).sessionPresent).toBe(false);
  expect(gateway.store.synced.sessions.size).toBe(0);
});

test.each([
  ['messages', { queuedMessagesMax: 10 }],
  ['bytes', { queuedBytesMax: 10 * 11 }],
  ['bytes of all queues', { queuedBytesTotalMax: 2 * 10 * 11 }],
])('a queue is limited in %s: the newest are dropped and counted', async (_, limits) => {
  using gateway = new Gateway({ limits });
  await leave(gateway, await subscriber(gateway));
  for (let i = 0; i < 15; i++) gateway.publish('a', String(i).padEnd(7));
  await gateway.settle();
  const client = gateway.client();
  await client.connect(kept);
  expect((await client.expectData(10)).map(Number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  expect(gateway.listener.counters.droppedQueueMsgs).toBe(5);
  expect(gateway.warnings).toHaveLength(1);
});

test('a client that keeps up and one that falls behind both get everything in order', async () => {
  // Small values, so that messages go through memory, disk and pages in every mixture.
  using gateway = new Gateway({ limits: { deliveriesInFlightMax: 7, memoryBytesTotalMax: 60 } });
  const client = await subscriber(gateway);
  const got: number[] = [];
  let published = 0;
  for (let round = 0; round < 400; round++) {
    const burst = round % 50 < 25 ? 3 : 1;
    for (let i = 0; i < burst && published < 600; i++) gateway.publish('a', String(published++));
    await gateway.idle();
    for (const packet of client.received.splice(0, 2)) {
      if (packet.cmd !== 'publish') continue;
      got.push(Number(packet.payload));
      client.puback(packet.messageId!);
    }
  }
  while (got.length < published) {
    const { messageId, payload } = await client.expect('publish');
    got.push(Number(payload));
    client.puback(messageId!);
  }
  expect(got).toEqual(Array.from({ length: published }, (_, i) => i));
  await gateway.settle();
  expect(gateway.listener.stats()).toMatchObject({ queuedBytes: 0, memoryBytes: 0 });
});

test('a take-over in the middle of a stream loses nothing and keeps the order', async () => {
  using gateway = new Gateway({ limits: { deliveriesInFlightMax: 5 } });
  let client = await subscriber(gateway);
  const got: number[] = [];
  for (let i = 0; i < 300; i++) {
    gateway.publish('a', String(i));
    if (i % 37 === 0) {
      client = gateway.client();
      await client.connect(kept);
    }
    await gateway.idle();
    const packet = client.received.shift();
    if (packet?.cmd !== 'publish') continue;
    got.push(Number(packet.payload));
    client.puback(packet.messageId!);
  }
  while (got.at(-1) !== 299) {
    const { messageId, payload } = await client.expect('publish');
    got.push(Number(payload));
    client.puback(messageId!);
  }
  // At least once: what was in flight at a take-over may come again, but nothing out of turn.
  expect([...new Set(got)]).toEqual(Array.from({ length: 300 }, (_, i) => i));
});

test('a client that comes and goes while its queue is read back loses nothing', async () => {
  using gateway = new Gateway({ limits: { deliveriesInFlightMax: 10 } });
  await leave(gateway, await subscriber(gateway));
  for (let i = 0; i < 100; i++) gateway.publish('a', String(i));
  await gateway.settle();
  const got: number[] = [];
  for (let visit = 0; visit < 20; visit++) {
    const client = gateway.client();
    await client.connect(kept);
    for (let i = 0; i < 5; i++) {
      const { messageId, payload } = await client.expect('publish');
      got.push(Number(payload));
      client.puback(messageId!);
    }
    await gateway.settle();
    await leave(gateway, client);
  }
  expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(gateway.listener.stats().queuedBytes).toBe(0);
});

test('clients with similar identifiers do not get each other’s messages', async () => {
  using gateway = new Gateway();
  for (const clientId of ['m', 'm1', 'm/1', 'm 1', 'ü']) {
    const client = gateway.client();
    await client.connect({ clientId, clean: false });
    await client.subscribe({ [`for/${clientId.replaceAll(' ', '_')}`]: 1 });
    await leave(gateway, client);
    gateway.publish(`for.${clientId.replaceAll('/', '.').replaceAll(' ', '_')}`, clientId);
  }
  await gateway.settle();
  using next = restart(gateway, gateway.store.afterPowerCut());
  for (const clientId of ['ü', 'm 1', 'm/1', 'm1', 'm']) {
    const client = next.client();
    await client.connect({ clientId, clean: false });
    expect(await client.expectData(1)).toEqual([clientId]);
    await next.settle();
    expect(client.pending).toEqual([]);
  }
});

test('rows of a session that is gone are swept at start', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  gateway.publish('a', 'x');
  await gateway.settle();
  const store = gateway.store.afterKill();
  store.sessions.delete('meter');
  await gateway.settle();
  using next = restart(gateway, store);
  await next.settle();
  expect(next.listener.stats()).toMatchObject({ sessions: 0, queuedBytes: 0 });
  expect(store.synced.queue.size).toBe(0);
});

test('a row of subscriptions that cannot be read is logged, and the session starts without', async () => {
  using gateway = new Gateway();
  await leave(gateway, await subscriber(gateway));
  const store = gateway.store.afterKill();
  store.sessions.put('meter', Buffer.from('not JSON'));
  await gateway.settle();
  using next = restart(gateway, store);
  expect((await next.client().connect(kept)).sessionPresent).toBe(true);
  expect(next.listener.stats().subscriptions).toBe(0);
  expect(next.warnings.join()).toContain('cannot be read');
});
