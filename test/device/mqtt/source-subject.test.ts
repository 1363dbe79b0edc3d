// Topics as zigbee2mqtt, Tasmota and others use them, and the subjects they get.

import { expect, test } from 'vitest';
import { SourceSubjects } from '../../../device/mqtt/source/source-subject.ts';
import { decodeHeaders } from '../../../src/headers.ts';
import type { Message } from '../../../src/message.ts';
import { isPublishSubject } from '../../../src/subject.ts';
import { SourceRig } from '../../support/mqtt-broker.ts';
import { randomInt, seededRandom } from '../../support/random.ts';

/** Topic, subject, and data as the program sends it. */
const ZIGBEE2MQTT = [
  [
    'zigbee2mqtt/0x00158d0001a2b3c4',
    'zigbee2mqtt.0x00158d0001a2b3c4',
    '{"battery":91,"humidity":56.3,"linkquality":65,"temperature":21.47,"voltage":2985}',
  ],
  [
    'zigbee2mqtt/0x00158d0001a2b3c4/availability',
    'zigbee2mqtt.0x00158d0001a2b3c4.availability',
    '{"state":"online"}',
  ],
  [
    'zigbee2mqtt/Living Room/Floor Lamp',
    'zigbee2mqtt.Living/20Room.Floor/20Lamp',
    '{"state":"ON","brightness":180,"color":{"x":0.4599,"y":0.4106}}',
  ],
  ['zigbee2mqtt/Küche/Steckdose', 'zigbee2mqtt.Küche.Steckdose', '{"power":12.4}'],
  ['zigbee2mqtt/lamp v1.2', 'zigbee2mqtt.lamp/20v1//2', '{"state":"OFF"}'],
  ['zigbee2mqtt/bridge/state', 'zigbee2mqtt.bridge.state', '{"state":"online"}'],
  [
    'zigbee2mqtt/bridge/logging',
    'zigbee2mqtt.bridge.logging',
    '{"level":"info","message":"z2m:mqtt: MQTT publish: topic \'zigbee2mqtt/x\', payload \'{}\'","namespace":"z2m:mqtt"}',
  ],
] as const;

const TASMOTA = [
  [
    'tele/tasmota_A1B2C3/SENSOR',
    'tele.tasmota_A1B2C3.SENSOR',
    '{"Time":"2026-01-09T16:05:20","ENERGY":{"TotalStartTime":"2025-11-02T09:10:31","Total":12.345,"Power":87}}',
  ],
  ['tele/tasmota_A1B2C3/LWT', 'tele.tasmota_A1B2C3.LWT', 'Online'],
  ['stat/tasmota_A1B2C3/RESULT', 'stat.tasmota_A1B2C3.RESULT', '{"POWER":"ON"}'],
  ['cmnd/tasmota_A1B2C3/POWER', 'cmnd.tasmota_A1B2C3.POWER', ''],
  ['tasmota/discovery/A1B2C3D4E5F6/config', 'tasmota.discovery.A1B2C3D4E5F6.config', '{"ip":"…"}'],
] as const;

test.each([
  ['zigbee2mqtt', ZIGBEE2MQTT],
  ['Tasmota', TASMOTA],
])('%s: every topic has its subject, and its data stay as they are', async (_, messages) => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  const seen: { subject: string; data: string }[] = [];
  rig.broker.subscribe('>', {
    deliver: ({ subject, data }) => seen.push({ subject, data: data.toString() }),
  });
  messages.forEach(([topic, , data], i) => end.publish(topic, data, i + 1));
  await rig.settle();
  expect(seen).toEqual(messages.map(([, subject, data]) => ({ subject, data })));
  expect(end.takePubacks()).toHaveLength(messages.length);
});

test('properties of MQTT 5.0 come as headers, as from our own devices', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  const seen: Message[] = [];
  rig.broker.subscribe('>', { deliver: (message) => void seen.push(message) });
  end.publish('plant1/a', '1', 1, {
    properties: {
      contentType: 'text/plain',
      responseTopic: 'plant1/answers',
      userProperties: { unit: '°C', 'Nats-Rollup': 'all' },
    },
  });
  end.publish('plant1/a', '2', 2);
  await rig.settle();
  expect(decodeHeaders(seen[0]?.headers)).toEqual([
    ['Content-Type', 'text/plain'],
    ['Mqtt-Response-Topic', 'plant1/answers'],
    ['unit', '°C'],
    ['Mqtt-User-Property', 'Nats-Rollup=all'],
  ]);
  expect(seen[0]?.reply).toBeUndefined();
  expect(seen[1]).toEqual({ subject: 'plant1.a', data: Buffer.from('2') });
  expect(end.takePubacks()).toEqual([1, 2]);
});

test('a message whose properties make no sense is taken without them', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  const seen: Message[] = [];
  rig.broker.subscribe('>', { deliver: (message) => void seen.push(message) });
  // A property that there is not: 0x7f.
  end.write(Buffer.from([0x32, 8, 0, 1, 0x61, 0, 9, 1, 0x7f, 0x31]));
  await rig.settle();
  expect(seen).toEqual([{ subject: 'a', data: Buffer.from('1') }]);
  expect(end.takePubacks()).toEqual([9]);
});

test('a prefix keeps two brokers apart, and makes room for the topics of the broker itself', () => {
  const subjects = new SourceSubjects('hall2.zigbee');
  expect(subjects.get('zigbee2mqtt/lamp')).toBe('hall2.zigbee.zigbee2mqtt.lamp');
  expect(subjects.get('$SYS/broker/uptime')).toBe('hall2.zigbee.$SYS.broker.uptime');
  expect(subjects.get('/leading')).toBe('hall2.zigbee./.leading');
  expect(new SourceSubjects(undefined).get('$SYS/broker/uptime')).toBeUndefined();
  expect(subjects.get('x'.repeat(1020))).toBeUndefined();
});

test('what no subject can hold is escaped, as for our own devices', () => {
  const subjects = new SourceSubjects(undefined);
  expect(subjects.get('a/*/b')).toBe('a./2a.b');
  expect(subjects.get('a/>')).toBe('a./3e');
  expect(subjects.get('a/b>')).toBe('a.b>');
  expect(subjects.get('a\tb/c\u00a0d')).toBe('a/09b.c/c2/a0d');
  expect(subjects.get('100%/a%20b')).toBe('100%.a%20b');
  expect(subjects.get('wild/+/card')).toBeUndefined();
});

test('no two topics share a subject, and every one is publishable', () => {
  const random = seededRandom(7);
  const pieces = [' ', '%', '/20', '2', '0', 'a', '.', '/', '*', '>', '\u3000', 'é', '\t', 'A'];
  const seen = new Map<string, string>();
  const subjects = new SourceSubjects('hall2');
  for (let i = 0; i < 20_000; i++) {
    const length = 1 + randomInt(random, 6);
    const topic = Array.from({ length }, () => pieces[randomInt(random, pieces.length)]).join('');
    const subject = subjects.get(topic);
    if (subject === undefined) throw new Error(`no subject for ${JSON.stringify(topic)}`);
    expect(isPublishSubject(subject)).toBe(true);
    expect(seen.get(subject) ?? topic).toBe(topic);
    seen.set(subject, topic);
  }
});
