// A stream: takes messages in, numbers them, keeps them within its limits, and gives back what is on the disk.
//
// Everything here is synchronous. A message is numbered when it is accepted and queued for the turn's transaction; if
// that transaction finds no room, the whole queue is refused and its numbers are given out again, which is safe because
// nothing above `durableSeq` was ever shown to anybody: no receipt, no read, no forwarding.

import { assert } from '../assert.ts';
import type { Cancel } from '../clock.ts';
import { HEADERS_BYTES_MAX, headerValue } from '../headers.ts';
import type { Logger } from '../log.ts';
import { PublishError, type Message, type Receipt } from '../message.ts';
import type { DuplicateWindow } from './duplicates.ts';
import { Epochs } from './epochs.ts';
import { Forwarding } from './forwarding.ts';
import { Gaps, type Hole } from './gaps.ts';
import { Removals, deadLetterHeaders } from './removals.ts';
import { Retention, type Standing } from './retention.ts';
import { Rows, recordBytes, recordCrc, type Row } from './rows.ts';
import type { Participant, Store } from './store.ts';
import { StreamQueue } from './stream-queue.ts';
import type {
  Entry,
  Epoch,
  ForwardMark,
  StoredMessage,
  StreamConfig,
  StreamState,
} from './stream-types.ts';
import { Subjects } from './subjects.ts';
import type { Timeline } from './timeline.ts';
import { readTotals, type Totals } from './totals.ts';

/** The largest message (headers and data) a stream takes: nats-server's default max_payload. */
export const MESSAGE_BYTES_MAX = 1024 * 1024;

export interface StreamParts {
  readonly store: Store;
  readonly timeline: Timeline;
  readonly log: Logger;
  /** Publishes a copy of an unacceptable message; the receipt comes when that copy is on the disk. */
  readonly publishDeadLetter: (message: Message, receipt: Receipt) => void;
}

export interface StreamOptions {
  readonly id: number;
  readonly createdMs: number;
  readonly config: StreamConfig;
  readonly epoch: string;
  /** How long confirmed messages can be sent again to a hub that lost them; null when nothing forwards the stream. */
  readonly graceMs: number | null;
  readonly duplicates: DuplicateWindow;
}

export class Stream implements Participant {
  readonly name: string;
  readonly id: number;
  readonly createdMs: number;
  readonly #parts: StreamParts;
  readonly #duplicates: DuplicateWindow;
  #config: StreamConfig;
  #forwarded: boolean;
  readonly #rows: Rows;
  readonly #subjects: Subjects;
  readonly #gaps: Gaps;
  readonly #totals: Totals;
  readonly #epochs: Epochs;
  readonly #forwarding: Forwarding;
  readonly #retention: Retention;
  readonly #removals: Removals;
  readonly #queue: StreamQueue;
  readonly #listeners = new Set<() => void>();
  #durableSeq: number;
  /** The transaction that is under way writes the queue, not removals alone. */
  #writesQueue = false;

