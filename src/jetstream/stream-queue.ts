// What a stream has accepted in this turn and not yet committed: the rows as flat parameters for the bulk INSERT, and
// who waits for them.

import type { PublishError, Receipt } from '../message.ts';
import type { Row } from './rows.ts';

interface Accepted {
  readonly lastSeq: number;
  /** Tells everybody that their messages are on the disk. */
  acknowledge(): void;
}

interface Refused {
  readonly records: readonly { subjectId: number; bytes: number; id: string | undefined }[];
  /** Tells everybody that nothing was stored. */
  refuse(error: PublishError): void;
}

export class StreamQueue {
  readonly #stream: string;
  #flat: unknown[] = [];
  #receipts: (Receipt | undefined)[] = [];
  #records: { subjectId: number; bytes: number; id: string | undefined }[] = [];
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

  /** Six parameters a row, in the order of the columns. */
  get flat(): unknown[] {
    return this.#flat;
  }

  push(row: Row, bytes: number, id: string | undefined, receipt: Receipt | undefined): void {
    if (this.#receipts.length === 0) this.#firstSeq = row.seq;
    this.#flat.push(row.seq, row.subjectId, row.ts, row.headers, row.data, row.crc);
    this.#receipts.push(receipt);
    this.#records.push({ subjectId: row.subjectId, bytes, id });
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

  /** Empties the queue after a rollback. */
  takeBack(): Refused {
    const receipts = this.#receipts;
    const records = this.#records;
    this.#clear();
    return {
      records,
      refuse(error) {
        for (const receipt of receipts) receipt?.(error, null);
      },
    };
  }

  #clear(): void {
    this.#flat = [];
    this.#receipts = [];
    this.#records = [];
    this.#bytes = 0;
  }
}
