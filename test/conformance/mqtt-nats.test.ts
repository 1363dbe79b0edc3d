// MQTT devices and NATS programs of today on one agent: properties and headers, requests and answers, duplicates.

import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers as newHeaders, type Msg } from '@nats-io/transport-node';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { collect, NatsClients } from '../support/nats-clients.ts';
import { until } from '../support/until.ts';

const nats = new NatsClients();
const devices: MqttClient[] = [];

beforeEach(() => nats.start());
afterEach(async () => {
  for (const device of devices.splice(0)) await device.endAsync(true);
  await nats.end();
});

async function device(options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${nats.agent?.mqttPort}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  });
  devices.push(client);
  return client;
}

/** What a device gets. */
function received(client: MqttClient): IPublishPacket[] {
  const packets: IPublishPacket[] = [];
  client.on('message', (_topic, _data, packet) => void packets.push(packet));
  return packets;
}

function linesOf(message: Msg | undefined): [string, string[]][] {
  return [...(message?.headers ?? [])];
}

test('a NATS program reads the properties of a device as headers', async () => {
  const program = await nats.client();
  const got = collect(program, 'plant1.>');
  await program.flush();
  const meter = await device();
  await meter.publishAsync('plant1/Hall 2/v1.2', '21.5', {
    qos: 1,
    properties: {
      contentType: 'text/plain',
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      correlationData: Buffer.from('c1'),
      userProperties: { unit: '°C', place: ['roof', 'east side'], 'Nats-Rollup': 'all' },
    },
  });
  await until('the message', () => got.length > 0);
  expect(got[0]?.subject).toBe('plant1.Hall/202.v1//2');
  expect(Object.fromEntries(linesOf(got[0]))).toEqual({
    'Mqtt-Payload-Format-Indicator': ['1'],
    'Mqtt-Message-Expiry': ['60'],
    'Content-Type': ['text/plain'],
    'Mqtt-Correlation-Data': ['YzE='],
    unit: ['°C'],
    place: ['roof', 'east side'],
    'Mqtt-User-Property': ['Nats-Rollup=all'],
  });
});

test('a device of 5.0 is shown the headers of a NATS program, one of 3.1.1 the data alone', async () => {
  const [five, three] = [await device(), await device({ protocolVersion: 4 })];
  const [atFive, atThree] = [received(five), received(three)];
  await five.subscribeAsync('cmd/#', { qos: 1 });
  await three.subscribeAsync('cmd/#', { qos: 1 });
  const program = await nats.client();
  const headers = newHeaders();
  headers.append('Trace', 'a');
  headers.append('Trace', 'b c');
  headers.set('Content-Type', 'application/json');
  program.publish('cmd.lamp', '{}', { headers });
  await until('both', () => atFive.length === 1 && atThree.length === 1);
  expect(atFive[0]?.topic).toBe('cmd/lamp');
  expect(atFive[0]?.properties?.contentType).toBe('application/json');
  expect({ ...atFive[0]?.properties?.userProperties }).toEqual({ Trace: ['a', 'b c'] });
  expect(atThree[0]?.payload.toString()).toBe('{}');
});

test('a NATS program asks a device, which answers on the Response Topic that it is shown', async () => {
  const lamp = await device();
  lamp.on('message', (_topic, data, { properties }) => {
    lamp.publish(properties?.responseTopic ?? 'nowhere', `${data.toString()} done`, {
      qos: 1,
      properties: { userProperties: { state: 'on' } },
    });
  });
  await lamp.subscribeAsync('cmd/lamp', { qos: 1 });
  const program = await nats.client();
  for (const data of ['on', 'off']) {
    const answer = await program.request('cmd.lamp', data, { timeout: 10_000 });
    expect(answer.string()).toBe(`${data} done`);
    expect(answer.headers?.get('state')).toBe('on');
  }
});

test('a device asks a NATS program, and gets the answer where it wanted it', async () => {
  const program = await nats.client();
  program.subscribe('svc.add', {
    callback: (_error, message) => {
      const headers = newHeaders();
      const correlation = message.headers?.get('Mqtt-Correlation-Data') ?? '';
      headers.set('Mqtt-Correlation-Data', correlation);
      message.respond(`${message.string()} = 3`, { headers });
    },
  });
  await program.flush();
  const panel = await device();
  const got = received(panel);
  await panel.subscribeAsync('panel/v1.0/answers', { qos: 1 });
  await panel.publishAsync('svc/add', '1 + 2', {
    qos: 1,
    properties: { responseTopic: 'panel/v1.0/answers', correlationData: Buffer.from([0, 255]) },
  });
  await until('the answer', () => got.length > 0);
  expect(got[0]?.payload.toString()).toBe('1 + 2 = 3');
  expect(got[0]?.properties?.correlationData).toEqual(Buffer.from([0, 255]));
});

test('a device without QoS 2 is stored once by its Nats-Msg-Id, and both PUBLISHes are acknowledged', async () => {
  const meter = await device();
  const program = await nats.client();
  const manager = await jetstreamManager(program);
  const publish = (id: string): Promise<unknown> =>
    meter.publishAsync('plant1/meter', '21.5', {
      qos: 1,
      properties: { userProperties: { 'Nats-Msg-Id': id } },
    });
  await publish('a-1');
  await publish('a-1');
  expect((await manager.streams.info('SENSORS')).state.messages).toBe(1);
  await publish('a-2');
  expect((await manager.streams.info('SENSORS')).state.messages).toBe(2);
  expect(meter.connected).toBe(true);
});

test('headers that steer a stream come from no device', async () => {
  const meter = await device();
  const program = await nats.client();
  const manager = await jetstreamManager(program);
  const steering: Record<string, string> = {
    'Nats-Expected-Last-Sequence': '999',
    'Nats-Expected-Last-Subject-Sequence': '999',
    'Nats-Expected-Stream': 'OTHER',
    'Nats-Expected-Last-Msg-Id': 'x',
    'Nats-Rollup': 'all',
    'Nats-TTL': '1s',
    'Nats-Batch-Id': 'b',
    'Nats-Batch-Sequence': '1',
    'Nats-Incr': '1',
    'Nats-Schedule': '@every 1s',
  };
  for (const [name, value] of Object.entries(steering))
    await meter.publishAsync('plant1/meter', name, {
      qos: 1,
      properties: { userProperties: { [name]: value } },
    });
  const { state } = await manager.streams.info('SENSORS');
  expect(state.messages).toBe(Object.keys(steering).length);
});

test('what a stream has kept comes to a device with the properties of the one that published it', async () => {
  const meter = await device();
  await meter.publishAsync('plant1/meter', '21.5', {
    qos: 2,
    properties: { contentType: 'text/plain', userProperties: { unit: '°C', 'two words': ' x ' } },
  });
  const program = await nats.client();
  const stored = await (await jetstream(program).streams.get('SENSORS')).getMessage({ seq: 1 });
  const panel = await device();
  const got = received(panel);
  await panel.subscribeAsync('replay/#', { qos: 1 });
  if (stored === null) throw new Error('nothing was stored');
  program.publish('replay.meter', stored.data, { headers: stored.header });
  await until('the message', () => got.length > 0);
  expect(got[0]?.properties?.contentType).toBe('text/plain');
  expect({ ...got[0]?.properties?.userProperties }).toEqual({ unit: '°C', 'two words': ' x ' });
});
