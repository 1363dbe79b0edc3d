// What the parts of the agent have in common: what each is given, and how those that come and go with the configuration
// are kept in step with it.

import type { Broker } from '../broker.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import type { Roster, Running } from '../roster.ts';

export interface Deps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What comes and goes with the configuration. */
export interface Follower {
  /** Stops what `config` does not have as it is. */
  release(config: Config): Promise<string[]>;
  /** Starts what is missing. */
  follow(config: Config): Promise<string[]>;
}

/** Keeps `roster` in step with what `ordersOf` finds in a configuration; `table` stands before each name in the log. */
export function follower<Order, Part extends Running>(
  table: string,
  roster: Roster<Order, Part>,
  ordersOf: (config: Config) => readonly Order[],
): Follower {
  const named = (names: string[]): string[] => names.map((name) => `${table} ${name}`);
  return {
    release: async (config) => named(await roster.release(ordersOf(config))),
    follow: async (config) => named(await roster.follow(ordersOf(config))),
  };
}
