// A Will as it waits on the disk: | length of the head 4 bytes | head, JSON | NATS headers | data |. What a restart has to
// know is in the head; the key is the Client Identifier and a number, so that a new connection's Will never overwrites one
// that is still to be published.

import type { QoS } from '../wire/types.ts';
import type { Will } from './types.ts';

interface Head {
  v: 1;
  /** Store time at which it is due; null while its connection is open. */
  dueMs: number | null;
  qos: QoS;
  retain: boolean;
  delaySeconds: number;
  subject: string;
  reply?: string;
  headerBytes: number;
}

export interface WillRow {
  readonly will: Will;
  readonly dueMs: number | undefined;
}

/** The row of a Will; `dueMs` is undefined while its connection is open. */
export function encodeWill(will: Will, dueMs: number | undefined): Buffer {
  const { message, qos, retain, delaySeconds } = will;
  const { subject, reply, headers, data } = message;
  const head: Head = {
    v: 1,
    dueMs: dueMs ?? null,
    qos,
    retain,
    delaySeconds,
    subject,
    ...(reply === undefined ? {} : { reply }),
    headerBytes: headers?.length ?? 0,
  };
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, headers ?? Buffer.alloc(0), data]);
}

/** The Will of a row; undefined for one that was published (an empty row), or that cannot be read. */
export function decodeWill(row: Buffer | undefined): WillRow | undefined {
  if (row === undefined || row.length < 4) return undefined;
  const headEnd = 4 + row.readUInt32BE(0);
  try {
    const head = JSON.parse(row.toString('utf8', 4, headEnd)) as Head;
    const { v, dueMs, qos, retain, delaySeconds, subject, reply, headerBytes } = head;
    if (v !== 1 || typeof subject !== 'string') return undefined;
    const dataStart = headEnd + headerBytes;
    const message = {
      subject,
      ...(reply === undefined ? {} : { reply }),
      ...(headerBytes === 0 ? {} : { headers: row.subarray(headEnd, dataStart) }),
      data: row.subarray(dataStart),
    };
    return { will: { message, qos, retain, delaySeconds }, dueMs: dueMs ?? undefined };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const NUMBER_DIGITS = 12;

/** Client Identifiers hold no NUL [MQTT-1.5.4-2]. */
export function willKey(clientId: string, number: number): string {
  return `${clientId}\0${String(number).padStart(NUMBER_DIGITS, '0')}`;
}

export function parseWillKey(key: string): { clientId: string; number: number } {
  const at = key.lastIndexOf('\0');
  return { clientId: key.slice(0, at), number: Number(key.slice(at + 1)) };
}
