import { expect, test } from 'vitest';
import { decodeAck } from '../../../../device/mqtt/wire/ack-packets.ts';
import { decodeConnect } from '../../../../device/mqtt/wire/connect-packet.ts';
import { decodeAuth, decodeDisconnect } from '../../../../device/mqtt/wire/disconnect-packet.ts';
import {
  decodeSubscribe,
  decodeUnsubscribe,
} from '../../../../device/mqtt/wire/subscribe-packets.ts';
import type { Version } from '../../../../device/mqtt/wire/types.ts';
import { errorOf, frame, readStream } from '../../../support/mqtt-frames.ts';

const MALFORMED = 0x81;
const NOT_ALLOWED = 0x82;
const ALIAS_INVALID = 0x94;
const ALL: readonly Version[] = [3, 4, 5];
const OLD: readonly Version[] = [3, 4];

/** What, its clause, who may not send it, the first byte, the rest, and the Reason Code for it in 5.0. */
type Row = readonly [string, string, readonly Version[], number, string, number];

const publish: Row[] = [
  ['QoS 3', 'MQTT-3.3.1-4', [5], 0x36, '"a" 0001 00', MALFORMED],
  ['QoS 3', 'MQTT-3.3.1-4', OLD, 0x36, '"a" 0001', MALFORMED],
  ['DUP with QoS 0', 'MQTT-3.3.1-2', [5], 0x38, '"a" 00', NOT_ALLOWED],
  ['DUP with QoS 0', 'MQTT-3.3.1-2', OLD, 0x38, '"a"', NOT_ALLOWED],
  ['an empty topic and no alias', '3.3.2.1', [5], 0x30, '0000 00', NOT_ALLOWED],
  ['an empty topic', 'MQTT-4.7.3-1', OLD, 0x30, '0000', NOT_ALLOWED],
  ['a topic beyond the packet', '1.5.4', ALL, 0x30, '00ff 61', MALFORMED],
  ['half a topic length', '1.5.4', ALL, 0x30, '00', MALFORMED],
  ['nothing at all', '3.3.2', ALL, 0x30, '', MALFORMED],
  ['no Packet Identifier', '2.2.1', ALL, 0x32, '"a"', MALFORMED],
  ['half a Packet Identifier', '2.2.1', ALL, 0x34, '"a" 00', MALFORMED],
  ['Packet Identifier 0', 'MQTT-2.2.1-3', [5], 0x32, '"a" 0000 00', NOT_ALLOWED],
  ['Packet Identifier 0', 'MQTT-2.3.1-1', OLD, 0x34, '"a" 0000', NOT_ALLOWED],
  ['no Property Length', '2.2.2.1', [5], 0x30, '"a"', MALFORMED],
  ['properties beyond the packet', '2.2.2.1', [5], 0x30, '"a" 02 01', MALFORMED],
  ['an overlong Property Length', 'MQTT-1.5.5-1', [5], 0x30, '"a" 8000', MALFORMED],
  ['a Property Length of 5 bytes', '1.5.5', [5], 0x30, '"a" ffffffff01', MALFORMED],
  ['a property cut by the Property Length', '2.2.2', [5], 0x30, '"a" 03 02 0000 0001', MALFORMED],
  ['an unknown property', '2.2.2.2', [5], 0x30, '"a" 02 7f 00', MALFORMED],
  ['property 0', '2.2.2.2', [5], 0x30, '"a" 02 00 00', MALFORMED],
  ['an overlong property identifier', 'MQTT-1.5.5-1', [5], 0x30, '"a" 03 8100 00', MALFORMED],
  ['a property of CONNECT', '2.2.2.2', [5], 0x30, '"a" 05 11 0000 0001', MALFORMED],
  ['a Will Delay Interval', '2.2.2.2', [5], 0x30, '"a" 05 18 0000 0001', MALFORMED],
  ['Payload Format Indicator 2', '3.3.2.3.2', [5], 0x30, '"a" 02 01 02', NOT_ALLOWED],
  ['the Payload Format twice', '3.3.2.3.2', [5], 0x30, '"a" 04 01 01 01 01', NOT_ALLOWED],
  ['two expiries', '3.3.2.3.3', [5], 0x30, '"a" 0a 02 00000001 02 00000001', NOT_ALLOWED],
  ['two Content Types', '3.3.2.3.9', [5], 0x30, '"a" 06 03 0000 03 0000', NOT_ALLOWED],
  ['two Response Topics', '3.3.2.3.5', [5], 0x30, '"a" 08 08 "r" 08 "r"', NOT_ALLOWED],
  ['two Correlation Data', '3.3.2.3.6', [5], 0x30, '"a" 06 09 0000 09 0000', NOT_ALLOWED],
  ['two aliases', '3.3.2.3.4', [5], 0x30, '"a" 06 23 0001 23 0001', NOT_ALLOWED],
  ['Topic Alias 0', 'MQTT-3.3.2-8', [5], 0x30, '"a" 03 23 0000', ALIAS_INVALID],
  ['a Response Topic with #', 'MQTT-3.3.2-14', [5], 0x30, '"a" 06 08 "r/#"', NOT_ALLOWED],
  ['a Response Topic with +', 'MQTT-3.3.2-14', [5], 0x30, '"a" 06 08 "+/r"', NOT_ALLOWED],
  ['an empty Response Topic', 'MQTT-4.7.3-1', [5], 0x30, '"a" 03 08 0000', NOT_ALLOWED],
  ['a Subscription Identifier', 'MQTT-3.3.4-6', [5], 0x30, '"a" 02 0b 01', NOT_ALLOWED],
  ['half a User Property', '3.3.2.3.7', [5], 0x30, '"a" 04 26 "k"', MALFORMED],
  ['a NUL in a property', 'MQTT-1.5.4-2', [5], 0x30, '"a" 04 03 0001 00', MALFORMED],
  ['a surrogate in a property', 'MQTT-1.5.4-1', [5], 0x30, '"a" 06 03 0003 eda080', MALFORMED],
];

