// Whether a stream takes a message in, and in which form it is stored: a pure function of the message and of what the
// stream knows at that moment. Duplicates are the stream's to find, and before this: a publisher that repeats a message
// with an expectation must hear where the first one went, not that its expectation no longer holds.

import { HEADERS_BYTES_MAX } from '../../headers.ts';
import { PublishError, type Message } from '../../message.ts';
import type { StreamConfig } from '../stream-types.ts';
import {
  checkCounter,
  checkRollup,
  checkSchedule,
  checkSource,
  checkStream,
  headersTooLarge,
  invalidTtl,
  missingSequence,
  sealed,
  sequence,
  tooLarge,
  ttlDisabled,
  ttlMs,
  wrongLastSequence,
} from './checks.ts';
import { readControl, said, type Control } from './control.ts';
import { withLines, withoutHeader, withoutStatus } from './header-block.ts';
import { transformOf } from './subject-transform.ts';

/** What a stream knows: of all that it has accepted, durable or not. */
export interface PublishView {
  readonly config: StreamConfig;
  readonly lastSeq: number;
  /** The last sequence of what falls under `filter` (a subject, or with wildcards), 0 for none. */
  lastSeqOf(filter: string): number;
  /** The message ID of the last message; undefined where it had none. */
  readonly lastMsgId: string | undefined;
}

/** A message as it is to be stored. */
export interface Admitted {
  readonly subject: string;
  readonly headers: Buffer | null;
  /** What it replaces: all that came before it on its subject, or in the stream. */
  readonly rollup?: 'sub' | 'all' | undefined;
  /** How long it lives, in milliseconds; Infinity for ever, whatever `max_age` says; undefined: as the stream says. */
  readonly ttlMs?: number | undefined;
}

/**
 * The form in which `message` is stored, or why it is not. `control` is what its headers say, where the caller has read
 * them already. Checks go in nats-server's order.
 */
export function examine(
  message: Message,
  view: PublishView,
  control: Control | undefined = readControl(message.headers),
): Admitted | PublishError {
  const { config } = view;
  const subject = transformOf(config.subjectTransform)?.apply(message.subject) ?? message.subject;
  if (config.sealed === true) return sealed();
  const headers = storedHeaders(message.headers, control);
  const tooBig = checkSize(headers, message.data, config);
  if (tooBig !== null) return tooBig;
  if (control !== undefined) {
    const error = checkExpectations(subject, view, control);
    if (error !== null) return error;
  }
  const rollup = control === undefined ? undefined : checkRollup(control, config);
  if (rollup instanceof PublishError) return rollup;
  const lifeMs = control === undefined ? 0 : ttlMs(control['Nats-TTL']);
  if (lifeMs === undefined) return invalidTtl();
  return lifeMs === 0
    ? { subject, headers, rollup }
    : withLife({ subject, headers, rollup }, lifeMs, config);
}

/**
 * Why a message that is stored already is not answered as such: what is wrong with it whatever the stream has got. What it
 * expects of the stream held when it was stored.
 */
export function examineRepeat(
  message: Message,
  config: StreamConfig,
  control: Control,
): PublishError | null {
  if (config.sealed === true) return sealed();
  return (
    checkSize(storedHeaders(message.headers, control), message.data, config) ??
    checkCounter(control) ??
    checkStream(control, config) ??
    (config.allowMsgTtl !== true && (ttlMs(control['Nats-TTL']) ?? 0) !== 0
      ? ttlDisabled()
      : checkSource(control))
  );
}

function checkExpectations(
  subject: string,
  view: PublishView,
  control: Control,
): PublishError | null {
  const { config } = view;
  const error = checkCounter(control) ?? checkStream(control, config);
  if (error !== null) return error;
  if (config.allowMsgTtl !== true && (ttlMs(control['Nats-TTL']) ?? 0) !== 0) return ttlDisabled();
  return (
    checkLastSequences(subject, view, control) ??
    checkSchedule(control, subject) ??
    checkSource(control) ??
    checkLastMsgId(view, control)
  );
}

function checkLastSequences(
  subject: string,
  view: PublishView,
  control: Control,
): PublishError | null {
  const ofSubject = said(control['Nats-Expected-Last-Subject-Sequence']);
  const filter = said(control['Nats-Expected-Last-Subject-Sequence-Subject']);
  if (ofSubject !== undefined) {
    const actual = view.lastSeqOf(filter ?? subject);
    if (sequence(ofSubject) !== actual) return wrongLastSequence(actual);
  } else if (filter !== undefined) {
    return missingSequence();
  }
  const ofStream = said(control['Nats-Expected-Last-Sequence']);
  if (ofStream === undefined || sequence(ofStream) === view.lastSeq) return null;
  return wrongLastSequence(view.lastSeq);
}

export function checkLastMsgId({ lastMsgId }: PublishView, control: Control): PublishError | null {
  const expected = said(control['Nats-Expected-Last-Msg-Id']);
  if (expected === undefined || expected === lastMsgId) return null;
  return new PublishError(400, 10070, `wrong last msg ID: ${lastMsgId ?? ''}`);
}

/** Sizes that are the stream's configuration or the format's; room on the disk is another matter. */
export function checkSize(
  headers: Buffer | null,
  data: Buffer,
  { maxMsgBytes }: StreamConfig,
): PublishError | null {
  const headerBytes = headers?.length ?? 0;
  if (maxMsgBytes !== undefined && headerBytes + data.length > maxMsgBytes) return tooLarge();
  return headerBytes > HEADERS_BYTES_MAX ? headersTooLarge() : null;
}

/** What is kept of a block: no status, and nothing of who asked on the way here. */
export function storedHeaders(
  block: Buffer | undefined,
  control: Control | undefined,
): Buffer | null {
  if (block === undefined) return null;
  const kept = withoutStatus(block);
  if (kept === null || control?.['Nats-Request-Info'] === undefined) return kept;
  return withoutHeader(kept, 'Nats-Request-Info');
}

/**
 * Where the stream marks subjects whose last message has gone, a message lives at least as long as such a marker: it
 * would otherwise go without one. With one message a subject there is never an older marker to be seen again.
 */
export function withLife(admitted: Admitted, lifeMs: number, config: StreamConfig): Admitted {
  const { markerTtlMs, maxMsgsPerSubject } = config;
  const leastMs = Math.floor((markerTtlMs ?? 0) / 1000) * 1000;
  if (lifeMs >= leastMs || maxMsgsPerSubject === 1) return { ...admitted, ttlMs: lifeMs };
  const rest = admitted.headers === null ? null : withoutHeader(admitted.headers, 'Nats-TTL');
  const headers = withLines(rest, [`Nats-TTL: ${leastMs / 1000}`]);
  return { ...admitted, headers, ttlMs: leastMs };
}
