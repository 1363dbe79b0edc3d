// Reads a stream: only what is on the disk, not removed, and undamaged. A record whose CRC is wrong is taken out as it is
// found.

import type { Logger } from '../log.ts';
import type { Epochs } from './epochs.ts';
import type { Hole } from './gaps.ts';
import { recordCrc, type Extent, type Row } from './rows.ts';
import type { Stock } from './stock.ts';
import type { Entry, StoredMessage } from './stream-types.ts';
import type { SubjectFilter } from './subject-filter.ts';
import type { StreamTime } from './timeline.ts';

/** Rows that one `scan` looks at: a few milliseconds of the loop. */
const SCAN_ROWS = 2_000;

export interface ReaderParts {
  readonly name: string;
  readonly timeline: StreamTime;
  readonly log: Logger;
  readonly epochs: Epochs;
}

export class StreamReader {
  readonly #parts: ReaderParts;
  readonly #stock: Stock;

  constructor(parts: ReaderParts, stock: Stock) {
    this.#parts = parts;
    this.#stock = stock;
  }

  /** What the forwarder reads; see `Stream.read`. */
  read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    const { rows: table, durableSeq, removals } = this.#stock;
    const entries: Entry[] = [];
    let next = afterSeq + 1;
    const from = Math.max(next, this.#stock.firstSeq);
    const rows = table.read(from, durableSeq, max, bytesMax);
    for (const row of rows) {
      const message = removals.has(row.seq) ? undefined : this.#message(row);
      if (message === undefined) continue;
      if (row.seq > next) this.#pushGaps(entries, next, row.seq - 1);
      entries.push({ kind: 'message', message });
      next = row.seq + 1;
    }
    if (next > durableSeq) return entries;
    // Is the rest a hole, or just not read yet?
    const last = rows.at(-1)?.seq ?? from - 1;
    const more = table.next(last + 1);
    const end = more === null || more > durableSeq ? durableSeq : last;
    if (next <= end) this.#pushGaps(entries, next, end);
    return entries;
  }

