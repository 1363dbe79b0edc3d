// Packets that say why: DISCONNECT, CONNACK and acknowledgements of 5.0 with a Reason String, which is left out where the
// client did not want it or the packet would be larger than it takes [MQTT-3.14.2-3], [MQTT-3.2.2-19], [MQTT-3.4.2-2].

import type { Terms } from './connect.ts';
import { encodeAck } from './wire/ack-packets.ts';
import { encodeConnack } from './wire/connect-packet.ts';
import { encodeDisconnect } from './wire/disconnect-packet.ts';
import type { AckType } from './wire/packet-type.ts';
import { ProtocolError } from './wire/protocol-error.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import { TopicError } from './topic.ts';
import { NO_PROPERTIES, type Properties, type Version } from './wire/types.ts';

/** The last words to a client of 5.0; undefined where not even the shortest fit. */
export function disconnectPacket(
  reasonCode: number,
  reason: string,
  packetBytesMax: number,
): Buffer | undefined {
  return shorten(packetBytesMax, reason, (properties) => encodeDisconnect(reasonCode, properties));
}

/** The CONNACK of a refusal; undefined where not even the shortest fits. */
export function refusalPacket(
  version: Version,
  reasonCode: number,
  reason: string,
  packetBytesMax: number,
): Buffer | undefined {
  return shorten(packetBytesMax, reason, (properties) =>
    encodeConnack({ version, reasonCode, sessionPresent: false, properties }),
  );
}

/** An acknowledgement of 5.0; undefined where not even the shortest fits. */
export function ackPacket(
  type: AckType,
  packetId: number,
  reasonCode: number,
  reason: string | undefined,
  { packetBytesMax, problemInformation }: Terms,
): Buffer | undefined {
  return shorten(packetBytesMax, problemInformation ? reason : undefined, (properties) =>
    encodeAck(type, packetId, 5, reasonCode, properties),
  );
}

/** The Reason Code of an error that is the peer's; undefined for one of ours. */
export function faultOf(error: unknown): number | undefined {
  if (error instanceof ProtocolError) return error.reasonCode;
  return error instanceof TopicError ? ReasonCode.topicNameInvalid : undefined;
}

function shorten(
  bytesMax: number,
  reason: string | undefined,
  encode: (properties: Properties) => Buffer,
): Buffer | undefined {
  if (reason !== undefined) {
    const packet = encode({ reasonString: reason });
    if (packet.length <= bytesMax) return packet;
  }
  const packet = encode(NO_PROPERTIES);
  return packet.length <= bytesMax ? packet : undefined;
}
