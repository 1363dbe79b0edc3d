import { expect, test } from 'vitest';
import { PublishError } from '../../../src/message.ts';
import type { TestClient } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const stored = [null, { stream: 'S', seq: 1 }] as const;
const full = new PublishError(503, 10_077, 'the disk is full');
const STAYING = { clean: false } as const;

test('PUBREC leaves when message and Packet Identifier are on the disk, PUBCOMP when the identifier is gone', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await client.connect(STAYING);
  gateway.store.auto = false;
  client.publishTwo('a', 'x', 7);
  await gateway.settle();
  expect(gateway.stream.data).toEqual(['x']);
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  expect((await client.expect('pubrec')).messageId).toBe(7);
  expect(gateway.store.synced.received.size).toBe(1);
  client.pubrel(7);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  expect((await client.expect('pubcomp')).messageId).toBe(7);
  expect(gateway.store.synced.received.size).toBe(0);
  expect(gateway.listener.counters).toMatchObject({ inMsgs: 1, pubrecs: 1, pubacks: 0 });
});

test.each([3, 4, 5] as const)(
  'MQTT level %i: what comes again is not routed again',
  async (level) => {
    using gateway = new Gateway({ streamSubject: '>' });
    const client = gateway.client();
    await client.connect({
      protocolVersion: level,
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
    });
    client.publishTwo('a', 'x', 7);
    await client.expect('pubrec');
    client.publishTwo('a', 'x', 7, true);
    await client.expect('pubrec');
    client.pubrel(7);
    await client.expect('pubcomp');
    expect(gateway.stream.data).toEqual(['x']);
    // The identifier is free.
    client.publishTwo('a', 'y', 7);
    await client.expect('pubrec');
    expect(gateway.stream.data).toEqual(['x', 'y']);
  },
);

test('a repetition on a new connection waits for the disk as the first did', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const first = gateway.client();
  await first.connect(STAYING);
  gateway.store.auto = false;
  first.publishTwo('a', 'x', 7);
  await gateway.settle();
  const second = gateway.client();
  second.connectLater(STAYING);
  second.publishTwo('a', 'x', 7, true);
  await gateway.settle();
  gateway.store.sync();
  expect((await second.expect('connack')).sessionPresent).toBe(true);
  await gateway.settle();
  gateway.store.sync();
  await second.expect('pubrec');
  expect(gateway.stream.data).toEqual(['x']);
});

test.each([
  ['at once', 'afterKill'],
  ['by the power', 'afterPowerCut'],
] as const)('a process that is ended %s knows what it has taken', async (_, after) => {
  const clock = new FakeClock();
  using before = new Gateway({ streamSubject: '>', clock });
  const first = before.client();
  await first.connect(STAYING);
  first.publishTwo('a', 'x', 7);
  await first.expect('pubrec');
  using gateway = new Gateway({ streamSubject: '>', clock, store: before.store[after]() });
  const second = gateway.client();
  expect((await second.connect(STAYING)).sessionPresent).toBe(true);
  second.publishTwo('a', 'x', 7, true);
  await second.expect('pubrec');
  second.pubrel(7);
  await second.expect('pubcomp');
  expect(gateway.stream.data).toEqual([]);
  using third = new Gateway({ streamSubject: '>', clock, store: gateway.store[after]() });
  const again = third.client();
  await again.connect(STAYING);
  again.publishTwo('a', 'new', 7);
  await again.expect('pubrec');
  expect(third.stream.data).toEqual(['new']);
});

test('a message whose power goes before its PUBREC is forgotten with its identifier', async () => {
  const clock = new FakeClock();
  using before = new Gateway({ streamSubject: '>', clock });
  const first = before.client();
  await first.connect(STAYING);
  before.store.auto = false;
  first.publishTwo('a', 'x', 7);
  await before.settle();
  using gateway = new Gateway({ streamSubject: '>', clock, store: before.store.afterPowerCut() });
  const second = gateway.client();
  await second.connect(STAYING);
  second.publishTwo('a', 'x', 7, true);
  await second.expect('pubrec');
  expect(gateway.stream.data).toEqual(['x']);
});

