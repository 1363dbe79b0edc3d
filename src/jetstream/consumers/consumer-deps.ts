// What a consumer works with, and what it is made of.

import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import type { AckState } from './ack-state.ts';
import type { ConsumerEvents } from './consumer-events.ts';
import type { ConsumerRecord } from './consumer-record.ts';
import type { ConsumerHead } from './consumer-rows.ts';
import type { Consumer } from './consumer.ts';
import type { DeliveryTurns } from './delivery-turns.ts';
import type { OldHubs } from './old-hubs.ts';
import type { SourcingLedger } from './sourcing-ledger.ts';
import type { Outlet, OutletHost } from './types.ts';

export interface ConsumerDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly turns: DeliveryTurns;
  readonly sourcing: SourcingLedger;
  /** Calls back when everything that was written up to now is on the disk. */
  readonly whenDurable: (done: () => void) => void;
  readonly openOutlet: (host: OutletHost, events: ConsumerEvents) => Outlet;
  /** Those of the stream. */
  readonly oldHubs: OldHubs;
  /** It was unused for too long. */
  readonly expired: (consumer: Consumer) => void;
}

/** As it was made or found. */
export interface ConsumerParts {
  readonly head: ConsumerHead;
  readonly createdMs: number;
  readonly progress: AckState;
  readonly events: ConsumerEvents;
  /** Undefined where nothing of it outlives this process. */
  readonly record: ConsumerRecord | undefined;
}
