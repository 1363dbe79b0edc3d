// PUBACK, PUBREC, PUBREL and PUBCOMP [3.4 to 3.7]. In all versions the usual one is a Packet Identifier and nothing else;
// 5.0 may add a Reason Code and properties.

import { Cursor } from './cursor.ts';
import { PacketType, type AckType } from './packet-type.ts';
import { encodeProperties, readProperties } from './properties.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { FAILURE, ReasonCode } from './reason-codes.ts';
import { NO_PROPERTIES, type Ack, type Properties, type Version } from './types.ts';
import { variableBytes, writeVariable } from './variable-integer.ts';

/** First byte -> its Reason Codes, success aside [tables 3-4 to 3-7]. PUBREL has flags [MQTT-3.6.1-1]. */
const PUBLISH_REASONS: ReadonlySet<number> = new Set([
  ReasonCode.noMatchingSubscribers,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.topicNameInvalid,
  ReasonCode.packetIdentifierInUse,
  ReasonCode.quotaExceeded,
  ReasonCode.payloadFormatInvalid,
]);
const RELEASE_REASONS: ReadonlySet<number> = new Set([ReasonCode.packetIdentifierNotFound]);
const REASONS = new Map<number, ReadonlySet<number>>([
  [0x40, PUBLISH_REASONS],
  [0x50, PUBLISH_REASONS],
  [0x62, RELEASE_REASONS],
  [0x70, RELEASE_REASONS],
]);

/** Reads a PUBACK, PUBREC, PUBREL or PUBCOMP; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeAck(frame: Buffer, start: number, version: Version): Ack {
  // 3.1 sets DUP in a PUBREL that is sent again.
  const first = version === 3 && frame[0] === 0x6a ? 0x62 : (frame[0] ?? 0);
  if (first !== 0x40 && first !== 0x50 && first !== 0x62 && first !== 0x70)
    throw new ProtocolError(`an acknowledgement that begins with 0x${first.toString(16)}`);
  if (frame.length < start + 2) throw new ProtocolError('an acknowledgement that is cut short');
  const packetId = frame.readUInt16BE(start);
  if (packetId === 0) throw notAllowed('Packet Identifier 0'); // [MQTT-2.2.1-2]
  if (frame.length === start + 2) return { packetId, reasonCode: 0, properties: NO_PROPERTIES };
  if (version !== 5) throw new ProtocolError('an acknowledgement that is too long');
  return decodeReason(packetId, first, new Cursor(frame, start + 2));
}

function decodeReason(packetId: number, first: number, cursor: Cursor): Ack {
  const reasonCode = cursor.byte();
  if (reasonCode !== ReasonCode.success && REASONS.get(first)?.has(reasonCode) !== true)
    throw notAllowed(`an acknowledgement with reason ${reasonCode}`); // [MQTT-3.4.2-1]
  // The Property Length may be left out [3.4.2.2.1].
  const properties = cursor.done ? NO_PROPERTIES : readProperties(cursor, first >> 4);
  cursor.finish();
  return { packetId, reasonCode, properties };
}

/**
 * Writes one acknowledgement. `reasonCode` and `properties` are for 5.0; the older versions cannot say no, and get none
 * for a failure: passing one is an error of ours (RangeError).
 */
export function encodeAck(
  type: AckType,
  packetId: number,
  version: Version,
  reasonCode: number = ReasonCode.success,
  properties: Properties = NO_PROPERTIES,
): Buffer {
  if (version !== 5 && reasonCode >= FAILURE)
    throw new RangeError(`reason ${reasonCode} in an acknowledgement of an older version`);
  const encoded = version === 5 ? encodeProperties(properties) : encodeProperties(NO_PROPERTIES);
  const withProperties = encoded.length > 0;
  if (!withProperties && (version !== 5 || reasonCode === ReasonCode.success))
    return encodeAcks(type, [packetId]);
  const lengthBytes = withProperties ? variableBytes(encoded.length) : 0;
  const remaining = 3 + lengthBytes + encoded.length;
  const packet = Buffer.allocUnsafe(1 + variableBytes(remaining) + remaining);
  packet[0] = firstByte(type);
  let at = writeVariable(packet, 1, remaining);
  at = packet.writeUInt16BE(packetId, at);
  packet[at++] = reasonCode;
  if (withProperties) encoded.copy(packet, writeVariable(packet, at, encoded.length));
  return packet;
}

/** Writes acknowledgements of success for `packetIds`, in their order, as one buffer; the same in every version. */
export function encodeAcks(type: AckType, packetIds: readonly number[]): Buffer {
  const first = firstByte(type);
  const packets = Buffer.allocUnsafe(4 * packetIds.length);
  let at = 0;
  for (const packetId of packetIds) {
    packets[at] = first;
    packets[at + 1] = 2;
    packets[at + 2] = packetId >> 8;
    packets[at + 3] = packetId & 0xff;
    at += 4;
  }
  return packets;
}

/** Writes PUBACKs of success for `packetIds`, in their order, as one buffer. */
export function encodePubacks(packetIds: readonly number[]): Buffer {
  return encodeAcks(PacketType.puback, packetIds);
}

function firstByte(type: AckType): number {
  return (type << 4) | (type === PacketType.pubrel ? 2 : 0);
}
