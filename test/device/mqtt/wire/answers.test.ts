import { parser, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import {
  decodeAck,
  encodeAck,
  encodeAcks,
  encodePubacks,
} from '../../../../device/mqtt/wire/ack-packets.ts';
import { encodeConnack } from '../../../../device/mqtt/wire/connect-packet.ts';
import { encodeDisconnect } from '../../../../device/mqtt/wire/disconnect-packet.ts';
import { PacketType } from '../../../../device/mqtt/wire/packet-type.ts';
import { ReasonCode, returnCodeOf } from '../../../../device/mqtt/wire/reason-codes.ts';
import { encodeSuback, encodeUnsuback } from '../../../../device/mqtt/wire/subscribe-packets.ts';
import type { Properties, Version } from '../../../../device/mqtt/wire/types.ts';
import { startOf } from '../../../support/mqtt-frames.ts';

/** What a client's library reads. */
function read(bytes: Buffer, protocolVersion: Version): Packet {
  const reader = parser({ protocolVersion });
  const packets: Packet[] = [];
  reader.on('packet', (packet) => packets.push(packet));
  reader.on('error', (error) => {
    throw error;
  });
  expect(reader.parse(bytes)).toBe(0);
  const [packet] = packets;
  if (packet === undefined || packets.length > 1) throw new Error(`${packets.length} packets`);
  return packet;
}

const hex = (bytes: Buffer): string => bytes.toString('hex');
const long = 'why '.repeat(50);
const said: Properties = { reasonString: long, userProperties: [['k', 'v']] };
const heard = { reasonString: long, userProperties: { k: 'v' } };

test('each version hears the same CONNACK in its own words', () => {
  const welcome = { reasonCode: 0, sessionPresent: true } as const;
  expect(hex(encodeConnack({ version: 3, ...welcome }))).toBe('20020000');
  expect(hex(encodeConnack({ version: 4, ...welcome }))).toBe('20020100');
  expect(hex(encodeConnack({ version: 5, ...welcome }))).toBe('2003010000');
  const properties: Properties = {
    receiveMaximum: 20,
    maximumPacketSize: 70_000,
    assignedClientIdentifier: 'c',
    serverKeepAlive: 30,
    sharedSubscriptionAvailable: 1,
  };
  expect(read(encodeConnack({ version: 5, ...welcome, properties }), 5)).toMatchObject({
    cmd: 'connack',
    reasonCode: 0,
    sessionPresent: true,
    properties: {
      receiveMaximum: 20,
      maximumPacketSize: 70_000,
      assignedClientIdentifier: 'c',
      serverKeepAlive: 30,
      sharedSubscriptionAvailable: true,
    },
  });
  expect(hex(encodeConnack({ version: 4, ...welcome, properties }))).toBe('20020100');
});

test('a refusal never says that there is a session [MQTT-3.2.2-6]', () => {
  const refusal = { reasonCode: ReasonCode.notAuthorized, sessionPresent: true };
  expect(hex(encodeConnack({ version: 5, ...refusal }))).toBe('2003008700');
  expect(hex(encodeConnack({ version: 4, ...refusal }))).toBe('20020005');
});

test('the older versions have a return code for every reason, and 0 for success only', () => {
  const codes = [0x84, 0x85, 0x88, 0x86, 0x87, 0x8a, 0x8c, 0x89, 0x97, 0x80, 0x9f];
  expect(codes.map((code) => returnCodeOf(code))).toEqual([1, 2, 3, 4, 5, 5, 4, 3, 3, 3, 3]);
  const all = Object.values(ReasonCode).filter((code) => returnCodeOf(code) === 0);
  expect(new Set(all)).toEqual(new Set([0]));
});

test('many acknowledgements are written in order as one buffer', () => {
  expect(hex(encodePubacks([1, 258, 65_535]))).toBe('40020001400201024002ffff');
  expect(hex(encodeAcks(PacketType.pubrec, [1]))).toBe('50020001');
  expect(hex(encodeAcks(PacketType.pubrel, [1, 2]))).toBe('6202000162020002');
  expect(hex(encodeAcks(PacketType.pubcomp, [1]))).toBe('70020001');
  expect(encodePubacks([]).length).toBe(0);
});

test.each([
  [PacketType.puback, 'puback', 0x97],
  [PacketType.pubrec, 'pubrec', 0x87],
  [PacketType.pubrel, 'pubrel', 0x92],
  [PacketType.pubcomp, 'pubcomp', 0x92],
] as const)(
  'acknowledgement of type %i is as short as it can be, and read',
  (type, cmd, reason) => {
    for (const version of [3, 4, 5] as const) expect(encodeAck(type, 300, version).length).toBe(4);
    expect(encodeAck(type, 300, 5, reason).length).toBe(5);
    expect(read(encodeAck(type, 300, 5, reason), 5)).toMatchObject({
      cmd,
      messageId: 300,
      reasonCode: reason,
    });
    expect(read(encodeAck(type, 300, 5, 0, said), 5)).toMatchObject({
      cmd,
      reasonCode: 0,
      properties: heard,
    });
    const bytes = encodeAck(type, 65_535, 5, reason, said);
    expect(decodeAck(bytes, startOf(bytes), 5)).toEqual({
      packetId: 65_535,
      reasonCode: reason,
      properties: said,
    });
  },
);

test('the older versions hear of no properties, and a failure cannot be said in them', () => {
  expect(hex(encodeAck(PacketType.puback, 1, 4, 0, said))).toBe('40020001');
  expect(hex(encodeAck(PacketType.puback, 1, 4, ReasonCode.noMatchingSubscribers))).toBe(
    '40020001',
  );
  expect(() => encodeAck(PacketType.puback, 1, 4, ReasonCode.quotaExceeded)).toThrow(RangeError);
});

test('SUBACK and UNSUBACK say what each version knows', () => {
  const codes = [0, 1, 2, 0x8f, 0x87];
  expect(hex(encodeSuback(3, 258, codes))).toBe('900701020001028080');
  expect(hex(encodeSuback(4, 258, codes))).toBe('900701020001028080');
  expect(hex(encodeSuback(5, 258, codes))).toBe('90080102000001028f87');
  expect(hex(encodeUnsuback(4, 258, [0, 0x11]))).toBe('b0020102');
  expect(hex(encodeUnsuback(5, 258, [0, 0x11]))).toBe('b0050102000011');
  expect(read(encodeSuback(5, 1, codes, said), 5)).toMatchObject({
    cmd: 'suback',
    granted: codes,
    properties: heard,
  });
  expect(read(encodeUnsuback(5, 1, [0x11], said), 5)).toMatchObject({
    cmd: 'unsuback',
    granted: [0x11],
    properties: heard,
  });
  expect(hex(encodeSuback(4, 258, [0], said))).toBe('9003010200');
});

test('a SUBACK of 10,000 filters is one packet', () => {
  const granted = Array<number>(10_000).fill(1);
  expect(read(encodeSuback(4, 1, granted), 4)).toMatchObject({ cmd: 'suback', granted });
});

test('DISCONNECT says why', () => {
  expect(hex(encodeDisconnect(ReasonCode.serverShuttingDown))).toBe('e0028b00');
  expect(read(encodeDisconnect(0x82, said), 5)).toMatchObject({
    cmd: 'disconnect',
    reasonCode: 0x82,
    properties: heard,
  });
});
