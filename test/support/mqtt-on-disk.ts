// The MQTT listener on the real store, on a port of the loopback, in the process of the test: everything but main.ts.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect } from 'vitest';
import type { MqttLimits } from '../../device/mqtt/limits.ts';
import { MqttListener } from '../../device/mqtt/listener.ts';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { InlineCheckpointer } from '../../src/jetstream/checkpointer.ts';
import { FileDisk } from '../../src/jetstream/disk.ts';
import { JetStream } from '../../src/jetstream/jetstream.ts';
import { mqttStore } from '../../src/mqtt-store.ts';
import { streamOrder } from './gateway-store.ts';
import { until } from './until.ts';

export class MqttOnDisk implements AsyncDisposable {
  readonly #dir: string;
  readonly #jetstream: JetStream;
  readonly broker: Broker;
  readonly listener: MqttListener;

  private constructor(limits: Partial<MqttLimits>) {
    this.#dir = mkdtempSync(join(tmpdir(), 'mangrove-mqtt-'));
    this.broker = new Broker();
    const log = pino({ level: 'silent' });
    const deps = { broker: this.broker, clock: systemClock, log };
    this.#jetstream = new JetStream(
      {
        dataDir: this.#dir,
        commitIntervalMs: 0,
        streams: [streamOrder({ subjects: ['stream.>'] })],
        forwards: new Map(),
        newEpoch: () => 'epoch',
        onFatal: (error) => {
          throw error;
        },
        parts: {
          disk: (path) => new FileDisk(path),
          checkpointer: (db) => new InlineCheckpointer(db),
        },
      },
      deps,
    );
    this.listener = new MqttListener(
      { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: true, limits },
      { ...deps, store: mqttStore(this.#jetstream) },
    );
  }

  /** A running one. Its stream takes everything under `stream`. */
  static async start(limits: Partial<MqttLimits> = {}): Promise<MqttOnDisk> {
    const started = new MqttOnDisk(limits);
    await started.#jetstream.start();
    await started.listener.start();
    return started;
  }

  get port(): number {
    return this.listener.address?.port ?? 0;
  }

  /** Resolves when everything that was written has reached the disk. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#jetstream.store.whenDurable(() => resolve());
    });
  }

  /** Everything that has been said is done with: nothing is left of any client, in memory or on the disk. */
  async expectEmpty(): Promise<void> {
    // Some rows are removed when the disk has what they stood for, and what came last may be on its way there.
    await until(
      'empty tables',
      () => this.#rows().length === 0 && this.listener.stats().publishesInFlight === 0,
    ).catch(() => undefined);
    expect(this.#rows()).toEqual([]);
    expect(this.listener.stats()).toMatchObject({
      halfOpen: 0,
      sessions: 0,
      subscriptions: 0,
      queuedBytes: 0,
      memoryBytes: 0,
      retained: 0,
      retainedBytes: 0,
      publishesInFlight: 0,
      partialBytes: 0,
    });
  }

  /** Table and key of what is in the tables. */
  #rows(): string[] {
    return ['sessions', 'queue', 'retained', 'received', 'wills'].flatMap((table) =>
      this.#jetstream
        .table(`mqtt.${table}`)
        .range('', '\u{10ffff}', 10)
        .map(({ key }) => `${table} ${key}`),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.stop(1000);
    await this.#jetstream.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
