// A stream: takes messages in, numbers them, keeps them within its limits, and gives back what is on the disk. What it
// has is in its stock; this is who does what with it, and in which order the store's transactions see it.
//
// A message is numbered when it is accepted and queued for the turn's transaction; nothing above `durableSeq` is ever
// shown to anybody: no receipt, no read, no forwarding, no word to those who watch.

import { assert } from '../assert.ts';
import type { Cancel } from '../clock.ts';
import type { Message, PublishError, Receipt } from '../message.ts';
import type { DuplicateWindow } from './duplicates.ts';
import { deadLetter } from './dead-letters.ts';
import { effectsOf } from './effects.ts';
import { Epochs } from './epochs.ts';
import { Expiry } from './expiry.ts';
import { Forwarding } from './forwarding.ts';
import { Intake } from './intake.ts';
import { Interests } from './interests.ts';
import { KeepMore } from './keep-more.ts';
import { Numbering } from './numbering.ts';
import { Lookups } from './lookups.ts';
import { BatchRoom } from './publish/batch-room.ts';
import { Batches } from './publish/batches.ts';
import { readControl } from './publish/control.ts';
import { Purge, type PurgeOptions } from './purge.ts';
import { Retention, replacesMessages } from './retention.ts';
import { Rollups } from './rollups.ts';
import { Showing } from './showing.ts';
import { Stock } from './stock.ts';
import type { Participant, Store } from './store.ts';
import type { StreamOptions, StreamParts } from './stream-parts.ts';
import { StreamReader } from './stream-reader.ts';
import type {
  Entry,
  Epoch,
  ForwardMark,
  Interest,
  Mirrored,
  Origin,
  StoredMessage,
  StreamConfig,
  StreamState,
  StreamWatcher,
} from './stream-types.ts';
import type { SubjectFilter } from './subject-filter.ts';

export { MESSAGE_BYTES_MAX } from './intake.ts';
export type { StreamOptions, StreamParts } from './stream-parts.ts';

export class Stream implements Participant {
  readonly name: string;
  readonly id: number;
  readonly createdMs: number;
  readonly origin: Origin;
  readonly #parts: StreamParts;
  readonly #duplicates: DuplicateWindow;
  #config: StreamConfig;
  #forwarded: boolean;
  readonly #stock: Stock;
  readonly #epochs: Epochs;
  readonly numbering: Numbering;
  readonly #forwarding: Forwarding;
  readonly #retention: Retention;
  readonly #intake: Intake;
  readonly #reader: StreamReader;
  readonly #purge: Purge;
  readonly #rollups: Rollups;
  readonly #expiry: Expiry;
  readonly #interests: Interests;
  readonly #batches: Batches;
  readonly #showing: Showing;
  readonly #keepMore: KeepMore;
  readonly #lookups: Lookups;
  /** How far a mirror is, for an answer of the API; of a mirror that is fed. */
  mirrorInfo: (() => object) | undefined;
  /** The transaction that is under way writes the queue, not removals alone. */
  #writesQueue = false;