  /** Opens the stream's rows and begins its epoch; part of a transaction. */
  constructor(parts: StreamParts, options: StreamOptions) {
    const { db } = parts.store;
    this.#parts = parts;
    this.id = options.id;
    this.createdMs = options.createdMs;
    this.#config = options.config;
    this.name = options.config.name;
    this.#duplicates = options.duplicates;
    this.#forwarded = options.graceMs !== null;
    this.#rows = new Rows(db, this.id);
    this.#subjects = new Subjects(db, this.id);
    this.#gaps = new Gaps(db, this.id);
    this.#totals = readTotals(db, this.id, this.name, this.#rows, this.#subjects);
    this.#epochs = new Epochs(db, this.name, this.id, this.#totals.lastSeq + 1, options.epoch);
    this.#forwarding = new Forwarding(db, this.id, options.graceMs ?? 0);
    this.#removals = new Removals(db, this.name, this.#rows, this.#subjects);
    this.#retention = new Retention(
      {
        rows: this.#rows,
        subjects: this.#subjects,
        gaps: this.#gaps,
        totals: this.#totals,
        removals: this.#removals,
      },
      this.#config,
      () => this.#parts.store.queue(this, 0, 0),
    );
    this.#queue = new StreamQueue(this.name);
    this.#durableSeq = this.#totals.lastSeq;
    this.#loadDuplicates();
  }

  get config(): StreamConfig {
    return this.#config;
  }

  /**
   * Puts other limits in force: what is over them goes within seconds. The name, and with it what is stored, stays.
   * `graceMs` as in StreamOptions; nothing may forward the stream while it changes from or to null.
   */
  reconfigure(config: StreamConfig, graceMs: number | null): void {
    assert(config.name === this.name, 'a stream keeps its name');
    this.#config = config;
    this.#retention.config = config;
    this.#duplicates.resize(config.duplicateWindowMs, config.duplicateIdsMax);
    this.#forwarded = graceMs !== null;
    this.#forwarding.graceMs = graceMs ?? 0;
  }

  /** The last sequence that is on the disk. */
  get durableSeq(): number {
    return this.#durableSeq;
  }

  /** The first sequence that exists; one past the last when the stream is empty. */
  get firstSeq(): number {
    return this.#totals.firstSeq;
  }

  /** What the hub has confirmed, or null when nothing was. */
  get mark(): ForwardMark | null {
    return this.#forwarding.mark;
  }

  /** What the hub had confirmed one grace ago: a hub that lost its stream is filled again from behind it. */
  get graceSeq(): number {
    return this.#forwarding.graceSeq(this.#parts.timeline.now());
  }

  get #standing(): Standing {
    return {
      committedSeq: this.#totals.lastSeq - this.#queue.length,
      confirmedSeq: this.#forwarded ? (this.mark?.seq ?? 0) : Infinity,
    };
  }

  /** Counts and edges of what is committed. */
  state(): StreamState {
    return {
      messages: this.#totals.messages - this.#queue.length,
      bytes: this.#totals.bytes - this.#queue.bytes,
      firstSeq: this.#totals.firstSeq,
      firstTimeMs: this.#timeOf(this.#totals.firstSeq),
      lastSeq: this.#standing.committedSeq,
      lastTimeMs: this.#timeOf(this.#durableSeq),
      subjects: this.#subjects.size,
      durableSeq: this.#durableSeq,
      duplicateIds: this.#duplicates.size,
    };
  }

  #timeOf(seq: number): number | null {
    const { store } = this.#parts;
    const extent = store.guard(undefined, () => this.#rows.extents(seq, this.#durableSeq, 1)[0]);
    return extent === undefined ? null : this.#parts.timeline.wall(extent.ts).timeMs;
  }

  /** IDs that the duplicate window forgot before their time, for lack of room. */
  get duplicateIdsForgotten(): number {
    return this.#duplicates.forgottenEarly;
  }

  /** All numberings that this stream name ever had, oldest first. */
  epochs(): readonly Epoch[] {
    return this.#epochs.list(this.#durableSeq);
  }

  // --- taking in ---

  /** Takes a message in, or refuses it; see Receipt for when the answer comes. */
  store(message: Message, receipt: Receipt | undefined): void {
    const id = headerValue(message.headers, 'Nats-Msg-Id') || undefined;
    const original = id === undefined ? undefined : this.#duplicates.find(id);
    if (original !== undefined) return this.#answerDuplicate(original, receipt);
    const headers = message.headers ?? null;
    const bytes = recordBytes(message.subject, headers, message.data);
    const error = this.#admit(headers, message.data, bytes);
    if (error !== null) return receipt?.(error, null);
    const subject = this.#subjects.intern(message.subject);
    if (subject === undefined) {
      return receipt?.(new PublishError(503, 10077, 'maximum subjects exceeded'), null);
    }
    const seq = this.#totals.add(bytes);
    this.#subjects.count(subject, 1);
    if (id !== undefined) this.#duplicates.add(id, seq);
    const ts = this.#parts.timeline.now();
    const crc = recordCrc(seq, subject.id, ts, headers, message.data);
    const row = { seq, subjectId: subject.id, ts, headers, data: message.data, crc };
    this.#queue.push(row, bytes, receipt);
    this.#parts.store.queue(this, 1, bytes);
  }

  /** A duplicate is told the original's sequence, once the original is on the disk. */
  #answerDuplicate(seq: number, receipt: Receipt | undefined): void {
    if (receipt === undefined) return;
    const ack = { stream: this.name, seq, duplicate: true };
    if (seq <= this.#durableSeq) return receipt(null, ack);
    this.#parts.store.whenDurable((error) => receipt(error, error === null ? ack : null));
  }

  #admit(headers: Buffer | null, data: Buffer, bytes: number): PublishError | null {
    if ((headers?.length ?? 0) > HEADERS_BYTES_MAX) {
      return new PublishError(400, 10097, 'header size exceeds maximum allowed of 64k');
    }
    if (data.length + (headers?.length ?? 0) > MESSAGE_BYTES_MAX || bytes > this.config.maxBytes) {
      return new PublishError(400, 10054, 'message size exceeds maximum allowed');
    }
    if (this.config.discard === 'new' && !this.#retention.fits(bytes)) {
      this.#parts.store.guard(undefined, () => this.#retention.makeRoom(bytes, this.#standing));
      if (!this.#retention.fits(bytes)) {
        const what = this.#totals.bytes + bytes > this.config.maxBytes ? 'bytes' : 'messages';
        return new PublishError(503, 10077, `maximum ${what} exceeded`);
      }
    }
    return this.#parts.store.admit(bytes);
  }

  /** Remembers the message IDs stored last, as if they had just come: a window rather too long than too short. */
  #loadDuplicates(): void {
    const { duplicateWindowMs, duplicateIdsMax } = this.config;
    const last = this.#rows.extents(this.#totals.lastSeq, this.#totals.lastSeq, 1)[0];
    if (last === undefined || duplicateWindowMs === 0 || duplicateIdsMax === 0) return;
    const from = Math.max(this.#totals.firstSeq, last.seq - duplicateIdsMax + 1);
    for (let next = from; next <= last.seq;) {
      const rows = this.#rows.read(next, last.seq, 1_000, MESSAGE_BYTES_MAX);
      for (const { seq, ts, headers } of rows) {
        if (ts < last.ts - duplicateWindowMs) continue;
        const id = headerValue(headers ?? undefined, 'Nats-Msg-Id');
        if (id) this.#duplicates.add(id, seq);
      }
      next = (rows.at(-1)?.seq ?? last.seq) + 1;
    }
  }

  // --- retention ---

  /** At the start: drops what a crash brought back over the limits. */
  keepLimits(): void {
    this.#parts.store.guard(undefined, () => this.#retention.keepLimits(this.#standing));
  }

  /** Once a second: drops what is older than max_age, and what is still over limits that became smaller. */
  tick(): void {
    if (this.#forwarding.overdue(this.#parts.timeline.now())) this.#parts.store.queue(this, 0, 0);
    this.keepLimits();
    if (this.config.maxAgeMs === undefined) return;
    const oldestTs = this.#parts.timeline.now() - this.config.maxAgeMs;
    this.#parts.store.guard(undefined, () => this.#retention.expire(oldestTs, this.#standing));
  }

  /** The disk is full: gives back what the hub has already. */
  reclaim(): void {
    this.#parts.store.guard(undefined, () => this.#retention.reclaim(this.#standing));
  }

  /** Queues everything that is known in memory only, so that the next start need not count. */
  saveAll(): void {
    this.#totals.changed = true;
    this.#parts.store.queue(this, 0, 0);
  }

  // --- the store's transaction ---

  write(): void {
    this.#writesQueue = true;
    this.#subjects.writeAdded();
    for (const bulk of this.#queue.bulks) this.#rows.insert(bulk);
    if (this.#removals.write()) this.#totals.changed = true;
    this.writeRemovals();
  }

  writeRemovals(): void {
    // What is deleted must not lie behind the mark that a crash would leave.
    const removes = this.#totals.changed || this.#totals.due;
    if (removes || this.#forwarding.due(this.#parts.timeline.now())) this.#forwarding.save();
    this.#retention.write(this.mark?.seq ?? 0);
  }

  committed(): (() => void) | undefined {
    this.#forwarding.saved(this.#parts.timeline.now());
    if (this.#writesQueue) this.#subjects.committed();
    this.#retention.committed(this.mark?.seq ?? 0);
    this.#removals.committed();
    const accepted = this.#writesQueue ? this.#queue.take() : undefined;
    this.#writesQueue = false;
    this.keepLimits();
    if (accepted === undefined) return undefined;
    return () => {
      this.#durableSeq = accepted.lastSeq;
      accepted.acknowledge();
      for (const listener of this.#listeners) listener();
    };
  }

  refused(error: PublishError): () => void {
    this.#writesQueue = false;
    const refused = this.#queue.takeBack();
    for (const { subjectId, headers, data } of refused.records) {
      const subject = this.#subjects.byId(subjectId);
      if (subject !== undefined) this.#subjects.count(subject, -1);
      this.#totals.takeBack(recordBytes(subject?.subject ?? '', headers, data));
      const id = headerValue(headers ?? undefined, 'Nats-Msg-Id');
      if (id) this.#duplicates.remove(id);
    }
    this.#duplicates.takeBack(this.#totals.lastSeq);
    this.#subjects.refused();
    this.#removals.refused();
    this.reclaim();
    return () => refused.refuse(error);
  }

  // --- reading ---

  /** Calls `fn` whenever durableSeq has moved. */
  onDurable(fn: () => void): Cancel {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  /**
   * What is on the disk behind `afterSeq`, in order, with gaps where messages are missing: at most `max` messages and
   * about `bytesMax` bytes, at least one if there is one. A record whose CRC is wrong becomes a gap.
   */
  read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    return this.#parts.store.guard([], () => this.#read(afterSeq, max, bytesMax));
  }

  #read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    const entries: Entry[] = [];
    let next = afterSeq + 1;
    const from = Math.max(next, this.#totals.firstSeq);
    const rows = this.#rows.read(from, this.#durableSeq, max, bytesMax);
    for (const row of rows) {
      const message = this.#removals.has(row.seq) ? undefined : this.#message(row);
      if (message === undefined) continue;
      if (row.seq > next) this.#pushGaps(entries, next, row.seq - 1);
      entries.push({ kind: 'message', message });
      next = row.seq + 1;
    }
    if (next > this.#durableSeq) return entries;
    // Is the rest a hole, or just not read yet?
    const last = rows.at(-1)?.seq ?? from - 1;
    const more = this.#rows.next(last + 1);
    const end = more === null || more > this.#durableSeq ? this.#durableSeq : last;
    if (next <= end) this.#pushGaps(entries, next, end);
    return entries;
  }

  #pushGaps(entries: Entry[], first: number, last: number): void {
    for (const hole of this.#gaps.between(first, last)) {
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
    const { timeline } = this.#parts;
    return {
      firstSeq,
      lastSeq,
      count: lastSeq - firstSeq + 1,
      reason,
      epoch: this.#epochs.of(lastSeq),
      firstTimeMs: firstTs === null ? null : timeline.wall(firstTs).timeMs,
      lastTimeMs: lastTs === null ? null : timeline.wall(lastTs).timeMs,
    };
  }

  #message(row: Row): StoredMessage | undefined {
    const subject = this.#subjects.byId(row.subjectId)?.subject;
    const { seq, subjectId, ts, headers, data } = row;
    if (subject === undefined || recordCrc(seq, subjectId, ts, headers, data) !== row.crc) {
      this.#remove(row, 'corrupt');
      this.#parts.log.error(
        { stream: this.name, seq, hint: 'the storage damaged a record: check the card' },
        'a stored message failed its checksum; it is kept in quarantine and its place is a gap',
      );
      return undefined;
    }
    const { timeMs, synced } = this.#parts.timeline.wall(ts);
    const message = { subject, data, seq, epoch: this.#epochs.of(seq), timeMs, timeSynced: synced };
    return headers === null ? message : { ...message, headers };
  }

  /** Takes one record out of the middle. */
  #remove(row: Row, reason: 'corrupt' | 'dead_letter'): void {
    if (!this.#removals.add(row, reason === 'corrupt')) return;
    const bytes = row.data.length + (row.headers?.length ?? 0);
    const { seq, subjectId, ts } = row;
    this.#retention.drop({ seq, subjectId, ts, bytes }, reason, this.#standing);
    this.#parts.store.queue(this, 0, 0);
  }

  // --- forwarding ---

  /**
   * Moves the forwarder's mark. It is written with the next commit; a `late` one with a later one, after 10 s at most: a
   * start that finds an old mark asks the hub, which must still have what was confirmed since.
   */
  confirm(mark: ForwardMark, late = false): void {
    const ts = this.#parts.timeline.now();
    this.#forwarding.confirm(mark, ts, late);
    if (!late || this.#forwarding.overdue(ts)) this.#parts.store.queue(this, 0, 0);
  }

  /**
   * Moves a message that the hub will never take into the dead-letter stream. Resolves when that copy is on the disk;
   * rejects with a PublishError when it is refused. From then on `read` shows a gap in its place.
   */
  deadLetter(seq: number, reason: string): Promise<void> {
    const row = this.#parts.store.guard([], () => this.#rows.read(seq, seq, 1, 1))[0];
    const subject = row === undefined ? undefined : this.#subjects.byId(row.subjectId)?.subject;
    if (row === undefined || subject === undefined) return Promise.resolve();
    const message = {
      subject: `$DEAD.${this.name}.${subject}`,
      data: row.data,
      headers: deadLetterHeaders(row.headers, this.name, seq, reason),
    };
    return new Promise((resolve, reject) => {
      this.#parts.publishDeadLetter(message, (error) => {
        if (error !== null) return reject(error);
        this.#remove(row, 'dead_letter');
        resolve();
      });
    });
  }
}
