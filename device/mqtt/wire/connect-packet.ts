// CONNECT and CONNACK [3.1, 3.2] of all three versions. An error of a CONNECT carries the version in which it may be answered:
// 5.0 hears every reason, the older versions only that their level is not spoken here.

import { Cursor } from './cursor.ts';
import { PacketType } from './packet-type.ts';
import { encodeProperties, readProperties } from './properties.ts';
import { WILL } from './property-table.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { qosOf } from './qos.ts';
import { ReasonCode, returnCodeOf } from './reason-codes.ts';
import {
  NO_PROPERTIES,
  type Connect,
  type Properties,
  type Version,
  type WillFields,
} from './types.ts';
import { variableBytes, writeVariable } from './variable-integer.ts';

const FIRST = 0x10;
/** Bits of the Connect Flags [figure 3-4]. */
const Flag = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willQos: 0x18,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
} as const;
/** Set in the level by bridges of mosquitto's. */
const BRIDGE = 0x80;

/** Reads a CONNECT; its variable header begins at `start`. Throws a ProtocolError, which says whether to answer. */
export function decodeConnect(frame: Buffer, start: number): Connect {
  // [MQTT-2.1.3-1]
  if (frame[0] !== FIRST) throw new ProtocolError('a CONNECT with wrong flags');
  const cursor = new Cursor(frame, start);
  const { version, bridge } = decodeProtocol(cursor);
  if (version !== 5) return decodeRest(cursor, version, bridge);
  try {
    // [MQTT-1.5.5-1]
    if (start > 2 && frame[start - 1] === 0) throw new ProtocolError('a padded Remaining Length');
    return decodeRest(cursor, version, bridge);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { message, reasonCode } = error;
    throw new ProtocolError(message, reasonCode, { cause: error, connackVersion: version });
  }
}

function decodeProtocol(cursor: Cursor): { version: Version; bridge: boolean } {
  const name = cursor.utf8();
  const level = cursor.byte();
  // Whoever speaks something else than MQTT is not told that we do [MQTT-3.1.2-1].
  if (name !== 'MQTT' && name !== 'MQIsdp')
    throw new ProtocolError('not MQTT', ReasonCode.unsupportedProtocolVersion);
  const bridge = (level & BRIDGE) !== 0;
  const plain = level & ~BRIDGE;
  if (name === 'MQIsdp' ? plain === 3 : plain === 4 || plain === 5)
    return { version: plain === 3 ? 3 : plain === 4 ? 4 : 5, bridge };
  // [MQTT-3.1.2-2]
  throw new ProtocolError(`${name} of level ${level}`, ReasonCode.unsupportedProtocolVersion, {
    connackVersion: name === 'MQTT' && plain > 5 ? 5 : 4,
  });
}

function decodeRest(cursor: Cursor, version: Version, bridge: boolean): Connect {
  const flags = cursor.byte();
  checkFlags(flags, version);
  const keepAliveSeconds = cursor.uint16();
  const properties = version === 5 ? readProperties(cursor, PacketType.connect) : NO_PROPERTIES;
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined)
    throw notAllowed('authentication data without a method'); // [3.1.2.11.10]
  const clientId = cursor.utf8();
  const will = (flags & Flag.will) === 0 ? undefined : decodeWill(cursor, flags, version);
  const username = has(flags, Flag.username, cursor, version) ? cursor.utf8() : undefined;
  const password = has(flags, Flag.password, cursor, version) ? cursor.binary() : undefined;
  cursor.finish();
  const cleanStart = (flags & Flag.cleanStart) !== 0;
  return {
    version,
    bridge,
    clientId,
    cleanStart,
    keepAliveSeconds,
    username,
    password,
    will,
    properties,
  };
}

function checkFlags(flags: number, version: Version): void {
  // [MQTT-3.1.2-3]; in 3.1 the bit is merely unused.
  if (version !== 3 && (flags & Flag.reserved) !== 0)
    throw new ProtocolError('the reserved Connect Flag');
  // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1 has nothing to say of it.
  if (
    version !== 3 &&
    (flags & Flag.will) === 0 &&
    (flags & (Flag.willQos | Flag.willRetain)) !== 0
  )
    throw new ProtocolError('Will QoS or Will Retain without a Will');
  // 3.1.1 [MQTT-3.1.2-22]; 5.0 allows it.
  if (version !== 5 && (flags & Flag.password) !== 0 && (flags & Flag.username) === 0)
    throw notAllowed('a password without a user name');
}

/** In 3.1 a packet that ends before a user name or password is a valid one without it (3.1, "CONNECT", payload). */
function has(flags: number, flag: number, cursor: Cursor, version: Version): boolean {
  return (flags & flag) !== 0 && !(version === 3 && cursor.done);
}

function decodeWill(cursor: Cursor, flags: number, version: Version): WillFields {
  const qos = qosOf((flags & Flag.willQos) >> 3);
  if (qos === undefined) throw new ProtocolError('Will QoS 3'); // [MQTT-3.1.2-12]
  const properties = version === 5 ? readProperties(cursor, WILL) : NO_PROPERTIES;
  const topic = cursor.utf8();
  if (topic === '') throw notAllowed('an empty Will Topic'); // [MQTT-4.7.3-1]
  const data = cursor.binary();
  const retain = (flags & Flag.willRetain) !== 0;
  return { topic, data, qos, retain, properties };
}

export interface Connack {
  readonly version: Version;
  /** One of 5.0's; the older versions get the return code for it. */
  readonly reasonCode: number;
  /** Left out of a refusal [MQTT-3.2.2-6], and in 3.1, which does not know it. */
  readonly sessionPresent: boolean;
  readonly properties?: Properties | undefined;
}

/** Writes a CONNACK. */
export function encodeConnack(connack: Connack): Buffer {
  const { version, reasonCode, properties = NO_PROPERTIES } = connack;
  const present = connack.sessionPresent && reasonCode === ReasonCode.success && version !== 3;
  const flags = present ? 1 : 0;
  if (version !== 5) return Buffer.from([0x20, 2, flags, returnCodeOf(reasonCode)]);
  const encoded = encodeProperties(properties);
  const remaining = 2 + variableBytes(encoded.length) + encoded.length;
  const packet = Buffer.allocUnsafe(1 + variableBytes(remaining) + remaining);
  packet[0] = PacketType.connack << 4;
  let at = writeVariable(packet, 1, remaining);
  packet[at++] = flags;
  packet[at++] = reasonCode;
  at = writeVariable(packet, at, encoded.length);
  encoded.copy(packet, at);
  return packet;
}
