// What the broker says of itself under $SYS.

import { expect, test } from 'vitest';
import { SysLoad, type LoadFigures } from '../../../device/mqtt/sys-load.ts';
import { SysTopics } from '../../../device/mqtt/sys-topics.ts';
import { Broker } from '../../../src/broker.ts';
import { VERSION } from '../../../src/version.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { Gateway, type GatewayOptions } from '../../support/mqtt-gateway.ts';
import type { TestClient } from '../../support/mqtt-client.ts';

const INTERVAL_MS = 10_000;

/** What a client has been told, by topic; and takes it. */
function told(client: TestClient): Map<string, string> {
  const topics = new Map<string, string>();
  for (const packet of client.received)
    if (packet.cmd === 'publish') topics.set(packet.topic, String(packet.payload));
  client.received.length = 0;
  return topics;
}

async function watcher(gateway: Gateway, filter: string, clientId = 'watcher') {
  const client = gateway.client();
  await client.connect({ clientId });
  await client.subscribe({ [filter]: 1 });
  await gateway.settle();
  return client;
}

async function pass(gateway: Gateway, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) gateway.clock.advance(Math.min(500, left));
  await gateway.settle();
}

function open(options: GatewayOptions = {}): Gateway {
  return new Gateway(options);
}

test('who subscribes to $SYS/# is told at once, as of retained messages, in the names that mosquitto has', async () => {
  using gateway = open();
  await pass(gateway, 3000);
  const client = await watcher(gateway, '$SYS/#');
  const packets = client.received.filter((packet) => packet.cmd === 'publish');
  expect(packets.every(({ retain, qos }) => retain && qos === 0)).toBe(true);
  const topics = told(client);
  expect(Object.fromEntries([...topics].filter(([topic]) => !topic.includes('/load/')))).toEqual({
    '$SYS/broker/version': `mangrove version ${VERSION}`,
    '$SYS/broker/uptime': '3 seconds',
    '$SYS/broker/clients/total': '1',
    '$SYS/broker/clients/maximum': '1',
    '$SYS/broker/clients/connected': '1',
    '$SYS/broker/clients/active': '1',
    '$SYS/broker/clients/disconnected': '0',
    '$SYS/broker/clients/inactive': '0',
    '$SYS/broker/clients/expired': '0',
    '$SYS/broker/messages/received': '2',
    '$SYS/broker/messages/sent': '1',
    '$SYS/broker/messages/stored': '0',
    '$SYS/broker/store/messages/count': '0',
    '$SYS/broker/store/messages/bytes': '0',
    '$SYS/broker/publish/messages/received': '0',
    '$SYS/broker/publish/messages/sent': '0',
    '$SYS/broker/publish/messages/dropped': '0',
    '$SYS/broker/publish/bytes/received': '0',
    '$SYS/broker/publish/bytes/sent': '0',
    '$SYS/broker/bytes/received': '34',
    '$SYS/broker/bytes/sent': '4',
    '$SYS/broker/subscriptions/count': '0',
    '$SYS/broker/shared_subscriptions/count': '0',
    '$SYS/broker/retained messages/count': '0',
    '$SYS/broker/mangrove/publish/messages/refused': '0',
    '$SYS/broker/mangrove/queues/messages': '0',
    '$SYS/broker/mangrove/queues/bytes': '0',
    '$SYS/broker/mangrove/queues/dropped': '0',
    '$SYS/broker/mangrove/disk/full': '0',
  });
  expect(topics.get('$SYS/broker/load/messages/received/1min')).toBe('0.00');
});

