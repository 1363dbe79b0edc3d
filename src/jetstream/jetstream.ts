// The streams of this gateway: opens the store, brings the configured streams to life, and subscribes them to the
// broker. Streams that are on the disk but no longer configured keep their messages; they just take no new ones.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { assert } from '../assert.ts';
import type { Broker } from '../broker.ts';
import { every, type Cancel, type Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { PublishError } from '../message.ts';
import { WorkerCheckpointer, type Checkpointer } from './checkpointer.ts';
import { lockFile, openDatabase } from './database.ts';
import { FileDisk, giveBackRoom, type Disk } from './disk.ts';
import { DuplicateWindow } from './duplicates.ts';
import { createMessageTable, messageTable, migrate } from './schema.ts';
import { isDamage, isMarkedDamaged, markDamaged, salvage } from './salvage.ts';
import { Store } from './store.ts';
import { STORE_LIMITS, type StoreLimits } from './store-limits.ts';
import { Stream } from './stream.ts';
import { DEAD_LETTER_STREAM, streamConfigs, type StreamOrder } from './stream-configs.ts';
import type { StreamConfig } from './stream-types.ts';
import { Table } from './table.ts';
import { Timeline } from './timeline.ts';

/** How often ages, the wall clock and the room on the disk are looked at. */
const TICK_MS = 1_000;
/**
 * An idle store writes one page this often: a disk that has turned read-only keeps its `rw` in /proc/mounts, and only a
 * write finds it. 11 MB a day.
 */
const PROBE_MS = 30_000;
/** Streams that the hub gets, and how long it may ask for them again. */
export type Forwards = ReadonlyMap<string, { readonly graceMs: number }>;

export interface JetStreamOptions {
  readonly dataDir: string;
  readonly commitIntervalMs: number;
  readonly streams: readonly StreamOrder[];
  readonly forwards: Forwards;
  readonly onFatal: (error: Error) => void;
  /** A new random name for an epoch. */
  readonly newEpoch: () => string;
  readonly limits?: Partial<StoreLimits>;
  /** For simulations: other ways to sync and to checkpoint. */
  readonly parts?: {
    disk(databasePath: string): Disk;
    checkpointer(db: ReturnType<typeof openDatabase>): Checkpointer;
  };
}

export type { StreamOrder } from './stream-configs.ts';

export interface JetStreamDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
}

interface StreamRow {
  readonly id: number;
  readonly name: string;
  readonly config: string;
  readonly created_ms: number;
}

export class JetStream {
  readonly #deps: JetStreamDeps;
  readonly #options: JetStreamOptions;
  readonly #lock: { close(): void };
  readonly store: Store;
  readonly timeline: Timeline;
  /** What is configured now. */
  #orders: readonly StreamOrder[];
  #forwards: Forwards;
  #streams = new Map<string, Stream>();
  /** Streams that were taken out of the configuration since the start: they may come back. */
  readonly #dropped = new Map<string, Stream>();
  readonly #unsubscribe = new Map<string, Cancel[]>();
  #stopTicking: Cancel = () => {};
  #diskBytes = 0;
  #wasFull = false;
  /** The commits when they were last looked at, and since when there was none. */
  #probed = { commits: 0, sinceMs: 0 };

  /** Opens the data directory. Throws DataDirInUseError, SchemaTooNewError, or SQLite's error on a damaged file. */
  constructor(options: JetStreamOptions, deps: JetStreamDeps) {
    this.#options = options;
    this.#orders = options.streams;
    this.#forwards = options.forwards;
    this.#deps = deps;
    mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
    this.#lock = lockFile(join(options.dataDir, 'lock'));
    try {
      if (isMarkedDamaged(options.dataDir)) salvage(options.dataDir, deps.log);
      try {
        [this.store, this.timeline] = this.#openAll();
      } catch (error) {
        if (isFull(error) && giveBackRoom(options.dataDir)) {
          // What was set aside for this lets the WAL move into the database and the new epochs be written.
          [this.store, this.timeline] = this.#openAll();
          return;
        }
        if (!isDamage(error)) throw error;
        deps.log.error({ err: error }, 'the database is damaged: copying what can be read');
        salvage(options.dataDir, deps.log);
        [this.store, this.timeline] = this.#openAll();
      }
    } catch (error) {
      this.#lock.close();
      throw error;
    }
  }

