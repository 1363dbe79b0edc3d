// SUBSCRIBE and UNSUBSCRIBE with their answers [3.8 to 3.11]. What a Topic Filter may be beyond its encoding is the topic
// layer's to find.

import { Cursor } from './cursor.ts';
import { PacketType } from './packet-type.ts';
import { encodeProperties, readProperties } from './properties.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { qosOf } from './qos.ts';
import { FAILURE } from './reason-codes.ts';
import {
  NO_PROPERTIES,
  type FilterOptions,
  type Properties,
  type QoS,
  type Subscribe,
  type Unsubscribe,
  type Version,
} from './types.ts';
import { variableBytes, writeVariable } from './variable-integer.ts';

const SUBSCRIBE_FIRST = 0x82;
const UNSUBSCRIBE_FIRST = 0xa2;
/** 3.1 sets it in what is sent again. */
const DUP = 8;
const RETAIN_HANDLINGS: readonly FilterOptions['retainHandling'][] = [0, 1, 2];
const SHARED = '$share/';

/** Reads a SUBSCRIBE; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeSubscribe(frame: Buffer, start: number, version: Version): Subscribe {
  const cursor = open(frame, start, SUBSCRIBE_FIRST, version);
  const packetId = identifierOf(cursor);
  const properties = version === 5 ? readProperties(cursor, PacketType.subscribe) : NO_PROPERTIES;
  if (cursor.done) throw notAllowed('a SUBSCRIBE without Topic Filters'); // [MQTT-3.8.3-2]
  const filters: FilterOptions[] = [];
  while (!cursor.done) {
    const filter = filterOf(cursor);
    filters.push(decodeOptions(filter, cursor.byte(), version));
  }
  return { packetId, filters, properties };
}

/** Reads an UNSUBSCRIBE; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeUnsubscribe(frame: Buffer, start: number, version: Version): Unsubscribe {
  const cursor = open(frame, start, UNSUBSCRIBE_FIRST, version);
  const packetId = identifierOf(cursor);
  const properties = version === 5 ? readProperties(cursor, PacketType.unsubscribe) : NO_PROPERTIES;
  if (cursor.done) throw notAllowed('an UNSUBSCRIBE without Topic Filters'); // [MQTT-3.10.3-2]
  const filters: string[] = [];
  while (!cursor.done) filters.push(filterOf(cursor));
  return { packetId, filters, properties };
}

function open(frame: Buffer, start: number, wanted: number, version: Version): Cursor {
  const first = version === 3 ? (frame[0] ?? 0) & ~DUP : frame[0];
  // [MQTT-3.8.1-1], [MQTT-3.10.1-1]
  if (first !== wanted) throw new ProtocolError('SUBSCRIBE or UNSUBSCRIBE with wrong flags');
  return new Cursor(frame, start);
}

function identifierOf(cursor: Cursor): number {
  const packetId = cursor.uint16();
  if (packetId === 0) throw notAllowed('Packet Identifier 0'); // [MQTT-2.2.1-3]
  return packetId;
}

function filterOf(cursor: Cursor): string {
  const filter = cursor.utf8();
  if (filter === '') throw new ProtocolError('an empty Topic Filter'); // [MQTT-4.7.3-1]
  return filter;
}

/** The byte behind a Topic Filter [3.8.3.1]; the older versions have only the QoS in it. */
function decodeOptions(filter: string, options: number, version: Version): FilterOptions {
  const qos = qosOf(options & 3);
  if (qos === undefined) throw notAllowed('a subscription of QoS 3'); // [3.8.3.1]
  if (version !== 5) {
    if (options > 3) throw new ProtocolError('reserved bits in a SUBSCRIBE'); // 3.1.1 [MQTT-3.8.3-4]
    return plain(filter, qos);
  }
  if ((options & 0xc0) !== 0) throw new ProtocolError('reserved bits in a SUBSCRIBE'); // [MQTT-3.8.3-5]
  const retainHandling = RETAIN_HANDLINGS[(options >> 4) & 3];
  if (retainHandling === undefined) throw notAllowed('Retain Handling 3'); // [3.8.3.1]
  const noLocal = (options & 4) !== 0;
  // [MQTT-3.8.3-4]
  if (noLocal && filter.startsWith(SHARED)) throw notAllowed('No Local on a shared subscription');
  return { filter, qos, noLocal, retainAsPublished: (options & 8) !== 0, retainHandling };
}

function plain(filter: string, qos: QoS): FilterOptions {
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 };
}

/**
 * Writes a SUBACK. `codes` are those of 5.0, one for each Topic Filter in its order; 3.1.1 has 0x80 for every failure. 3.1
 * has no word for one: it gets 0x80 too, which its clients know today, and which those of its time take for QoS 0.
 */
export function encodeSuback(
  version: Version,
  packetId: number,
  codes: readonly number[],
  properties: Properties = NO_PROPERTIES,
): Buffer {
  const own = version === 5 ? codes : codes.map((code) => (code < FAILURE ? code : FAILURE));
  return encodeAnswer(PacketType.suback, version, packetId, own, properties);
}

/** Writes an UNSUBACK. `codes` are for 5.0, one for each Topic Filter in its order; the older versions have none. */
export function encodeUnsuback(
  version: Version,
  packetId: number,
  codes: readonly number[],
  properties: Properties = NO_PROPERTIES,
): Buffer {
  return encodeAnswer(
    PacketType.unsuback,
    version,
    packetId,
    version === 5 ? codes : [],
    properties,
  );
}

function encodeAnswer(
  type: number,
  version: Version,
  packetId: number,
  codes: readonly number[],
  properties: Properties,
): Buffer {
  const encoded = encodeProperties(version === 5 ? properties : NO_PROPERTIES);
  const own = version === 5 ? variableBytes(encoded.length) + encoded.length : 0;
  const remaining = 2 + own + codes.length;
  const packet = Buffer.allocUnsafe(1 + variableBytes(remaining) + remaining);
  packet[0] = type << 4;
  let at = writeVariable(packet, 1, remaining);
  at = packet.writeUInt16BE(packetId, at);
  if (version === 5) {
    at = writeVariable(packet, at, encoded.length);
    at += encoded.copy(packet, at);
  }
  for (const code of codes) packet[at++] = code;
  return packet;
}
