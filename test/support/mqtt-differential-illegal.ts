// Packets that no client may send: each with a name, the bytes and nothing else wrong with it.

import {
  rawAck,
  rawAuth,
  rawConnect,
  rawDisconnect,
  rawPacket,
  rawPublish,
  rawSubscribe,
  rawText,
  rawUnsubscribe,
  two,
  type RawVersion,
} from './mqtt-raw-encode.ts';
import { randomInt, type Random } from './random.ts';

export interface Illegal {
  readonly what: string;
  readonly bytes: Buffer;
}

type Maker = (version: RawVersion) => Buffer;

const NONE = Buffer.alloc(0);
/** An empty block of properties where the version has one. */
const block = (version: RawVersion): Buffer => (version === 5 ? Buffer.from([0]) : NONE);
const filter =
  (name: string, qos = 0): Maker =>
  (version) =>
    rawSubscribe(version, 9, [{ filter: name, qos }]);

/** Of any version. */
const PACKETS: Readonly<Record<string, Maker>> = {
  'a second CONNECT': (version) => rawConnect({ version, clientId: 'again' }),
  'a PUBLISH of QoS 3': (version) =>
    rawPublish(version, { topic: 'a', data: 'x', qos: 3, packetId: 9 }),
  'a PUBLISH to a wildcard': (version) => rawPublish(version, { topic: 'a/+', data: 'x' }),
  'a PUBLISH to #': (version) =>
    rawPublish(version, { topic: '#', data: 'x', qos: 1, packetId: 9 }),
  'a PUBLISH with Packet Identifier 0': (version) =>
    rawPublish(version, { topic: 'a', data: 'x', qos: 1, packetId: 0 }),
  'a PUBLISH that ends in its topic': () => rawPacket(0x30, Buffer.from([0, 9, 97])),
  'a PUBLISH of QoS 1 without a Packet Identifier': () => rawPacket(0x32, rawText('a')),
  'a PUBLISH to a topic that is no UTF-8': (version) =>
    rawPacket(0x30, Buffer.from([0, 2, 0xc3, 0x28]), block(version)),
  'a PUBLISH to a topic with a surrogate': (version) =>
    rawPacket(0x30, Buffer.from([0, 3, 0xed, 0xa0, 0x80]), block(version)),
  'a PUBLISH to a topic with U+0000': (version) =>
    rawPublish(version, { topic: 'a\0b', data: 'x' }),
  'a SUBSCRIBE without filters': (version) => rawSubscribe(version, 9, []),
  'a SUBSCRIBE with wrong flags': (version) =>
    rawPacket(0x80, two(9), block(version), rawText('a'), Buffer.from([0])),
  'a SUBSCRIBE with QoS 3': filter('a', 3),
  'a SUBSCRIBE with reserved bits': filter('a', 0xc0),
  'a SUBSCRIBE to nothing': filter(''),
  'a SUBSCRIBE to a#': filter('a#'),
  'a SUBSCRIBE to #/a': filter('#/a'),
  'a SUBSCRIBE to a+/b': filter('a+/b'),
  'a SUBSCRIBE to a/+b': filter('a/+b'),
  'a SUBSCRIBE with Packet Identifier 0': (version) =>
    rawSubscribe(version, 0, [{ filter: 'a', qos: 0 }]),
  'a SUBSCRIBE without options': (version) => rawPacket(0x82, two(9), block(version), rawText('a')),
  'an UNSUBSCRIBE without filters': (version) => rawUnsubscribe(version, 9, []),
  'an UNSUBSCRIBE with wrong flags': (version) =>
    rawPacket(0xa0, two(9), block(version), rawText('a')),
  'an UNSUBSCRIBE with Packet Identifier 0': (version) => rawUnsubscribe(version, 0, ['a']),
  'an UNSUBSCRIBE from a/#/b': (version) => rawUnsubscribe(version, 9, ['a/#/b']),
  'a CONNACK': () => Buffer.from([0x20, 2, 0, 0]),
  'a SUBACK': () => Buffer.from([0x90, 3, 0, 9, 0]),
  'an UNSUBACK': () => Buffer.from([0xb0, 2, 0, 9]),
  'a PINGRESP': () => Buffer.from([0xd0, 0]),
  'a packet of type 0': () => Buffer.from([0, 0]),
  'a PINGREQ with flags': () => Buffer.from([0xc1, 0]),
  'a PINGREQ with data': () => Buffer.from([0xc0, 1, 0]),
  'a Remaining Length of five bytes': () => Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]),
  'a PUBACK with flags': () => Buffer.from([0x42, 2, 0, 9]),
  'a PUBACK of one byte': () => Buffer.from([0x40, 1, 0]),
  'a PUBACK with Packet Identifier 0': () => rawAck('puback', 0),
  'a PUBREL without its flags': () => Buffer.from([0x60, 2, 0, 9]),
  'a DISCONNECT with flags': () => Buffer.from([0xe1, 0]),
  // Not illegal: a client that lost its state may say so.
  'a PUBREL of nothing': () => rawAck('pubrel', 999),
  'a PUBACK of nothing': () => rawAck('puback', 999),
  'a PUBREC of nothing': () => rawAck('pubrec', 999),
  'a PUBCOMP of nothing': () => rawAck('pubcomp', 999),
};

