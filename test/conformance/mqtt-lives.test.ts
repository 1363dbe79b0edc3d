// What devices left with the agent, over SIGTERM and over SIGKILL: sessions with all their subscriptions, what waits at QoS 1
// and 2, half-done handshakes in both directions, retained messages, Wills; and what expires meanwhile.

import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { came, held, MqttNatsLab, VERSIONS } from '../support/mqtt-nats-lab.ts';
import type { PacketOf, RawClient } from '../support/mqtt-raw.ts';
import {
  rawAck,
  rawDisconnect,
  rawPublish,
  rawSubscribe,
  type RawConnect,
  type RawProperties,
  type RawVersion,
} from '../support/mqtt-raw-encode.ts';
import { until } from '../support/until.ts';

const ENDS = ['SIGTERM', 'SIGKILL'] as const;

async function again(at: MqttNatsLab, how: (typeof ENDS)[number]): Promise<void> {
  await at.clear();
  await at.agent.kill(how);
  await at.agent.start();
}

function lasting(version: RawVersion, clientId: string, expirySeconds = 600): RawConnect {
  const properties: RawProperties = [['sessionExpiryInterval', expirySeconds]];
  return { version, clientId, clean: false, properties: version === 5 ? properties : [] };
}

/** Takes `count` PUBLISHes and finishes their handshakes. */
async function take(raw: RawClient, count: number): Promise<PacketOf<'publish'>[]> {
  const got: PacketOf<'publish'>[] = [];
  for (let i = 0; i < count; i++) {
    const packet = await raw.expect('publish');
    got.push(packet);
    if (packet.qos === 1) raw.send(rawAck('puback', packet.packetId));
    if (packet.qos !== 2) continue;
    raw.send(rawAck('pubrec', packet.packetId));
    raw.send(rawAck('pubcomp', (await raw.expect('pubrel')).packetId));
  }
  return got;
}

const brief = ({ topic, data, qos, retain }: PacketOf<'publish'>): string =>
  `${topic} ${data.toString()} ${qos}${retain ? ' retained' : ''}`;

for (const how of ENDS)
  test.concurrent(`over ${how} devices of every version find their subscriptions and what waited for them`, async () => {
    await using at = await MqttNatsLab.start();
    for (const version of VERSIONS) {
      const raw = await at.raw(lasting(version, `d${version}`));
      raw.send(
        rawSubscribe(
          version,
          1,
          [
            { filter: 'one/+', qos: 1 },
            { filter: 'two/#', qos: 2, retainAsPublished: version === 5 },
            { filter: 'zero', qos: 0 },
            { filter: `own${version}/#`, qos: 1, noLocal: version === 5 },
          ],
          version === 5 ? [['subscriptionIdentifier', 77]] : [],
        ),
      );
      expect((await raw.expect('suback')).codes).toEqual([1, 2, 0, 1]);
      raw.destroy();
    }
    const publisher = await at.device(5);
    const nats = await at.nats();
    await publisher.client.publishAsync('state/a', 'kept', { qos: 1, retain: true });
    await publisher.client.publishAsync('one/a', 'm1', { qos: 2 });
    await publisher.client.publishAsync('two/b/c', 'm2', { qos: 2, retain: true });
    await publisher.client.publishAsync('zero', 'lost', { qos: 1 });
    nats.publish('two.d', 'm3');
    await nats.flush();
    // One that hears of the NATS message after the disk has it.
    await until('all to be queued', async () => {
      const { body } = await at.agent.monitor('/mqttz?state=away');
      const sessions = body['sessions'] as { queued_messages: number }[];
      return sessions.length === 3 && sessions.every((each) => each.queued_messages === 3);
    });
    await publisher.client.publishAsync('fence', '', { qos: 1, retain: true });
    await again(at, how);

    const later = await at.nats();
    later.publish('one.x', 'm4');
    later.publish('zero', 'lost again');
    await later.flush();
    for (const version of VERSIONS) {
      const { client, connack } = await at.open(lasting(version, `d${version}`));
      expect(connack.present).toBe(version !== 3);
      const got = await take(client, 4);
      expect(got.map(brief)).toEqual([
        'one/a m1 1',
        `two/b/c m2 2${version === 5 ? ' retained' : ''}`,
        'two/d m3 2',
        'one/x m4 1',
      ]);
      for (const { properties, dup } of got) {
        expect(properties).toEqual(version === 5 ? [['subscriptionIdentifier', 77]] : []);
        expect(dup).toBe(false);
      }
      client.send(
        rawPublish(version, { topic: `own${version}/x`, qos: 1, packetId: 5, data: 'own' }),
      );
      await client.expect('puback');
      if (version === 5) expect(await client.ping()).toBe(true);
      else expect((await take(client, 1)).map(brief)).toEqual([`own${version}/x own 1`]);
      client.send(rawSubscribe(version, 9, [{ filter: 'state/#', qos: 1 }]));
      expect((await take(client, 1)).map(brief)).toEqual(['state/a kept 1 retained']);
      client.destroy();
    }
  });

