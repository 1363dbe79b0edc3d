// The way into a stream: finds duplicates, asks whether a message may come in, numbers it, and queues it for the turn's
// transaction. All of it is synchronous. If the transaction finds no room, the whole queue is refused and its numbers are
// given out again, which is safe because nothing above `durableSeq` was ever shown to anybody.

import { assert } from '../assert.ts';
import type { Clock } from '../clock.ts';
import { HEADERS_BYTES_MAX, headerValue } from '../headers.ts';
import { PublishError, type Message, type Receipt } from '../message.ts';
import type { DuplicateWindow } from './duplicates.ts';
import { examine, examineRepeat, type Admitted, type PublishView } from './publish/admission.ts';
import { examineBatch, examineFast, type BatchView } from './publish/batch-admission.ts';
import { said, type Control } from './publish/control.ts';
import { examineMirrored } from './publish/mirrored.ts';
import { plainId } from './publish/plain.ts';
import type { Quota } from './quota.ts';
import type { Retention } from './retention.ts';
import { recordBytes, recordCrc } from './rows.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { Effect } from './stream-queue.ts';
import type { Mirrored, StreamConfig } from './stream-types.ts';
import { SUBJECTS_MAX, type Subject } from './subjects.ts';
import type { StreamTime } from './timeline.ts';

/** The largest message (headers and data) a stream takes: nats-server's default max_payload. */
export const MESSAGE_BYTES_MAX = 1024 * 1024;
/** Errors that say up to where the stream goes. */
const SPEAKS_OF_LAST: ReadonlySet<number> = new Set([10070, 10071]);
/** What a batch says of a message whose ID is known. */
const DUPLICATE = 10201;

/** A message that is numbered and queued. */
export interface Taken {
  readonly admitted: Admitted;
  readonly data: Buffer;
  readonly seq: number;
  readonly entry: Subject;
  readonly ts: number;
  /** The message before it on its subject, or 0. */
  readonly lastSeq: number;
}

