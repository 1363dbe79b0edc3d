// What can be said against a publish by its headers alone, one check each, with numbers and texts of nats-server's errors:
// clients compare both. Counters and schedules (ADR-49, ADR-51) are refused as by a stream without them.

import { PublishError } from '../../message.ts';
import { isPublishSubject } from '../../subject.ts';
import type { StreamConfig } from '../stream-types.ts';
import { said, type Control } from './control.ts';

const SECOND_MS = 1_000;
const DIGITS = /^\d+$/;
const INTEGER = /^[+-]?\d+$/;
/** Go's durations. */
const DURATION = /^[+-]?(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/;
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: SECOND_MS,
  m: 60 * SECOND_MS,
  h: 3600 * SECOND_MS,
};

/** A sequence as a header says it; what is no number is never a stream's last sequence. */
export function sequence(value: string): number {
  return DIGITS.test(value) ? Number(value) : Infinity;
}

/** What `Nats-TTL` says: milliseconds in whole seconds, Infinity for `never`, 0 for none, undefined for nonsense. */
export function ttlMs(value: string | undefined): number | undefined {
  if (value === undefined || value === '') return 0;
  if (value.toLowerCase() === 'never') return Infinity;
  const duration = durationMs(value);
  if (duration === undefined) return DIGITS.test(value) ? Number(value) * SECOND_MS : undefined;
  return duration < SECOND_MS ? undefined : Math.floor(duration / SECOND_MS) * SECOND_MS;
}

/** Go's `time.ParseDuration`, such as `1h30m` or `1.5s`; undefined for what is none. */
function durationMs(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  let rest = text.replace(/^[+-]/, '');
  let ms = 0;
  do {
    const [part, amount, unit] = DURATION.exec(rest) ?? [];
    if (part === undefined || amount === undefined || unit === undefined || /^[+-]/.test(rest))
      return undefined;
    ms += Number(amount) * (UNIT_MS[unit] ?? 0);
    rest = rest.slice(part.length);
  } while (rest !== '');
  return text.startsWith('-') ? -ms : ms;
}

export function checkCounter(control: Control): PublishError | null {
  const increment = said(control['Nats-Incr']);
  if (increment === undefined) return null;
  return INTEGER.test(increment)
    ? new PublishError(400, 10168, 'message counters is disabled')
    : new PublishError(400, 10171, 'message counter increment is invalid');
}

export function checkStream(control: Control, { name }: StreamConfig): PublishError | null {
  const expected = said(control['Nats-Expected-Stream']);
  if (expected === undefined || expected === name) return null;
  return new PublishError(400, 10060, 'expected stream does not match');
}

export function checkSource(control: Control): PublishError | null {
  if (said(control['Nats-Stream-Source']) === undefined) return null;
  return new PublishError(400, 10227, 'message stream source header is not allowed');
}

/** `subject` is the one that the message is stored under. */
export function checkSchedule(control: Control, subject: string): PublishError | null {
  const disabled = (): PublishError =>
    new PublishError(400, 10188, 'message schedules is disabled');
  const invalid = (): PublishError =>
    new PublishError(400, 10212, 'message schedules invalid scheduler');
  if (said(control['Nats-Schedule']) !== undefined) return disabled();
  if (control['Nats-Schedule-Time-Zone'] === '') return disabled();
  const scheduler = said(control['Nats-Scheduler']);
  const next = said(control['Nats-Schedule-Next']);
  if (next === undefined) return scheduler === undefined ? null : invalid();
  if (next !== 'purge' || scheduler === undefined) return invalid();
  return scheduler === subject || !isPublishSubject(scheduler) ? invalid() : disabled();
}

/** What `Nats-Rollup` asks for, or why it may not. */
export function checkRollup(
  control: Control,
  { allowRollup, denyPurge }: StreamConfig,
): 'sub' | 'all' | PublishError | undefined {
  const rollup = said(control['Nats-Rollup'])?.toLowerCase();
  if (rollup === undefined) return undefined;
  if (allowRollup !== true || denyPurge === true)
    return new PublishError(500, 10111, 'rollup not permitted');
  if (rollup === 'sub' || rollup === 'all') return rollup;
  return new PublishError(500, 10111, `rollup value invalid: ${JSON.stringify(rollup)}`);
}

export function invalidTtl(): PublishError {
  return new PublishError(400, 10165, 'invalid per-message TTL');
}

export function ttlDisabled(): PublishError {
  return new PublishError(400, 10166, 'per-message TTL is disabled');
}

export function wrongLastSequence(actual: number): PublishError {
  return new PublishError(400, 10071, `wrong last sequence: ${actual}`);
}

export function missingSequence(): PublishError {
  return new PublishError(400, 10193, 'missing sequence for expected last sequence per subject');
}

export function sealed(): PublishError {
  return new PublishError(400, 10109, 'invalid operation on sealed stream');
}

export function tooLarge(): PublishError {
  return new PublishError(400, 10054, 'message size exceeds maximum allowed');
}

export function headersTooLarge(): PublishError {
  return new PublishError(400, 10097, 'header size exceeds maximum allowed of 64k');
}
