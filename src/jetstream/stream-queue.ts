// What a stream has accepted and not yet committed: the rows as flat parameters for the bulk INSERT, what they do besides
// once they are on the disk, and who waits.

import type { PublishError, Receipt } from '../message.ts';
import { BULK_PARAMETERS, COLUMNS, type Row } from './rows.ts';
import type { Subject } from './subjects.ts';

/** The column of the headers. */
const HEADERS = 3;

/** What a message does once it is on the disk, such as taking older ones away. */
export interface Effect {
  readonly seq: number;
  /** Part of the transaction that stores the message: a crash before `show` must not lose it. */
  write?(): void;
  /** The message is about to be shown, and all before it are. */
  show?(): void;
  /** It is shown. */
  tell?(): void;
}

/** The messages of one transaction; `subjects`, `bytes` and `receipts` go by sequence from `firstSeq` on. */
export interface AcceptedBatch {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Store time of the last number that was given out. */
  readonly lastTs: number | undefined;
  /** Undefined for a number that went to no message. */
  readonly subjects: readonly (Subject | undefined)[];
  /** As counted against the limits. */
  readonly bytes: readonly number[];
  readonly receipts: readonly (Receipt | undefined)[];
  readonly effects: readonly Effect[];
}

export class StreamQueue {
  #bulks: unknown[][] = [];
  /** Parameters in the last of them. */
  #used = BULK_PARAMETERS;
  #subjects: (Subject | undefined)[] = [];
  #bytes: number[] = [];
  #receipts: (Receipt | undefined)[] = [];
  #effects: Effect[] = [];
  #firstSeq = 0;
  #lastTs: number | undefined;

  /** Numbers given out and not committed. */
  get length(): number {
    return this.#receipts.length;
  }

  /** Parameters of INSERT statements, six a row in the order of the columns; all but the last are full. */
  get bulks(): readonly unknown[][] {
    const last = this.#bulks.at(-1);
    if (last !== undefined) last.length = this.#used;
    return this.#bulks;
  }

  get effects(): readonly Effect[] {
    return this.#effects;
  }

  push(row: Row, subject: Subject, bytes: number, receipt: Receipt | undefined): void {
    const bulk = this.#room();
    const at = this.#used;
    bulk[at] = row.seq;
    bulk[at + 1] = row.subjectId;
    bulk[at + 2] = row.ts;
    bulk[at + 3] = row.headers;
    bulk[at + 4] = row.data;
    bulk[at + 5] = row.crc;
    this.#used = at + COLUMNS;
    this.#lastTs = row.ts;
    this.#add(row.seq, subject, bytes, receipt);
  }

  #room(): unknown[] {
    const last = this.#bulks.at(-1);
    if (last !== undefined && this.#used < BULK_PARAMETERS) return last;
    // Where there are many, one that grows would be copied again and again.
    const bulk: unknown[] = last === undefined ? [] : Array<unknown>(BULK_PARAMETERS);
    this.#bulks.push(bulk);
    this.#used = 0;
    return bulk;
  }

  /** A number that goes to no message. */
  pushNothing(seq: number, ts: number, receipt: Receipt | undefined): void {
    this.#lastTs = ts;
    this.#add(seq, undefined, 0, receipt);
  }

  pushEffect(effect: Effect): void {
    this.#effects.push(effect);
  }

  #add(
    seq: number,
    subject: Subject | undefined,
    bytes: number,
    receipt: Receipt | undefined,
  ): void {
    if (this.#receipts.length === 0) this.#firstSeq = seq;
    this.#subjects.push(subject);
    this.#bytes.push(bytes);
    this.#receipts.push(receipt);
  }

  /** Empties the queue after a commit; undefined when nothing was in it. */
  take(): AcceptedBatch | undefined {
    if (this.#receipts.length === 0) return undefined;
    const batch = {
      firstSeq: this.#firstSeq,
      lastSeq: this.#firstSeq + this.#receipts.length - 1,
      lastTs: this.#lastTs,
      subjects: this.#subjects,
      bytes: this.#bytes,
      receipts: this.#receipts,
      effects: this.#effects,
    };
    this.#clear();
    return batch;
  }

  /** Empties the queue after a rollback: what was in it, the headers of each row, and how to tell everybody. */
  takeBack(): {
    readonly batch: AcceptedBatch | undefined;
    readonly headers: readonly (Buffer | null)[];
    readonly refuse: (error: PublishError) => void;
  } {
    const headers: (Buffer | null)[] = [];
    for (const bulk of this.bulks)
      for (let at = HEADERS; at < bulk.length; at += COLUMNS)
        headers.push(bulk[at] as Buffer | null);
    const batch = this.take();
    return {
      batch,
      headers,
      refuse: (error) => {
        for (const receipt of batch?.receipts ?? []) receipt?.(error, null);
      },
    };
  }

  #clear(): void {
    this.#bulks = [];
    this.#used = BULK_PARAMETERS;
    this.#subjects = [];
    this.#bytes = [];
    this.#receipts = [];
    this.#effects = [];
    this.#lastTs = undefined;
  }
}
