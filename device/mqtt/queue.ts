// The QoS 1 messages that a session has yet to acknowledge: what the two kinds of queue have in common, and the form in
// which a message waits in either. A message becomes visible to `next` only when the disk has everything that was
// published up to it (Law 1), in memory as on the disk.

import type { Message } from '../../src/message.ts';
import { encodeName, encodePublish } from './packets.ts';
import { subjectToTopic } from './topic.ts';

export interface QueuedMessage {
  /** Ordered within the queue. */
  readonly seq: number;
  readonly value: Buffer;
}

export interface DeliveryQueue {
  /** Messages in the queue, those that were taken and not removed included. */
  readonly messages: number;
  readonly bytes: number;
  /** Appends, or returns false at a limit: the newest is dropped. */
  push(value: Buffer): boolean;
  /** Marks what was pushed so far; call the result when the disk has answered. Returns how many messages were refused. */
  seal(): (error: Error | null) => number;
  /** Takes the oldest message that is durable and was not taken yet. */
  next(): QueuedMessage | undefined;
  /** The stored form of a message that was taken. */
  read(seq: number): Buffer | undefined;
  /** Forgets a message that was taken: its subscriber has acknowledged it. */
  remove(message: { readonly seq: number; readonly bytes: number }): void;
  /** The client is gone: nothing is kept at hand for it. */
  rest(): void;
  /** Removes everything; the queue is not used any more. */
  clear(): void;
}

// The stored form:  | version 4 bits, reserved 3, retain 1 | topic length 2 bytes | topic | data … |
const VERSION = 0x10;
const RETAIN = 0x01;

/** The stored form of a message: a copy, so that it does not hold the socket's buffer. Empty when it has no topic. */
export function encodeQueued(message: Message, retain: boolean): Buffer {
  const topic = subjectToTopic(message.subject);
  if (topic === '') return Buffer.alloc(0);
  return Buffer.concat([
    Buffer.of(VERSION | (retain ? RETAIN : 0)),
    encodeName(topic),
    message.data,
  ]);
}

/** The PUBLISH that delivers a stored form; undefined when its version is not ours. */
export function encodeDelivery(value: Buffer, packetId: number, dup: boolean): Buffer | undefined {
  const first = value[0] ?? 0;
  if ((first & 0xf0) !== VERSION || value.length < 3) return undefined;
  const end = 3 + value.readUInt16BE(1);
  const retain = (first & RETAIN) !== 0;
  return encodePublish(value.subarray(1, end), value.subarray(end), { packetId, retain, dup });
}