  /** Opens the stream's rows and begins its epoch; part of a transaction. */
  constructor(parts: StreamParts, options: StreamOptions) {
    const { store, clock, timeline, log } = parts;
    const { db } = store;
    this.#parts = parts;
    this.id = options.id;
    this.createdMs = options.createdMs;
    this.origin = options.origin ?? 'file';
    const config = options.config;
    this.#config = config;
    this.name = config.name;
    this.#duplicates = options.duplicates;
    this.#forwarded = options.graceMs !== null;
    const queue = (): void => store.queue(this, 0, 0);
    const stock = new Stock(store, this.id, this.name, queue);
    this.#stock = stock;
    stock.begin(config.firstSeq);
    if (replacesMessages(config)) stock.rows.indexSubjects();
    this.#epochs = new Epochs(db, this.name, this.id, stock.totals.lastSeq + 1, options.epoch);
    this.#forwarding = new Forwarding(db, this.id, options.graceMs ?? 0);
    stock.confirmedSeq = () => (this.#forwarded ? (this.mark?.seq ?? 0) : Infinity);
    this.#retention = new Retention(stock, config);
    this.#retention.again = () => this.#keepMore.ask();
    this.#keepMore = new KeepMore(parts, () => this.tick());
    this.#showing = new Showing(store, stock, this.#retention, config);
    const on = { store, clock, timeline, streamId: this.id };
    this.#purge = new Purge(store, clock, stock, this.#retention);
    this.#rollups = new Rollups(on, stock, this.#retention, this.#purge);
    this.#interests = new Interests(on, stock, config.retention, queue);
    this.#expiry = new Expiry(
      {
        ...on,
        mark: (marker, done) =>
          this.#intake.takeOwn(marker, Buffer.alloc(0), (error) => done(error === null)),
      },
      stock,
      this.#retention,
      config,
    );
    this.#intake = new Intake(
      {
        store,
        clock,
        timeline,
        quota: parts.quota,
        duplicates: options.duplicates,
        wanted: (id, subject) => this.#interests.wanted(id, subject),
        effects: (taken) =>
          effectsOf(taken, {
            config: this.#config,
            rollups: this.#rollups,
            expiry: this.#expiry,
            timeline,
            publish: parts.publish,
          }),
        queue: (messages, bytes) => store.queue(this, messages, bytes),
      },
      stock,
      this.#retention,
      config,
    );
    this.#reader = new StreamReader(
      { name: this.name, timeline, log, epochs: this.#epochs },
      stock,
    );
    this.#lookups = new Lookups({ store, clock, stock }, this.#reader);
    const numbered = { store, stock, epochs: this.#epochs };
    this.numbering = new Numbering({ ...numbered, intake: this.#intake }, this.id);
    const { advisories, answer, batchRoom: room = new BatchRoom() } = parts;
    this.#batches = new Batches(this, this.#intake, { room, clock, advisories, answer });
  }

  get config(): StreamConfig {
    return this.#config;
  }

  /** Where it is kept: its transactions and their durability. */
  get home(): Store {
    return this.#parts.store;
  }

  get isForwarded(): boolean {
    return this.#forwarded;
  }

  /**
   * Puts other limits in force: what is over them goes within seconds. The name, and with it what is stored, stays.
   * `graceMs` as in StreamOptions; nothing may forward the stream while it changes from or to null.
   */
  reconfigure(config: StreamConfig, graceMs: number | null): void {
    assert(config.name === this.name, 'a stream keeps its name');
    this.#config = config;
    this.#forwarded = graceMs !== null;
    this.#forwarding.graceMs = graceMs ?? 0;
    this.#retention.config = config;
    this.#showing.config = config;
    this.#intake.config = config;
    this.#expiry.config = config;
    this.#interests.retention = config.retention;
    this.#batches.configured();
    if (replacesMessages(config) && !this.#stock.rows.indexed) void this.#stock.index();
  }

  /** The stream is no more, or its process ends: what is under way ends. */
  close(): void {
    this.#keepMore.close();
    this.#batches.close();
    this.#expiry.close();
    this.#interests.close();
    this.#purge.close();
  }

  /** The last sequence that is on the disk. */
  get durableSeq(): number {
    return this.#stock.durableSeq;
  }

  /** The first sequence that exists; one past the last when the stream is empty. */
  get firstSeq(): number {
    return this.#stock.firstSeq;
  }

  /** What the hub has confirmed, or null when nothing was. */
  get mark(): ForwardMark | null {
    return this.#forwarding.mark;
  }

  /** What the hub had confirmed one grace ago: a hub that lost its stream is filled again from behind it. */
  get graceSeq(): number {
    return this.#forwarding.graceSeq(this.#parts.timeline.now());
  }

  /** What it counts against limits, accepted messages included. */
  get bytes(): number {
    return this.#stock.totals.bytes;
  }

  /** Counts and edges of what is on the disk. */
  state(): StreamState {
    const { messages, bytes, firstSeq, durableSeq, subjects } = this.#stock;
    const { timeline } = this.#parts;
    const { lastTs } = this.#showing;
    return {
      messages,
      bytes,
      numDeleted: Math.max(0, durableSeq - firstSeq + 1 - messages),
      firstSeq: Math.min(firstSeq, durableSeq + 1),
      begun: durableSeq > 0 || this.#stock.begun,
      firstTimeMs: this.#timeOf(firstSeq),
      lastSeq: durableSeq,
      lastTimeMs: lastTs === undefined ? null : timeline.wall(lastTs).timeMs,
      subjects: subjects.shown,
      durableSeq,
      duplicateIds: this.#duplicates.size,
    };
  }

  #timeOf(seq: number): number | null {
    const extent = this.#guard(
      undefined,
      () => this.#stock.rows.extents(seq, this.durableSeq, 1)[0],
    );
    return extent === undefined ? null : this.#parts.timeline.wall(extent.ts).timeMs;
  }

  #guard<T>(fallback: T, read: () => T): T {
    return this.#parts.store.guard(fallback, read);
  }

