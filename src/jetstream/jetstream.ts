// The streams of this gateway: opens the stores, brings the streams of the configuration and those that clients made to
// life with their consumers, and subscribes them to the broker. Streams that are on the disk but no longer configured keep
// their messages; they just take no new ones.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { assert } from '../assert.ts';
import type { Broker } from '../broker.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { PublishError } from '../message.ts';
import { Advisories } from './advisories.ts';
import { Catalog, decodeConfig, type StreamRow } from './catalog.ts';
import { Acks } from './consumers/acks.ts';
import type { StreamConsumers } from './consumers/consumers.ts';
import type { SourcingLedger } from './consumers/sourcing-ledger.ts';
import { lockFile, openDatabase } from './database.ts';
import { giveBackRoom } from './disk.ts';
import { Garbage } from './garbage.ts';
import { Mirrors } from './mirror/mirrors.ts';
import { isLeftOver } from './mirror/renewal.ts';
import { migrate } from './schema.ts';
import { isDamage, isMarkedDamaged, noteDamage, salvage } from './salvage.ts';
import type { Store } from './store.ts';
import { Stores, type StoresOptions } from './stores.ts';
import type { Stream } from './stream.ts';
import { StreamAdmin } from './stream-admin.ts';
import { DEAD_LETTER_STREAM, streamConfigs, type StreamOrder } from './stream-configs.ts';
import { StreamOpener, type Ground } from './stream-opener.ts';
import { StreamSet } from './stream-set.ts';
import type { Origin, StreamConfig } from './stream-types.ts';
import { Table } from './table.ts';
import { Timeline } from './timeline.ts';
import { Upkeep } from './upkeep.ts';

/** Streams that the hub gets, and how long it may ask for them again. */
export type Forwards = ReadonlyMap<string, { readonly graceMs: number }>;

export interface JetStreamOptions extends StoresOptions {
  readonly dataDir: string;
  readonly streams: readonly StreamOrder[];
  readonly forwards: Forwards;
  readonly onFatal: (error: Error) => void;
  /** A new random name for an epoch. */
  readonly newEpoch: () => string;
  /** The JetStream domain; undefined: none is named. */
  readonly domain?: string | undefined;
}

export type { StreamOrder } from './stream-configs.ts';

export interface JetStreamDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
}

export class JetStream {
  readonly #deps: JetStreamDeps;
  readonly #options: JetStreamOptions;
  readonly #lock: { close(): void };
  readonly timeline: Timeline;
  readonly advisories: Advisories;
  /** What hubs that fill their streams from ours have missed. */
  readonly sourcing: SourcingLedger;
  /** What is configured now. */
  #orders: readonly StreamOrder[];
  #forwards: Forwards;
  readonly #set: StreamSet;
  readonly #opener: StreamOpener;
  readonly #stores: Stores;
  readonly #upkeep: Upkeep;
  readonly #garbage: Garbage;
  #memoryGarbage: Garbage | undefined;
  readonly #admin: StreamAdmin;
  /** What keeps streams that mirror others fed. */
  readonly mirrors: Mirrors;
  #acks: Acks | undefined;
  #wasFull = false;

