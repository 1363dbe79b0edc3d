// Republishing (ADR-28): a copy of each stored message on another subject, with headers that say where it is stored. It
// leaves once the disk has the original, and nobody waits for it.

import type { Message } from '../../message.ts';
import { msToTime } from '../api/rfc3339.ts';
import type { StreamConfig } from '../stream-types.ts';
import { withLines } from './header-block.ts';
import { transformOf } from './subject-transform.ts';

/** A message as it has been stored. */
export interface Stored {
  readonly subject: string;
  readonly headers: Buffer | null;
  readonly data: Buffer;
  readonly seq: number;
  /** Wall clock. */
  readonly timeMs: number;
}

const NOTHING = Buffer.alloc(0);

/** The subject to which the stream republishes what it stores on `subject`; undefined: it does not. */
export function republishSubject(config: StreamConfig, subject: string): string | undefined {
  return transformOf(config.republish)?.apply(subject);
}

/**
 * The copy that goes to `to`; `lastSeq` is the sequence of the message before it on its subject, 0 for none: readers that
 * keep count see by it what they have missed.
 */
export function republished(
  config: StreamConfig,
  to: string,
  { subject, headers, data, seq, timeMs }: Stored,
  lastSeq: number,
): Message {
  const lines = [
    `Nats-Stream: ${config.name}`,
    `Nats-Subject: ${subject}`,
    `Nats-Sequence: ${seq}`,
    `Nats-Time-Stamp: ${msToTime(timeMs)}`,
    `Nats-Last-Sequence: ${lastSeq}`,
  ];
  if (config.republish?.headersOnly !== true)
    return { subject: to, headers: withLines(headers, lines), data };
  lines.push(`Nats-Msg-Size: ${data.length}`);
  return { subject: to, headers: withLines(headers, lines), data: NOTHING };
}
