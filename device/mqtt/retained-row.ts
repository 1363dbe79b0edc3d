// A retained message as its row holds it: | version 6 bits, QoS 2 bits | store time of its end 8 bytes | length of the
// properties 4 bytes | properties | data |. The topic is that of the key.

import type { Form } from './session/types.ts';
import { subjectToTopic } from './topic.ts';
import type { QoS } from './wire/types.ts';
import { encodeName } from './wire/utf8.ts';

const VERSION = 0x20;
const QOS = 0x03;
const HEAD_BYTES = 13;

export interface RetainedMessage {
  /** The QoS that it was published with. */
  readonly qos: QoS;
  readonly form: Form;
}

export function encodeRetained({ qos, form }: RetainedMessage): Buffer {
  const { properties, data, expiresMs } = form;
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = VERSION | qos;
  head.writeDoubleBE(expiresMs, 1);
  head.writeUInt32BE(properties.length, 9);
  return Buffer.concat([head, properties, data]);
}

/** The message of a row; undefined when it is not of our version. */
export function decodeRetained(subject: string, row: Buffer): RetainedMessage | undefined {
  if (!isOurs(row)) return undefined;
  const dataStart = HEAD_BYTES + row.readUInt32BE(9);
  if (dataStart > row.length) return undefined;
  const form = {
    topic: encodeName(subjectToTopic(subject)),
    properties: row.subarray(HEAD_BYTES, dataStart),
    data: row.subarray(dataStart),
    expiresMs: row.readDoubleBE(1),
  };
  return { qos: qosOf(row), form };
}

/** When the message of a row expires; Infinity for never. */
export function expiryOf(row: Buffer): number {
  return isOurs(row) ? row.readDoubleBE(1) : Infinity;
}

function isOurs(row: Buffer): boolean {
  return row.length >= HEAD_BYTES && ((row[0] ?? 0) & ~QOS) === VERSION;
}

function qosOf(row: Buffer): QoS {
  const qos = (row[0] ?? 0) & QOS;
  return qos === 2 ? 2 : qos === 1 ? 1 : 0;
}
