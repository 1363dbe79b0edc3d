import { expect, test } from 'vitest';
import type { Version } from '../../../../device/mqtt/wire/types.ts';
import { frame, readStream } from '../../../support/mqtt-frames.ts';

const NONE = {};
const plain = { noLocal: false, retainAsPublished: false, retainHandling: 0 };
const quiet = { username: undefined, password: undefined, will: undefined, properties: NONE };

/** What, the version, the first byte, the rest, and what is read. */
const rows: (readonly [string, Version, number, string, unknown])[] = [
  [
    'PUBLISH of QoS 0',
    4,
    0x31,
    '"a/b" 2a',
    {
      topic: 'a/b',
      packetId: 0,
      qos: 0,
      retain: true,
      dup: false,
      properties: NONE,
      data: Buffer.from('*'),
    },
  ],
  ['PUBLISH of QoS 1', 3, 0x32, '"a" ffff 2a', { packetId: 65_535, qos: 1, dup: false }],
  ['PUBLISH of QoS 2, again', 4, 0x3c, '"a" 0001', { qos: 2, dup: true, data: Buffer.alloc(0) }],
  ['PUBLISH of 5.0', 5, 0x34, '"a" 0001 00 00', { packetId: 1, properties: NONE }],
  [
    'PUBLISH by alias',
    5,
    0x30,
    '0000 03 23 ffff',
    { topic: '', properties: { topicAlias: 65_535 } },
  ],
  [
    'PUBLISH with everything',
    5,
    0x30,
    '"a" {26 "k" "1" 01 01 02 ffffffff 03 "text/x" 08 "r/é" 09 0002 00ff 26 "k" "2" 23 0001 26 0000 0000} 2a',
    {
      properties: {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 0xffff_ffff,
        contentType: 'text/x',
        responseTopic: 'r/é',
        correlationData: Buffer.from('00ff', 'hex'),
        topicAlias: 1,
        userProperties: [
          ['k', '1'],
          ['k', '2'],
          ['', ''],
        ],
      },
      data: Buffer.from('*'),
    },
  ],
  ['expiry 0', 5, 0x30, '"a" 05 02 00000000', { properties: { messageExpiryInterval: 0 } }],
  ['wildcards, which are not judged here', 5, 0x30, '"a/#" 00', { topic: 'a/#' }],
  ['U+FFFD, which is a character like others', 4, 0x30, '"a\ufffd"', { topic: 'a\ufffd' }],
  ['U+FEFF, which is not skipped [MQTT-1.5.4-3]', 4, 0x30, '"\ufeffa"', { topic: '\ufeffa' }],
  ['U+1F600', 4, 0x30, '"\u{1f600}"', { topic: '\u{1f600}' }],
  ['U+FFFF', 4, 0x30, '"\uffff"', { topic: '\uffff' }],

  ['PUBACK', 4, 0x40, '0102', { packetId: 258, reasonCode: 0, properties: NONE }],
  ['PUBREC of 5.0, short', 5, 0x50, '0001', { packetId: 1, reasonCode: 0, properties: NONE }],
  ['PUBREC with a reason', 5, 0x50, '0001 97', { reasonCode: 0x97, properties: NONE }],
  ['PUBREL with a reason', 5, 0x62, '0001 92 00', { reasonCode: 0x92, properties: NONE }],
  ['PUBREL sent again in 3.1', 3, 0x6a, '0001', { packetId: 1 }],
  ['PUBCOMP', 4, 0x70, '0001', { packetId: 1 }],
  [
    'PUBACK with properties',
    5,
    0x40,
    '0001 10 {1f "ok" 26 "k" "v"}',
    { reasonCode: 0x10, properties: { reasonString: 'ok', userProperties: [['k', 'v']] } },
  ],

  [
    'SUBSCRIBE',
    4,
    0x82,
    '0001 "a/+" 02 "#" 00',
    {
      packetId: 1,
      properties: NONE,
      filters: [
        { filter: 'a/+', qos: 2, ...plain },
        { filter: '#', qos: 0, ...plain },
      ],
    },
  ],
  ['SUBSCRIBE sent again in 3.1', 3, 0x8a, '0001 "a" 01', { filters: [{ qos: 1 }] }],
  [
    'SUBSCRIBE with options',
    5,
    0x82,
    '0001 05 0bffffff7f "a" 2e "$share/g/a" 19',
    {
      properties: { subscriptionIdentifiers: [268_435_455] },
      filters: [
        { filter: 'a', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        {
          filter: '$share/g/a',
          qos: 1,
          noLocal: false,
          retainAsPublished: true,
          retainHandling: 1,
        },
      ],
    },
  ],
  ['UNSUBSCRIBE', 4, 0xa2, '0001 "a" "b"', { packetId: 1, filters: ['a', 'b'], properties: NONE }],
  ['UNSUBSCRIBE sent again in 3.1', 3, 0xaa, '0001 "a"', { filters: ['a'] }],
  [
    'UNSUBSCRIBE of 5.0',
    5,
    0xa2,
    '0001 07 26 "k" "v" "a"',
    { filters: ['a'], properties: { userProperties: [['k', 'v']] } },
  ],
  ['DISCONNECT', 4, 0xe0, '', { reasonCode: 0, properties: NONE }],
  ['DISCONNECT of 5.0, empty', 5, 0xe0, '', { reasonCode: 0, properties: NONE }],
  ['DISCONNECT with a Will', 5, 0xe0, '04', { reasonCode: 4, properties: NONE }],
  [
    'DISCONNECT with an expiry',
    5,
    0xe0,
    '00 05 11 00000000',
    { reasonCode: 0, properties: { sessionExpiryInterval: 0 } },
  ],
  [
    'AUTH',
    5,
    0xf0,
    '19 09 15 "m" 16 0002 6400',
    {
      reasonCode: 0x19,
      properties: { authenticationMethod: 'm', authenticationData: Buffer.from('d\0') },
    },
  ],
  ['PINGREQ', 4, 0xc0, '', undefined],
];

test.each(rows)('%s (version %i) is read', (_what, version, first, rest, wanted) => {
  const [read] = readStream(frame(first, rest), version);
  if (wanted === undefined) expect(read).toBe(undefined);
  else expect(read).toMatchObject(wanted as object);
});

const connects: (readonly [string, string, unknown])[] = [
  [
    'of 3.1.1',
    '"MQTT" 04 02 003c "c"',
    { version: 4, bridge: false, clientId: 'c', cleanStart: true, keepAliveSeconds: 60, ...quiet },
  ],
  ['of 3.1', '"MQIsdp" 03 00 0000 "c"', { version: 3, bridge: false, cleanStart: false, ...quiet }],
  ['of 3.1 without its user name', '"MQIsdp" 03 c2 0000 "c"', { clientId: 'c', ...quiet }],
  [
    'of 3.1 without its password',
    '"MQIsdp" 03 c2 0000 "c" "u"',
    { username: 'u', password: undefined },
  ],
  ['of 3.1 with the unused flag', '"MQIsdp" 03 03 0000 "c"', { version: 3, cleanStart: true }],
  ['of a bridge, 3.1', '"MQIsdp" 83 02 003c "c"', { version: 3, bridge: true }],
  ['of a bridge, 3.1.1', '"MQTT" 84 02 003c "c"', { version: 4, bridge: true }],
  ['of a bridge, 5.0', '"MQTT" 85 02 003c 00 "c"', { version: 5, bridge: true }],
  ['of 5.0', '"MQTT" 05 02 ffff 00 0000', { version: 5, clientId: '', keepAliveSeconds: 65_535 }],
  [
    'with a password alone, in 5.0',
    '"MQTT" 05 42 003c 00 "c" 0002 00ff',
    { username: undefined, password: Buffer.from('00ff', 'hex') },
  ],
  [
    'with an empty user name and password',
    '"MQTT" 04 c2 003c "c" 0000 0000',
    { username: '', password: Buffer.alloc(0) },
  ],
  [
    'with a Will',
    '"MQTT" 04 f6 003c "c" "w/t" "bye" "u" "p"',
    {
      username: 'u',
      password: Buffer.from('p'),
      will: { topic: 'w/t', data: Buffer.from('bye'), qos: 2, retain: true, properties: NONE },
    },
  ],
  [
    'with everything',
    '"MQTT" 05 0c 0000 {11 ffffffff 21 0001 22 ffff 27 00000001 17 00 19 01 15 "m" 16 "d" 26 "k" "v"}' +
      ' "c" {18 00000005 01 01 02 00000009 03 "t"} "w" 0000',
    {
      cleanStart: false,
      properties: {
        sessionExpiryInterval: 0xffff_ffff,
        receiveMaximum: 1,
        topicAliasMaximum: 65_535,
        maximumPacketSize: 1,
        requestProblemInformation: 0,
        requestResponseInformation: 1,
        authenticationMethod: 'm',
        authenticationData: Buffer.from('d'),
        userProperties: [['k', 'v']],
      },
      will: {
        topic: 'w',
        qos: 1,
        retain: false,
        properties: {
          willDelayInterval: 5,
          payloadFormatIndicator: 1,
          messageExpiryInterval: 9,
          contentType: 't',
        },
      },
    },
  ],
];

test.each(connects)('a CONNECT %s is read', (_what, rest, wanted) => {
  expect(readStream(frame(0x10, rest), undefined)).toMatchObject([wanted as object]);
});

test('a packet without properties has the one empty object that all of them share', () => {
  const read = readStream(
    Buffer.concat([frame(0x30, '"a" 00'), frame(0x40, '0001'), frame(0x30, '"b" 00')]),
    5,
  ) as { properties: object }[];
  expect(new Set(read.map(({ properties }) => properties)).size).toBe(1);
});