  /** IDs that the duplicate window forgot before their time, for lack of room. */
  get duplicateIdsForgotten(): number {
    return this.#duplicates.forgottenEarly;
  }

  /** All numberings that this stream name ever had, oldest first. */
  epochs(): readonly Epoch[] {
    return this.#epochs.list(this.durableSeq);
  }

  // --- taking in ---

  /** Takes a message in, or refuses it; see Receipt for when the answer comes. */
  store(message: Message, receipt: Receipt | undefined): void {
    if (this.#batches.takeFast(message, receipt) || this.#intake.takePlain(message, receipt))
      return;
    const control = readControl(message.headers);
    if (!this.#batches.take(message, control, receipt))
      this.#intake.take(message, control, receipt);
  }

  /** Stores all of `messages`, in one transaction, or none of them; the receipt acknowledges the last. */
  storeAll(messages: readonly Message[], receipt: Receipt | undefined): void {
    this.#intake.takeAll(messages, receipt);
  }

  /** The last number that was given out, whether the disk has it or not. */
  get acceptedSeq(): number {
    return this.#stock.totals.lastSeq;
  }

  /** Takes in what comes next of the stream that this one mirrors. Returns why not; else the receipt hears, as ever. */
  mirrored(message: Mirrored, receipt: Receipt): PublishError | null {
    return this.#intake.takeMirrored(message, receipt);
  }

  /** Numbers up to `seq` go to no message. False while something accepted is not on the disk: nothing is done then. */
  skipTo(seq: number): boolean {
    return this.#stock.skipTo(seq);
  }

  // --- retention ---

  /** At the start: drops what a crash brought back over the limits, and ends what it cut short. */
  keepLimits(): void {
    this.#guard(undefined, () => {
      this.#rollups.finish();
      this.#retention.keepSubjects();
      this.#retention.keepLimits();
    });
    this.#interests.review();
    this.#expiry.run();
    this.#stock.watchers.settle();
  }