test('what has changed is published at each interval, and nothing else', async () => {
  using gateway = open({ streamSubject: 'plant1.>' });
  const client = await watcher(gateway, '$SYS/#');
  await pass(gateway, INTERVAL_MS);
  told(client);
  const away = gateway.client();
  await away.connect({ clientId: 'away', clean: false });
  await away.subscribe({ 'plant1/#': 1 });
  away.publish('plant1/a', '21.5', 7);
  await gateway.settle();
  away.stream.destroy();
  await gateway.settle();
  expect(told(client).size).toBe(0);
  await pass(gateway, INTERVAL_MS);
  const topics = told(client);
  const name = (topic: string): string => `$SYS/broker/${topic}`;
  expect(topics.get(name('clients/total'))).toBe('2');
  expect(topics.get(name('clients/disconnected'))).toBe('1');
  expect(topics.get(name('clients/maximum'))).toBe('2');
  expect(topics.get(name('messages/stored'))).toBe('1');
  expect(topics.get(name('publish/messages/received'))).toBe('1');
  expect(topics.get(name('publish/bytes/received'))).toBe('4');
  expect(topics.get(name('mangrove/queues/messages'))).toBe('1');
  for (const same of ['version', 'clients/connected', 'clients/expired', 'mangrove/disk/full'])
    expect(topics.has(name(same)), same).toBe(false);
});

test('a single topic can be watched', async () => {
  using gateway = open();
  const client = await watcher(gateway, '$SYS/broker/uptime');
  expect([...told(client)]).toEqual([['$SYS/broker/uptime', '0 seconds']]);
  await pass(gateway, INTERVAL_MS);
  expect([...told(client)]).toEqual([['$SYS/broker/uptime', '10 seconds']]);
});

test('nothing is said while nobody asks for it by name, and no stream takes it', async () => {
  using gateway = open({ streamSubject: '>' });
  const all: string[] = [];
  gateway.broker.subscribe('>', { deliver: ({ subject }) => void all.push(subject) });
  gateway.broker.subscribe('*.broker.uptime', { deliver: ({ subject }) => void all.push(subject) });
  const client = await watcher(gateway, '#');
  await pass(gateway, 3 * INTERVAL_MS);
  const other = await watcher(gateway, '$SYS/#', 'other');
  await pass(gateway, 3 * INTERVAL_MS);
  expect(told(other).size).toBeGreaterThan(10);
  expect(told(client).size).toBe(0);
  expect(all).toEqual([]);
  expect(gateway.stream.messages).toEqual([]);
});

test('a NATS client on $SYS.broker.> is told everything once, and then what changes', async () => {
  using gateway = open();
  await pass(gateway, 2 * INTERVAL_MS);
  const got: [string, string][] = [];
  const end = gateway.broker.subscribe('$SYS.broker.>', {
    deliver: ({ subject, data }) => void got.push([subject, data.toString()]),
  });
  await pass(gateway, INTERVAL_MS);
  expect(got).toContainEqual(['$SYS.broker.version', `mangrove version ${VERSION}`]);
  expect(got).toContainEqual(['$SYS.broker.retained/20messages.count', '0']);
  got.length = 0;
  await pass(gateway, INTERVAL_MS);
  expect(got).toEqual([['$SYS.broker.uptime', '40 seconds']]);
  end();
  await pass(gateway, INTERVAL_MS);
  gateway.broker.subscribe('$SYS.broker.version', {
    deliver: ({ subject, data }) => void got.push([subject, data.toString()]),
  });
  got.length = 0;
  await pass(gateway, INTERVAL_MS);
  expect(got).toEqual([['$SYS.broker.version', `mangrove version ${VERSION}`]]);
});

test('a client that is away finds no news of ours in its queue', async () => {
  using gateway = open();
  const client = gateway.client();
  await client.connect({ clientId: 'away', clean: false });
  await client.subscribe({ '$SYS/#': 1 });
  client.stream.destroy();
  await pass(gateway, 3 * INTERVAL_MS);
  expect(gateway.listener.stats().queuedMessages).toBe(0);
});

test('an interval of 0 says nothing at all', async () => {
  using gateway = open({ options: { sysIntervalMs: 0 } });
  const client = await watcher(gateway, '$SYS/#');
  await pass(gateway, 3 * INTERVAL_MS);
  expect(told(client).size).toBe(0);
});

test('a device cannot speak under $SYS', async () => {
  using gateway = open();
  const client = await watcher(gateway, '$SYS/broker/uptime');
  told(client);
  const device = gateway.client();
  await device.connect({ clientId: 'device' });
  device.publish('$SYS/broker/uptime', 'forged', 1, true);
  await gateway.settle();
  expect(told(client).size).toBe(0);
  const later = await watcher(gateway, '$SYS/broker/uptime', 'later');
  expect([...told(later).values()]).toEqual(['0 seconds']);
});

