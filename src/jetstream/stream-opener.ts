// Brings one stream of the catalogue to life, with its consumers.

import type { Broker } from '../broker.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Advisories } from './advisories.ts';
import { Catalog, type StreamRow } from './catalog.ts';
import { ConsumerRoom } from './consumers/consumer-room.ts';
import { StreamConsumers } from './consumers/consumers.ts';
import { SourcingLedger } from './consumers/sourcing-ledger.ts';
import { DeliveryTurns } from './consumers/delivery-turns.ts';
import { DuplicateWindow } from './duplicates.ts';
import { BatchRoom } from './publish/batch-room.ts';
import type { Stores } from './stores.ts';
import { Stream } from './stream.ts';
import type { Origin, StreamConfig } from './stream-types.ts';
import { WallTime, type Timeline } from './timeline.ts';

/** Where streams are opened. */
export interface Ground {
  readonly stores: Stores;
  readonly timeline: Timeline;
}

export interface OpenerDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly advisories: Advisories;
  /** A new random name for an epoch. */
  readonly newEpoch: () => string;
  /** How long a hub may ask for confirmed messages again; null where the stream is not forwarded. */
  readonly graceMs: (stream: string) => number | null;
}

export class StreamOpener {
  readonly #deps: OpenerDeps;
  readonly #turns: DeliveryTurns;
  readonly #batchRoom = new BatchRoom();
  readonly #consumerRoom = new ConsumerRoom();
  readonly sourcing: SourcingLedger;
  /** By the name of the stream, for as long as it is there. */
  readonly consumers = new Map<string, StreamConsumers>();

  constructor(deps: OpenerDeps) {
    this.#deps = deps;
    this.#turns = new DeliveryTurns(deps.clock);
    this.sourcing = new SourcingLedger(deps.log, deps.clock);
  }

  /** Opens the stream of `row`; part of a transaction. */
  open({ stores, timeline }: Ground, row: StreamRow, config: StreamConfig, origin: Origin): Stream {
    const { broker, clock, log, advisories, newEpoch, graceMs } = this.#deps;
    const store = stores.of(config.storage);
    const stream = new Stream(
      {
        store,
        timeline: config.wallTime === true ? new WallTime(timeline) : timeline,
        log,
        clock,
        advisories,
        batchRoom: this.#batchRoom,
        publish: (message, receipt) => void broker.publish(message, receipt),
        answer: (message) => void broker.answer(message),
        ...(origin === 'api' && config.storage === 'file' ? { quota: stores.quota } : {}),
      },
      {
        id: row.id,
        createdMs: row.created_ms,
        config,
        origin,
        epoch: newEpoch(),
        graceMs: graceMs(config.name),
        duplicates: new DuplicateWindow(clock, config.duplicateWindowMs, config.duplicateIdsMax),
      },
    );
    const shared = { store, broker, clock, log, advisories };
    const common = { turns: this.#turns, room: this.#consumerRoom, sourcing: this.sourcing };
    this.consumers.set(stream.name, new StreamConsumers(stream, { ...shared, ...common }));
    return stream;
  }

  /** Makes and opens a stream in memory, which is empty at each start. */
  openInMemory(ground: Ground, config: StreamConfig, origin: Origin): Stream {
    const { db } = ground.stores.memory;
    const make = db.transaction(() => {
      const row = new Catalog(db).create(config, origin, this.#deps.clock.wallMs());
      return this.open(ground, row, config, origin);
    });
    return make.immediate();
  }
}
