// DISCONNECT and AUTH [3.14, 3.15]: a Reason Code and properties, either of which may be left out at the end. The older
// versions know an empty DISCONNECT of the client only.

import { Cursor } from './cursor.ts';
import { PacketType } from './packet-type.ts';
import { encodeProperties, readProperties } from './properties.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { ReasonCode } from './reason-codes.ts';
import { NO_PROPERTIES, type Properties, type Reasoned, type Version } from './types.ts';
import { variableBytes, writeVariable } from './variable-integer.ts';

/** What a client may say in DISCONNECT [table 3-10]. */
const CLIENT_REASONS: ReadonlySet<number> = new Set([
  ReasonCode.normalDisconnection,
  ReasonCode.disconnectWithWill,
  ReasonCode.unspecifiedError,
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.implementationSpecificError,
  ReasonCode.topicNameInvalid,
  ReasonCode.receiveMaximumExceeded,
  ReasonCode.topicAliasInvalid,
  ReasonCode.packetTooLarge,
  ReasonCode.messageRateTooHigh,
  ReasonCode.quotaExceeded,
  ReasonCode.administrativeAction,
  ReasonCode.payloadFormatInvalid,
]);

/** Reads a client's DISCONNECT; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeDisconnect(frame: Buffer, start: number, version: Version): Reasoned {
  const reasoned = decodeReasoned(frame, start, version, PacketType.disconnect);
  if (!CLIENT_REASONS.has(reasoned.reasonCode))
    throw notAllowed(`a DISCONNECT with reason ${reasoned.reasonCode}`); // [MQTT-3.14.2-1]
  return reasoned;
}

/** Reads a client's AUTH; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeAuth(frame: Buffer, start: number, version: Version): Reasoned {
  if (version !== 5) throw notAllowed('AUTH before MQTT 5.0');
  const reasoned = decodeReasoned(frame, start, version, PacketType.auth);
  const { reasonCode, properties } = reasoned;
  // [MQTT-3.15.2-1]: success is the server's to say.
  if (reasonCode !== ReasonCode.continueAuthentication && reasonCode !== ReasonCode.reAuthenticate)
    throw notAllowed(`an AUTH with reason ${reasonCode}`);
  if (properties.authenticationMethod === undefined) throw notAllowed('an AUTH without a method'); // [3.15.2.2.2]
  return reasoned;
}

function decodeReasoned(frame: Buffer, start: number, version: Version, type: number): Reasoned {
  // [MQTT-3.14.1-1], [MQTT-3.15.1-1]
  if (frame[0] !== type << 4) throw new ProtocolError('DISCONNECT or AUTH with wrong flags');
  if (frame.length === start) return { reasonCode: 0, properties: NO_PROPERTIES };
  if (version !== 5) throw new ProtocolError('a DISCONNECT that is too long');
  const cursor = new Cursor(frame, start);
  const reasonCode = cursor.byte();
  const properties = cursor.done ? NO_PROPERTIES : readProperties(cursor, type);
  cursor.finish();
  return { reasonCode, properties };
}

/** Writes a DISCONNECT of 5.0; a server of the older versions has none. */
export function encodeDisconnect(
  reasonCode: number,
  properties: Properties = NO_PROPERTIES,
): Buffer {
  const encoded = encodeProperties(properties);
  const remaining = 1 + variableBytes(encoded.length) + encoded.length;
  const packet = Buffer.allocUnsafe(1 + variableBytes(remaining) + remaining);
  packet[0] = PacketType.disconnect << 4;
  let at = writeVariable(packet, 1, remaining);
  packet[at++] = reasonCode;
  at = writeVariable(packet, at, encoded.length);
  encoded.copy(packet, at);
  return packet;
}
