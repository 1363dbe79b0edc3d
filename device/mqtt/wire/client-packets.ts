// Control Packets of the client's side, in 3.1.1 and 5.0, for an existing broker as a source: the only file that imports
// mqtt-packet. A packet comes here whole and within its limit (frames.ts). PUBLISH, which comes by the hundred thousand, is
// read by hand: one takes 0.2 us, where mqtt-packet takes 1.6.

import { generate, parser, type Packet } from 'mqtt-packet';
import { ProtocolError } from './protocol-error.ts';
import { VARIABLE_BYTES_MAX } from './variable-integer.ts';

export type QoS = 0 | 1;

/** Protocol levels: 3.1.1 and 5.0. */
export type Version = 4 | 5;

export interface Publish {
  readonly topic: string;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Encoded, with their length in front; empty in 3.1.1. Slices of the packet, as the data are. */
  readonly properties: Buffer;
  readonly data: Buffer;
}

export const PINGREQ = Buffer.from([0xc0, 0]);
/** Normal disconnection. MQTT 5.0 allows the short form too, but not every broker reads it. */
export const DISCONNECT: Readonly<Record<Version, Buffer>> = {
  4: Buffer.from([0xe0, 0]),
  5: Buffer.from([0xe0, 2, 0, 0]),
};

/**
 * Reads a PUBLISH of a broker, which we ask for QoS 1 at most; its properties are not read, and its topic may be ill-formed
 * (`isWellFormed`). Throws a ProtocolError.
 */
export function splitPublish(frame: Buffer, start: number, version: Version): Publish {
  const first = frame[0] ?? 0;
  const qos = (first >> 1) & 3;
  if (qos > 1) throw new ProtocolError(qos === 2 ? 'QoS 2 is not supported' : 'QoS 3'); // [MQTT-3.3.1-4]
  if (qos === 0 && (first & 8) !== 0) throw new ProtocolError('DUP with QoS 0'); // [MQTT-3.3.1-2]
  const topicEnd = start + 2 < frame.length ? start + 2 + frame.readUInt16BE(start) : start + 2;
  const headerEnd = topicEnd + 2 * qos;
  if (headerEnd > frame.length || topicEnd === start + 2)
    throw new ProtocolError('malformed PUBLISH');
  const dataStart = version === 5 ? propertiesEnd(frame, headerEnd) : headerEnd;
  const topic = frame.toString('utf8', start + 2, topicEnd);
  const packetId = qos === 0 ? 0 : frame.readUInt16BE(topicEnd);
  if (qos === 1 && packetId === 0) throw new ProtocolError('Packet Identifier 0'); // [MQTT-2.2.1-2]
  const retain = (first & 1) !== 0;
  const properties = frame.subarray(headerEnd, dataStart);
  const data = frame.subarray(dataStart);
  return { topic, packetId, qos: qos === 0 ? 0 : 1, retain, properties, data };
}

/** Where the properties of an MQTT 5.0 packet that begin at `at` end. Throws a ProtocolError. */
export function propertiesEnd(frame: Buffer, at: number): number {
  let length = 0;
  for (let i = 0; i < VARIABLE_BYTES_MAX; i++) {
    const byte = frame[at + i];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if ((byte & 0x80) !== 0) continue;
    const end = at + i + 1 + length;
    if (end > frame.length) break;
    return end;
  }
  throw new ProtocolError('malformed properties');
}

/**
 * Whether `text`, as it was decoded from `frame`, was well-formed UTF-8: decoding turned ill-formed bytes into U+FFFD; a packet
 * that holds no encoded U+FFFD of its own was ill-formed.
 */
export function isWellFormed(text: string, frame: Buffer): boolean {
  return !text.includes('\ufffd') || frame.includes('\ufffd');
}

/** Reads a packet that comes seldom: CONNACK. Throws a ProtocolError. */
export function decode(frame: Buffer, protocolVersion: Version): Packet {
  // A parser of its own: one that failed keeps a half-read state.
  const reader = parser({ protocolVersion });
  let packet: Packet | undefined;
  let failure: unknown;
  reader.on('packet', (parsed) => (packet = parsed));
  reader.on('error', (error) => (failure = error));
  try {
    reader.parse(frame);
  } catch (error) {
    failure = error; // The library stumbles over some packets; that is the peer's fault all the same.
  }
  const decoded = packet as Packet | undefined;
  if (failure !== undefined || decoded === undefined)
    throw new ProtocolError('malformed packet', undefined, { cause: failure });
  return decoded;
}

/** Writes a packet that a client sends seldom: CONNECT, SUBSCRIBE, UNSUBSCRIBE. */
export function encode(packet: Packet, protocolVersion: Version): Buffer {
  return generate(packet, { protocolVersion });
}
