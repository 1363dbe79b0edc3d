// MQTT packets for tests of bytes: written in a short notation, and read as a connection reads them.

import { Budget, DEFAULT_LIMITS } from '../../device/mqtt/limits.ts';
import { decodeAck } from '../../device/mqtt/wire/ack-packets.ts';
import { decodeConnect } from '../../device/mqtt/wire/connect-packet.ts';
import { decodeAuth, decodeDisconnect } from '../../device/mqtt/wire/disconnect-packet.ts';
import { FrameReader } from '../../device/mqtt/wire/frames.ts';
import { PacketType } from '../../device/mqtt/wire/packet-type.ts';
import { ProtocolError } from '../../device/mqtt/wire/protocol-error.ts';
import { decodePublish } from '../../device/mqtt/wire/publish-packet.ts';
import { remainingMax } from '../../device/mqtt/wire/remaining-max.ts';
import { decodeSubscribe, decodeUnsubscribe } from '../../device/mqtt/wire/subscribe-packets.ts';
import type { Version } from '../../device/mqtt/wire/types.ts';

/** Bytes in hex, `"text"` for a string with its two-byte length, `{…}` for up to 127 bytes of properties with their length. */
export function bytes(notation: string): Buffer {
  const parts = notation.match(/"[^"]*"|\{[^}]*\}|[0-9a-f]{2}/g) ?? [];
  return Buffer.concat(parts.map((part) => piece(part)));
}

function piece(part: string): Buffer {
  if (part.startsWith('{')) {
    const properties = bytes(part.slice(1, -1));
    return Buffer.concat([Buffer.from([properties.length]), properties]);
  }
  if (!part.startsWith('"')) return Buffer.from(part, 'hex');
  const text = Buffer.from(part.slice(1, -1));
  return Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), text]);
}

/** A packet that begins with `first`, with its Remaining Length, and `rest` in the notation of `bytes`. */
export function frame(first: number, rest: string | Buffer): Buffer {
  const content = typeof rest === 'string' ? bytes(rest) : rest;
  const header = [first];
  let length = content.length;
  do {
    header.push((length & 0x7f) | (length > 0x7f ? 0x80 : 0));
    length >>>= 7;
  } while (length > 0);
  return Buffer.concat([Buffer.from(header), content]);
}

/** Where the variable header of a whole packet begins. */
export function startOf(packet: Buffer): number {
  let at = 1;
  while ((packet[at] ?? 0) & 0x80) at++;
  return at + 1;
}

/** Reads one whole packet of a client by its type; nothing for PINGREQ. Throws a ProtocolError. */
export function decodeFrame(packet: Buffer, start: number, version: Version): unknown {
  switch ((packet[0] ?? 0) >> 4) {
    case PacketType.connect:
      return decodeConnect(packet, start);
    case PacketType.publish:
      return decodePublish(packet, start, version);
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      return decodeAck(packet, start, version);
    case PacketType.subscribe:
      return decodeSubscribe(packet, start, version);
    case PacketType.unsubscribe:
      return decodeUnsubscribe(packet, start, version);
    case PacketType.disconnect:
      return decodeDisconnect(packet, start, version);
    case PacketType.auth:
      return decodeAuth(packet, start, version);
    default:
      return undefined;
  }
}

/**
 * Reads a stream of a client's packets, `pieceBytes` at a time. `version`: of a connection that has it already; undefined
 * for one that has yet to say CONNECT. Throws a ProtocolError.
 */
export function readStream(
  stream: Buffer,
  version: Version | undefined,
  pieceBytes: number = stream.length,
): unknown[] {
  const read: unknown[] = [];
  let spoken = version;
  const taker = {
    get version() {
      return spoken;
    },
    remainingMax: (first: number) => remainingMax(first, spoken, DEFAULT_LIMITS),
    take: (packet: Buffer, start: number) => {
      const decoded = decodeFrame(packet, start, spoken ?? 5);
      if (spoken === undefined) spoken = (decoded as { version: Version }).version;
      read.push(decoded);
    },
  };
  const reader = new FrameReader(taker, new Budget(DEFAULT_LIMITS.partialBytesMax));
  for (let at = 0; at < stream.length; at += pieceBytes)
    reader.read(stream.subarray(at, at + pieceBytes));
  return read;
}

/** The error that reading `stream` ends in. */
export function errorOf(stream: Buffer, version: Version | undefined): ProtocolError {
  try {
    readStream(stream, version);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error(`0x${stream.toString('hex')} was taken`);
}
