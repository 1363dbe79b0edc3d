import { expect, test } from 'vitest';
import { PacketType } from '../../../../device/mqtt/wire/packet-type.ts';
import { Cursor } from '../../../../device/mqtt/wire/cursor.ts';
import {
  decodeProperties,
  encodeProperties,
  readProperties,
} from '../../../../device/mqtt/wire/properties.ts';
import { encodeVariable } from '../../../../device/mqtt/wire/variable-integer.ts';
import { PROPERTIES, WILL } from '../../../../device/mqtt/wire/property-table.ts';
import { ProtocolError } from '../../../../device/mqtt/wire/protocol-error.ts';
import { NO_PROPERTIES, type Properties } from '../../../../device/mqtt/wire/types.ts';
import { bytes } from '../../../support/mqtt-frames.ts';

/** Table 2-4 of the standard: where each property may stand. */
const TABLE: Readonly<Record<number, string>> = {
  0x01: 'publish will',
  0x02: 'publish will',
  0x03: 'publish will',
  0x08: 'publish will',
  0x09: 'publish will',
  0x0b: 'publish subscribe',
  0x11: 'connect connack disconnect',
  0x12: 'connack',
  0x13: 'connack',
  0x15: 'connect connack auth',
  0x16: 'connect connack auth',
  0x17: 'connect',
  0x18: 'will',
  0x19: 'connect',
  0x1a: 'connack',
  0x1c: 'connack disconnect',
  0x1f: 'connack puback pubrec pubrel pubcomp suback unsuback disconnect auth',
  0x21: 'connect connack',
  0x22: 'connect connack',
  0x23: 'publish',
  0x24: 'connack',
  0x25: 'connack',
  0x26: 'connect connack publish will puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback disconnect auth',
  0x27: 'connect connack',
  0x28: 'connack',
  0x29: 'connack',
  0x2a: 'connack',
};
const VALUES: Readonly<Record<string, string>> = {
  bit: '01',
  uint16: '0001',
  'uint16 from 1': '0001',
  uint32: '00000001',
  'uint32 from 1': '00000001',
  utf8: '"a"',
  topic: '"a"',
  binary: '"a"',
  identifier: '01',
  pair: '"k" "v"',
};

test('each property may stand where table 2-4 of the standard says, and nowhere else', () => {
  const places = Object.entries({ ...PacketType, will: WILL });
  for (let id = 0; id < 256; id++)
    for (const [name, place] of places) {
      const entry = PROPERTIES.find((row) => row.id === id);
      const id7 = id < 0x80 ? [id] : [(id & 0x7f) | 0x80, 1];
      const content = Buffer.concat([Buffer.from(id7), bytes(VALUES[entry?.kind ?? 'bit'] ?? '')]);
      const read = (): Properties => decodeProperties(content, place);
      const allowed = TABLE[id]?.split(' ').includes(name) === true;
      // A client sends none [MQTT-3.3.4-6].
      if (allowed && !(id === 0x0b && name === 'publish'))
        expect(Object.keys(read()), `${id} in ${name}`).toEqual([entry?.name]);
      else expect(read, `${id} in ${name}`).toThrow(ProtocolError);
    }
});

const everywhere: (readonly [number, Properties])[] = [
  [
    PacketType.connack,
    {
      sessionExpiryInterval: 0xffff_ffff,
      assignedClientIdentifier: 'ä',
      serverKeepAlive: 0,
      authenticationMethod: '',
      authenticationData: Buffer.from([0, 255]),
      responseInformation: 'r',
      serverReference: 's',
      reasonString: 'x'.repeat(65_535),
      receiveMaximum: 65_535,
      topicAliasMaximum: 0,
      maximumQoS: 0,
      retainAvailable: 1,
      maximumPacketSize: 0xffff_ffff,
      wildcardSubscriptionAvailable: 0,
      subscriptionIdentifiersAvailable: 1,
      sharedSubscriptionAvailable: 0,
      userProperties: [
        ['b', '2'],
        ['a', ''],
        ['b', '1'],
      ],
    },
  ],
  [
    PacketType.connect,
    { requestProblemInformation: 0, requestResponseInformation: 1, receiveMaximum: 1 },
  ],
  [
    WILL,
    {
      payloadFormatIndicator: 0,
      messageExpiryInterval: 0,
      contentType: '',
      responseTopic: 'a/b',
      correlationData: Buffer.alloc(0),
      willDelayInterval: 0xffff_ffff,
    },
  ],
  [PacketType.publish, { topicAlias: 65_535 }],
  ...[1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455].map(
    (identifier): readonly [number, Properties] => [
      PacketType.subscribe,
      { subscriptionIdentifiers: [identifier] },
    ],
  ),
];

test.each(everywhere)('what is written for packet type %i is read back', (place, properties) => {
  expect(decodeProperties(encodeProperties(properties), place)).toEqual(properties);
});

test('no properties are no bytes, and no bytes no properties', () => {
  expect(encodeProperties(NO_PROPERTIES).length).toBe(0);
  expect(encodeProperties({}).length).toBe(0);
  expect(decodeProperties(Buffer.alloc(0), PacketType.publish)).toBe(NO_PROPERTIES);
});

test('a string that no packet can hold is an error of ours', () => {
  expect(() => encodeProperties({ reasonString: 'x'.repeat(65_536) })).toThrow(RangeError);
  expect(() => encodeProperties({ correlationData: Buffer.alloc(65_536) })).toThrow(RangeError);
});

test('1,024 User Properties are taken, one more ends the connection with Quota exceeded', () => {
  const one = bytes('26 "" ""');
  const many = (count: number): Buffer => Buffer.concat(Array<Buffer>(count).fill(one));
  const read = (count: number): Properties => {
    const content = many(count);
    const length = encodeVariable(content.length);
    return readProperties(new Cursor(Buffer.concat([length, content]), 0), PacketType.publish);
  };
  expect(read(1024).userProperties).toHaveLength(1024);
  expect(() => read(1025)).toThrow(expect.objectContaining({ reasonCode: 0x97 }));
  // What we have made of the headers of a NATS message may have more.
  expect(decodeProperties(many(1025), PacketType.publish).userProperties).toHaveLength(1025);
});
