// Whether a stream takes a whole atomic batch in (ADR-50): all of its messages, or none. A batch is judged as one step:
// expectations speak of the stream as it is before the batch, so none may be about what the batch itself has written.

import { HEADERS_BYTES_MAX } from '../../headers.ts';
import { PublishError, type Message } from '../../message.ts';
import {
  checkLastMsgId,
  storedHeaders,
  withLife,
  type Admitted,
  type PublishView,
} from './admission.ts';
import {
  checkCounter,
  checkRollup,
  checkSchedule,
  checkSource,
  checkStream,
  headersTooLarge,
  invalidTtl,
  missingSequence,
  sequence,
  ttlDisabled,
  ttlMs,
  wrongLastSequence,
} from './checks.ts';
import { readControl, said, type Control } from './control.ts';
import { transformOf } from './subject-transform.ts';

export interface BatchView extends PublishView {
  /** The sequence of the message that the duplicate window knows by `id`. */
  duplicateOf(id: string): number | undefined;
}

/** What the messages judged so far have done. */
interface Staged {
  readonly ids: Set<string>;
  readonly subjects: Set<string>;
  /** What was found for each subject that was asked for. */
  readonly lastSeqs: Map<string, number>;
  count: number;
}

/** The forms in which `messages` are stored, in their order, or why none of them is. Limits of room are the stream's. */
export function examineBatch(
  messages: readonly Message[],
  view: BatchView,
): readonly Admitted[] | PublishError {
  const staged: Staged = { ids: new Set(), subjects: new Set(), lastSeqs: new Map(), count: 0 };
  const admitted: Admitted[] = [];
  for (const message of messages) {
    const control = readControl(message.headers);
    const one = checkUnsupported(control) ?? examineOne(message, control, view, staged);
    if (one instanceof PublishError) return one;
    staged.subjects.add(one.subject);
    staged.count++;
    admitted.push(one);
  }
  return admitted;
}

/** The same for a message of a fast batch, which is one for itself. `control` is what its headers say. */
export function examineFast(
  message: Message,
  control: Control | undefined,
  view: BatchView,
): Admitted | PublishError {
  const alone = {
    ids: new Set<string>(),
    subjects: new Set<string>(),
    lastSeqs: new Map(),
    count: 0,
  };
  const one = examineOne(message, control, view, alone);
  if (one instanceof PublishError || control === undefined) return one;
  return checkLastMsgId(view, control) ?? one;
}

function examineOne(
  message: Message,
  control: Control | undefined,
  view: BatchView,
  staged: Staged,
): Admitted | PublishError {
  const { config } = view;
  const subject = transformOf(config.subjectTransform)?.apply(message.subject) ?? message.subject;
  const headers = storedHeaders(message.headers, control);
  if (control === undefined) return { subject, headers };
  const error =
    checkHeaders(headers) ??
    checkCounter(control) ??
    checkStream(control, config) ??
    checkTtl(control, config.allowMsgTtl === true) ??
    checkDuplicate(control, view, staged) ??
    checkSource(control) ??
    checkLastSequences(subject, control, view, staged) ??
    checkSchedule(control, subject);
  if (error !== null) return error;
  const rollup = checkRollup(control, config);
  if (rollup instanceof PublishError) return rollup;
  if (rollup === 'sub' && staged.subjects.has(subject)) return rollupInvalid('sub');
  if (rollup === 'all' && staged.count > 0) return rollupInvalid('all');
  const lifeMs = ttlMs(control['Nats-TTL']) ?? 0;
  const admitted = { subject, headers, rollup };
  return lifeMs === 0 ? admitted : withLife(admitted, lifeMs, config);
}

function rollupInvalid(which: 'sub' | 'all'): PublishError {
  return new PublishError(500, 10111, `batch rollup ${which} invalid`);
}

function checkUnsupported(control: Control | undefined): PublishError | null {
  if (said(control?.['Nats-Expected-Last-Msg-Id']) === undefined) return null;
  const text = 'atomic publish unsupported header used: Nats-Expected-Last-Msg-Id';
  return new PublishError(400, 10177, text);
}

function checkHeaders(headers: Buffer | null): PublishError | null {
  return (headers?.length ?? 0) > HEADERS_BYTES_MAX ? headersTooLarge() : null;
}

function checkTtl(control: Control, isAllowed: boolean): PublishError | null {
  const lifeMs = ttlMs(control['Nats-TTL']);
  if (lifeMs === 0) return null;
  if (!isAllowed) return ttlDisabled();
  return lifeMs === undefined ? invalidTtl() : null;
}

function checkDuplicate(control: Control, view: BatchView, { ids }: Staged): PublishError | null {
  const id = said(control['Nats-Msg-Id']);
  if (id === undefined) return null;
  if (ids.has(id) || view.duplicateOf(id) !== undefined) {
    return new PublishError(400, 10201, 'atomic publish batch contains duplicate message id');
  }
  ids.add(id);
  return null;
}

function checkLastSequences(
  subject: string,
  control: Control,
  view: BatchView,
  staged: Staged,
): PublishError | null {
  const ofStream = said(control['Nats-Expected-Last-Sequence']);
  if (ofStream !== undefined) {
    const actual = view.lastSeq + staged.count;
    if (sequence(ofStream) !== actual) return wrongLastSequence(actual);
    // Only the first can know what it follows.
    if (staged.count > 0) return overtaken();
  }
  const ofSubject = said(control['Nats-Expected-Last-Subject-Sequence']);
  const filter = said(control['Nats-Expected-Last-Subject-Sequence-Subject']);
  if (ofSubject === undefined) return filter === undefined ? null : missingSequence();
  const about = filter ?? subject;
  if (staged.subjects.has(about)) return overtaken();
  let actual = staged.lastSeqs.get(about);
  if (actual === undefined) staged.lastSeqs.set(about, (actual = view.lastSeqOf(about)));
  return sequence(ofSubject) === actual ? null : wrongLastSequence(actual);
}

/** Something earlier in the batch has changed what the expectation is about. */
function overtaken(): PublishError {
  return new PublishError(400, 10164, 'wrong last sequence');
}
