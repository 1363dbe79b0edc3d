// How long a packet of a client may be, judged by its first byte alone: before its length is believed, and before anything of
// it is kept. What a client may not send at all ends here.

import type { MqttLimits } from '../limits.ts';
import { PacketType } from './packet-type.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import type { Version } from './types.ts';

/** DUP: 3.1 allows it in everything that is sent again. */
const DUP = 8;
/** An acknowledgement, a DISCONNECT or AUTH of the older versions is a Packet Identifier, or nothing. */
const PACKET_ID_BYTES = 2;

/**
 * The largest Remaining Length for a packet that begins with `first`, type and flags in one. `version` is undefined until
 * CONNECT has come. Throws a ProtocolError for what a client may not send, or not now.
 */
export function remainingMax(
  first: number,
  version: Version | undefined,
  limits: Readonly<MqttLimits>,
): number {
  const type = first >> 4;
  if (type === PacketType.publish && version !== undefined) return limits.packetBytesMax;
  if (version === undefined) {
    if (type !== PacketType.connect) throw notAllowed('the first packet is no CONNECT'); // [MQTT-3.1.0-1]
    assureFlags(first, 0);
    return limits.connectBytesMax;
  }
  return ofConnected(first, version, limits);
}

function ofConnected(first: number, version: Version, limits: Readonly<MqttLimits>): number {
  // Of 5.0, anything short may carry a Reason String and User Properties.
  const is5 = version === 5;
  switch (first >> 4) {
    case PacketType.connect:
      throw notAllowed('a second CONNECT'); // [MQTT-3.1.0-2]
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubcomp:
      assureFlags(first, 0);
      return is5 ? limits.controlBytesMax : PACKET_ID_BYTES;
    case PacketType.pubrel:
      assureFlags(version === 3 ? first & ~DUP : first, 2);
      return is5 ? limits.controlBytesMax : PACKET_ID_BYTES;
    case PacketType.subscribe:
    case PacketType.unsubscribe:
      assureFlags(version === 3 ? first & ~DUP : first, 2);
      return limits.controlBytesMax;
    case PacketType.pingreq:
      assureFlags(first, 0);
      return 0;
    case PacketType.disconnect:
      assureFlags(first, 0);
      return is5 ? limits.controlBytesMax : 0;
    case PacketType.auth:
      if (!is5) throw new ProtocolError('a packet of type 15');
      assureFlags(first, 0);
      return limits.controlBytesMax;
    case 0:
      throw new ProtocolError('a packet of type 0'); // [2.1.2]
    default:
      throw notAllowed(`a packet of type ${first >> 4}, which a server sends`);
  }
}

/** [MQTT-2.1.3-1] */
function assureFlags(first: number, flags: number): void {
  if ((first & 0x0f) !== flags)
    throw new ProtocolError(`a packet that begins with 0x${first.toString(16)}`);
}
