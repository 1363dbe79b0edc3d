// A stored message as it is delivered, and when: with its ack reply, with headers only where that is asked for, and at
// the pace at which it was stored where the consumer replays.

import type { Cancel, Clock } from '../../clock.ts';
import { encodeHeaders } from '../../headers.ts';
import type { Message } from '../../message.ts';
import type { StoredMessage } from '../stream-types.ts';

const EMPTY = Buffer.alloc(0);
/** The line that ends a block of headers. */
const END_BYTES = 2;
/** Shorter pauses between two messages are not kept. */
const PAUSE_MIN_MS = 1;

/** The message with `reply` and with more headers; `headersOnly` puts the size of its data in their place. */
export function deliverable(
  { subject, headers, data }: Message,
  reply: string,
  headersOnly: boolean,
  more: readonly (readonly [string, string])[] = [],
): Message {
  if (headersOnly)
    return {
      subject,
      reply,
      headers: withHeaders(headers, [['Nats-Msg-Size', String(data.length)], ...more]),
      data: EMPTY,
    };
  if (more.length > 0) return { subject, reply, headers: withHeaders(headers, more), data };
  return headers === undefined ? { subject, reply, data } : { subject, reply, headers, data };
}

function withHeaders(
  headers: Buffer | undefined,
  more: readonly (readonly [string, string])[],
): Buffer {
  const added = encodeHeaders(more) ?? EMPTY;
  if (headers === undefined) return added;
  const lines = added.subarray(added.indexOf('\r\n') + END_BYTES);
  return Buffer.concat([headers.subarray(0, headers.length - END_BYTES), lines]);
}

const EXPECTATION = 'Nats-Expected-';

/**
 * The message without what its publisher expected of the stream here. A mirror of nats-server 2.9 or 2.10 holds it against
 * itself, refuses the message, and gives its number to the next one.
 */
export function withoutExpectations(message: Message): Message {
  const { headers, ...bare } = message;
  if (headers?.includes(EXPECTATION) !== true) return message;
  const lines = headers.toString('latin1').split('\r\n');
  const kept = lines.filter((line) => !line.startsWith(EXPECTATION));
  // The first line, and the two ends behind the last one.
  if (kept.length <= 3) return bare;
  return { ...bare, headers: Buffer.from(kept.join('\r\n'), 'latin1') };
}

/** Delivers at the pace of storage what was stored when it began. */
export class Replay {
  readonly #clock: Clock;
  readonly #untilSeq: number;
  readonly #due: () => void;
  #last: { seq: number; timeMs: number; atMs: number } | undefined;
  #cancel: Cancel | undefined;

  /** `due` is called when a message that was not due has become so. */
  constructor(clock: Clock, untilSeq: number, due: () => void) {
    this.#clock = clock;
    this.#untilSeq = untilSeq;
    this.#due = due;
  }

  /** Whether `message`, the next, may go now. */
  isDue({ seq, timeMs }: StoredMessage): boolean {
    if (seq > this.#untilSeq) return true;
    const nowMs = this.#clock.monotonicMs();
    const last = this.#last;
    const pauseMs = last === undefined || last.seq === seq ? 0 : timeMs - last.timeMs;
    const waitMs = last === undefined ? 0 : last.atMs + pauseMs - nowMs;
    if (pauseMs > PAUSE_MIN_MS && waitMs > 0) {
      this.#cancel?.();
      this.#cancel = this.#clock.after(waitMs, this.#due);
      return false;
    }
    if (last?.seq !== seq) this.#last = { seq, timeMs, atMs: nowMs };
    return true;
  }

  close(): void {
    this.#cancel?.();
  }
}
