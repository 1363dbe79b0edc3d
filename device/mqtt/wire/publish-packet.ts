// PUBLISH [3.3], the packet that comes and goes by the hundred thousand: read and written in one pass, and without an object
// for properties where it has none. Wildcards and what else a Topic Name may not be are the topic layer's to find.

import type { Outgoing } from '../session/types.ts';
import { Cursor } from './cursor.ts';
import { PacketType } from './packet-type.ts';
import { readProperties } from './properties.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { qosOf } from './qos.ts';
import { NO_PROPERTIES, type Properties, type Publish, type Version } from './types.ts';
import { decodeUtf8 } from './utf8.ts';
import { variableBytes, writeVariable } from './variable-integer.ts';

const EXPIRY_BYTES = 5;
const ALIAS_BYTES = 3;
const EMPTY_TOPIC = Buffer.alloc(2);

/** Reads a PUBLISH; its variable header begins at `start`. Throws a ProtocolError. */
export function decodePublish(frame: Buffer, start: number, version: Version): Publish {
  const first = frame[0] ?? 0;
  const qos = qosOf((first >> 1) & 3);
  const dup = (first & 8) !== 0;
  if (qos === undefined) throw new ProtocolError('QoS 3'); // [MQTT-3.3.1-4]
  if (qos === 0 && dup) throw notAllowed('DUP with QoS 0'); // [MQTT-3.3.1-2]
  const nameStart = start + 2;
  const nameEnd = nameStart <= frame.length ? nameStart + frame.readUInt16BE(start) : nameStart;
  const headerEnd = qos === 0 ? nameEnd : nameEnd + 2;
  if (headerEnd > frame.length) throw new ProtocolError('a PUBLISH that is cut short');
  const topic = decodeUtf8(frame, nameStart, nameEnd);
  const packetId = qos === 0 ? 0 : frame.readUInt16BE(nameEnd);
  if (qos !== 0 && packetId === 0) throw notAllowed('Packet Identifier 0'); // [MQTT-2.2.1-2]
  let properties: Properties = NO_PROPERTIES;
  let dataStart = headerEnd;
  if (version === 5) {
    if (frame[headerEnd] === 0) dataStart++;
    else {
      const cursor = new Cursor(frame, headerEnd);
      properties = readProperties(cursor, PacketType.publish);
      dataStart = cursor.at;
    }
  }
  if (topic === '' && properties.topicAlias === undefined) throw notAllowed('an empty Topic Name'); // [3.3.2.1], [MQTT-4.7.3-1]
  const retain = (first & 1) !== 0;
  return { topic, packetId, qos, retain, dup, properties, data: frame.subarray(dataStart) };
}

/** How a PUBLISH is written for one client. */
export interface Publishing {
  readonly version: Version;
  /** Seconds that the message has left; undefined where it never expires [MQTT-3.3.2-6]. */
  readonly remainingExpirySeconds: number | undefined;
  /** Stands in the packet where it is there. */
  readonly topicAlias?: number | undefined;
  /** The client knows the alias already: the topic itself stays out. */
  readonly omitTopic?: boolean | undefined;
}

/** How many bytes `encodePublish` will write, the fixed header included: what Maximum Packet Size speaks of. */
export function publishBytes(outgoing: Outgoing, how: Publishing): number {
  const remaining = remainingBytes(outgoing, how, propertyBytes(outgoing, how));
  return 1 + variableBytes(remaining) + remaining;
}

/** Writes a PUBLISH for one client. Older versions get neither properties nor alias. */
export function encodePublish(outgoing: Outgoing, how: Publishing): Buffer {
  const { form, qos, packetId } = outgoing;
  const properties = propertyBytes(outgoing, how);
  const remaining = remainingBytes(outgoing, how, properties);
  const packet = Buffer.allocUnsafe(1 + variableBytes(remaining) + remaining);
  packet[0] = 0x30 | (outgoing.dup ? 8 : 0) | (qos << 1) | (outgoing.retain ? 1 : 0);
  let at = writeVariable(packet, 1, remaining);
  at += (isTopicOmitted(how) ? EMPTY_TOPIC : form.topic).copy(packet, at);
  if (qos !== 0) {
    packet[at++] = packetId >> 8;
    packet[at++] = packetId & 0xff;
  }
  if (how.version === 5) {
    at = writeVariable(packet, at, properties);
    if (properties > 0) at = writeProperties(packet, at, outgoing, how);
  }
  form.data.copy(packet, at);
  return packet;
}

function isTopicOmitted({ version, omitTopic }: Publishing): boolean {
  return omitTopic === true && version === 5;
}

/** Everything behind the fixed header. */
function remainingBytes({ form, qos }: Outgoing, how: Publishing, properties: number): number {
  const topic = isTopicOmitted(how) ? EMPTY_TOPIC.length : form.topic.length;
  const own = how.version === 5 ? variableBytes(properties) + properties : 0;
  return topic + (qos === 0 ? 0 : 2) + own + form.data.length;
}

function propertyBytes({ form, subscriptionIdentifiers }: Outgoing, how: Publishing): number {
  if (how.version !== 5) return 0;
  let bytes = form.properties.length;
  if (how.remainingExpirySeconds !== undefined) bytes += EXPIRY_BYTES;
  if (how.topicAlias !== undefined) bytes += ALIAS_BYTES;
  for (const identifier of subscriptionIdentifiers) bytes += 1 + variableBytes(identifier);
  return bytes;
}

function writeProperties(packet: Buffer, start: number, outgoing: Outgoing, how: Publishing) {
  const { remainingExpirySeconds, topicAlias } = how;
  let at = start + outgoing.form.properties.copy(packet, start);
  if (remainingExpirySeconds !== undefined) {
    packet[at++] = 0x02;
    at = packet.writeUInt32BE(remainingExpirySeconds, at);
  }
  if (topicAlias !== undefined) {
    packet[at++] = 0x23;
    at = packet.writeUInt16BE(topicAlias, at);
  }
  for (const identifier of outgoing.subscriptionIdentifiers) {
    packet[at++] = 0x0b;
    at = writeVariable(packet, at, identifier);
  }
  return at;
}