const strings: Row[] = [
  ['ill-formed UTF-8', 'MQTT-1.5.4-1', ALL, 0x30, '0002 c328 00', MALFORMED],
  ['a high surrogate', 'MQTT-1.5.4-1', ALL, 0x30, '0003 eda080 00', MALFORMED],
  ['a low surrogate', 'MQTT-1.5.4-1', ALL, 0x30, '0003 edbfbf 00', MALFORMED],
  ['an overlong slash', 'MQTT-1.5.4-1', ALL, 0x30, '0002 c0af 00', MALFORMED],
  ['U+110000', 'MQTT-1.5.4-1', ALL, 0x30, '0004 f4908080 00', MALFORMED],
  ['a cut character', 'MQTT-1.5.4-1', ALL, 0x30, '0002 61c3 00', MALFORMED],
  ['U+0000', 'MQTT-1.5.4-2', ALL, 0x30, '0002 6100 00', MALFORMED],
  ['ill-formed UTF-8 beside U+FFFD', 'MQTT-1.5.4-1', ALL, 0x30, '0004 efbfbdff 00', MALFORMED],
  [
    'ill-formed UTF-8 before data U+FFFD',
    'MQTT-1.5.4-1',
    ALL,
    0x30,
    '0001 ff 00 efbfbd',
    MALFORMED,
  ],
];

const acks: Row[] = [0x40, 0x50, 0x62, 0x70].flatMap((first): Row[] => [
  ['Packet Identifier 0', 'MQTT-2.2.1-3', ALL, first, '0000', NOT_ALLOWED],
  ['no Packet Identifier', '3.4.2', ALL, first, '', MALFORMED],
  ['half a Packet Identifier', '3.4.2', ALL, first, '01', MALFORMED],
  ['three bytes', '3.1.1, 2.2.3', OLD, first, '0001 00', 0x95],
  ['an unknown reason', 'MQTT-3.4.2-1', [5], first, '0001 01', NOT_ALLOWED],
  ['the reason of a CONNACK', 'MQTT-3.4.2-1', [5], first, '0001 84', NOT_ALLOWED],
  ['bytes behind its properties', '3.4.2.2.1', [5], first, '0001 00 00 00', MALFORMED],
  ['properties cut short', '3.4.2.2.1', [5], first, '0001 00 05 1f', MALFORMED],
  ['two Reason Strings', '3.4.2.2.2', [5], first, '0001 00 06 1f 0000 1f 0000', NOT_ALLOWED],
  ['a property of PUBLISH', '2.2.2.2', [5], first, '0001 00 02 01 00', MALFORMED],
]);

const flags: Row[] = [
  ...[0x41, 0x48, 0x51, 0x71, 0xc1, 0xe1].map((first): Row => [
    'flags',
    'MQTT-2.1.3-1',
    ALL,
    first,
    '0001',
    MALFORMED,
  ]),
  ...[0x80, 0x81, 0x86, 0xa0, 0xa3, 0x60, 0x61, 0x66].map((first): Row => [
    'flags',
    'MQTT-2.1.3-1',
    ALL,
    first,
    '0001',
    MALFORMED,
  ]),
  ...[0x8a, 0xaa, 0x6a].map((first): Row => [
    'DUP',
    'MQTT-2.1.3-1',
    [4, 5],
    first,
    '0001',
    MALFORMED,
  ]),
  ['a packet of type 0', '2.1.2', ALL, 0x00, '', MALFORMED],
  ['a second CONNECT', 'MQTT-3.1.0-2', ALL, 0x10, '"MQTT" 04 02 003c "c"', NOT_ALLOWED],
  ...[0x20, 0x90, 0xb0, 0xd0].map((first): Row => [
    'a packet of a server',
    '2.1.2',
    ALL,
    first,
    '0001',
    NOT_ALLOWED,
  ]),
  ['AUTH', '3.1.1, 2.2.1', OLD, 0xf0, '', MALFORMED],
  ['flags in AUTH', 'MQTT-3.15.1-1', [5], 0xf1, '18 04 15 "m"', MALFORMED],
  ['a PINGREQ with content', '3.12', ALL, 0xc0, '00', 0x95],
];

