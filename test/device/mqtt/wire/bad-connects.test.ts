import { expect, test } from 'vitest';
import type { Version } from '../../../../device/mqtt/wire/types.ts';
import { bytes, errorOf, frame } from '../../../support/mqtt-frames.ts';

const MALFORMED = 0x81;
const NOT_ALLOWED = 0x82;
const UNSUPPORTED = 0x84;

/** What, its clause, the packet behind its fixed header, the Reason Code, and the version of the CONNACK. */
const rows: (readonly [string, string, string, number, Version | undefined])[] = [
  // The protocol.
  ['nothing', '3.1.2.1', '', MALFORMED, undefined],
  ['no level', '3.1.2.2', '"MQTT"', MALFORMED, undefined],
  ['another protocol', 'MQTT-3.1.2-1', '"AMQP" 04 02 003c "c"', UNSUPPORTED, undefined],
  ['a name in small letters', 'MQTT-3.1.2-1', '"mqtt" 04 02 003c "c"', UNSUPPORTED, undefined],
  ['a name that is no UTF-8', 'MQTT-1.5.4-1', '0001 ff 04 02 003c "c"', MALFORMED, undefined],
  ['level 3 of MQTT', '3.1.1 MQTT-3.1.2-2', '"MQTT" 03 02 003c "c"', UNSUPPORTED, 4],
  ['level 4 of MQIsdp', '3.1.1 MQTT-3.1.2-2', '"MQIsdp" 04 02 003c "c"', UNSUPPORTED, 4],
  ['level 0', '3.1.1 MQTT-3.1.2-2', '"MQTT" 00 02 003c "c"', UNSUPPORTED, 4],
  ['level 6', 'MQTT-3.1.2-2', '"MQTT" 06 02 003c 00 "c"', UNSUPPORTED, 5],
  ['level 127', 'MQTT-3.1.2-2', '"MQTT" 7f 02 003c 00 "c"', UNSUPPORTED, 5],
  // The flags.
  ['the reserved flag', 'MQTT-3.1.2-3', '"MQTT" 05 03 003c 00 "c"', MALFORMED, 5],
  ['the reserved flag', 'MQTT-3.1.2-3', '"MQTT" 04 03 003c "c"', MALFORMED, undefined],
  ['Will QoS 3', 'MQTT-3.1.2-12', '"MQTT" 05 1e 003c 00 "c" 00 "w" 0000', MALFORMED, 5],
  ['Will QoS 3', 'MQTT-3.1.2-14', '"MQTT" 04 1e 003c "c" "w" 0000', MALFORMED, undefined],
  ['Will QoS 3 in 3.1', '3.1', '"MQIsdp" 03 1e 003c "c" "w" 0000', MALFORMED, undefined],
  ['Will QoS without a Will', 'MQTT-3.1.2-11', '"MQTT" 05 0a 003c 00 "c"', MALFORMED, 5],
  ['Will QoS without a Will', 'MQTT-3.1.2-13', '"MQTT" 04 0a 003c "c"', MALFORMED, undefined],
  ['Will Retain without a Will', 'MQTT-3.1.2-13', '"MQTT" 05 22 003c 00 "c"', MALFORMED, 5],
  ['Will Retain without a Will', 'MQTT-3.1.2-15', '"MQTT" 04 22 003c "c"', MALFORMED, undefined],
  ['a password alone', '3.1.1 MQTT-3.1.2-22', '"MQTT" 04 42 003c "c" "p"', NOT_ALLOWED, undefined],
  ['a password alone in 3.1', '3.1', '"MQIsdp" 03 42 003c "c" "p"', NOT_ALLOWED, undefined],
  // What follows.
  ['no keep-alive', '3.1.2.10', '"MQTT" 05 02 00', MALFORMED, 5],
  ['no properties', '3.1.2.11.1', '"MQTT" 05 02 003c', MALFORMED, 5],
  ['no Client Identifier', 'MQTT-3.1.3-3', '"MQTT" 05 02 003c 00', MALFORMED, 5],
  ['no Client Identifier', 'MQTT-3.1.3-3', '"MQTT" 04 02 003c', MALFORMED, undefined],
  ['a Client Identifier cut short', '1.5.4', '"MQTT" 05 02 003c 00 0005 63', MALFORMED, 5],
  ['a NUL in it', 'MQTT-1.5.4-2', '"MQTT" 05 02 003c 00 0001 00', MALFORMED, 5],
  ['no Will', 'MQTT-3.1.2-9', '"MQTT" 05 06 003c 00 "c"', MALFORMED, 5],
  ['a Will without data', 'MQTT-3.1.2-9', '"MQTT" 05 06 003c 00 "c" 00 "w"', MALFORMED, 5],
  ['an empty Will Topic', 'MQTT-4.7.3-1', '"MQTT" 05 06 003c 00 "c" 00 0000 0000', NOT_ALLOWED, 5],
  ['no user name', 'MQTT-3.1.2-17', '"MQTT" 05 82 003c 00 "c"', MALFORMED, 5],
  ['no user name', 'MQTT-3.1.2-19', '"MQTT" 04 82 003c "c"', MALFORMED, undefined],
  ['no password', 'MQTT-3.1.2-19', '"MQTT" 05 c2 003c 00 "c" "u"', MALFORMED, 5],
  ['an ill-formed user name', 'MQTT-3.1.3-12', '"MQTT" 05 82 003c 00 "c" 0001 ff', MALFORMED, 5],
  ['bytes behind its end', '3.1.3', '"MQTT" 05 02 003c 00 "c" 00', MALFORMED, 5],
  [
    'a user name without its flag',
    'MQTT-3.1.2-16',
    '"MQTT" 04 02 003c "c" "u"',
    MALFORMED,
    undefined,
  ],
];