  #openAll(): [Store, Timeline] {
    const path = join(this.#options.dataDir, 'mangrove.db');
    const db = openDatabase(path);
    try {
      // What a crash left in the WAL may be in the page cache only: to the disk with it, before anything relies on it.
      db.pragma('wal_checkpoint(TRUNCATE)');
      migrate(db);
      const store = this.#openStore(db, path);
      const begin = db.transaction(() => {
        const timeline = new Timeline(db, this.#deps.clock, newestTs(db));
        this.#streams.clear();
        this.#openStreams(store, timeline);
        return timeline;
      });
      return [store, begin.immediate()];
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #openStore(db: ReturnType<typeof openDatabase>, path: string): Store {
    const { parts, limits, commitIntervalMs, onFatal } = this.#options;
    const disk = parts?.disk(path) ?? new FileDisk(path);
    this.#diskBytes = disk.room().totalBytes;
    // On a small disk the WAL takes no more than a share of it.
    const walBytesMax = Math.min(STORE_LIMITS.walBytesMax, Math.floor(disk.room().totalBytes / 16));
    return new Store(
      {
        db,
        disk,
        clock: this.#deps.clock,
        checkpointer: parts?.checkpointer(db) ?? new WorkerCheckpointer(path),
      },
      {
        commitIntervalMs,
        limits: { walBytesMax, ...limits },
        onFatal: (error) => {
          if (isDamage(error)) markDamaged(this.#options.dataDir);
          onFatal(error);
        },
        onFull: (error) => this.#full(error),
      },
    );
  }

  #openStreams(store: Store, timeline: Timeline): void {
    const { db } = store;
    const rows = db
      .prepare<[], StreamRow>('SELECT id, name, config, created_ms FROM stream ORDER BY id')
      .all();
    const known = new Map(rows.map((row) => [row.name, row]));
    for (const config of this.#configs(store)) {
      const row = known.get(config.name) ?? this.#createRow(store, config);
      known.delete(config.name);
      saveConfig(db, row.id, config);
      this.#streams.set(config.name, this.#open({ store, timeline }, row, config));
    }
    for (const row of known.values()) this.#warnUnused(row.name);
  }

  #warnUnused(name: string): void {
    if (name === DEAD_LETTER_STREAM) return;
    this.#deps.log.warn(
      { stream: name, hint: `add [[stream]] name = "${name}" again to use it` },
      'a stream on the disk is not in the configuration: its messages stay, it takes no new ones',
    );
  }

  #configs(store: Store, orders = this.#orders, forwards = this.#forwards): StreamConfig[] {
    const disk = { ...store.usage(), totalBytes: this.#diskBytes };
    return streamConfigs(orders, { forwarding: forwards.size > 0, disk });
  }

