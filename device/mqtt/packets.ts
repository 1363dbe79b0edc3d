// Control Packets as bytes and as objects: the only file that imports mqtt-packet. A packet comes here whole and within
// its limit (frames.ts). PUBLISH and PUBACK, the two that come by the hundred thousand, are read and written by hand: one
// takes 0.2 us, where mqtt-packet takes 1.6.

import { generate, parser, type IConnectPacket, type Packet } from 'mqtt-packet';

export type {
  IConnectPacket as ConnectPacket,
  ISubscribePacket as SubscribePacket,
  IUnsubscribePacket as UnsubscribePacket,
  Packet,
} from 'mqtt-packet';

/** The first half of a packet's first byte (table 2.1). */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const;

/** CONNACK return codes (table 3.1), and what MQTT 5 says to a version it does not have. */
export const ReturnCode = {
  accepted: 0,
  unacceptableProtocol: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserOrPassword: 4,
  notAuthorized: 5,
} as const;
const UNSUPPORTED_PROTOCOL_VERSION_5 = 0x84;

/** SUBACK's word for no. */
export const SUBSCRIPTION_REFUSED = 0x80;

export type QoS = 0 | 1;

/** Protocol levels: 3.1.1 and 5. */
export type Version = 4 | 5;

/** The peer broke the protocol: its connection is closed. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

export interface Publish {
  readonly topic: string;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly qos: QoS;
  readonly retain: boolean;
  /** A slice of the packet. */
  readonly data: Buffer;
}

/** What a CONNECT says of its protocol, before anything else is read: an older or newer version is laid out otherwise. */
export interface Protocol {
  readonly name: string;
  readonly level: number;
}

/** Reads protocol name and level of a CONNECT; throws a ProtocolError when they are not there. */
export function decodeProtocol(frame: Buffer, start: number): Protocol {
  if (frame.length < start + 2) throw new ProtocolError('CONNECT without a protocol name');
  const end = start + 2 + frame.readUInt16BE(start);
  const level = frame[end];
  if (level === undefined) throw new ProtocolError('CONNECT without a protocol level');
  return { name: frame.toString('utf8', start + 2, end), level };
}

/** Reads a PUBLISH; its variable header begins at `start`. Throws a ProtocolError; QoS 2 is one, until it is there. */
export function decodePublish(frame: Buffer, start: number): Publish {
  const publish = splitPublish(frame, start, 4);
  assureUtf8(publish.topic, frame);
  return publish;
}

/** The same for either version of the protocol, with a topic that may be ill-formed (`isWellFormed`). */
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
  if (qos === 1 && packetId === 0) throw new ProtocolError('Packet Identifier 0'); // [MQTT-2.3.1-1]
  const retain = (first & 1) !== 0;
  return { topic, packetId, qos: qos === 0 ? 0 : 1, retain, data: frame.subarray(dataStart) };
}

/** Reads the Packet Identifier of a PUBACK. Throws a ProtocolError. */
export function decodePuback(frame: Buffer): number {
  if (frame[0] !== PacketType.puback << 4 || frame.length !== 4)
    throw new ProtocolError('malformed PUBACK');
  const packetId = frame.readUInt16BE(2);
  if (packetId === 0) throw new ProtocolError('Packet Identifier 0');
  return packetId;
}

