// The QoS 1 and 2 messages that a session has yet to finish: what the two kinds of queue have in common, and the form in
// which a message waits in either. A message becomes visible to `peek` only when the disk has everything that was
// published up to it (Law 1), in memory as on the disk.
//
// The sequence of a message in its queue gives it its Packet Identifier, so that it has the same after a restart.

import { shownSubject } from '../topic.ts';
import type { Form } from './types.ts';

/** Why a message never reached its subscriber. */
export type Loss = 'full' | 'expired' | 'refused' | 'large' | 'forbidden' | 'unreadable';

export interface QueuedMessage {
  /** Ordered within the queue. */
  readonly seq: number;
  readonly delivery: Delivery;
}

export interface DeliveryQueue {
  /** What is removed here cannot come back, and what is written here survives the process. */
  readonly durable: boolean;
  /** Messages in the queue, those that were taken and not removed included. */
  readonly messages: number;
  readonly bytes: number;
  /** Of the message that was pushed last. */
  readonly lastSeq: number;
  /** Messages up to this one may have been sent by an earlier process. */
  readonly doubtfulSeq: number;
  /**
   * Appends, and returns the sequence; 0 where there is no room. First what has expired goes, then, if `mayDrop` and the
   * limits say so, the oldest that was not sent.
   */
  push(delivery: Delivery, nowMs: number, mayDrop: boolean): number;
  /** The disk has answered for the message `seq`: null, and everything up to it is safe; an Error, and it is refused. */
  settle(seq: number, error: Error | null): void;
  /** The oldest message that is durable and was not taken yet. */
  peek(): QueuedMessage | undefined;
  /** Takes the message that `peek` has shown. */
  take(): void;
  /** A message that was taken. */
  read(seq: number): Delivery | undefined;
  /** Writes that the subscriber has the message `seq`, of which only the marker is left then. */
  mark(seq: number): void;
  /** The marker is safe: it has taken the place of so many bytes. Returns its own. */
  marked(seq: number, bytes: number): number;
  /** Forgets a message that was taken. */
  remove(seq: number, bytes: number): void;
  /** All messages that were not taken, oldest first. */
  waiting(): Iterable<Delivery>;
  /** The client is gone: nothing is kept at hand for it. */
  rest(): void;
  /** Removes everything; the queue is not used any more. */
  clear(): void;
}

// The row:  | kind 3 bits, properties 1, more 1, expiry 1, retain 1, QoS 2 1 | expiry 6 bytes | more | topic | properties | data |
// more:     | count of identifiers 2 bytes | identifiers 4 bytes each | length 2 bytes | filter of a shared subscription |
// Topic with its two-byte length, properties with one of four bytes; expiry, more and properties only where the bit is set.
const KIND = 0xe0;
const MESSAGE = 0x20;
const RELEASED = 0x40;
const PROPERTIES = 0x10;
const MORE = 0x08;
const EXPIRY = 0x04;
const RETAIN = 0x02;
const QOS_2 = 0x01;

const EXPIRY_BYTES = 6;
const EMPTY = Buffer.alloc(0);
const NO_IDENTIFIERS: readonly number[] = Object.freeze([]);

/** The row of a QoS 2 message that its subscriber has: all that is left is to send PUBREL. */
export const MARKER: Buffer = Buffer.of(RELEASED);

/** Whether a row is a marker. */
export function isMarker(row: Buffer): boolean {
  return ((row[0] ?? 0) & KIND) === RELEASED;
}

/** Store time at which the message of a row expires; Infinity for never. */
export function rowExpiresMs(row: Buffer): number {
  const first = row[0] ?? 0;
  if ((first & KIND) !== MESSAGE || (first & EXPIRY) === 0 || row.length < 1 + EXPIRY_BYTES)
    return Number.POSITIVE_INFINITY;
  return row.readUIntBE(1, EXPIRY_BYTES);
}

/** Whether a row came by a shared subscription. */
export function isSharedRow(row: Buffer): boolean {
  const first = row[0] ?? 0;
  if ((first & KIND) !== MESSAGE || (first & MORE) === 0) return false;
  return new Delivery(row).share !== undefined;
}

/** What a message is queued with. */
export interface Wanted {
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  /** The filter of the shared subscription by which it comes. */
  readonly share: string | undefined;
}

interface Fields {
  readonly form: Form;
  readonly identifiers: readonly number[];
  readonly share: string | undefined;
}

/**
 * A queued message: its row, which holds everything, and what the row says, once somebody asks. Many sessions share one,
 * in their queues in memory as well as in the writes that wait for the disk.
 */
export class Delivery {
  readonly row: Buffer;
  #fields: Fields | undefined;
  #subject: string | undefined;

  constructor(row: Buffer, subject?: string) {
    this.row = row;
    this.#subject = subject;
  }

