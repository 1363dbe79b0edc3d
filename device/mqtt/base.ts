// What every part of the listener stands on.

import type { Broker } from '../../src/broker.ts';
import type { Clock } from '../../src/clock.ts';
import { RepeatGuard, type Logger } from '../../src/log.ts';
import { createCounters, type MqttCounters } from './counters.ts';
import { DEFAULT_LIMITS, type MqttLimits } from './limits.ts';
import { Routing } from './routing.ts';
import { DurableGate, type MqttStore } from './tables.ts';

/** What `main.ts` hands over. */
export interface MqttDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: MqttStore;
}

export interface Base extends MqttDeps {
  readonly limits: Readonly<MqttLimits>;
  readonly counters: MqttCounters;
  readonly gate: DurableGate;
  readonly routing: Routing;
  /** Warns of a condition that may repeat a thousand times a second: at once, then at most every 30 s. */
  warn(condition: string, fields: Record<string, unknown>): void;
}

export function createBase(deps: MqttDeps, limits: Partial<MqttLimits> = {}): Base {
  const guard = new RepeatGuard(deps.clock);
  return {
    ...deps,
    limits: { ...DEFAULT_LIMITS, ...limits },
    counters: createCounters(),
    gate: new DurableGate(deps.clock, deps.store.whenDurable),
    routing: new Routing(),
    warn(condition, fields) {
      guard.run(condition, (times) => deps.log.warn({ ...fields, times }, condition));
    },
  };
}
