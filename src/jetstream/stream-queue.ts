// What a stream has accepted and not yet committed: the rows as flat parameters for the bulk INSERT, and who waits.

import type { PublishError, Receipt } from '../message.ts';
import { BULK_PARAMETERS, type Row } from './rows.ts';

interface Accepted {
  readonly lastSeq: number;
  /** Tells everybody that their messages are on the disk. */
  acknowledge(): void;
}

/** A record that was accepted and then refused. */
export interface Refused {
  readonly subjectId: number;
  readonly headers: Buffer | null;
  readonly data: Buffer;
}

export class StreamQueue {
  readonly #stream: string;
  #bulks: unknown[][] = [];
  #receipts: (Receipt | undefined)[] = [];
  #firstSeq = 0;
  #bytes = 0;

  constructor(stream: string) {
    this.#stream = stream;
  }

  get length(): number {
    return this.#receipts.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Parameters of INSERT statements, six a row in the order of the columns; all but the last are full. */
  get bulks(): readonly unknown[][] {
    return this.#bulks;
  }

  push(row: Row, bytes: number, receipt: Receipt | undefined): void {
    if (this.#receipts.length === 0) this.#firstSeq = row.seq;
    let bulk = this.#bulks.at(-1);
    if (bulk === undefined || bulk.length === BULK_PARAMETERS) this.#bulks.push((bulk = []));
    bulk.push(row.seq, row.subjectId, row.ts, row.headers, row.data, row.crc);
    this.#receipts.push(receipt);
    this.#bytes += bytes;
  }

  /** Empties the queue after a commit; undefined when nothing was in it. */
  take(): Accepted | undefined {
    if (this.#receipts.length === 0) return undefined;
    const receipts = this.#receipts;
    const firstSeq = this.#firstSeq;
    const stream = this.#stream;
    this.#clear();
    return {
      lastSeq: firstSeq + receipts.length - 1,
      acknowledge() {
        for (let i = 0; i < receipts.length; i++)
          receipts[i]?.(null, { stream, seq: firstSeq + i });
      },
    };
  }

  /** Empties the queue after a rollback: what was in it, and how to tell everybody. */
  takeBack(): { records: Refused[]; refuse: (error: PublishError) => void } {
    const receipts = this.#receipts;
    const records: Refused[] = [];
    for (const bulk of this.#bulks) {
      for (let at = 0; at < bulk.length; at += 6) {
        records.push({
          subjectId: bulk[at + 1] as number,
          headers: bulk[at + 3] as Buffer | null,
          data: bulk[at + 4] as Buffer,
        });
      }
    }
    this.#clear();
    return {
      records,
      refuse(error) {
        for (const receipt of receipts) receipt?.(error, null);
      },
    };
  }

  #clear(): void {
    this.#bulks = [];
    this.#receipts = [];
    this.#bytes = 0;
  }
}
