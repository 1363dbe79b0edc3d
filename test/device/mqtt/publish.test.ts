import type { Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { PublishError } from '../../../src/message.ts';
import { connectPacket } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

const full = new PublishError(503, 10_077, 'the disk is full');

test('a QoS 1 publish is acknowledged only when the stream says that it is on disk', async () => {
  using gateway = new Gateway({ streamSubject: 'plant1.>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('plant1/boiler/temp', '21.5', 7);
  await gateway.settle();
  expect([gateway.stream.subjects, gateway.stream.data]).toEqual([
    ['plant1.boiler.temp'],
    ['21.5'],
  ]);
  expect(client.pending).toEqual([]);
  gateway.stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  expect((await client.expect('puback')).messageId).toBe(7);
});

test('QoS 0 is routed and not answered', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await client.connect();
  client.publishPlain('a', '1');
  client.send({ cmd: 'pingreq' });
  await client.expect('pingresp');
  expect(gateway.stream.data).toEqual(['1']);
  expect(client.pending).toEqual([]);
});

test('binary data arrives byte for byte', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await client.connect();
  const data = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) & 0xff));
  client.publish('a', data, 1);
  await client.expect('puback');
  expect(gateway.stream.messages[0]!.data.equals(data)).toBe(true);
});

test('PUBACKs keep the order of the PUBLISHes when the receipts do not', async () => {
  using gateway = new Gateway({ streamSubject: 'slow' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('slow', '1', 1);
  client.publish('elsewhere', '2', 2);
  client.publish('slow', '3', 3);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.stream.receipts[1]!(null, { stream: 'S', seq: 2 });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  await gateway.settle();
  expect(client.received.map((packet) => packet.messageId)).toEqual([1, 2, 3]);
});

test('a refused publish gets no PUBACK, the connection stays, and sending it again works', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  client.publish('a', '2', 2);
  await gateway.settle();
  gateway.stream.receipts[0]!(full, null);
  gateway.stream.receipts[1]!(null, { stream: 'S', seq: 1 });
  expect((await client.expect('puback')).messageId).toBe(2);
  expect(gateway.listener.counters).toMatchObject({ refusedMsgs: 1, pubacks: 1 });
  expect(gateway.warnings.filter((line) => line.includes('get no PUBACK'))).toHaveLength(1);
  gateway.stream.auto = true;
  client.send({
    cmd: 'publish',
    topic: 'a',
    payload: '1',
    qos: 1,
    messageId: 1,
    dup: true,
    retain: false,
  });
  expect((await client.expect('puback')).messageId).toBe(1);
});

test('when a full disk has room again, a client whose messages were refused is made to send them again', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  gateway.store.full = true;
  const [refused, lucky] = [gateway.client(), gateway.client()];
  await refused.connect({ clientId: 'refused' });
  await lucky.connect({ clientId: 'lucky' });
  refused.publish('a', '1', 1);
  await gateway.settle();
  gateway.stream.receipts[0]!(new PublishError(503, 10_047, 'the disk is full'), null);
  for (let i = 0; i < 10; i++) {
    gateway.clock.advance(1_000);
    await gateway.settle();
  }
  expect(refused.closed, 'kept while the disk is full').toBe(false);
  gateway.store.full = false;
  gateway.clock.advance(1_000);
  await gateway.settle();
  expect(refused.closed).toBe(true);
  expect(lucky.closed).toBe(false);
});

test('a stream at its own limit withholds the PUBACK and keeps the connection', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  await gateway.settle();
  gateway.stream.receipts[0]!(full, null);
  gateway.clock.advance(10_000);
  client.send({ cmd: 'pingreq' });
  await client.expect('pingresp');
});

test('a stream that refuses at once is not taken for one that stored', async () => {
  using gateway = new Gateway();
  gateway.broker.subscribe('a', { store: (_, receipt) => receipt?.(full, null) });
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  client.publish('b', '2', 2);
  expect((await client.expect('puback')).messageId).toBe(2);
});

