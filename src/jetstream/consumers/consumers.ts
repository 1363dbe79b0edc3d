// The consumers of one stream: makes, finds, changes and deletes them. What a promise of these says is on the disk;
// consumers in memory, and those of streams in memory, are not.

import { randomBytes } from 'node:crypto';
import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import type { Advisories } from '../advisories.ts';
import { ApiError } from '../api/api-error.ts';
import type { SubjectTree } from '../api/subject-tree.ts';
import type { Store } from '../store.ts';
import { AckState } from './ack-state.ts';
import { changed, checkAgainst, checkUpdate, filtersOf, takenBy } from './config-change.ts';
import { sameConfig } from './config.ts';
import { ConsumerEvents } from './consumer-events.ts';
import { ConsumerRecord } from './consumer-record.ts';
import {
  ConsumerRows,
  insertConsumer,
  readConsumers,
  type ConsumerHead,
  type StoredConsumer,
} from './consumer-rows.ts';
import { ConsumerRoom, type Place } from './consumer-room.ts';
import type { ConsumerDeps } from './consumer-deps.ts';
import { Consumer } from './consumer.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import { DeliveryTurns } from './delivery-turns.ts';
import { HUB_CONSUMER } from './info.ts';
import { OldHubs } from './old-hubs.ts';
import { openOutlet } from './outlets.ts';
import { restore, restoredState } from './restore.ts';
import { SourcingLedger } from './sourcing-ledger.ts';
import { startPosition, type StartPosition } from './start-position.ts';
import type { ConsumerConfig } from './types.ts';

/** Consumers of one stream: each takes a few KiB, and looks at every message of its stream. */
export const CONSUMERS_MAX = 10_000;

/** What consumers get from outside. */
export interface ConsumerCollaborators {
  /** Of the stream. */
  readonly store: Store;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly advisories: Advisories;
  /** Shared by all streams; absent, each has its own. */
  readonly turns?: DeliveryTurns;
  /** The same. */
  readonly room?: ConsumerRoom;
  /** The same. */
  readonly sourcing?: SourcingLedger;
}

export class StreamConsumers {
  readonly #stream: ConsumerStream;
  readonly #parts: ConsumerCollaborators;
  readonly #deps: ConsumerDeps;
  readonly #consumers = new Map<string, Consumer>();
  readonly #oldHubs: OldHubs;
  /** Those that are being made, changed or deleted, by name. */
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #room: ConsumerRoom;
  /** What they have of it, by name. */
  readonly #places = new Map<string, Place>();
  /** What those that are being made will be, by name: of two at once, the later one sees the earlier. */
  readonly #making = new Map<string, ConsumerConfig>();
  /** What those that are being changed will be, by name. */
  readonly #changing = new Map<string, ConsumerConfig>();
  /** The filters of all, where a work-queue has asked for them; each change but a new consumer makes them unknown. */
  #taken: SubjectTree | undefined;
  #stored: StoredConsumer[] | undefined;
  /** Closed by a shutdown. What they need stays, for they come again. */
  #retired: Consumer[] = [];
  #isOpen = false;