for (const how of ENDS)
  for (const version of VERSIONS)
    test.concurrent(`over ${how} half-done handshakes of version ${version} go on where they were, both ways`, async () => {
      await using at = await MqttNatsLab.start();
      const raw = await at.raw(lasting(version, 'half'));
      raw.send(rawSubscribe(version, 1, [{ filter: 'in/#', qos: 2 }]));
      await raw.expect('suback');
      const device = await at.device(4);
      await device.client.publishAsync('in/1', 'unacked', { qos: 1 });
      await device.client.publishAsync('in/2', 'unreceived', { qos: 2 });
      await device.client.publishAsync('in/2', 'received', { qos: 2 });
      const [one, two, three] = [
        await raw.expect('publish'),
        await raw.expect('publish'),
        await raw.expect('publish'),
      ];
      raw.send(rawAck('pubrec', three.packetId));
      expect((await raw.expect('pubrel')).packetId).toBe(three.packetId);
      raw.send(rawPublish(version, { topic: 'data/x', qos: 2, packetId: 7, data: 'once' }));
      await raw.expect('pubrec');
      await again(at, how);

      const { client } = await at.open(lasting(version, 'half'));
      expect((await client.expect('pubrel')).packetId).toBe(three.packetId);
      client.send(rawAck('pubcomp', three.packetId));
      const [first, second] = [await client.expect('publish'), await client.expect('publish')];
      expect([first, second].map((each) => [each.packetId, brief(each), each.dup])).toEqual([
        [one.packetId, 'in/1 unacked 1', true],
        [two.packetId, 'in/2 unreceived 2', true],
      ]);
      // The device never got our PUBREC: it sends again what we have.
      client.send(
        rawPublish(version, { topic: 'data/x', qos: 2, packetId: 7, dup: true, data: 'once' }),
      );
      expect((await client.expect('pubrec')).packetId).toBe(7);
      client.send(rawAck('pubrel', 7));
      expect(await client.expect('pubcomp')).toMatchObject({ packetId: 7, code: 0 });
      // The same identifier is another message now.
      client.send(rawPublish(version, { topic: 'data/x', qos: 2, packetId: 7, data: 'twice' }));
      await client.expect('pubrec');
      const manager = await jetstreamManager(await at.nats());
      expect((await held(manager, 'DATA')).map(({ text }) => text)).toEqual(['once', 'twice']);
    });