export interface IntakeParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly timeline: StreamTime;
  readonly quota?: Quota | undefined;
  readonly duplicates: DuplicateWindow;
  /** Whether anybody wants the message at all. */
  readonly wanted: (subjectId: number, subject: string) => boolean;
  /** What a message does besides being stored. */
  readonly effects: (taken: Taken) => readonly Effect[];
  /** Asks for a transaction with so much more. */
  readonly queue: (messages: number, bytes: number) => void;
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #stock: Stock;
  readonly #retention: Retention;
  #config: StreamConfig;
  #isPlain: boolean;
  #lastMsgId = '';
  #committedMsgId = '';
  /** Message IDs whose numbers went to no message, not committed yet. */
  #skippedIds: string[] = [];
  readonly #view: BatchView;

  constructor(parts: IntakeParts, stock: Stock, retention: Retention, config: StreamConfig) {
    this.#parts = parts;
    this.#stock = stock;
    this.#retention = retention;
    this.#config = config;
    this.#isPlain = asksNothing(config);
    this.#view = this.#makeView();
    this.#loadDuplicates();
  }

  set config(config: StreamConfig) {
    this.#config = config;
    this.#isPlain = asksNothing(config);
    this.#parts.duplicates.resize(config.duplicateWindowMs, config.duplicateIdsMax);
  }

  /** What is known of all that was accepted. */
  get view(): PublishView {
    return this.#view;
  }

  #makeView(): BatchView {
    const config = (): StreamConfig => this.#config;
    const lastMsgId = (): string | undefined => said(this.#lastMsgId);
    const stock = this.#stock;
    const { duplicates } = this.#parts;
    return {
      get config() {
        return config();
      },
      get lastSeq() {
        return stock.totals.lastSeq;
      },
      get lastMsgId() {
        return lastMsgId();
      },
      lastSeqOf: (filter) => stock.lastAcceptedOf(filter),
      duplicateOf: (id) => duplicates.find(id),
    };
  }

  /**
   * Takes a message in that says nothing but its ID, into a stream that asks for nothing more: what most are. False:
   * the message has to be looked at.
   */
  takePlain(message: Message, receipt: Receipt | undefined): boolean {
    const id = this.#isPlain ? plainId(message.headers) : undefined;
    if (id === undefined) return false;
    const original = id === '' ? undefined : this.#parts.duplicates.find(id);
    if (original !== undefined) {
      this.#answerDuplicate(original, receipt);
    } else {
      const { subject, headers = null, data } = message;
      const error = this.#accept({ subject, headers }, data, id || undefined, receipt);
      if (error !== null) this.#refuse(error, receipt);
    }
    return true;
  }

  /** Takes a message in, or refuses it; see Receipt for when the answer comes. */
  take(message: Message, control: Control | undefined, receipt: Receipt | undefined): void {
    const id = control?.['Nats-Msg-Id'] || undefined;
    const original = id === undefined ? undefined : this.#parts.duplicates.find(id);
    if (original !== undefined) {
      const error = control === undefined ? null : examineRepeat(message, this.#config, control);
      return error === null
        ? this.#answerDuplicate(original, receipt)
        : this.#refuse(error, receipt);
    }
    const admitted = examine(message, this.#view, control);
    if (admitted instanceof PublishError) return this.#refuse(admitted, receipt);
    const error = this.#accept(admitted, message.data, id, receipt);
    if (error !== null) this.#refuse(error, receipt);
  }

  /** Stores all of `messages`, in one transaction, or none; the receipt acknowledges the last. */
  takeAll(messages: readonly Message[], receipt: Receipt | undefined): void {
    const all = examineBatch(messages, this.#view);
    if (all instanceof PublishError) return this.#refuse(all, receipt);
    const bytes = all.reduce(
      (sum, { subject, headers }, i) =>
        sum + recordBytes(subject, headers, messages[i]?.data ?? EMPTY),
      0,
    );
    const error =
      this.#checkLimitsOfAll(all, bytes) ??
      this.#parts.store.admit(bytes) ??
      this.#parts.quota?.admit(bytes) ??
      null;
    if (error !== null) return this.#refuse(error, receipt);
    for (const [i, admitted] of all.entries()) {
      const data = messages[i]?.data ?? EMPTY;
      const id = headerValue(messages[i]?.headers, 'Nats-Msg-Id') || undefined;
      this.#add(admitted, data, id, i === all.length - 1 ? receipt : undefined);
    }
  }

  /**
   * Takes a message of a fast batch in. Returns at once why it is not; else the receipt hears when the disk has it, or what
   * it is a duplicate of, or that there was no room.
   */
  takeNext(message: Message, control: Control | undefined, receipt: Receipt): PublishError | null {
    const id = said(control?.['Nats-Msg-Id']);
    const admitted = examineFast(message, control, this.#view);
    if (!(admitted instanceof PublishError))
      return this.#accept(admitted, message.data, id, receipt);
    const isDuplicate = admitted.errCode === DUPLICATE && id !== undefined;
    const original = isDuplicate ? this.#parts.duplicates.find(id) : undefined;
    if (original === undefined) return admitted;
    this.#answerDuplicate(original, receipt);
    return null;
  }

  /** A message of the stream's own, such as a marker: it comes in past the limits. */
  takeOwn(admitted: Admitted, data: Buffer, receipt: Receipt): void {
    const error =
      this.#parts.store.admit(recordBytes(admitted.subject, admitted.headers, data)) ??
      this.#add(admitted, data, undefined, receipt);
    if (error !== null) receipt(error, null);
  }

  /**
   * Takes a message of the stream that this one mirrors in, under its number, which is beyond all that were given out.
   * Returns at once why it is not; else the receipt hears when the disk has it, or that there was no room.
   */
  takeMirrored(message: Mirrored, receipt: Receipt): PublishError | null {
    assert(message.seq > this.#stock.totals.lastSeq, 'a mirror stores a number once');
    const admitted = examineMirrored(message, this.#config);
    if (admitted instanceof PublishError) return admitted;
    return this.#accept(admitted, message.data, undefined, receipt, message);
  }

  #accept(
    admitted: Admitted,
    data: Buffer,
    id: string | undefined,
    receipt: Receipt | undefined,
    origin?: Mirrored,
  ): PublishError | null {
    const bytes = recordBytes(admitted.subject, admitted.headers, data);
    const error = this.#checkLimits(admitted, data, bytes) ?? this.#parts.store.admit(bytes);
    if (error !== null) return error;
    const overQuota = this.#parts.quota?.admit(bytes) ?? null;
    return overQuota ?? this.#add(admitted, data, id, receipt, origin);
  }

  #checkLimits(admitted: Admitted, data: Buffer, bytes: number): PublishError | null {
    const { discard, maxBytes, retention } = this.#config;
    const headerBytes = admitted.headers?.length ?? 0;
    if (headerBytes > HEADERS_BYTES_MAX)
      return new PublishError(400, 10097, 'header size exceeds maximum allowed of 64k');
    const isNew = discard === 'new';
    if (data.length + headerBytes > MESSAGE_BYTES_MAX || (!isNew && bytes > maxBytes))
      return new PublishError(400, 10054, 'message size exceeds maximum allowed');
    if (!isNew) return null;
    return retention === 'interest' && !this.#isWanted(admitted.subject)
      ? null
      : this.#checkDiscardNew(admitted, bytes);
  }

  #isWanted(subject: string): boolean {
    const entry = this.#stock.subjects.find(subject);
    return entry === undefined || this.#parts.wanted(entry.id, subject);
  }

  #checkDiscardNew({ subject, rollup }: Admitted, bytes: number): PublishError | null {
    const { maxMsgsPerSubject: max, discardNewPerSubject } = this.#config;
    const entry = max === undefined ? undefined : this.#stock.subjects.find(subject);
    const replaces = max !== undefined && entry !== undefined && entry.count >= max;
    if (replaces && discardNewPerSubject === true && rollup === undefined)
      return full('maximum messages per subject exceeded');
    const { store } = this.#parts;
    if (this.#retention.exceeded(bytes) !== undefined)
      store.guard(undefined, () => this.#retention.makeRoom(bytes));
    const exceeded = this.#retention.exceeded(bytes);
    if (exceeded === undefined) return null;
    // It takes the place of the oldest of its subject, where that is as large.
    const oldest = replaces
      ? store.guard(undefined, () => this.#stock.ofSubject(entry, 1)[0])
      : undefined;
    const enough = exceeded === 'messages' ? 0 : bytes;
    if (oldest !== undefined && this.#stock.bytesOf(oldest) >= enough) return null;
    return full(`maximum ${exceeded} exceeded`);
  }

  #checkLimitsOfAll(all: readonly Admitted[], bytes: number): PublishError | null {
    const { discard, maxMsgs, maxBytes } = this.#config;
    const { totals, subjects } = this.#stock;
    if (subjects.size + all.length > SUBJECTS_MAX && this.#newSubjects(all) > SUBJECTS_MAX)
      return full('maximum subjects exceeded');
    if (discard !== 'new') return null;
    if (maxMsgs !== undefined && totals.messages + all.length > maxMsgs)
      return full('maximum messages exceeded');
    if (totals.bytes + bytes > maxBytes) return full('maximum bytes exceeded');
    return this.#checkSubjectsOfAll(all);
  }

  #newSubjects(all: readonly Admitted[]): number {
    const { subjects } = this.#stock;
    const names = new Set(all.map(({ subject }) => subject));
    for (const name of names) if (subjects.find(name) !== undefined) names.delete(name);
    return subjects.size + names.size;
  }

  #checkSubjectsOfAll(all: readonly Admitted[]): PublishError | null {
    const { maxMsgsPerSubject: max, discardNewPerSubject } = this.#config;
    if (max === undefined || discardNewPerSubject !== true) return null;
    const counts = new Map<string, number>();
    for (const { subject, rollup } of all) {
      const count = (counts.get(subject) ?? this.#stock.subjects.find(subject)?.count ?? 0) + 1;
      if (count > max && rollup === undefined) return full('maximum messages per subject exceeded');
      counts.set(subject, count);
    }
    return null;
  }

  #add(
    admitted: Admitted,
    data: Buffer,
    id: string | undefined,
    receipt: Receipt | undefined,
    origin?: Mirrored,
  ): PublishError | null {
    const { subject, headers } = admitted;
    const { totals, subjects, queue } = this.#stock;
    const entry = subjects.intern(subject);
    if (entry === undefined) return full('maximum subjects exceeded');
    if (origin !== undefined)
      while (totals.lastSeq < origin.seq - 1) this.#skip(undefined, undefined);
    this.#lastMsgId = id ?? '';
    if (this.#config.retention === 'interest' && !this.#parts.wanted(entry.id, subject)) {
      subjects.release(entry);
      this.#skip(id, receipt);
      return null;
    }
    const bytes = recordBytes(subject, headers, data);
    const lastSeq = this.#config.republish === undefined ? 0 : this.#stock.lastAccepted(entry);
    const seq = totals.add(bytes);
    subjects.accept(entry, seq);
    const { clock, duplicates, timeline } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (id !== undefined) duplicates.add(id, seq, nowMs);
    const ts = origin?.timeMs ?? timeline.at(nowMs);
    const crc = recordCrc(seq, entry.id, ts, headers, data);
    queue.push({ seq, subjectId: entry.id, ts, headers, data, crc }, entry, bytes, receipt);
    const { rollup, ttlMs } = admitted;
    if (rollup !== undefined || ttlMs !== undefined || this.#config.republish !== undefined)
      for (const effect of this.#parts.effects({ admitted, data, seq, entry, ts, lastSeq }))
        queue.pushEffect(effect);
    this.#parts.queue(1, bytes);
    return null;
  }

  /** Nobody wants the message: its number is used up, and its publisher hears of it as of any. */
  #skip(id: string | undefined, receipt: Receipt | undefined): void {
    const seq = this.#stock.totals.skip();
    if (id !== undefined) {
      this.#parts.duplicates.add(id, seq);
      this.#skippedIds.push(id);
    }
    this.#stock.queue.pushNothing(seq, this.#parts.timeline.now(), receipt);
    this.#parts.queue(1, 0);
  }

  /** A duplicate is told the original's sequence, once the original is on the disk. */
  #answerDuplicate(seq: number, receipt: Receipt | undefined): void {
    if (receipt === undefined) return;
    const quiet = this.#config.noAck === true;
    const ack = { stream: this.#config.name, seq, duplicate: true };
    if (seq <= this.#stock.durableSeq) return receipt(null, ack, quiet);
    this.#parts.store.whenDurable((error) => receipt(error, error === null ? ack : null, quiet));
  }

  /** A refusal that says how far the stream is waits until that is on the disk. */
  #refuse(error: PublishError, receipt: Receipt | undefined): void {
    if (receipt === undefined) return;
    const { name, noAck } = this.#config;
    this.whenKnown(error, () => receipt(error, { stream: name, seq: 0 }, noAck === true));
  }

  /** Calls `tell` when what `error` says of the stream is on the disk, or was refused by it. */
  whenKnown(error: PublishError, tell: () => void): void {
    const { totals, durableSeq } = this.#stock;
    if (totals.lastSeq > durableSeq && SPEAKS_OF_LAST.has(error.errCode))
      this.#parts.store.whenDurable(tell);
    else tell();
  }

  /** Part of the transaction. */
  write(): void {
    const { subjects, queue, rows } = this.#stock;
    subjects.writeAdded();
    for (const bulk of queue.bulks) rows.insert(bulk);
    for (const effect of queue.effects) effect.write?.();
  }

  committed(): void {
    this.#stock.subjects.committed();
    this.#committedMsgId = this.#lastMsgId;
    this.#skippedIds = [];
  }

  /** The transaction found no room: gives the numbers back. Returns how to tell everybody. */
  refused(): (error: PublishError) => void {
    const { totals, subjects, queue } = this.#stock;
    const { duplicates } = this.#parts;
    const { batch, headers, refuse } = queue.takeBack();
    for (const [i, entry] of (batch?.subjects ?? []).entries()) {
      if (entry === undefined) continue;
      subjects.remove(entry, 0, true);
      totals.remove(batch?.bytes[i] ?? 0, true);
    }
    for (const block of headers) {
      const id = headerValue(block ?? undefined, 'Nats-Msg-Id');
      if (id) duplicates.remove(id);
    }
    for (const id of this.#skippedIds) duplicates.remove(id);
    this.#skippedIds = [];
    totals.takeBack(batch?.receipts.length ?? 0);
    duplicates.takeBack(totals.lastSeq);
    this.#lastMsgId = this.#committedMsgId;
    subjects.refused();
    return refuse;
  }

  /** Remembers the message IDs stored last, as if they had just come: a window rather too long than too short. */
  #loadDuplicates(): void {
    const { duplicateWindowMs, duplicateIdsMax } = this.#config;
    const { rows, totals } = this.#stock;
    // The last message may be gone, and those before it stand.
    const lastSeq = rows.bounds().last ?? 0;
    const last = rows.read(lastSeq, lastSeq, 1, 1)[0];
    if (last === undefined) return;
    if (lastSeq === totals.lastSeq)
      this.#lastMsgId = headerValue(last.headers ?? undefined, 'Nats-Msg-Id') ?? '';
    this.#committedMsgId = this.#lastMsgId;
    if (duplicateWindowMs === 0 || duplicateIdsMax === 0) return;
    const from = Math.max(totals.firstSeq, last.seq - duplicateIdsMax + 1);
    for (let next = from; next <= last.seq;) {
      const found = rows.read(next, last.seq, 1_000, MESSAGE_BYTES_MAX);
      for (const { seq, ts, headers } of found) {
        if (ts < last.ts - duplicateWindowMs) continue;
        const id = headerValue(headers ?? undefined, 'Nats-Msg-Id');
        if (id) this.#parts.duplicates.add(id, seq);
      }
      next = (found.at(-1)?.seq ?? last.seq) + 1;
    }
  }
}

const EMPTY = Buffer.alloc(0);

/** Whether what a message says nothing about needs no look either. */
function asksNothing({ sealed, subjectTransform, maxMsgBytes }: StreamConfig): boolean {
  return sealed !== true && subjectTransform === undefined && maxMsgBytes === undefined;
}

function full(text: string): PublishError {
  return new PublishError(503, 10077, text);
}