  /** A copy of the message, so that it does not hold the buffer of a socket. `subject` is its own, where that is known. */
  static of(form: Form, wanted: Wanted, subject?: string): Delivery {
    return new Delivery(encodeRow(form, wanted), subject);
  }

  get bytes(): number {
    return this.row.length;
  }

  get qos(): 1 | 2 {
    return ((this.row[0] ?? 0) & QOS_2) === 0 ? 1 : 2;
  }

  get retain(): boolean {
    return ((this.row[0] ?? 0) & RETAIN) !== 0;
  }

  get expiresMs(): number {
    return rowExpiresMs(this.row);
  }

  /** Undefined where the row makes no sense. */
  get form(): Form | undefined {
    return this.#read()?.form;
  }

  get identifiers(): readonly number[] {
    return this.#read()?.identifiers ?? NO_IDENTIFIERS;
  }

  get share(): string | undefined {
    return this.#read()?.share;
  }

  /** Made of the topic once for all sessions that ask: making it for each took an eighth of a fan-out. */
  get subject(): string | undefined {
    if (this.#subject === undefined && this.form !== undefined)
      this.#subject = shownSubject(this.form.topic.toString('utf8', 2));
    return this.#subject;
  }

  #read(): Fields | undefined {
    return (this.#fields ??= decodeRow(this.row));
  }
}

function encodeRow(form: Form, { qos, retain, identifiers, share }: Wanted): Buffer {
  const { topic, properties, data, expiresMs } = form;
  const more =
    identifiers.length > 0 || share !== undefined ? encodeMore(identifiers, share) : EMPTY;
  const expires = expiresMs !== Number.POSITIVE_INFINITY;
  const fixed = 1 + (expires ? EXPIRY_BYTES : 0) + (properties.length > 0 ? 4 : 0);
  const row = Buffer.allocUnsafe(
    fixed + more.length + topic.length + properties.length + data.length,
  );
  row[0] =
    MESSAGE |
    (qos === 2 ? QOS_2 : 0) |
    (retain ? RETAIN : 0) |
    (expires ? EXPIRY : 0) |
    (more.length > 0 ? MORE : 0) |
    (properties.length > 0 ? PROPERTIES : 0);
  let at = 1;
  // Rounded up: nothing expires early.
  if (expires) at = row.writeUIntBE(Math.max(0, Math.ceil(expiresMs)), at, EXPIRY_BYTES);
  at += more.copy(row, at);
  at += topic.copy(row, at);
  if (properties.length > 0) {
    at = row.writeUInt32BE(properties.length, at);
    at += properties.copy(row, at);
  }
  data.copy(row, at);
  return row;
}

function encodeMore(identifiers: readonly number[], share: string | undefined): Buffer {
  const filter = Buffer.from(share ?? '', 'utf8');
  const more = Buffer.allocUnsafe(2 + 4 * identifiers.length + 2 + filter.length);
  let at = more.writeUInt16BE(identifiers.length, 0);
  for (const identifier of identifiers) at = more.writeUInt32BE(identifier, at);
  at = more.writeUInt16BE(filter.length, at);
  filter.copy(more, at);
  return more;
}

/** What a row says; undefined where it is none of ours, or cut short. */
function decodeRow(row: Buffer): Fields | undefined {
  const first = row[0] ?? 0;
  if ((first & KIND) !== MESSAGE) return undefined;
  try {
    let at = (first & EXPIRY) === 0 ? 1 : 1 + EXPIRY_BYTES;
    let identifiers = NO_IDENTIFIERS;
    let share: string | undefined;
    if ((first & MORE) !== 0) ({ identifiers, share, at } = decodeMore(row, at));
    const topicEnd = at + 2 + row.readUInt16BE(at);
    const topic = row.subarray(at, topicEnd);
    at = topicEnd;
    let properties: Buffer = EMPTY;
    if ((first & PROPERTIES) !== 0) {
      const end = at + 4 + row.readUInt32BE(at);
      properties = row.subarray(at + 4, end);
      at = end;
    }
    if (at > row.length) return undefined;
    const form = { topic, properties, data: row.subarray(at), expiresMs: rowExpiresMs(row) };
    return { form, identifiers, share };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function decodeMore(
  row: Buffer,
  start: number,
): { identifiers: readonly number[]; share: string | undefined; at: number } {
  const identifiers: number[] = [];
  let at = start + 2;
  for (let left = row.readUInt16BE(start); left > 0; left--, at += 4)
    identifiers.push(row.readUInt32BE(at));
  const end = at + 2 + row.readUInt16BE(at);
  const share = end > at + 2 ? row.toString('utf8', at + 2, end) : undefined;
  return { identifiers, share, at: end };
}