  #createRow({ db }: Store, config: StreamConfig): StreamRow {
    const created = this.#deps.clock.wallMs();
    const { lastInsertRowid } = db
      .prepare('INSERT INTO stream (name, config, created_ms) VALUES (?, ?, ?)')
      .run(config.name, JSON.stringify(config), Math.floor(created));
    createMessageTable(db, Number(lastInsertRowid));
    return {
      id: Number(lastInsertRowid),
      name: config.name,
      config: '',
      created_ms: Math.floor(created),
    };
  }

  #open(on: { store: Store; timeline: Timeline }, row: StreamRow, config: StreamConfig): Stream {
    const { broker, clock, log } = this.#deps;
    return new Stream(
      {
        ...on,
        log,
        publishDeadLetter: (message, receipt) => void broker.publish(message, receipt),
      },
      {
        id: row.id,
        createdMs: row.created_ms,
        config,
        epoch: this.#options.newEpoch(),
        graceMs: this.#forwards.get(config.name)?.graceMs ?? null,
        duplicates: new DuplicateWindow(clock, config.duplicateWindowMs, config.duplicateIdsMax),
      },
    );
  }

  /** Makes the new epochs durable, then lets messages in. Resolves when the first may be accepted. */
  async start(): Promise<void> {
    await this.store.begin();
    for (const stream of this.#streams.values()) {
      stream.keepLimits();
      this.#subscribe(stream);
    }
    this.#probed.sinceMs = this.#deps.clock.monotonicMs();
    this.#stopTicking = every(this.#deps.clock, TICK_MS, () => this.#tick());
  }

  #subscribe(stream: Stream): void {
    this.#unsubscribe.set(
      stream.name,
      stream.config.subjects.map((subject) => this.#deps.broker.subscribe(subject, stream)),
    );
  }

  /** Every stream, in the order of the configuration. */
  get streams(): readonly Stream[] {
    return [...this.#streams.values()];
  }

  stream(name: string): Stream | undefined {
    return this.#streams.get(name);
  }

  /** A durable map for another part; `name` is its own. */
  table(name: string): Table {
    return new Table(this.store, name);
  }

  /** Creates a stream at run time; durable with its epoch when the promise resolves. */
  async create(order: StreamOrder): Promise<Stream> {
    const config = {
      ...order,
      maxBytes: order.maxBytes ?? this.#configs(this.store)[0]?.maxBytes ?? 0,
    };
    const stream = await this.store.alone(() =>
      this.#open(this, this.#createRow(this.store, config), config),
    );
    this.#streams.set(config.name, stream);
    this.#subscribe(stream);
    return stream;
  }

  /**
   * Gets ready for other streams and limits: new ones are on the disk with their epochs when it resolves. Then one call
   * of the answer puts all of it in force at once. Rejects, with nothing changed, when the disk does not take it.
   * A stream that is no longer forwarded, or no longer there, must not be read by its forwarder when that call comes.
   */
  async prepare(orders: readonly StreamOrder[], forwards: Forwards): Promise<() => void> {
    const configs = this.#keepShares(this.#configs(this.store, orders, forwards), orders);
    const { db } = this.store;
    const added = await this.store.alone(() => {
      const opened = new Map<string, Stream>();
      for (const config of configs) {
        const known = this.#streams.get(config.name) ?? this.#dropped.get(config.name);
        const row = known === undefined ? this.#rowOf(config) : undefined;
        saveConfig(db, known?.id ?? row?.id ?? 0, config);
        if (row !== undefined) opened.set(config.name, this.#open(this, row, config));
      }
      return opened;
    });
    return () => {
      this.#orders = orders;
      this.#forwards = forwards;
      this.#switch(configs, added);
    };
  }

  /** A share of the disk changes only when it is shared by more or fewer streams, or it would with every call. */
  #keepShares(configs: StreamConfig[], orders: readonly StreamOrder[]): StreamConfig[] {
    const sharing = (all: readonly StreamOrder[]): Set<string> =>
      new Set(all.flatMap(({ name, maxBytes }) => (maxBytes === undefined ? [name] : [])));
    const [before, after] = [sharing(this.#orders), sharing(orders)];
    if (before.size !== after.size) return configs;
    const share = this.#orders.flatMap(({ name }) =>
      before.has(name) ? [this.#streams.get(name)?.config.maxBytes] : [],
    )[0];
    return configs.map((config) =>
      after.has(config.name) ? { ...config, maxBytes: share ?? config.maxBytes } : config,
    );
  }

  /** The row of a stream that is on the disk since an earlier start, or a new one. */
  #rowOf(config: StreamConfig): StreamRow {
    const row = this.store.db
      .prepare<[string], StreamRow>(
        'SELECT id, name, config, created_ms FROM stream WHERE name = ?',
      )
      .get(config.name);
    return row ?? this.#createRow(this.store, config);
  }

  /** In one turn, so that no message falls between two streams or into both. */
  #switch(configs: readonly StreamConfig[], added: ReadonlyMap<string, Stream>): void {
    const before = this.#streams;
    this.#streams = new Map();
    for (const config of configs) {
      const { name } = config;
      const stream = before.get(name) ?? this.#dropped.get(name) ?? added.get(name);
      assert(stream !== undefined, `the stream ${name} was prepared`);
      if (!isDeepStrictEqual(stream.config.subjects, config.subjects)) this.#unsubscribeAll(name);
      stream.reconfigure(config, this.#forwards.get(name)?.graceMs ?? null);
      this.#streams.set(name, stream);
      this.#dropped.delete(name);
    }
    for (const [name, stream] of before) {
      if (this.#streams.has(name)) continue;
      this.#unsubscribeAll(name);
      // Nothing ticks it any more, and what is known in memory only (a late mark) must not wait for days.
      stream.saveAll();
      this.#dropped.set(name, stream);
      this.#warnUnused(name);
    }
    for (const stream of this.#streams.values()) {
      if (!this.#unsubscribe.has(stream.name)) this.#subscribe(stream);
      stream.keepLimits();
    }
  }

  #unsubscribeAll(name: string): void {
    for (const cancel of this.#unsubscribe.get(name) ?? []) cancel();
    this.#unsubscribe.delete(name);
  }

  /** Deletes a stream and its messages. Its epochs stay known: a later stream of that name is another one. */
  async delete(name: string): Promise<void> {
    const stream = this.#streams.get(name);
    if (stream === undefined) return;
    this.#unsubscribeAll(name);
    // What it has accepted is answered first.
    await new Promise<void>((resolve) => this.store.whenDurable(() => resolve()));
    this.#streams.delete(name);
    const { db } = this.store;
    db.transaction(() => {
      db.exec(`DROP TABLE ${messageTable(stream.id)}`);
      for (const table of ['subject', 'gap', 'grace']) {
        db.prepare(`DELETE FROM ${table} WHERE stream_id = ?`).run(stream.id);
      }
      db.prepare('DELETE FROM stream WHERE id = ?').run(stream.id);
    }).immediate();
    await this.store.begin();
  }

  #tick(): void {
    if (this.store.failed !== undefined) return;
    const stepMs = this.timeline.observe();
    if (stepMs !== 0) {
      this.#deps.log.warn(
        { stepMs: Math.round(stepMs), synced: this.timeline.synced },
        'the wall clock was set: stored messages of this start get their time by it',
      );
      this.store.queue(this.#timelineRow, 0, 0);
    }
    for (const stream of this.#streams.values()) stream.tick();
    this.store.refreshRoom();
    this.#probe();
  }

  /** A commit as good as any finds out whether the disk still takes one. A failure ends as any failed commit does. */
  #probe(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const { commits } = this.store.counters;
    if (commits !== this.#probed.commits) this.#probed = { commits, sinceMs: nowMs };
    if (nowMs - this.#probed.sinceMs < PROBE_MS) return;
    this.#probed.sinceMs = nowMs;
    this.store.queue(this.#timelineRow, 0, 0);
  }

  /** The boot row travels in the store's transactions like everything else. */
  readonly #timelineRow = {
    write: (): void => this.timeline.save(),
    writeRemovals: (): void => {},
    committed: (): undefined => undefined,
    refused: (): undefined => undefined,
  };

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
    for (const stream of this.#streams.values()) stream.reclaim();
  }

  /** Stops taking messages in, makes durable what was taken, and closes the database. */
  async stop(): Promise<void> {
    this.#stopTicking();
    for (const name of this.#unsubscribe.keys()) this.#unsubscribeAll(name);
    if (this.store.failed === undefined) {
      for (const stream of [...this.#streams.values(), ...this.#dropped.values()]) stream.saveAll();
      this.store.queue(this.#timelineRow, 0, 0);
    }
    await this.store.stop();
    await this.store.close();
    this.#lock.close();
  }
}

function saveConfig(db: ReturnType<typeof openDatabase>, id: number, config: StreamConfig): void {
  db.prepare('UPDATE stream SET config = ? WHERE id = ?').run(JSON.stringify(config), id);
}

/** The newest store time in any stream. */
function newestTs(db: ReturnType<typeof openDatabase>): number {
  const ids = db.prepare<[], { id: number }>('SELECT id FROM stream').all();
  return ids.reduce((newest, { id }) => {
    const row = db
      .prepare<[], { ts: number }>(`SELECT ts FROM ${messageTable(id)} ORDER BY seq DESC LIMIT 1`)
      .get();
    return Math.max(newest, row?.ts ?? 0);
  }, 0);
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SQLITE_FULL';
}