test('before 5.0 a refused message gets no PUBREC, and is taken when it comes again', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect(STAYING);
  client.publishTwo('a', 'x', 7);
  client.publishTwo('a', 'x', 7, true);
  await gateway.settle();
  gateway.stream.receipts[0]!(full, null);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.stream.auto = true;
  client.publishTwo('a', 'x', 7, true);
  await client.expect('pubrec');
  expect(gateway.stream.data).toEqual(['x', 'x']);
});

test('5.0 is told of a refusal, and may use the identifier again', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  client.publishTwo('a', 'x', 7);
  await gateway.settle();
  gateway.stream.receipts[0]!(full, null);
  expect(await client.expect('pubrec')).toMatchObject({
    reasonCode: 0x97,
    properties: { reasonString: 'the disk is full' },
  });
  client.publish('a', 'y', 7);
  await gateway.settle();
  gateway.stream.receipts[1]!(...stored);
  expect(await client.expect('puback')).toMatchObject({ messageId: 7, reasonCode: 0 });
  expect(client.closed).toBe(false);
});

test('a stream that refuses at once leaves no identifier behind', async () => {
  using gateway = new Gateway();
  gateway.broker.subscribe('a', { store: (_, receipt) => receipt?.(full, null) });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5, properties: { sessionExpiryInterval: 100 } });
  client.publishTwo('a', 'x', 7);
  expect((await client.expect('pubrec')).reasonCode).toBe(0x97);
  client.pubrel(7);
  expect((await client.expect('pubcomp')).reasonCode).toBe(0x92);
  expect(gateway.store.synced.received.size).toBe(0);
});

test('on a full disk PUBCOMP still comes, for removals fit', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  const client = gateway.client();
  await client.connect(STAYING);
  client.publishTwo('a', 'x', 7);
  await client.expect('pubrec');
  gateway.store.full = true;
  gateway.store.auto = false;
  client.pubrel(7);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await client.expect('pubcomp');
});

test.each([
  [4, 0],
  [5, 0x92],
] as const)(
  'in MQTT level %i an unknown PUBREL is answered with reason %i',
  async (protocolVersion, reasonCode) => {
    using gateway = new Gateway();
    const client = gateway.client();
    await client.connect({ protocolVersion });
    client.pubrel(9);
    const { messageId, reasonCode: said = 0 } = await client.expect('pubcomp');
    expect([messageId, said]).toEqual([9, reasonCode]);
  },
);

