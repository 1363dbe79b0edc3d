// Takes from a stream's entries what fits into one publish, and finds the message that no publish can carry before
// the hub closes the connection over it.

import { hubMessage, type Origin } from './hub-message.ts';
import type { HubMessage } from './hub.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';

/** The longest header block that a stream stores, at the hub as here. */
const HEADER_BYTES_MAX = 65_535;
/** What an atomic batch adds to a message: its ID, sequence and commit. */
const BATCH_OVERHEAD = 96;
/** Names of the headers that every message or the first one gets, with line ends and the version line. */
const FIXED_OVERHEAD =
  'NATS/1.0\r\nNats-Msg-Id: \r\nNats-Expected-Stream: \r\nNats-Expected-Last-Subject-Sequence: \r\nNats-Expected-Last-Subject-Sequence-Subject: \r\n\r\n'
    .length;

export interface BatchLimits {
  readonly messages: number;
  readonly bytes: number;
  /** Largest headers + data of one message at the hub. */
  readonly messageBytesMax: number;
  /** Length of the hub stream's name, the filter and the fence's digits. */
  readonly fenceBytes: number;
}

export interface Batch {
  readonly entries: readonly Entry[];
  readonly messages: readonly HubMessage[];
  readonly bytes: number;
  /** It is one message that fits by itself only: no checkpoint can go with it. */
  readonly single: boolean;
}

/** Why the first entry can never be sent. */
export interface TooLarge {
  readonly entry: Entry;
  readonly reason: string;
}

/** The longest run of entries that one publish can carry; `tooLarge` when not even the first one can go. */
export function takeBatch(
  origin: Origin,
  entries: readonly Entry[],
  limits: BatchLimits,
): Batch | { readonly tooLarge: TooLarge } {
  const taken: Entry[] = [];
  const messages: HubMessage[] = [];
  let bytes = 0;
  let single = false;
  for (const entry of entries) {
    if (taken.length >= limits.messages) break;
    const message = hubMessage(origin, entry);
    const headers =
      FIXED_OVERHEAD + limits.fenceBytes + message.id.length + message.headerLines.length;
    const size = headers + message.data.length;
    const batchable =
      size + BATCH_OVERHEAD <= limits.messageBytesMax &&
      headers + BATCH_OVERHEAD <= HEADER_BYTES_MAX;
    if (!batchable || (taken.length > 0 && bytes + size > limits.bytes)) {
      if (taken.length > 0) break;
      const reason = sizeReason(size, headers, limits.messageBytesMax);
      if (reason !== undefined) return { tooLarge: { entry, reason } };
      single = true;
    }
    taken.push(entry);
    messages.push(message);
    bytes += size + message.subject.length;
    if (single) break;
  }
  return { entries: taken, messages, bytes, single };
}

function sizeReason(size: number, headers: number, max: number): string | undefined {
  if (headers > HEADER_BYTES_MAX)
    return `its headers are ${headers} bytes at the hub, which takes ${HEADER_BYTES_MAX}`;
  if (size > max) return `it is ${size} bytes at the hub, which takes ${max}`;
  return undefined;
}