/** What only 5.0 knows. */
const PACKETS_5: Readonly<Record<string, Maker>> = {
  'a PUBLISH with a property twice': () =>
    rawPublish(5, {
      topic: 'a',
      data: 'x',
      properties: [
        ['contentType', 'a'],
        ['contentType', 'b'],
      ],
    }),
  'a PUBLISH with an unknown property': () =>
    rawPacket(0x30, rawText('a'), Buffer.from([2, 0x7f, 0])),
  'a PUBLISH with a property of CONNECT': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['receiveMaximum', 5]] }),
  'a PUBLISH with Topic Alias 0': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['topicAlias', 0]] }),
  'a PUBLISH with a Topic Alias beyond the maximum': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['topicAlias', 65_535]] }),
  'a PUBLISH with a Topic Alias that means nothing': () =>
    rawPublish(5, { topic: '', data: 'x', properties: [['topicAlias', 9]] }),
  'a PUBLISH without topic and alias': () => rawPublish(5, { topic: '', data: 'x' }),
  'a PUBLISH with a Subscription Identifier': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['subscriptionIdentifier', 1]] }),
  'a PUBLISH with a wildcard in its Response Topic': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['responseTopic', 'a/#']] }),
  'a PUBLISH with Payload Format Indicator 2': () =>
    rawPublish(5, { topic: 'a', data: 'x', properties: [['payloadFormatIndicator', 2]] }),
  'a PUBLISH whose properties are longer than it': () =>
    rawPacket(0x30, rawText('a'), Buffer.from([9, 1, 0])),
  'a SUBSCRIBE with Subscription Identifier 0': () =>
    rawSubscribe(5, 9, [{ filter: 'a', qos: 0 }], [['subscriptionIdentifier', 0]]),
  'a SUBSCRIBE with two Subscription Identifiers': () =>
    rawSubscribe(
      5,
      9,
      [{ filter: 'a', qos: 0 }],
      [
        ['subscriptionIdentifier', 1],
        ['subscriptionIdentifier', 2],
      ],
    ),
  'a SUBSCRIBE with Retain Handling 3': () =>
    rawSubscribe(5, 9, [{ filter: 'a', qos: 0, retainHandling: 3 }]),
  'No Local on a shared subscription': () =>
    rawSubscribe(5, 9, [{ filter: '$share/g/a', qos: 0, noLocal: true }]),
  'a shared subscription without a filter': filter('$share/g'),
  'a shared subscription without a name': filter('$share//a'),
  'a shared subscription with a wildcard in its name': filter('$share/+/a'),
  'an AUTH': () => rawAuth(0x18, [['authenticationMethod', 'x']]),
  'an AUTH without anything': () => rawAuth(),
  'a DISCONNECT with an expiry that the session never had': () =>
    rawDisconnect(0, [['sessionExpiryInterval', 100]]),
  'a DISCONNECT with an unknown property': () => rawPacket(0xe0, Buffer.from([0, 2, 0x7f, 0])),
  'a PUBREL of nothing with a reason': () => rawAck('pubrel', 999, 0x92),
};