test('a full disk, drops and sessions that expired are shown', async () => {
  using gateway = open({ limits: { queuedMessagesMax: 2 } });
  const client = await watcher(gateway, '$SYS/#');
  const away = gateway.client();
  await away.connect({
    clientId: 'away',
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 25 },
  });
  await away.subscribe({ 'a/#': 1 });
  away.stream.destroy();
  await gateway.settle();
  for (const data of ['1', '2', '3']) gateway.publish('a.b', data);
  await gateway.settle();
  gateway.store.full = true;
  await pass(gateway, INTERVAL_MS);
  const topics = told(client);
  expect(topics.get('$SYS/broker/mangrove/queues/dropped')).toBe('1');
  expect(topics.get('$SYS/broker/publish/messages/dropped')).toBe('1');
  expect(topics.get('$SYS/broker/mangrove/disk/full')).toBe('1');
  gateway.store.full = false;
  await pass(gateway, 2 * INTERVAL_MS);
  const later = told(client);
  expect(later.get('$SYS/broker/clients/expired')).toBe('1');
  expect(later.get('$SYS/broker/clients/total')).toBe('1');
  expect(later.get('$SYS/broker/mangrove/disk/full')).toBe('0');
});

test('nothing is reckoned for nobody, and what somebody has heard is not said again', () => {
  const clock = new FakeClock();
  const broker = new Broker();
  const kept: string[] = [];
  const topics = new SysTopics(
    {
      clock,
      broker,
      retain: ({ subject }) => void kept.push(subject),
      route: (_message, send) => send(),
    },
    () => ({ ...figures(), ...STILL }),
    INTERVAL_MS,
  );
  topics.start();
  clock.advance(5 * INTERVAL_MS);
  topics.subscribed('plant1.>');
  expect(kept).toEqual([]);
  topics.subscribed('$SYS.>');
  expect(kept.length).toBeGreaterThan(10);
  kept.length = 0;
  topics.subscribed('$SYS');
  expect(kept).toEqual([]);
  clock.advance(1000);
  topics.subscribed('$SYS.broker.uptime');
  expect(kept).toEqual(['$SYS.broker.uptime']);
  topics.stop();
  broker.subscribe('$SYS.>', { deliver: () => undefined });
  clock.advance(5 * INTERVAL_MS);
  expect(kept).toHaveLength(1);
});

const STILL = {
  connections: 0,
  sessions: 0,
  sessionsExpired: 0,
  subscriptions: 0,
  sharedSubscriptions: 0,
  retained: 0,
  inBytes: 0,
  outBytes: 0,
  droppedQueueMsgs: 0,
  refusedMsgs: 0,
  queuedMessages: 0,
  queuedBytes: 0,
  diskFull: false,
};

function figures(change: Partial<LoadFigures> = {}): LoadFigures {
  return {
    inPackets: 0,
    outPackets: 0,
    inMsgs: 0,
    outMsgs: 0,
    droppedMsgs: 0,
    inPacketBytes: 0,
    outPacketBytes: 0,
    connects: 0,
    ...change,
  };
}

test('loads are damped averages per minute', () => {
  const load = new SysLoad();
  const shown = (): Record<string, string> => Object.fromEntries(load.lines());
  load.add(figures({ inMsgs: 1000 }), 0);
  expect(shown()['load/publish/received/1min']).toBe('0.00');
  // 10 in 10 s are 60 a minute.
  load.add(figures({ inMsgs: 1010 }), 10_000);
  expect(shown()['load/publish/received/1min']).toBe((60 * (1 - Math.exp(-1 / 6))).toFixed(2));
  expect(shown()['load/publish/received/15min']).toBe((60 * (1 - Math.exp(-1 / 90))).toFixed(2));
  expect(shown()['load/publish/sent/1min']).toBe('0.00');
  for (let i = 1; i <= 200; i++) load.add(figures({ inMsgs: 1010 + 10 * i }), 10_000 * (i + 1));
  expect(shown()['load/publish/received/1min']).toBe('60.00');
  load.add(figures({ inMsgs: 3010 }), 2_010_000);
  expect(shown()['load/publish/received/1min']).toBe('60.00');
});
