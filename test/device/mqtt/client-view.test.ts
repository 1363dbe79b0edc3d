// Connected clients and sessions as monitoring shows them.

import { expect, test } from 'vitest';
import { connz, mqttz, type Parts } from '../../../src/status.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';

function partsOf({ listener, clock }: Gateway): Parts {
  const parts: Partial<Parts> = { nats: undefined, mqtt: listener, clock, serverId: 'NTEST' };
  return parts as Parts;
}

test('a client is shown with where it is, what it said and heard, and what it listens to', async () => {
  using gateway = new Gateway({ streamSubject: 'plant1.>' });
  gateway.clock.advance(1000);
  const client = gateway.client({ ip: '192.0.2.7', port: 50_000, local: true });
  await client.connect({ clientId: 'meter 1' });
  await client.subscribe({ 'cmd/#': 1, '$share/crew/task/+': 0 });
  gateway.clock.advance(500);
  client.publish('plant1/a', '21.5', 1);
  client.publishPlain('plant1/a', '21.5');
  gateway.publish('cmd.x', 'on');
  await gateway.settle();
  await gateway.client().connect({ clientId: 'second' });
  const { clients } = connz(partsOf(gateway));
  expect(clients.map(({ cid, mqttClient }) => [cid, mqttClient])).toEqual([
    [1_000_000_001, 'meter 1'],
    [1_000_000_002, 'second'],
  ]);
  expect(clients[0]).toMatchObject({
    type: 'mqtt',
    ip: '192.0.2.7',
    port: 50_000,
    sinceMs: 1000,
    lastInMs: 1500,
    pendingBytes: 0,
    // Fixed header, topic, Packet Identifier and data.
    counters: { inMsgs: 2, inBytes: 18 + 16, outMsgs: 1, outBytes: 13 },
    subscriptions: [
      { subject: 'cmd.>', queue: undefined, sid: 'cmd/#' },
      { subject: 'task.*', queue: 'crew', sid: '$share/crew/task/+' },
    ],
    user: undefined,
  });
});

test('who has not been let in is no client, and who has gone is none any more', async () => {
  using gateway = new Gateway();
  const early = gateway.client();
  const gone = gateway.client();
  await gone.connect({ clientId: 'gone' });
  gone.stream.destroy();
  await gateway.settle();
  expect(connz(partsOf(gateway)).clients).toEqual([]);
  await early.connect({ clientId: 'early' });
  expect(connz(partsOf(gateway)).clients).toHaveLength(1);
});

test('a session is shown while its client is away, with what waits for it and when it ends', async () => {
  using gateway = new Gateway({ limits: { queuedMessagesMax: 2 } });
  const client = gateway.client();
  await client.connect({
    clientId: 'pump',
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 60 },
  });
  await client.subscribe({ 'cmd/#': 1 });
  const [present] = [...mqttz(partsOf(gateway)).sessions];
  expect(present).toMatchObject({ clientId: 'pump', connected: true, version: 5 });
  expect(present?.expiryLeftMs).toBeUndefined();
  client.stream.destroy();
  await gateway.settle();
  for (const data of ['1', '2', '3']) gateway.publish('cmd.x', data);
  await gateway.settle();
  gateway.clock.advance(10_000);
  const [away] = [...mqttz(partsOf(gateway)).sessions];
  expect(away).toMatchObject({
    clientId: 'pump',
    connected: false,
    version: undefined,
    persistent: true,
    subscriptions: 1,
    queuedMessages: 2,
    inFlight: 0,
    expiryLeftMs: 50_000,
  });
  expect(away?.dropped).toMatchObject({ full: 1 });
  expect(gateway.listener.stats()).toMatchObject({
    sessions: 1,
    connections: 0,
    queuedMessages: 2,
    droppedQueueMsgs: 1,
  });
});