/** First packets of a connection. */
const STARTS: Readonly<Record<string, (version: RawVersion, clientId: string) => Buffer>> = {
  'a PUBLISH first': (version) => rawPublish(version, { topic: 'a', data: 'x' }),
  'a PINGREQ first': () => Buffer.from([0xc0, 0]),
  'a DISCONNECT first': () => Buffer.from([0xe0, 0]),
  'no Client Identifier': (version) => rawConnect({ version, clientId: '' }),
  'no Client Identifier and a session': (version) =>
    rawConnect({ version, clientId: '', clean: false }),
  'a long Client Identifier': (version, clientId) =>
    rawConnect({ version, clientId: `${clientId}${'x'.repeat(100)}` }),
  'another protocol': (version, clientId) => connectOf('MQTX', version, 2, rawText(clientId)),
  'the name of 3.1 with another level': (_, clientId) =>
    connectOf('MQIsdp', 4, 2, rawText(clientId)),
  'level 6': (_, clientId) => connectOf('MQTT', 6, 2, rawText(clientId)),
  'level 0': (_, clientId) => connectOf('MQTT', 0, 2, rawText(clientId)),
  'the reserved flag': (version, clientId) => connectOf(undefined, version, 3, rawText(clientId)),
  'a Will of QoS 3': (version, clientId) =>
    connectOf(
      undefined,
      version,
      0x1e,
      rawText(clientId),
      block(version),
      rawText('a'),
      rawText('x'),
    ),
  'QoS of a Will without one': (version, clientId) =>
    connectOf(undefined, version, 0x0a, rawText(clientId)),
  'retain of a Will without one': (version, clientId) =>
    connectOf(undefined, version, 0x22, rawText(clientId)),
  'a Will to a wildcard': (version, clientId) =>
    rawConnect({ version, clientId, will: { topic: 'a/#', data: 'x' } }),
  'a Will without its data': (version, clientId) =>
    connectOf(undefined, version, 6, rawText(clientId), block(version), rawText('a')),
  'a password without a user name': (version, clientId) =>
    rawConnect({ version, clientId, password: 'p' }),
  'a user name that is not there': (version, clientId) =>
    connectOf(undefined, version, 0x82, rawText(clientId)),
  'something behind the packet': (version, clientId) =>
    connectOf(undefined, version, 2, rawText(clientId), Buffer.from([1, 2, 3])),
  'CONNECT with flags in its first byte': () => Buffer.from([0x11, 0]),
  'an empty CONNECT': () => Buffer.from([0x10, 0]),
  'a user and a password': (version, clientId) =>
    rawConnect({ version, clientId, username: 'u', password: 'p' }),
};

const STARTS_5: Readonly<Record<string, (clientId: string) => Buffer>> = {
  'Receive Maximum 0': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['receiveMaximum', 0]] }),
  'Maximum Packet Size 0': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['maximumPacketSize', 0]] }),
  'an Authentication Method': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['authenticationMethod', 'GS2-KRB5']] }),
  'Authentication Data alone': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['authenticationData', Buffer.from('x')]] }),
  'Request Problem Information 2': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['requestProblemInformation', 2]] }),
  'Session Expiry Interval twice': (clientId) =>
    rawConnect({
      version: 5,
      clientId,
      properties: [
        ['sessionExpiryInterval', 1],
        ['sessionExpiryInterval', 1],
      ],
    }),
  'a property of PUBLISH': (clientId) =>
    rawConnect({ version: 5, clientId, properties: [['topicAlias', 1]] }),
  'a Will with a property of its own twice': (clientId) =>
    rawConnect({
      version: 5,
      clientId,
      will: {
        topic: 'a',
        data: 'x',
        properties: [
          ['willDelayInterval', 1],
          ['willDelayInterval', 1],
        ],
      },
    }),
};

function connectOf(
  name: string | undefined,
  version: number,
  flags: number,
  ...rest: Buffer[]
): Buffer {
  const known = name ?? (version === 3 ? 'MQIsdp' : 'MQTT');
  const properties = version === 5 ? Buffer.from([0]) : NONE;
  return rawPacket(
    0x10,
    rawText(known),
    Buffer.from([version, flags]),
    two(0),
    properties,
    ...rest,
  );
}

/** One that a connected client of this version says. */
export function illegalPacket(random: Random, version: RawVersion): Illegal {
  const makers = Object.entries(version === 5 ? { ...PACKETS, ...PACKETS_5 } : PACKETS);
  const [what, make] = makers[randomInt(random, makers.length)] ?? [];
  if (what === undefined || make === undefined) throw new Error('none');
  return { what, bytes: make(version) };
}

/** One that a connection begins with; some of them are unusual rather than illegal. */
export function illegalStart(random: Random, version: RawVersion, clientId: string): Illegal {
  const starts: [string, () => Buffer][] = Object.entries(STARTS).map(([what, make]) => [
    what,
    () => make(version, clientId),
  ]);
  if (version === 5)
    for (const [what, make] of Object.entries(STARTS_5)) starts.push([what, () => make(clientId)]);
  const [what, make] = starts[randomInt(random, starts.length)] ?? [];
  if (what === undefined || make === undefined) throw new Error('none');
  return { what: `CONNECT with ${what}`, bytes: make() };
}

/** Names of all of them, so that a run can say which it has met. */
export const ILLEGAL_NAMES: readonly string[] = [
  ...Object.keys(PACKETS),
  ...Object.keys(PACKETS_5),
];