  /** Opens the data directory. Throws DataDirInUseError, SchemaTooNewError, or SQLite's error on a damaged file. */
  constructor(options: JetStreamOptions, deps: JetStreamDeps) {
    const { broker, clock, log } = deps;
    this.#options = options;
    this.#orders = options.streams;
    this.#forwards = options.forwards;
    this.#deps = deps;
    this.advisories = new Advisories(broker, clock, options.domain);
    this.#set = new StreamSet(broker, log);
    const { advisories } = this;
    this.#opener = new StreamOpener({
      ...deps,
      advisories,
      newEpoch: options.newEpoch,
      graceMs: (name) => this.#forwards.get(name)?.graceMs ?? null,
    });
    this.sourcing = this.#opener.sourcing;
    mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
    this.#lock = lockFile(join(options.dataDir, 'lock'));
    try {
      [this.#stores, this.timeline] = this.#openOrSalvage();
    } catch (error) {
      this.#lock.close();
      throw error;
    }
    this.#upkeep = new Upkeep(this.#stores, this.timeline, deps);
    this.#garbage = new Garbage(this.store, clock);
    this.#admin = new StreamAdmin(this.#set, this.limits, {
      make: (config) => this.#make(config, 'api'),
      change: (stream, config) => this.#change(stream, config),
      discard: (stream) => this.#discard(stream),
      isAsleep: (name) => new Catalog(this.store.db).find(name) !== undefined,
    });
    this.mirrors = new Mirrors({
      ...deps,
      domain: options.domain,
      table: () => this.table('mirror'),
      streams: () => this.#set.all,
      ground: () => this.#ground,
      opener: this.#opener,
      join: (stream) => this.#join(stream),
      collect: (store) => this.#collect(store),
    });
    for (const consumers of this.#opener.consumers.values()) consumers.load();
  }

  #openOrSalvage(): [Stores, Timeline] {
    const { dataDir } = this.#options;
    const { log } = this.#deps;
    if (isMarkedDamaged(dataDir)) salvage(dataDir, log);
    try {
      return this.#openAll();
    } catch (error) {
      // What was set aside for this lets the WAL move into the database and the new epochs be written.
      if (isFull(error) && giveBackRoom(dataDir)) return this.#openAll();
      if (!isDamage(error)) throw error;
      log.error({ err: error }, 'the database is damaged: copying what can be read');
      salvage(dataDir, log);
      return this.#openAll();
    }
  }

  #openAll(): [Stores, Timeline] {
    const path = join(this.#options.dataDir, 'mangrove.db');
    const db = openDatabase(path);
    try {
      // What a crash left in the WAL may be in the page cache only: to the disk with it, before anything relies on it.
      db.pragma('wal_checkpoint(TRUNCATE)');
      migrate(db);
      const stores = this.#openStores(db, path);
      const begin = db.transaction(() => {
        const catalog = new Catalog(db);
        const timeline = new Timeline(db, this.#deps.clock, catalog.newestTs());
        this.#set.clear();
        this.#opener.consumers.clear();
        this.#openStreams(catalog, stores, timeline);
        return timeline;
      });
      return [stores, begin.immediate()];
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #openStores(db: ReturnType<typeof openDatabase>, path: string): Stores {
    const { dataDir, onFatal } = this.#options;
    return new Stores(db, path, this.#options, {
      ...this.#deps,
      onFatal: (error) => {
        if (isDamage(error)) noteDamage(dataDir);
        onFatal(error);
      },
      onFull: (error) => this.#full(error),
    });
  }

  #openStreams(catalog: Catalog, stores: Stores, timeline: Timeline): void {
    const on = { stores, timeline };
    const known = new Map(catalog.rows().map((row) => [row.name, row]));
    for (const config of this.#configs(stores)) {
      const row = known.get(config.name);
      known.delete(config.name);
      if (config.storage === 'memory') {
        if (row !== undefined) this.#warnUnused(row.name);
        this.#set.add(this.#opener.openInMemory(on, config, 'file'));
        continue;
      }
      const opened = row ?? catalog.create(config, 'file', this.#deps.clock.wallMs());
      catalog.save(opened.id, config, 'file');
      this.#set.add(this.#opener.open(on, opened, config, 'file'));
    }
    for (const row of known.values()) {
      if (isLeftOver(row.name)) catalog.remove(row);
      else if (row.origin === 'api')
        this.#set.add(this.#opener.open(on, row, decodeConfig(row), 'api'));
      else this.#warnUnused(row.name);
    }
  }

  #warnUnused(name: string): void {
    if (name === DEAD_LETTER_STREAM) return;
    const isBucket = name.startsWith('KV_');
    const table = isBucket ? 'its [[kv_mirror]] or [[stream]]' : `[[stream]] name = "${name}"`;
    this.#deps.log.warn(
      { stream: name, hint: `add ${table} again to use it` },
      'a stream on the disk is not in the configuration: its messages stay, it takes no new ones',
    );
  }

  #configs(stores: Stores, orders = this.#orders, forwards = this.#forwards): StreamConfig[] {
    const { diskBytes, memoryBytesMax } = stores;
    const disk = { ...stores.file.usage(), totalBytes: diskBytes };
    return streamConfigs(orders, { forwarding: forwards.size > 0, disk, memoryBytesMax });
  }

  /** Makes the new epochs durable, then lets messages in. Resolves when the first may be accepted. */
  async start(): Promise<void> {
    await this.store.begin();
    // What a consumer has still to get is known before anything is dropped.
    for (const consumers of this.#opener.consumers.values()) void consumers.start();
    for (const stream of this.#set.all) stream.keepLimits();
    this.#set.open();
    this.#acks = new Acks(this.#deps.broker, (name) => this.#opener.consumers.get(name));
    this.#garbage.collect();
    this.#upkeep.start(() => this.#tick());
    this.mirrors.open();
  }

  /** The store on the disk. */
  get store(): Store {
    return this.#stores.file;
  }

  get #ground(): Ground {
    return { stores: this.#stores, timeline: this.timeline };
  }

  /** Every stream: those of the configuration in its order, then those that clients made. */
  get streams(): readonly Stream[] {
    return this.#set.all;
  }

  stream(name: string): Stream | undefined {
    return this.#set.get(name);
  }

  /** The consumers of a stream. */
  consumers(name: string): StreamConsumers | undefined {
    return this.#set.get(name) === undefined ? undefined : this.#opener.consumers.get(name);
  }

  /** What streams of clients may take of the disk, and all streams in memory. */
  get limits(): { readonly fileBytesMax: number; readonly memoryBytesMax: number } {
    const { quota, memoryBytesMax } = this.#stores;
    return { fileBytesMax: quota.maxBytes, memoryBytesMax };
  }

  /** Bytes of all streams by where they lie. */
  usage(): { memory: number; storage: number } {
    const used = { memory: 0, storage: 0 };
    for (const { config, bytes } of this.#set.all)
      used[config.storage === 'file' ? 'storage' : 'memory'] += bytes;
    return used;
  }

  /** A durable map for another part; `name` is its own. */
  table(name: string): Table {
    return new Table(this.store, name);
  }

  // --- what clients do ---

  /**
   * Makes a stream for a client; durable with its epoch when the promise resolves. Rejects with an ApiError where the name
   * or a subject is taken, or there is no room for it.
   */
  createStream(config: StreamConfig): Promise<Stream> {
    return this.#admin.create(config);
  }

  /** Changes a stream that a client made. Rejects with an ApiError for one of the configuration file. */
  updateStream(config: StreamConfig): Promise<Stream> {
    return this.#admin.update(config);
  }

  /** Deletes a stream that a client made, its consumers and messages. Rejects as `updateStream` does. */
  deleteStream(name: string): Promise<void> {
    return this.#admin.delete(name);
  }

  async #make(config: StreamConfig, origin: Origin): Promise<Stream> {
    const store = this.#stores.of(config.storage);
    const stream = await store.alone(() => {
      const row = new Catalog(store.db).create(config, origin, this.#deps.clock.wallMs());
      return this.#opener.open(this.#ground, row, config, origin);
    });
    this.#join(stream);
    this.mirrors.follow();
    return stream;
  }

  #join(stream: Stream): void {
    this.#set.add(stream);
    void this.#opener.consumers.get(stream.name)?.start();
  }

  async #change(stream: Stream, config: StreamConfig): Promise<void> {
    const { home: store } = stream;
    await store.alone(() => new Catalog(store.db).save(stream.id, config, stream.origin));
    const moved = !isDeepStrictEqual(stream.config.subjects, config.subjects);
    stream.reconfigure(config, null);
    if (moved) this.#set.resubscribe(stream);
    stream.keepLimits();
    this.mirrors.follow();
  }

  async #discard(stream: Stream): Promise<void> {
    const { name, id, origin, home: store } = stream;
    this.#set.remove(name);
    // What it has accepted is answered first.
    await new Promise<void>((resolve) => store.whenDurable(() => resolve()));
    try {
      await store.alone(() => new Catalog(store.db).remove({ id, name, origin }));
    } catch (error) {
      // The disk is full, or somebody else's: it goes on as if nobody had asked.
      this.#set.add(stream);
      throw error;
    }
    const tellDeleted = this.#opener.consumers.get(name)?.close('deleted');
    this.#opener.consumers.delete(name);
    stream.close();
    tellDeleted?.();
    this.mirrors.follow();
    this.#collect(store);
  }

  #collect(store: Store): void {
    if (store === this.store) this.#garbage.collect();
    else (this.#memoryGarbage ??= new Garbage(store, this.#deps.clock)).collect();
  }

  /** Creates a stream as the configuration would; durable with its epoch when the promise resolves. */
  create(order: StreamOrder): Promise<Stream> {
    const maxBytes = order.maxBytes ?? this.#configs(this.#stores)[0]?.maxBytes ?? 0;
    return this.#make({ ...order, maxBytes }, 'file');
  }

  /** Deletes a stream and its messages. Its epochs stay known: a later stream of that name is another one. */
  async delete(name: string): Promise<void> {
    const stream = this.#set.get(name);
    if (stream !== undefined) await this.#discard(stream);
  }

  // --- another configuration ---

  /**
   * Gets ready for other streams and limits: new ones are on the disk with their epochs when it resolves. Then one call
   * of the answer puts all of it in force at once. Rejects, with nothing changed, when the disk does not take it, or a
   * client has made a stream of that name. A stream that is no longer forwarded, or no longer there, must not be read by
   * its forwarder when that call comes.
   */
  async prepare(orders: readonly StreamOrder[], forwards: Forwards): Promise<() => void> {
    const configs = this.#keepShares(this.#configs(this.#stores, orders, forwards), orders);
    for (const { name, storage } of configs) {
      const known = this.#set.known(name);
      if (known === undefined || (known.origin === 'file' && known.config.storage === storage))
        continue;
      throw new Error(
        `stream ${name} is there already, made by a client or in another storage: delete it, or restart the agent`,
      );
    }
    const { store } = this;
    const added = await store.alone(() => {
      const catalog = new Catalog(store.db);
      const opened = new Map<string, Stream>();
      for (const config of configs.filter(({ storage }) => storage === 'file')) {
        const known = this.#set.known(config.name);
        const row = known === undefined ? this.#rowOf(catalog, config) : undefined;
        catalog.save(known?.id ?? row?.id ?? 0, config, 'file');
        if (row !== undefined)
          opened.set(config.name, this.#opener.open(this.#ground, row, config, 'file'));
      }
      return opened;
    });
    for (const name of added.keys()) this.#opener.consumers.get(name)?.load();
    return () => {
      this.#orders = orders;
      this.#forwards = forwards;
      this.#switch(configs, added);
    };
  }

  /** A share of the disk changes only when it is shared by more or fewer streams, or it would with every call. */
  #keepShares(configs: StreamConfig[], orders: readonly StreamOrder[]): StreamConfig[] {
    const sharing = (all: readonly StreamOrder[]): Set<string> =>
      new Set(
        all.flatMap(({ name, maxBytes, storage }) =>
          maxBytes === undefined && storage === 'file' ? [name] : [],
        ),
      );
    const [before, after] = [sharing(this.#orders), sharing(orders)];
    if (before.size !== after.size) return configs;
    const share = this.#orders.flatMap(({ name }) =>
      before.has(name) ? [this.#set.get(name)?.config.maxBytes] : [],
    )[0];
    return configs.map((config) =>
      after.has(config.name) ? { ...config, maxBytes: share ?? config.maxBytes } : config,
    );
  }

  /** The row of a stream that is on the disk since an earlier start, or a new one. */
  #rowOf(catalog: Catalog, config: StreamConfig): StreamRow {
    return catalog.find(config.name) ?? catalog.create(config, 'file', this.#deps.clock.wallMs());
  }

  /** In one turn, so that no message falls between two streams or into both. */
  #switch(configs: readonly StreamConfig[], added: ReadonlyMap<string, Stream>): void {
    const configured = configs.map((config) => {
      const { name } = config;
      const stream =
        this.#set.known(name) ??
        added.get(name) ??
        (config.storage === 'memory'
          ? this.#opener.openInMemory(this.#ground, config, 'file')
          : undefined);
      assert(stream !== undefined, `the stream ${name} was prepared`);
      const moved = !isDeepStrictEqual(stream.config.subjects, config.subjects);
      stream.reconfigure(config, this.#forwards.get(name)?.graceMs ?? null);
      if (moved) this.#set.resubscribe(stream);
      return stream;
    });
    for (const stream of this.#set.configure(configured)) {
      // Nothing ticks it any more, and what is known in memory only (a late mark) must not wait for days.
      stream.saveAll();
      this.#opener.consumers.get(stream.name)?.close('shutdown');
      this.#warnUnused(stream.name);
    }
    for (const stream of this.#set.all) {
      stream.keepLimits();
      void this.#opener.consumers.get(stream.name)?.start();
    }
    this.mirrors.follow();
  }

  #tick(): void {
    for (const stream of this.#set.all) stream.tick();
    const made = this.#set.all.filter(({ origin }) => origin === 'api');
    this.#stores.quota.count(
      made.reduce((sum, { config, bytes }) => sum + (config.storage === 'file' ? bytes : 0), 0),
    );
  }

  #full(error: PublishError | null): void {
    const { log } = this.#deps;
    if (error === null) {
      this.#wasFull = false;
      log.info('the disk has room again: messages are taken');
      return;
    }
    if (!this.#wasFull) {
      const hint = 'free space on the disk; messages are taken again by themselves';
      log.error({ err: error, hint }, 'the disk is full: publishes are refused');
    }
    this.#wasFull = true;
    for (const stream of this.#set.all) stream.reclaim();
  }

  /** The agent is about to stop: clients that wait for messages hear so, while they are there. Acks are still taken. */
  dismiss(): void {
    for (const consumers of this.#opener.consumers.values()) consumers.dismiss();
  }

  /** Stops taking messages in, makes durable what was taken, and closes the database. */
  async stop(): Promise<void> {
    this.#upkeep.stop();
    this.mirrors.close();
    this.#garbage.stop();
    this.#memoryGarbage?.stop();
    this.#acks?.stop();
    this.#set.close();
    for (const consumers of this.#opener.consumers.values()) consumers.close('shutdown');
    const streams = [...this.#set.all, ...this.#set.dropped];
    for (const stream of streams) stream.close();
    if (this.store.failed === undefined) {
      for (const stream of streams) stream.saveAll();
      this.#upkeep.save();
    }
    await this.#stores.stop();
    this.#lock.close();
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SQLITE_FULL';
}