  constructor(stream: ConsumerStream, parts: ConsumerCollaborators) {
    this.#stream = stream;
    this.#parts = parts;
    const { broker, clock, log, store } = parts;
    this.#room = parts.room ?? new ConsumerRoom();
    this.#oldHubs = new OldHubs(this.#consumers, log);
    this.#deps = {
      broker,
      clock,
      log,
      turns: parts.turns ?? new DeliveryTurns(clock),
      sourcing: parts.sourcing ?? new SourcingLedger(log, clock),
      whenDurable: (done) => store.whenDurable((error) => error === null && done()),
      openOutlet: (host, events) => openOutlet(host, { broker, clock, events }),
      oldHubs: this.#oldHubs,
      expired: (consumer) => void this.#expire(consumer),
    };
  }

  // --- beginning and end ---

  /** Reads the stream's consumers from the disk. */
  load(): void {
    if (this.#stream.config.storage === 'memory') this.#stored = [];
    else this.#stored = readConsumers(this.#parts.store.db, this.#stream.id);
  }

  /** They take part in the stream's retention when it returns, and deliver when it resolves. */
  async start(): Promise<void> {
    if (this.#isOpen) return;
    this.#isOpen = true;
    if (this.#stored === undefined) this.load();
    const stored = this.#stored ?? [];
    this.#stored = undefined;
    const lastSeq = this.#stream.durableSeq;
    const retired = this.#retired;
    this.#retired = [];
    const started = stored.map((one) => {
      const progress = restoredState(one, lastSeq);
      const { id, config, resumeSeq, createdMs } = one;
      this.#places.set(config.name, this.#room.take(config, false));
      const consumer = this.#open({ config, resumeSeq }, { createdMs, id, progress });
      return consumer.resumeFrom((over) =>
        restore(this.#stream, one, progress, { clock: this.#parts.clock, over }),
      );
    });
    for (const consumer of retired) consumer.leave();
    await Promise.all(started);
  }

  /** See Consumer. */
  dismiss(): void {
    for (const consumer of this.#consumers.values()) consumer.dismiss();
  }

  /**
   * The stream is deleted, or does not take part any more: they deliver nothing. The returned function tells whoever
   * listens that they are deleted.
   */
  close(reason: 'deleted' | 'shutdown'): () => void {
    const known = this.all;
    this.#isOpen = false;
    for (const consumer of this.#consumers.values()) consumer.close(reason);
    if (reason === 'shutdown') this.#retired.push(...this.#consumers.values());
    this.#consumers.clear();
    this.#taken = undefined;
    for (const place of this.#places.values()) place.release();
    this.#places.clear();
    return () => {
      for (const { events } of known) events.deleted();
    };
  }

  #open(
    head: ConsumerHead,
    { createdMs, id, progress }: { createdMs: number; id: number | undefined; progress: AckState },
  ): Consumer {
    const { store, clock, advisories } = this.#parts;
    const { name } = head.config;
    const rows = id === undefined ? undefined : new ConsumerRows(store.db, id);
    const record = rows && new ConsumerRecord(store, clock, rows, progress);
    const events = new ConsumerEvents(advisories, this.#stream.name, name);
    const parts = { head, createdMs, progress, events, record };
    const consumer = new Consumer(this.#stream, parts, this.#deps);
    this.#consumers.set(name, consumer);
    consumer.attach();
    return consumer;
  }

  // --- what there is ---

  get count(): number {
    return this.#consumers.size;
  }

  /** By name. */
  get all(): readonly Consumer[] {
    const open = [...this.#consumers.values()].filter(({ isKnown }) => isKnown);
    return open.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Consumer | undefined {
    const consumer = this.#consumers.get(name);
    return consumer?.isKnown === true ? consumer : undefined;
  }

  // --- what clients do ---

  /**
   * Makes a consumer, or changes the one of that name (unless `action` says otherwise); an empty name gets a random one.
   * Rejects with an ApiError.
   */
  async create(config: ConsumerConfig, action: '' | 'create' | 'update' = ''): Promise<Consumer> {
    const name = config.name === '' ? randomBytes(6).toString('base64url') : config.name;
    const wanted = name === config.name ? config : { ...config, name };
    const consumer = await this.#alone(name, () => this.#createOrChange(wanted, action));
    // Who makes one that rests, or changes it, hears so.
    if (consumer.pauseRemainingMs > 0) consumer.events.paused(true, consumer.config.pauseUntilMs);
    return consumer;
  }

  /**
   * Makes what a hub reads the stream with, or goes on with it: with `askedSeq`, but not below what is acknowledged. Rejects as
   * `create` does.
   */
  async source(config: ConsumerConfig, askedSeq: number | undefined): Promise<Consumer> {
    const isInterest = this.#stream.config.retention === 'interest';
    const wanted = this.#oldHubs.placed(config, askedSeq, isInterest);
    const isNew = !this.#consumers.has(wanted.name);
    const made = await this.#alone(wanted.name, () => this.#source(wanted, askedSeq));
    if (!isNew) return made;
    const { doubted, spare } = this.#oldHubs.formersOf(made, askedSeq);
    // The answer waits for none of it: what others do may take long.
    for (const former of doubted) void this.#oldHubs.doubt(former);
    for (const former of spare) void this.#expire(former);
    return made;
  }

  async #source(config: ConsumerConfig, askedSeq: number | undefined): Promise<Consumer> {
    const existing = this.#consumers.get(config.name);
    if (existing === undefined) return await this.#createOrChange(config, '');
    if (existing.config.ackPolicy !== 'flow_control')
      throw new ApiError(400, 10013, 'consumer name already in use');
    const { deliverPolicy, optStartSeq, optStartTimeMs } = existing.config;
    await existing.renew({ ...config, deliverPolicy, optStartSeq, optStartTimeMs }, askedSeq);
    return existing;
  }

  async #createOrChange(
    asked: ConsumerConfig,
    action: '' | 'create' | 'update',
  ): Promise<Consumer> {
    if (!this.#isOpen) throw new ApiError(404, 10059, 'stream not found');
    const { name } = asked;
    if (name === HUB_CONSUMER && this.#stream.isForwarded)
      throw new ApiError(400, 10013, 'consumer name already in use');
    const existing = this.#consumers.get(name);
    const others = [...this.#consumers.values()].flatMap((other) =>
      other === existing ? [] : [other.config],
    );
    others.push(...this.#making.values());
    if (existing === undefined) return await this.#create(asked, action, others);
    const isSame = sameConfig(existing.config, asked);
    if (action === 'create' && !isSame) throw new ApiError(400, 10148, 'consumer already exists');
    const before = existing.config;
    const config = changed(before, asked);
    checkAgainst(this.#stream.config, others, config, false, () => this.#takenBy(others));
    checkUpdate(before, config, existing.outlet.bound);
    if (isSame) return existing;
    const place = this.#places.get(name);
    place?.change(config);
    this.#comes(this.#changing, config);
    try {
      await existing.reconfigure(config);
    } catch (error) {
      place?.change(before);
      throw error;
    } finally {
      this.#changing.delete(name);
      this.#taken = undefined;
    }
    return existing;
  }

  /** The filters of `others`, and those that consumers will have that are being changed. */
  #takenBy(others: readonly ConsumerConfig[]): SubjectTree {
    return takenBy([...others, ...this.#changing.values()]);
  }

  #comes(under: Map<string, ConsumerConfig>, config: ConsumerConfig): void {
    under.set(config.name, config);
    for (const filter of filtersOf(config)) this.#taken?.add(filter);
  }

  async #create(
    config: ConsumerConfig,
    action: '' | 'create' | 'update',
    others: readonly ConsumerConfig[],
  ): Promise<Consumer> {
    if (action === 'update') throw new ApiError(400, 10149, 'consumer does not exist');
    if (this.#consumers.size + this.#making.size >= CONSUMERS_MAX)
      throw new ApiError(400, 10026, 'maximum consumers limit reached');
    checkAgainst(
      this.#stream.config,
      others,
      config,
      true,
      () => (this.#taken ??= this.#takenBy(others)),
    );
    const place = this.#room.take(config);
    this.#comes(this.#making, config);
    try {
      const made = await this.#make(config);
      // Closed meanwhile, nobody else gives it back.
      if (this.#isOpen) this.#places.set(config.name, place);
      else place.release();
      return made;
    } catch (error) {
      place.release();
      this.#taken = undefined;
      throw error;
    } finally {
      this.#making.delete(config.name);
    }
  }

  async #make(config: ConsumerConfig): Promise<Consumer> {
    const { store, clock } = this.#parts;
    // Messages that came before it count as such.
    await new Promise<void>((resolve) => store.whenDurable(() => resolve()));
    const position = await startPosition(this.#stream, config);
    const createdMs = clock.wallMs();
    const head = { config, resumeSeq: position.resumeSeq };
    const start = { consumerSeq: 0, streamSeq: position.seq - 1 };
    const progress = new AckState(start, start);
    const id = this.#isVolatile(config)
      ? undefined
      : await store.alone(() => {
          const row = insertConsumer(store.db, this.#stream.id, head, createdMs);
          new ConsumerRows(store.db, row).saveProgress(start, start);
          return row;
        });
    if (!this.#isOpen) throw new ApiError(404, 10059, 'stream not found');
    const made = this.#open(head, { createdMs, id, progress });
    this.#making.delete(config.name);
    return await this.#begin(made, position);
  }

  async #begin(consumer: Consumer, position: StartPosition): Promise<Consumer> {
    await consumer.begin(position);
    if (consumer.isClosed) throw new ApiError(404, 10059, 'stream not found');
    consumer.events.created();
    return consumer;
  }

  #isVolatile(config: ConsumerConfig): boolean {
    return config.memoryStorage === true || this.#stream.config.storage === 'memory';
  }

  /** Deletes a consumer; false where there is none. On the disk when it resolves. */
  async delete(name: string): Promise<boolean> {
    return await this.#alone(name, async () => {
      const consumer = this.#consumers.get(name);
      if (consumer === undefined) return false;
      this.#consumers.delete(name);
      this.#taken = undefined;
      consumer.halt();
      try {
        await consumer.record?.delete();
      } catch (error) {
        if (this.#isOpen) this.#consumers.set(name, consumer);
        this.#taken = undefined;
        consumer.goOn();
        throw error;
      }
      // Whoever waits for messages is told, and the stream drops what only it needed, when it is gone for good.
      consumer.close('deleted');
      consumer.events.deleted();
      this.#places.get(name)?.release();
      this.#places.delete(name);
      return true;
    });
  }

  async #expire(consumer: Consumer): Promise<void> {
    // One that is just asked for anew is in use.
    if (this.#consumers.get(consumer.name) !== consumer || this.#busy.has(consumer.name)) return;
    try {
      await this.delete(consumer.name);
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'an unused consumer could not be deleted');
    }
  }

  /** One thing at a time for each name. */
  async #alone<T>(name: string, body: () => Promise<T>): Promise<T> {
    for (;;) {
      const before = this.#busy.get(name);
      if (before === undefined) break;
      await before.catch(() => undefined);
    }
    const running = body();
    this.#busy.set(name, running);
    try {
      return await running;
    } finally {
      this.#busy.delete(name);
    }
  }
}