  /** Once a second: drops what is older than it may be, and what is still over limits that became smaller. */
  tick(): void {
    if (this.#forwarding.overdue(this.#parts.timeline.now())) this.#parts.store.queue(this, 0, 0);
    this.#guard(undefined, () => {
      this.#retention.keepSubjects();
      this.#retention.keepLimits();
    });
    this.#expiry.run();
    this.#stock.watchers.settle();
  }

  /** The disk is full: gives back what the hub has already. */
  reclaim(): void {
    this.#guard(undefined, () => this.#retention.reclaim());
    this.#stock.watchers.settle();
  }

  /** Queues everything that is known in memory only, so that the next start need not count. */
  saveAll(): void {
    this.#stock.writeSoon();
  }

  /** Adds a consumer to those whose needs keep messages (interest, work-queue); the returned function: it is deleted. */
  addInterest(interest: Interest): Cancel {
    return this.#interests.add(interest);
  }

  /** A consumer needs `seq` no more; whether it may go is decided with the transaction of this turn. */
  released(seq: number): void {
    this.#interests.released(seq);
  }

  /**
   * Takes out everything, or what is asked for (`filter`, below `belowSeq`, all but the newest `keep`), of what was
   * published before. Resolves with the number of messages, when the disk knows that they are gone.
   */
  purge(options: PurgeOptions = {}): Promise<number> {
    return this.#purge.run(options);
  }

  /** Takes one message out, `erase` without a trace. Resolves when the disk knows it; false: there is none. */
  remove(seq: number, { erase }: { readonly erase: boolean }): Promise<boolean> {
    return this.#purge.remove(seq, erase);
  }

  // --- the store's transaction ---

  write(): void {
    this.#writesQueue = true;
    this.#intake.write();
    this.#interests.write();
    this.writeRemovals();
  }

  writeRemovals(): void {
    // What is deleted must not lie behind the mark that a crash would leave.
    const { totals } = this.#stock;
    const removes = totals.changed || this.#stock.due;
    if (removes || this.#forwarding.due(this.#parts.timeline.now())) this.#forwarding.save();
    if (removes) {
      this.#expiry.write();
      this.#rollups.write();
    }
    this.#retention.write(this.mark?.seq ?? 0);
  }

  committed(): (() => void) | undefined {
    const { totals, queue, watchers } = this.#stock;
    this.#forwarding.saved(this.#parts.timeline.now());
    if (this.#writesQueue) this.#intake.committed();
    if (totals.changed) {
      this.#expiry.committed();
      this.#rollups.committed();
    }
    this.#retention.committed(this.mark?.seq ?? 0);
    const accepted = this.#writesQueue ? queue.take() : undefined;
    this.#interests.committed();
    this.#writesQueue = false;
    if (accepted !== undefined) this.#showing.committed(accepted);
    if (!replacesMessages(this.#config)) this.#guard(undefined, () => this.#retention.keepLimits());
    watchers.flush();
    this.numbering.committed();
    if (accepted === undefined) return watchers.any ? () => watchers.settle() : undefined;
    return () => {
      this.#showing.show(accepted);
      this.#expiry.arm();
    };
  }

  refused(error: PublishError): () => void {
    this.#writesQueue = false;
    const refuse = this.#intake.refused();
    this.#showing.refused();
    this.#stock.removals.refused();
    this.reclaim();
    return () => refuse(error);
  }

  // --- reading ---

  /** Calls `fn` whenever durableSeq has moved. */
  onDurable(fn: () => void): Cancel {
    return this.#showing.listen(fn);
  }

  /** Tells `watcher` of every message that comes or goes from now on. */
  watch(watcher: StreamWatcher): Cancel {
    return this.#stock.watchers.add(watcher);
  }

  /**
   * What is on the disk behind `afterSeq`, in order, with gaps where messages are missing: at most `max` messages and
   * about `bytesMax` bytes, at least one if there is one. A record whose CRC is wrong becomes a gap.
   */
  read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    return this.#guard([], () => this.#reader.read(afterSeq, max, bytesMax));
  }

  /** One message; undefined: there is none, or it is not on the disk yet. */
  get(seq: number): StoredMessage | undefined {
    return this.#guard(undefined, () => this.#reader.get(seq));
  }

  /**
   * Messages under `filter` from `fromSeq` on: at most `messagesMax` and about `bytesMax` bytes, of a bounded number of
   * rows, so perhaps none although there are some. `nextSeq` is where to go on; durableSeq + 1 at the end.
   */
  scan(
    filter: SubjectFilter,
    fromSeq: number,
    limits: { readonly messagesMax: number; readonly bytesMax: number },
  ): { messages: StoredMessage[]; nextSeq: number } {
    const nothing = { messages: [], nextSeq: this.durableSeq + 1 };
    return this.#guard(nothing, () => this.#reader.scan(filter, fromSeq, limits));
  }

  /** The last message under `filter`. */
  lastOf(filter: SubjectFilter): StoredMessage | undefined {
    return this.#guard(undefined, () => this.#lookups.lastOf(filter));
  }

  /**
   * The sequences of the last message of each subject under `filter`, up to `upToSeq`; ascending. Rejects with a
   * RangeError where there are more than `max` subjects.
   */
  lastPerSubject(
    filter: SubjectFilter,
    options: { readonly upToSeq?: number | undefined; readonly max: number },
  ): Promise<number[]> {
    return this.#lookups.lastPerSubject(filter, options);
  }

  /** The first sequence stored at or after `timeMs` of the wall clock; durableSeq + 1 for none. */
  seqAtTime(timeMs: number): number {
    return this.#guard(this.durableSeq + 1, () => this.#reader.seqAtTime(timeMs));
  }

  /**
   * Counts the messages under `filter` from `fromSeq` on, in slices. `done` is called once, perhaps at once, in a turn in
   * which the number is exact: a watcher of the caller can count on from there.
   */
  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): Cancel {
    return this.#lookups.count(filter, fromSeq, done);
  }

  /** The subjects under `filter` that have messages on the disk, and how many. */
  subjects(filter: SubjectFilter): Iterable<[subject: string, count: number]> {
    return this.#lookups.subjects(filter);
  }

  /** Sequences between the first and the last message that are gone: the first `max` of them. */
  deletedSeqs(max: number): Promise<number[]> {
    return this.#lookups.deletedSeqs(max);
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
    this.#interests.confirmed(mark.seq);
  }

  /**
   * Moves a message that the hub will never take into the dead-letter stream. Resolves when that copy is on the disk;
   * rejects with a PublishError when it is refused. From then on `read` shows a gap in its place.
   */
  deadLetter(seq: number, reason: string): Promise<void> {
    const { store, publish } = this.#parts;
    const on = { store, stock: this.#stock, name: this.name };
    return deadLetter(on, publish, seq, reason);
  }
}
