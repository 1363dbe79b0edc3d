// What a client says about a delivery: the data of its ack.

import { parseGoDuration } from './go-duration.ts';

const SPACE = /^[\s]+|[\s]+$/g;

export type AckVerb =
  | { readonly kind: 'ack' }
  /** Acknowledged, and the rest of the data is a pull request. */
  | { readonly kind: 'next'; readonly request: Buffer }
  /** Not now; `delayMs` undefined is at once. `bad` is a delay that could not be read. */
  | { readonly kind: 'nak'; readonly delayMs?: number | undefined; readonly bad?: string }
  | { readonly kind: 'progress' }
  | { readonly kind: 'term'; readonly reason: string }
  /** Nothing that we know. */
  | { readonly kind: 'unknown' };

const ACK: AckVerb = { kind: 'ack' };
const NAK: AckVerb = { kind: 'nak' };
const PROGRESS: AckVerb = { kind: 'progress' };
const UNKNOWN: AckVerb = { kind: 'unknown' };
const VERB_BYTES = 4;
const TERM_BYTES = 5;

export function parseAckVerb(data: Buffer): AckVerb {
  if (data.length === 0) return ACK;
  const text = data.toString('latin1', 0, TERM_BYTES);
  const verb = text.slice(0, VERB_BYTES);
  if (text === '+TERM') return { kind: 'term', reason: trim(data, TERM_BYTES) };
  if (verb === '-NAK') return data.length === VERB_BYTES ? NAK : parseNak(trim(data, VERB_BYTES));
  if (verb === '+NXT') return { kind: 'next', request: data.subarray(VERB_BYTES) };
  if (text === '+ACK' || text === '+OK') return ACK;
  return text === '+WPI' ? PROGRESS : UNKNOWN;
}

function trim(data: Buffer, from: number): string {
  return data.toString('utf8', from).replace(SPACE, '');
}

function parseNak(argument: string): AckVerb {
  if (argument === '') return NAK;
  if (argument.startsWith('{')) {
    try {
      const { delay = 0 } = JSON.parse(argument) as { delay?: unknown };
      if (typeof delay === 'number') return { kind: 'nak', delayMs: delay / 1e6 };
    } catch {
      // Said below.
    }
  } else {
    const delayMs = parseGoDuration(argument);
    if (delayMs !== undefined) return { kind: 'nak', delayMs };
  }
  return { kind: 'nak', bad: argument };
}