/** Where the properties of an MQTT 5 packet that begin at `at` end. Throws a ProtocolError. */
export function propertiesEnd(frame: Buffer, at: number): number {
  let length = 0;
  for (let i = 0; i < 4; i++) {
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

/** Reads any packet but PUBLISH and PUBACK. Throws a ProtocolError. */
export function decode(frame: Buffer, protocolVersion: Version = 4): Packet {
  // A parser of its own: one that failed keeps a half-read state, and one that read a CONNECT keeps the password.
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
    throw new ProtocolError('malformed packet', { cause: failure });
  check(decoded, frame);
  return decoded;
}

/** What mqtt-packet lets pass. */
function check(packet: Packet, frame: Buffer): void {
  if (packet.cmd === 'connect') checkConnect(packet, frame);
  if (packet.cmd === 'subscribe') {
    const filters = packet.subscriptions.map(({ topic }) => topic);
    checkFilters(packet.messageId, filters, frame); // [MQTT-3.8.3-3]
  }
  if (packet.cmd === 'unsubscribe') checkFilters(packet.messageId, packet.unsubscriptions, frame); // [MQTT-3.10.3-2]
}

function checkFilters(packetId: number | undefined, filters: string[], frame: Buffer): void {
  if (packetId === undefined || packetId < 1) throw new ProtocolError('Packet Identifier 0'); // [MQTT-2.3.1-1]
  if (filters.length === 0) throw new ProtocolError('no Topic Filter');
  for (const filter of filters) assureUtf8(filter, frame);
}

function checkConnect(packet: IConnectPacket, frame: Buffer): void {
  assureUtf8(packet.clientId, frame);
  // [MQTT-3.1.2-22]
  if (packet.password !== undefined && packet.username === undefined)
    throw new ProtocolError('a password without a user name');
  if (packet.username !== undefined) assureUtf8(packet.username, frame);
  if (packet.will === undefined) return;
  if ((packet.will.qos ?? 0) > 2) throw new ProtocolError('Will QoS 3'); // [MQTT-3.1.2-14]
  assureUtf8(packet.will.topic, frame);
}

/**
 * [MQTT-1.5.3-1], [MQTT-1.5.3-2]. Decoding turned ill-formed bytes into U+FFFD; a packet that holds no encoded U+FFFD
 * of its own was ill-formed.
 */
function assureUtf8(text: string, frame: Buffer): void {
  if (text.includes('\0')) throw new ProtocolError('U+0000 in a string');
  if (!isWellFormed(text, frame)) throw new ProtocolError('ill-formed UTF-8');
}

/** Whether `text`, as it was decoded from `frame`, was well-formed UTF-8. */
export function isWellFormed(text: string, frame: Buffer): boolean {
  return !text.includes('\ufffd') || frame.includes('\ufffd');
}

export const PINGRESP = Buffer.from([0xd0, 0]);
export const PINGREQ = Buffer.from([0xc0, 0]);
/** Normal disconnection. MQTT 5 allows the short form too, but not every broker reads it. */
export const DISCONNECT: Readonly<Record<Version, Buffer>> = {
  4: Buffer.from([0xe0, 0]),
  5: Buffer.from([0xe0, 2, 0, 0]),
};

/** Writes a packet that a client sends seldom: CONNECT, SUBSCRIBE, UNSUBSCRIBE. */
export function encode(packet: Packet, protocolVersion: Version): Buffer {
  return generate(packet, { protocolVersion });
}

export function encodeConnack(returnCode: number, sessionPresent: boolean): Buffer {
  return generate({ cmd: 'connack', returnCode, sessionPresent });
}

/** The refusal that an MQTT 5 client understands: Unsupported Protocol Version. */
export function encodeConnackUnsupported(): Buffer {
  const reasonCode = UNSUPPORTED_PROTOCOL_VERSION_5;
  return generate({ cmd: 'connack', reasonCode, sessionPresent: false }, { protocolVersion: 5 });
}

export function encodeSuback(messageId: number, granted: number[]): Buffer {
  return generate({ cmd: 'suback', messageId, granted });
}

export function encodeUnsuback(messageId: number): Buffer {
  return generate({ cmd: 'unsuback', messageId, granted: [] });
}

/** Writes PUBACKs for `packetIds`, in their order, as one buffer. */
export function encodePubacks(packetIds: readonly number[]): Buffer {
  const packets = Buffer.allocUnsafe(4 * packetIds.length);
  let at = 0;
  for (const packetId of packetIds) {
    packets[at] = 0x40;
    packets[at + 1] = 2;
    packets[at + 2] = packetId >> 8;
    packets[at + 3] = packetId & 0xff;
    at += 4;
  }
  return packets;
}

/** Writes a PUBLISH. `name` is the topic with its two-byte length in front. `packetId` is 0 for QoS 0. */
export function encodePublish(
  name: Buffer,
  data: Buffer,
  { packetId = 0, retain = false, dup = false },
): Buffer {
  const qos = packetId === 0 ? 0 : 1;
  const remaining = name.length + 2 * qos + data.length;
  const lengthBytes = remaining < 0x80 ? 1 : remaining < 0x4000 ? 2 : remaining < 0x200000 ? 3 : 4;
  const packet = Buffer.allocUnsafe(1 + lengthBytes + remaining);
  packet[0] = (PacketType.publish << 4) | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let at = 1;
  for (let rest = remaining, i = 0; i < lengthBytes; i++, rest >>>= 7)
    packet[at++] = (rest & 0x7f) | (i < lengthBytes - 1 ? 0x80 : 0);
  at += name.copy(packet, at);
  if (qos === 1) at = packet.writeUInt16BE(packetId, at);
  data.copy(packet, at);
  return packet;
}

/** A topic with its two-byte length in front, as every packet carries it. */
export function encodeName(topic: string): Buffer {
  const bytes = Buffer.byteLength(topic);
  const name = Buffer.allocUnsafe(2 + bytes);
  name.writeUInt16BE(bytes, 0);
  name.write(topic, 2);
  return name;
}