test('a thousand refusals are one line in the log', async () => {
  using gateway = new Gateway();
  gateway.broker.subscribe('a', { store: (_, receipt) => receipt?.(full, null) });
  const client = gateway.client();
  await client.connect();
  for (let i = 1; i <= 1000; i++) client.publish('a', 'x', i);
  client.publish('b', 'x', 1001);
  await client.expect('puback');
  expect(gateway.listener.counters.refusedMsgs).toBe(1000);
  expect(gateway.warnings).toHaveLength(1);
});

test('a publish that no stream takes is acknowledged after routing, and counted', async () => {
  using gateway = new Gateway();
  const got: string[] = [];
  gateway.broker.subscribe('a', { deliver: ({ data }) => void got.push(data.toString()) });
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  client.publish('b', '2', 2);
  await client.expect('puback');
  await client.expect('puback');
  expect(got).toEqual(['1']);
  expect(gateway.listener.counters.unroutedMsgs).toBe(2);
});

test('a publish that is queued for a persistent session is acknowledged when that is on disk, too', async () => {
  using gateway = new Gateway({ streamSubject: 'a' });
  const subscriber = gateway.client();
  await subscriber.connect({ clientId: 'sub', clean: false });
  await subscriber.subscribe({ '#': 1 });
  const client = gateway.client();
  await client.connect();
  gateway.store.auto = false;
  client.publish('a', 'stored', 1);
  client.publish('b', 'not stored', 2);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(['stored']);
  expect([client.pending, subscriber.pending]).toEqual([[], []]);
  gateway.store.sync();
  await client.expect('puback');
  await client.expect('puback');
  expect(await subscriber.expectData(2)).toEqual(['stored', 'not stored']);
});

test('a publish whose copy for a session is refused gets no PUBACK', async () => {
  using gateway = new Gateway();
  const subscriber = gateway.client();
  await subscriber.connect({ clientId: 'sub', clean: false });
  await subscriber.subscribe({ a: 1 });
  const client = gateway.client();
  await client.connect();
  gateway.store.full = true;
  client.publish('a', 'refused', 1);
  await gateway.settle();
  gateway.store.full = false;
  client.publish('a', 'kept', 2);
  expect((await client.expect('puback')).messageId).toBe(2);
  expect(await subscriber.expectData(1)).toEqual(['kept']);
  await gateway.settle();
  expect(subscriber.pending).toEqual([]);
  expect(gateway.listener.counters).toMatchObject({ refusedMsgs: 1, droppedRefusedMsgs: 1 });
});

test.each([
  ['of a queue', false],
  ['of a retained message', true],
])('a refusal %s in the middle of a turn is not missed', async (_, retain) => {
  using gateway = new Gateway();
  const subscriber = gateway.client();
  await subscriber.connect({ clientId: 'sub', clean: false });
  if (!retain) await subscriber.subscribe({ a: 1 });
  // Somebody who takes so much that the store commits before the publish returns; last in order.
  gateway.broker.subscribe('*', { deliver: () => gateway.store.commit() });
  const client = gateway.client();
  await client.connect();
  gateway.store.full = true;
  client.publish('a', 'refused', 1, retain);
  await gateway.settle();
  gateway.store.full = false;
  client.publish('b', 'x', 2);
  expect((await client.expect('puback')).messageId).toBe(2);
  expect(subscriber.pending).toEqual([]);
  expect(gateway.store.synced).toMatchObject({ queue: new Map(), retained: new Map() });
});

test.each([
  '$SYS/broker/uptime',
  '$JS/API/STREAM/DELETE/S',
  '$DEAD/a',
  '$aws/things/x',
  '_INBOX/abc',
  'x'.repeat(2000),
])('a publish to %s is acknowledged and reaches nobody', async (topic) => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await client.connect();
  client.publish(topic, 'x', 1, true);
  client.publishPlain(topic, 'x', true);
  client.publish('a', 'y', 2);
  expect((await client.expect('puback')).messageId).toBe(1);
  expect((await client.expect('puback')).messageId).toBe(2);
  expect(gateway.stream.data).toEqual(['y']);
  expect(gateway.listener.stats()).toMatchObject({ notPermittedMsgs: 2, retained: 0 });
});