for (const how of ENDS)
  test.concurrent(`over ${how} Wills are published once: of clean and of lasting sessions, but not of who comes back or said goodbye`, async () => {
    await using at = await MqttNatsLab.start();
    const watch = await at.raw(lasting(5, 'watch'));
    watch.send(rawSubscribe(5, 1, [{ filter: 'will/#', qos: 2 }]));
    await watch.expect('suback');
    const will = (name: string, delay = 0): RawConnect['will'] => ({
      topic: `will/${name}`,
      data: name,
      qos: 1,
      retain: true,
      properties: delay === 0 ? [] : [['willDelayInterval', delay]],
    });
    await at.raw({ version: 4, clientId: 'clean', will: will('clean') });
    await at.raw({ version: 5, clientId: 'clean5', will: will('clean5', 60) });
    await at.raw({ ...lasting(3, 'lasting'), will: will('lasting') });
    await at.raw({ ...lasting(5, 'delayed'), will: will('delayed', 2) });
    const back = { ...lasting(5, 'back'), will: will('back', 600) };
    await at.raw(back);
    const polite = await at.raw({ version: 4, clientId: 'polite', will: will('polite') });
    polite.send(rawDisconnect());
    await polite.expectClosed();
    // What is on the disk when this is answered was told before.
    const fence = await at.device(5);
    await fence.client.publishAsync('data/fence', '', { qos: 1 });
    // They go with the agent: none of them closes its connection first.
    await at.agent.kill(how);
    await at.clear();
    await at.agent.start();
    await at.raw(back);
    const { client } = await at.open(lasting(5, 'watch'));
    const names = (await take(client, 4)).map(({ data }) => data.toString());
    expect(names.toSorted()).toEqual(['clean', 'clean5', 'delayed', 'lasting']);
    expect(await client.ping()).toBe(true);
    const other = await at.device(4);
    await other.client.subscribeAsync('will/#');
    await came(other.got, 4);
    await again(at, how);
    const { client: later } = await at.open(lasting(5, 'watch'));
    await at.looked();
    expect(await later.ping()).toBe(true);
    // What "back" left this time may be on its way; the others stay silent.
    const more = later
      .take()
      .flatMap((packet) => (packet.type === 'publish' ? [brief(packet)] : []));
    expect(more.filter((each) => !each.includes('back'))).toEqual([]);
  }, 60_000);

test.concurrent('sessions and messages expire while their device is away, also over a restart, and what is left of the time is told', async () => {
  await using at = await MqttNatsLab.start();
  for (const [clientId, seconds] of [
    ['short', 2],
    ['long', 600],
  ] as const) {
    const raw = await at.raw(lasting(5, clientId, seconds));
    raw.send(rawSubscribe(5, 1, [{ filter: 'e/#', qos: 1 }]));
    await raw.expect('suback');
    raw.destroy();
  }
  const publisher = await at.device(5);
  for (const seconds of [3, 100])
    await publisher.client.publishAsync('e/x', `${seconds}`, {
      qos: 1,
      retain: true,
      properties: { messageExpiryInterval: seconds },
    });
  await publisher.client.publishAsync('e/y', 'soon', {
    qos: 1,
    retain: true,
    properties: { messageExpiryInterval: 2 },
  });
  await until('the short session to end', async () => (await at.varz())['sessions_expired'] === 1);
  await again(at, 'SIGKILL');
  await until('the messages to expire', async () => {
    const reader = await at.device(5);
    await reader.client.subscribeAsync('e/y', { qos: 0 });
    await reader.client.publishAsync('fence', 'x', { qos: 1 });
    const { length } = reader.got;
    await reader.client.endAsync();
    return length === 0;
  });
  const short = await at.open(lasting(5, 'short', 2));
  expect(short.connack.present).toBe(false);
  const long = await at.open(lasting(5, 'long'));
  expect(long.connack.present).toBe(true);
  await until('the one of 3 s to be over', async () => {
    const [message] = await take(long.client, 1);
    const left = message?.properties.find(([name]) => name === 'messageExpiryInterval')?.[1];
    expect(Number(left)).toBeGreaterThan(0);
    if (message?.data.toString() !== '100') return false;
    expect(left).toBeGreaterThan(60);
    expect(left).toBeLessThan(100);
    return true;
  });
});