test('PUBRECs and PUBACKs keep the order of the PUBLISHes', async () => {
  using gateway = new Gateway({ streamSubject: 'slow' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  client.publishTwo('slow', '1', 1);
  client.publishTwo('elsewhere', '2', 2);
  client.publish('elsewhere', '3', 3);
  client.publishTwo('slow', '4', 4);
  await gateway.settle();
  gateway.stream.receipts[1]!(...stored);
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.stream.receipts[0]!(...stored);
  await gateway.settle();
  expect(client.received.map(({ cmd, messageId }) => `${cmd} ${messageId}`)).toEqual([
    'pubrec 1',
    'pubrec 2',
    'puback 3',
    'pubrec 4',
  ]);
});

async function publishUnreleased(client: TestClient, count: number): Promise<void> {
  for (let id = 1; id <= count; id++) client.publishTwo('a', `${id}`, id);
  for (let id = 1; id <= count; id++) await client.expect('pubrec');
}

test('5.0: more messages in flight than Receive Maximum end the connection, released ones do not count', async () => {
  using gateway = new Gateway({ streamSubject: '>', limits: { publishesInFlightMax: 10 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  await publishUnreleased(client, 10);
  client.publishTwo('a', 'again', 10, true);
  await client.expect('pubrec');
  client.pubrel(1);
  await client.expect('pubcomp');
  client.publishTwo('a', '11', 11);
  await client.expect('pubrec');
  client.publish('a', 'too many', 12);
  expect((await client.expect('disconnect')).reasonCode).toBe(0x93);
  await client.expectClosed();
  expect(gateway.stream.data).not.toContain('too many');
});

test('before 5.0 a client may leave as many unreleased as there are identifiers', async () => {
  using gateway = new Gateway({ streamSubject: '>', limits: { publishesInFlightMax: 10 } });
  const client = gateway.client();
  await client.connect();
  await publishUnreleased(client, 50);
  for (let id = 1; id <= 50; id++) client.pubrel(id);
  for (let id = 1; id <= 50; id++) expect((await client.expect('pubcomp')).messageId).toBe(id);
});

test('5.0: a client that does not know Receive Maximum is only slowed down at QoS 1', async () => {
  using gateway = new Gateway({ streamSubject: '>', limits: { publishesInFlightMax: 10 } });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  for (let id = 1; id <= 100; id++) client.publish('a', `${id}`, id);
  for (let id = 1; id <= 100; id++) expect((await client.expect('puback')).messageId).toBe(id);
});

test('PUBCOMPs of one turn are one write, and too many unanswered PUBRELs stop the reading', async () => {
  using gateway = new Gateway({ streamSubject: '>', limits: { publishesInFlightMax: 10 } });
  const client = gateway.client();
  await client.connect(STAYING);
  await publishUnreleased(client, 30);
  gateway.store.auto = false;
  client.bytes.length = 0;
  const rels = Array.from({ length: 30 }, (_, i) => ({ cmd: 'pubrel', messageId: i + 1 }) as const);
  client.send(...rels, { cmd: 'pingreq' });
  await gateway.settle();
  expect(client.pending).toEqual([]);
  gateway.store.sync();
  await gateway.settle();
  expect(client.bytes.map(({ length }) => length)).toEqual([40]);
  for (let i = 0; i < 3; i++) {
    gateway.store.sync();
    await gateway.settle();
  }
  await client.expect('pingresp');
  expect(client.pending).toEqual(Array(30).fill('pubcomp'));
});

test.each([
  [4, 'gets no PUBREC and is made to connect again', []],
  [5, 'is told', [0x97]],
] as const)(
  'MQTT level %i: a client that leaves too many unreleased %s',
  async (protocolVersion, _, reasons) => {
    using gateway = new Gateway({ streamSubject: '>', limits: { receivedMax: 3 } });
    const client = gateway.client();
    await client.connect({ protocolVersion });
    await publishUnreleased(client, 3);
    client.publishTwo('a', 'later', 4);
    client.publish('a', 'other', 5);
    await client.expect('puback');
    expect(client.pending).toEqual(reasons.map(() => 'pubrec'));
    for (const reason of reasons) expect((await client.expect('pubrec')).reasonCode).toBe(reason);
    expect(gateway.stream.data).toEqual(['1', '2', '3', 'other']);
    gateway.clock.advance(1000);
    await gateway.settle();
    expect(client.closed).toBe(protocolVersion === 4);
  },
);

test('5.0: refused messages do not count as in flight', async () => {
  using gateway = new Gateway({ limits: { publishesInFlightMax: 3 } });
  gateway.broker.subscribe('a', { store: (_, receipt) => receipt?.(full, null) });
  const client = gateway.client();
  await client.connect({ protocolVersion: 5 });
  for (let id = 1; id <= 10; id++) {
    client.publishTwo('a', 'x', id);
    expect((await client.expect('pubrec')).reasonCode).toBe(0x97);
  }
});

test('acknowledgements of different kinds in one write are each of their kind', async () => {
  using gateway = new Gateway({ streamSubject: '>' });
  gateway.stream.auto = false;
  const client = gateway.client();
  await client.connect();
  client.publish('a', '1', 1);
  client.publishTwo('a', '2', 2);
  client.publish('a', '3', 3);
  await gateway.settle();
  client.bytes.length = 0;
  for (const receipt of gateway.stream.receipts) receipt(...stored);
  await gateway.settle();
  expect(client.bytes.map((bytes) => bytes.toString('hex'))).toEqual(['400200015002000240020003']);
});