  #pushGaps(entries: Entry[], first: number, last: number): void {
    for (const hole of this.#stock.gaps.between(first, last)) {
      entries.push({ kind: 'gap', gap: this.#gap(hole) });
    }
  }

  #gap({
    firstSeq,
    lastSeq,
    reason,
    firstTs,
    lastTs,
  }: Hole): Extract<Entry, { kind: 'gap' }>['gap'] {
    const { timeline, epochs } = this.#parts;
    return {
      firstSeq,
      lastSeq,
      count: lastSeq - firstSeq + 1,
      reason,
      epoch: epochs.of(lastSeq),
      firstTimeMs: firstTs === null ? null : timeline.wall(firstTs).timeMs,
      lastTimeMs: lastTs === null ? null : timeline.wall(lastTs).timeMs,
    };
  }

  #message(row: Row): StoredMessage | undefined {
    const subject = this.#stock.subjects.byId(row.subjectId)?.subject;
    const { seq, subjectId, ts, headers, data } = row;
    if (subject === undefined || recordCrc(seq, subjectId, ts, headers, data) !== row.crc) {
      this.#quarantine(row);
      return undefined;
    }
    const { timeline, epochs } = this.#parts;
    const { timeMs, synced } = timeline.wall(ts);
    const message = { subject, data, seq, epoch: epochs.of(seq), timeMs, timeSynced: synced };
    return headers === null ? message : { ...message, headers };
  }

  #quarantine(row: Row): void {
    const { seq, subjectId, ts, headers, data } = row;
    const bytes = data.length + (headers?.length ?? 0);
    this.#stock.take({ seq, subjectId, ts, bytes }, 'corrupt', true);
    this.#stock.removals.quarantine(row);
    this.#parts.log.error(
      {
        stream: this.#parts.name,
        seq,
        hint: 'the storage damaged a record: check the card',
      },
      'a stored message failed its checksum; it is kept in quarantine and its place is a gap',
    );
  }

  get(seq: number): StoredMessage | undefined {
    const { rows, durableSeq } = this.#stock;
    if (seq > durableSeq || seq < this.#stock.firstSeq || !this.#stock.stands(seq))
      return undefined;
    const row = rows.read(seq, seq, 1, 1)[0];
    return row === undefined ? undefined : this.#message(row);
  }

  /** Messages under `filter` from `fromSeq` on, of a bounded number of rows; `nextSeq` is where to go on. */
  scan(
    filter: SubjectFilter,
    fromSeq: number,
    { messagesMax, bytesMax }: { readonly messagesMax: number; readonly bytesMax: number },
  ): { messages: StoredMessage[]; nextSeq: number } {
    const { durableSeq } = this.#stock;
    const from = Math.max(fromSeq, this.#stock.firstSeq);
    if (from > durableSeq || this.#hasNone(filter, from))
      return { messages: [], nextSeq: durableSeq + 1 };
    return filter.isAll
      ? this.#scanAll(from, messagesMax, bytesMax)
      : this.#scanSome(filter, from, messagesMax, bytesMax);
  }

  /** A filter for one subject that has nothing from there on needs no search. */
  #hasNone({ literal }: SubjectFilter, from: number): boolean {
    if (literal === undefined) return false;
    const entry = this.#stock.subjects.find(literal);
    if (entry === undefined || entry.count === entry.pending) return true;
    return entry.shownSeq > 0 && entry.shownSeq < from;
  }

  #scanAll(
    from: number,
    messagesMax: number,
    bytesMax: number,
  ): { messages: StoredMessage[]; nextSeq: number } {
    const { rows: table, removals, durableSeq } = this.#stock;
    const max = Math.min(messagesMax, SCAN_ROWS);
    const rows = table.read(from, durableSeq, max, bytesMax);
    const messages: StoredMessage[] = [];
    for (const row of rows) {
      const message = removals.has(row.seq) ? undefined : this.#message(row);
      if (message !== undefined) messages.push(message);
    }
    const last = rows.at(-1)?.seq ?? durableSeq;
    return { messages, nextSeq: last + 1 };
  }

  #scanSome(
    filter: SubjectFilter,
    from: number,
    messagesMax: number,
    bytesMax: number,
  ): { messages: StoredMessage[]; nextSeq: number } {
    const found: number[] = [];
    let bytes = 0;
    let { extents, nextSeq } = this.#candidates(filter, from, messagesMax);
    for (const extent of extents) {
      if (!this.#covers(filter, extent)) continue;
      found.push(extent.seq);
      bytes += extent.bytes;
      if (found.length < messagesMax && bytes < bytesMax) continue;
      nextSeq = extent.seq + 1;
      break;
    }
    const messages: StoredMessage[] = [];
    for (const row of this.#stock.rows.pick(found)) {
      const message = this.#message(row);
      if (message !== undefined) messages.push(message);
    }
    return { messages, nextSeq };
  }

  #candidates(
    { literal }: SubjectFilter,
    from: number,
    messagesMax: number,
  ): { extents: Extent[]; nextSeq: number } {
    const { rows, removals, durableSeq } = this.#stock;
    const entry = literal === undefined ? undefined : this.#stock.subjects.find(literal);
    if (entry === undefined || !rows.indexed)
      return this.#stock.extents(from, durableSeq, SCAN_ROWS);
    const max = Math.min(messagesMax, SCAN_ROWS);
    const extents = rows.ofSubject(entry.id, from, durableSeq, max);
    const nextSeq = extents.length < max ? durableSeq + 1 : (extents.at(-1)?.seq ?? from) + 1;
    return { extents: extents.filter(({ seq }) => !removals.has(seq)), nextSeq };
  }

  #covers(filter: SubjectFilter, { subjectId }: Extent): boolean {
    const subject = this.#stock.subjects.byId(subjectId)?.subject;
    // What is damaged is read, and found to be.
    return subject === undefined || filter.coversId(subjectId, subject);
  }

  /** The first sequence stored at or after `timeMs` of the wall clock; one past the last for none. */
  seqAtTime(timeMs: number): number {
    const { rows, durableSeq } = this.#stock;
    let low = this.#stock.firstSeq;
    let high = durableSeq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const extent = rows.extents(middle, high - 1, 1)[0];
      if (extent === undefined || this.#parts.timeline.wall(extent.ts).timeMs >= timeMs)
        high = middle;
      else low = extent.seq + 1;
    }
    const first = this.#stock.extents(low, durableSeq, 1 + this.#stock.removals.size);
    return first.extents[0]?.seq ?? durableSeq + 1;
  }
}