test.each(['a/+', '#', ''])(
  'a publish to the topic %j closes the connection and stores nothing',
  async (topic) => {
    using gateway = new Gateway({ streamSubject: '>' });
    const client = gateway.client();
    await client.connect();
    const data = Buffer.from('x');
    const length = Buffer.byteLength(topic);
    const body = Buffer.concat([
      Buffer.from([length >> 8, length & 255]),
      Buffer.from(topic),
      Buffer.from([0, 1]),
      data,
    ]);
    const size = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
    client.write(Buffer.concat([Buffer.from([0x32, ...size]), body]));
    await client.expectClosed();
    expect(gateway.stream.messages).toEqual([]);
    expect(client.pending).toEqual([]);
    expect(gateway.warnings.join()).toContain('broke the protocol');
  },
);

test('a packet over the limit is refused by its header, before it is sent', async () => {
  using gateway = new Gateway({ limits: { packetBytesMax: 1000 } });
  const client = gateway.client();
  await client.connect();
  client.write(Buffer.from([0x30, 0xe9, 0x07]));
  await client.expectClosed();
  expect(gateway.warnings.join()).toContain('a packet of 1001 bytes');
});

test.each([
  ['messages', { publishesInFlightMax: 10 }],
  ['bytes', { publishBytesInFlightMax: 100 }],
])('too many unacknowledged %s stop the reading until receipts come', async (_, limits) => {
  using gateway = new Gateway({ limits, streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  for (let i = 1; i <= 100; i++) client.publish('a', String(i).padEnd(10), i);
  await gateway.settle();
  expect(gateway.stream.messages).toHaveLength(10);
  const acknowledged: number[] = [];
  for (let round = 0; round < 200 && acknowledged.length < 100; round++) {
    for (const receipt of gateway.stream.receipts.splice(0)) receipt(null, { stream: 'S', seq: 1 });
    await gateway.idle();
    for (const packet of client.received.splice(0)) acknowledged.push(packet.messageId ?? 0);
    expect(gateway.stream.receipts.length).toBeLessThanOrEqual(10);
  }
  expect(acknowledged).toEqual(Array.from({ length: 100 }, (_each, i) => i + 1));
});

test.each([
  ['messages', { publishesInFlightTotalMax: 10 }],
  ['bytes', { publishBytesInFlightTotalMax: 100 }],
])('the unacknowledged %s of all clients together are bounded, too', async (_, limits) => {
  using gateway = new Gateway({ limits, streamSubject: '>' });
  gateway.stream.auto = false;
  const clients = [];
  for (const clientId of ['a', 'b', 'c', 'gone']) {
    const client = gateway.client();
    await client.connect({ clientId });
    clients.push(client);
  }
  const publish = (messageId: number): Packet => {
    const payload = String(messageId).padEnd(10);
    return { cmd: 'publish', topic: 'a', qos: 1, dup: false, retain: false, payload, messageId };
  };
  // In one piece, so that we hold what we do not take.
  for (const client of clients)
    client.send(...Array.from({ length: 50 }, (_each, i) => publish(i + 1)));
  await gateway.settle();
  expect(gateway.stream.messages.length).toBeLessThanOrEqual(10);
  // Clients that come and go do not add one each time.
  for (let i = 0; i < 20; i++) {
    const client = gateway.client();
    client.send(connectPacket({ clientId: `visitor-${i}` }), publish(1));
    await gateway.settle();
    client.stream.destroy();
  }
  expect(gateway.stream.messages.length).toBeLessThanOrEqual(10);
  clients.pop()!.stream.destroy();
  for (let round = 0; round < 200; round++) {
    for (const receipt of gateway.stream.receipts.splice(0)) receipt(null, { stream: 'S', seq: 1 });
    await gateway.idle();
    expect(gateway.stream.receipts.length).toBeLessThanOrEqual(10);
  }
  for (const client of clients)
    expect(client.received.map(({ messageId }) => messageId)).toEqual(
      Array.from({ length: 50 }, (_each, i) => i + 1),
    );
  expect(gateway.listener.stats().publishesInFlight).toBe(0);
});

test.each([
  ['messages', { publishesInFlightTotalMax: 10 }],
  ['bytes', { publishBytesInFlightTotalMax: 100 }],
])(
  'QoS 0 is not lost for haste: a client that pours out %s waits for the disk',
  async (_, limits) => {
    using gateway = new Gateway({ limits, streamSubject: '>' });
    gateway.store.auto = false;
    const client = gateway.client();
    await client.connect();
    const publish = { cmd: 'publish', topic: 'a', qos: 0, dup: false, retain: false } as const;
    const data = Array.from({ length: 50 }, (_each, i) => String(i).padEnd(10));
    // In one piece, so that we hold what we do not take.
    client.send(...data.map((payload) => ({ ...publish, payload })));
    await gateway.settle();
    expect(gateway.stream.messages).toHaveLength(10);
    expect(gateway.listener.stats().publishesInFlight).toBe(10);
    for (let round = 0; round < 20; round++) {
      const before = gateway.stream.messages.length;
      gateway.store.sync();
      await gateway.settle();
      expect(gateway.stream.messages.length - before).toBeLessThanOrEqual(10);
    }
    expect(gateway.stream.data).toEqual(data);
    expect(gateway.listener.stats().publishesInFlight).toBe(0);
  },
);

test('a client that pours out retained messages at QoS 0 waits for the disk, too', async () => {
  using gateway = new Gateway({ limits: { publishesInFlightTotalMax: 10 } });
  gateway.store.auto = false;
  const client = gateway.client();
  await client.connect();
  const publish = { cmd: 'publish', qos: 0, dup: false, retain: true } as const;
  client.send(
    ...Array.from({ length: 50 }, (_each, i) => ({ ...publish, topic: `t/${i}`, payload: '1' })),
  );
  await gateway.settle();
  expect(gateway.listener.counters.inMsgs).toBe(10);
  for (let round = 0; round < 20; round++) {
    gateway.store.sync();
    await gateway.settle();
  }
  expect(gateway.listener.stats().retained).toBe(50);
});

test('QoS 0 that a stream refuses is counted and said', async () => {
  using gateway = new Gateway({ streamSubject: 'kept' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publishPlain('kept', '1');
  client.publishPlain('kept', '2');
  await gateway.settle();
  gateway.stream.receipts[0]!(full, null);
  gateway.stream.receipts[1]!(null, { stream: 'S', seq: 1 });
  expect(gateway.listener.counters.refusedMsgs).toBe(1);
  expect(gateway.warnings.join()).toContain('MQTT messages of QoS 0 were refused and are lost');
});

test('a client that we do not read is not taken for a silent one', async () => {
  using gateway = new Gateway({ limits: { publishesInFlightMax: 1 }, streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect({ keepalive: 10 });
  // In one piece: we hold the second while we do not read.
  const publish = { cmd: 'publish', topic: 'a', qos: 1, dup: false, retain: false } as const;
  client.send(
    { ...publish, payload: '1', messageId: 1 },
    { ...publish, payload: '2', messageId: 2 },
  );
  await gateway.settle();
  gateway.clock.advance(60_000);
  await gateway.settle();
  expect(client.closed).toBe(false);
  gateway.stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  await client.expect('puback');
  await gateway.settle();
  expect(gateway.stream.data).toEqual(['1', '2']);
  // The clock starts anew when we read again, even if all was read from what we held.
  gateway.stream.receipts[1]!(null, { stream: 'S', seq: 2 });
  await client.expect('puback');
  gateway.clock.advance(10_000);
  await gateway.settle();
  expect(client.closed).toBe(false);
});

test('receipts that come after the client has gone are harmless', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  await gateway.settle();
  client.stream.destroy();
  await gateway.settle();
  expect(gateway.listener.stats().connections).toBe(0);
  gateway.stream.receipts[0]!(null, { stream: 'S', seq: 1 });
  await gateway.settle();
  expect(gateway.listener.counters.pubacks).toBe(0);
});

test('a thousand PUBACKs of one sync leave as one write', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  for (let i = 1; i <= 1000; i++) client.publish('a', 'x', i);
  await gateway.settle();
  client.bytes.length = 0;
  for (const receipt of gateway.stream.receipts) receipt(null, { stream: 'S', seq: 1 });
  await gateway.settle();
  expect(client.bytes.map(({ length }) => length)).toEqual([4000]);
});