const subscribe: Row[] = [
  ['Packet Identifier 0', 'MQTT-2.2.1-3', OLD, 0x82, '0000 "a" 00', NOT_ALLOWED],
  ['Packet Identifier 0', 'MQTT-2.2.1-3', [5], 0x82, '0000 00 "a" 00', NOT_ALLOWED],
  ['nothing at all', '3.8.2', ALL, 0x82, '', MALFORMED],
  ['no filters', '3.1.1 MQTT-3.8.3-3', OLD, 0x82, '0001', NOT_ALLOWED],
  ['no filters', 'MQTT-3.8.3-2', [5], 0x82, '0001 00', NOT_ALLOWED],
  ['no Property Length', '3.8.2.1.1', [5], 0x82, '0001', MALFORMED],
  ['QoS 3', '3.8.3.1', OLD, 0x82, '0001 "a" 03', NOT_ALLOWED],
  ['QoS 3', '3.8.3.1', [5], 0x82, '0001 00 "a" 03', NOT_ALLOWED],
  ['an option of 5.0', '3.1.1 MQTT-3-8.3-4', OLD, 0x82, '0001 "a" 04', MALFORMED],
  ['reserved bit 6', 'MQTT-3.8.3-5', [5], 0x82, '0001 00 "a" 40', MALFORMED],
  ['reserved bit 7', 'MQTT-3.8.3-5', [5], 0x82, '0001 00 "a" 80', MALFORMED],
  ['Retain Handling 3', '3.8.3.1', [5], 0x82, '0001 00 "a" 30', NOT_ALLOWED],
  ['No Local, shared', 'MQTT-3.8.3-4', [5], 0x82, '0001 00 "$share/g/a" 04', NOT_ALLOWED],
  ['a filter cut short', '1.5.4', OLD, 0x82, '0001 00ff 61 00', MALFORMED],
  ['no options', '3.8.3', OLD, 0x82, '0001 "a"', MALFORMED],
  ['no options behind the second filter', '3.8.3', [5], 0x82, '0001 00 "a" 01 "b"', MALFORMED],
  ['an empty filter', 'MQTT-4.7.3-1', OLD, 0x82, '0001 0000 00', MALFORMED],
  ['an empty filter', 'MQTT-4.7.3-1', [5], 0x82, '0001 00 0000 00', MALFORMED],
  ['ill-formed UTF-8', 'MQTT-1.5.4-1', OLD, 0x82, '0001 0001ff 00', MALFORMED],
  ['Subscription Identifier 0', '3.8.2.1.2', [5], 0x82, '0001 02 0b00 "a" 00', NOT_ALLOWED],
  ['two identifiers', '3.8.2.1.2', [5], 0x82, '0001 04 0b01 0b02 "a" 00', NOT_ALLOWED],
  ['an identifier of 5 bytes', '1.5.5', [5], 0x82, '0001 06 0bffffffff01 "a" 00', MALFORMED],
  ['a property of PUBLISH', '2.2.2.2', [5], 0x82, '0001 02 0100 "a" 00', MALFORMED],
];

const unsubscribe: Row[] = [
  ['Packet Identifier 0', 'MQTT-2.2.1-3', OLD, 0xa2, '0000 "a"', NOT_ALLOWED],
  ['no filters', '3.1.1 MQTT-3.10.3-2', OLD, 0xa2, '0001', NOT_ALLOWED],
  ['no filters', 'MQTT-3.10.3-2', [5], 0xa2, '0001 00', NOT_ALLOWED],
  ['an empty filter', 'MQTT-4.7.3-1', ALL, 0xa2, '0001 00 0000', MALFORMED],
  ['a filter cut short', '1.5.4', OLD, 0xa2, '0001 "a" 00', MALFORMED],
  ['an identifier', '2.2.2.2', [5], 0xa2, '0001 02 0b01 "a"', MALFORMED],
];

