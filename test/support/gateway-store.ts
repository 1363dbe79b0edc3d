// A broker and its streams on a real database in a temporary directory, on a clock that the test moves.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import type { Clock } from '../../src/clock.ts';
import { InlineCheckpointer, type Checkpointer } from '../../src/jetstream/checkpointer.ts';
import { FileDisk, type Disk } from '../../src/jetstream/disk.ts';
import {
  JetStream,
  type JetStreamOptions,
  type StreamOrder,
} from '../../src/jetstream/jetstream.ts';
import type { PublishError, PubAck } from '../../src/message.ts';
import { FakeClock } from './fake-clock.ts';

/** A disk whose syncs return when the test says so. */
export class ManualDisk implements Disk {
  readonly #disk: FileDisk;
  readonly #waiting: { readonly done: (error: Error | null) => void; readonly wal: Buffer }[] = [];
  readonly #walPath: string | undefined;
  /** The log as the last sync that has returned left it on the disk, where the test keeps it. */
  syncedWal: Buffer = Buffer.alloc(0);
  /** Room to report instead of the real one. */
  roomNow: { availableBytes: number; totalBytes: number } | undefined;
  syncs = 0;

  constructor(path: string, keepsWal = false) {
    this.#disk = new FileDisk(path);
    this.#walPath = keepsWal ? `${path}-wal` : undefined;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  syncWal(done: (error: Error | null) => void): void {
    // What is written from now on is not covered.
    const wal = this.#walPath === undefined ? this.syncedWal : readFileSync(this.#walPath);
    this.#waiting.push({ done, wal });
  }

  /** Lets the sync that is running return. */
  finish(error: Error | null = null): void {
    this.syncs++;
    const sync = this.#waiting.shift();
    if (sync === undefined) return;
    if (error === null) this.syncedWal = sync.wal;
    sync.done(error);
  }

  room(): { availableBytes: number; totalBytes: number } {
    return this.roomNow ?? this.#disk.room();
  }

  setAside(bytes: number): boolean {
    return this.roomNow === undefined ? this.#disk.setAside(bytes) : true;
  }

  close(): void {
    this.#disk.close();
  }
}

export function streamOrder(order: Partial<StreamOrder> = {}): StreamOrder {
  return {
    name: 'DATA',
    subjects: ['data.>'],
    retention: 'limits',
    storage: 'file',
    maxAgeMs: undefined,
    maxBytes: 64 * 1024 * 1024,
    maxMsgs: undefined,
    discard: 'old',
    duplicateWindowMs: 120_000,
    duplicateIdsMax: 100_000,
    ...order,
  };
}

/** How a publish ended. */
export type Outcome = { error: PublishError | null; ack: PubAck | null };

export class GatewayStore {
  readonly dir: string;
  readonly clock: FakeClock;
  broker = new Broker();
  #options: Omit<JetStreamOptions, 'dataDir' | 'newEpoch' | 'onFatal'>;
  #epochs = 0;
  #jetstream: JetStream | undefined;
  disk: ManualDisk | undefined;
  /** Keeps what is synced, for a power cut; set before `open`. */
  keepsWal = false;
  fatal: Error | undefined;
  readonly logged: { level: string; msg: string }[] = [];

  constructor(
    streams: readonly StreamOrder[] = [streamOrder()],
    options: Partial<JetStreamOptions> = {},
    clock = new FakeClock(),
  ) {
    this.dir = mkdtempSync(join(tmpdir(), 'mangrove-store-'));
    this.clock = clock;
    this.#options = { commitIntervalMs: 0, streams, forwards: new Map(), ...options };
  }

  get jetstream(): JetStream {
    if (this.#jetstream === undefined) throw new Error('the store is not open');
    return this.#jetstream;
  }

  get stream() {
    const stream = this.jetstream.streams[0];
    if (stream === undefined) throw new Error('there is no stream');
    return stream;
  }

  /** Opens the streams; syncs are done by hand. */
  async open(options: Partial<JetStreamOptions> = {}): Promise<this> {
    this.#options = { ...this.#options, ...options };
    this.broker = new Broker();
    const jetstream = new JetStream(
      {
        ...this.#options,
        dataDir: this.dir,
        newEpoch: () => `e${++this.#epochs}`,
        onFatal: (error) => (this.fatal = error),
        parts: {
          disk: (path): Disk => (this.disk = new ManualDisk(path, this.keepsWal)),
          checkpointer: (db): Checkpointer => new InlineCheckpointer(db),
        },
      },
      {
        broker: this.broker,
        clock: this.clock as Clock,
        log: pino(
          { level: 'debug' },
          { write: (line: string) => void this.logged.push(JSON.parse(line)) },
        ),
      },
    );
    this.#jetstream = jetstream;
    const started = jetstream.start();
    this.disk?.finish();
    await started;
    return this;
  }

  /** Publishes; the outcome is filled in when the receipt comes. */
  publish(subject: string, data: string | Buffer, headers?: string): Partial<Outcome> {
    const outcome: Partial<Outcome> = {};
    this.broker.publish(
      {
        subject,
        data: Buffer.from(data),
        ...(headers === undefined
          ? {}
          : { headers: Buffer.from(`NATS/1.0\r\n${headers}\r\n\r\n`) }),
      },
      (error, ack) => Object.assign(outcome, { error, ack: error === null ? ack : null }),
    );
    return outcome;
  }

  /** Ends the turn and lets every sync return, until nothing is left to do. */
  settle(): void {
    this.clock.turn();
    while ((this.disk?.waiting ?? 0) > 0) {
      this.disk?.finish();
      this.clock.turn();
    }
  }

  /** Stops in good order. */
  async close(): Promise<void> {
    const stopped = this.jetstream.stop();
    for (let i = 0; i < 10; i++) {
      this.settle();
      await Promise.resolve();
    }
    await stopped;
    this.#jetstream = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#jetstream !== undefined) await this.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