test.each(rows)('a CONNECT with %s is refused [%s]', (_what, _clause, rest, reason, connack) => {
  const error = errorOf(frame(0x10, rest), undefined);
  expect([error.reasonCode, error.connackVersion]).toEqual([reason, connack]);
});

/** What, its clause, the properties, and the Reason Code. */
const properties: (readonly [string, string, string, number])[] = [
  ['Receive Maximum 0', '3.1.2.11.3', '21 0000', NOT_ALLOWED],
  ['Receive Maximum twice', '3.1.2.11.3', '21 0001 21 0001', NOT_ALLOWED],
  ['Maximum Packet Size 0', '3.1.2.11.4', '27 0000 0000', NOT_ALLOWED],
  ['Maximum Packet Size twice', '3.1.2.11.4', '27 0000 0001 27 0000 0001', NOT_ALLOWED],
  ['Session Expiry twice', '3.1.2.11.2', '11 0000 0001 11 0000 0001', NOT_ALLOWED],
  ['Topic Alias Maximum twice', '3.1.2.11.5', '22 0001 22 0001', NOT_ALLOWED],
  ['Request Response Information 2', '3.1.2.11.6', '19 02', NOT_ALLOWED],
  ['Request Response Information twice', '3.1.2.11.6', '19 01 19 01', NOT_ALLOWED],
  ['Request Problem Information 2', '3.1.2.11.7', '17 02', NOT_ALLOWED],
  ['Request Problem Information twice', '3.1.2.11.7', '17 00 17 00', NOT_ALLOWED],
  ['two methods', '3.1.2.11.9', '15 "m" 15 "m"', NOT_ALLOWED],
  ['data without a method', '3.1.2.11.10', '16 "d"', NOT_ALLOWED],
  ['two data', '3.1.2.11.10', '15 "m" 16 "d" 16 "d"', NOT_ALLOWED],
  ['a property of CONNACK', '2.2.2.2', '13 003c', MALFORMED],
  ['a property of PUBLISH', '2.2.2.2', '01 01', MALFORMED],
  ['a property of the Will', '2.2.2.2', '18 0000 0001', MALFORMED],
  ['a value cut short', '2.2.2', '11 0000', MALFORMED],
];

test.each(properties)('a CONNECT with %s is refused [%s]', (_what, _clause, notation, reason) => {
  const error = errorOf(frame(0x10, `"MQTT" 05 02 003c {${notation}} "c"`), undefined);
  expect([error.reasonCode, error.connackVersion]).toEqual([reason, 5]);
});

/** The same for those of the Will. */
const willProperties: (readonly [string, string, string, number])[] = [
  ['a delay twice', '3.1.3.2.2', '18 00000001 18 00000001', NOT_ALLOWED],
  ['Payload Format 2', '3.1.3.2.3', '01 02', NOT_ALLOWED],
  ['an expiry twice', '3.1.3.2.4', '02 00000001 02 00000001', NOT_ALLOWED],
  ['a Response Topic with #', 'MQTT-3.3.2-14', '08 "#"', NOT_ALLOWED],
  ['a Topic Alias', '2.2.2.2', '23 0001', MALFORMED],
  ['a Session Expiry', '2.2.2.2', '11 0000 0001', MALFORMED],
];

test.each(willProperties)('a Will with %s is refused [%s]', (_what, _clause, notation, reason) => {
  const will = `{${notation}} "w" 0000`;
  const error = errorOf(frame(0x10, `"MQTT" 05 06 003c 00 "c" ${will}`), undefined);
  expect([error.reasonCode, error.connackVersion]).toEqual([reason, 5]);
});

test('nothing but a CONNECT may come first [MQTT-3.1.0-1]', () => {
  for (const first of [0x30, 0x32, 0x40, 0x62, 0x82, 0xc0, 0xe0, 0xf0, 0x20, 0x00])
    expect(errorOf(frame(first, '0001'), undefined).reasonCode).toBe(NOT_ALLOWED);
  for (let flags = 1; flags < 16; flags++)
    expect(errorOf(frame(0x10 | flags, '"MQTT" 04 02 003c "c"'), undefined).reasonCode).toBe(
      MALFORMED,
    );
});

test('a padded Remaining Length is malformed in a CONNECT of 5.0 [MQTT-1.5.5-1]', () => {
  const content = bytes('"MQTT" 05 02 003c 00 "c"');
  const padded = Buffer.concat([Buffer.from([0x10, 0x80 | content.length, 0]), content]);
  const error = errorOf(padded, undefined);
  expect([error.reasonCode, error.connackVersion]).toEqual([MALFORMED, 5]);
});