const disconnect: Row[] = [
  ['a reason', '3.1.1, 3.14', OLD, 0xe0, '00', 0x95],
  ['an unknown reason', 'MQTT-3.14.2-1', [5], 0xe0, '01', NOT_ALLOWED],
  ['a reason of the server', 'MQTT-3.14.2-1', [5], 0xe0, '8e', NOT_ALLOWED],
  ['two expiries', '3.14.2.2.2', [5], 0xe0, '00 0a 1100000001 1100000001', NOT_ALLOWED],
  ['a property of PUBLISH', '2.2.2.2', [5], 0xe0, '00 02 0100', MALFORMED],
  ['bytes behind its properties', '3.14.2', [5], 0xe0, '00 00 00', MALFORMED],
  ['no reason', 'MQTT-3.15.2-1', [5], 0xf0, '', NOT_ALLOWED],
  ['success', 'MQTT-3.15.2-1', [5], 0xf0, '00 04 15 "m"', NOT_ALLOWED],
  ['no method', '3.15.2.2.2', [5], 0xf0, '18 00', NOT_ALLOWED],
  ['no properties', '3.15.2.2.2', [5], 0xf0, '18', NOT_ALLOWED],
  ['two methods', '3.15.2.2.2', [5], 0xf0, '18 08 15 "m" 15 "m"', NOT_ALLOWED],
  ['bytes behind its properties', '3.15.2', [5], 0xf0, '18 04 15 "m" 00', MALFORMED],
];

const NAMES = ['', '', '', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'];
const ROWS = Object.entries({ publish, strings, acks, flags, subscribe, unsubscribe, disconnect });

test.each(
  ROWS.flatMap(([group, rows]) =>
    rows.flatMap((row) =>
      row[2].map((version) => [NAMES[row[3] >> 4] || group, version, row] as const),
    ),
  ).map(([group, version, row]) => [group, version, row[0], row[1], row] as const),
)('%s of version %i: %s is found [%s]', (_group, version, _what, _clause, row) => {
  const [, , , first, rest, reason] = row;
  expect(errorOf(frame(first, rest), version).reasonCode).toBe(reason);
});

test('a Remaining Length with a byte too many is malformed in 5.0 [MQTT-1.5.5-1]; before, nothing is said of it', () => {
  const padded = Buffer.from('308400000161 2a'.replaceAll(' ', ''), 'hex');
  expect(errorOf(Buffer.from('3084000001610 02a'.replaceAll(' ', ''), 'hex'), 5).reasonCode).toBe(
    MALFORMED,
  );
  expect(errorOf(Buffer.from('c08000', 'hex'), 5).reasonCode).toBe(MALFORMED);
  for (const version of OLD)
    expect(
      readStream(Buffer.concat([padded, Buffer.from('c08000', 'hex')]), version),
    ).toMatchObject([{ topic: 'a', data: Buffer.from('*') }, undefined]);
});

/** A decoder, given a packet that `remainingMax` would not have let through. */
const unsifted: [string, () => unknown, number][] = [
  ['CONNECT', () => decodeConnect(frame(0x11, '"MQTT" 04 02 003c "c"'), 2), MALFORMED],
  ['PUBLISH', () => decodeAck(frame(0x30, '0001'), 2, 4), MALFORMED],
  ['PUBREL with DUP', () => decodeAck(frame(0x6a, '0001'), 2, 4), MALFORMED],
  ['PUBREL with DUP', () => decodeAck(frame(0x6a, '0001'), 2, 5), MALFORMED],
  ['PUBREL without its flag', () => decodeAck(frame(0x60, '0001'), 2, 3), MALFORMED],
  ['PUBACK with a reason', () => decodeAck(frame(0x40, '0001 00'), 2, 4), MALFORMED],
  ['SUBSCRIBE', () => decodeSubscribe(frame(0x80, '0001 "a" 00'), 2, 4), MALFORMED],
  ['SUBSCRIBE with DUP', () => decodeSubscribe(frame(0x8a, '0001 "a" 00'), 2, 4), MALFORMED],
  ['UNSUBSCRIBE', () => decodeUnsubscribe(frame(0xa0, '0001 "a"'), 2, 3), MALFORMED],
  ['DISCONNECT', () => decodeDisconnect(frame(0xe1, ''), 2, 5), MALFORMED],
  ['DISCONNECT with a reason', () => decodeDisconnect(frame(0xe0, '00'), 2, 4), MALFORMED],
  ['AUTH', () => decodeAuth(frame(0xf1, '18 {15 "m"}'), 2, 5), MALFORMED],
  ['AUTH before 5.0', () => decodeAuth(frame(0xf0, '18 {15 "m"}'), 2, 4), NOT_ALLOWED],
];

test.each(unsifted)('the decoder itself finds a wrong %s', (_what, read, reasonCode) => {
  expect(read).toThrow(expect.objectContaining({ name: 'ProtocolError', reasonCode }));
});
