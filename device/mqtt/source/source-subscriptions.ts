// Which Topic Filters the broker has for our session, and which it should have. A broker that keeps the session keeps
// its subscriptions, and a second SUBSCRIBE would bring every retained message again; so what was subscribed is written
// down, and a connection asks only for the difference to the configuration. The record is a help, not a promise: where
// it is missing or unfinished, everything is subscribed again.

import type { SourceConfig } from './source-config.ts';
import { addressOf } from './source-config.ts';
import type { Table } from '../tables.ts';

interface RecordRow {
  /** Whose session it is about, and at which broker. */
  readonly session: string;
  /** QoS and Topic Filter, as `1 plant1/#`. */
  readonly filters: readonly string[];
  /** False: the broker may have some of them only. */
  readonly settled: boolean;
}

export interface Plan {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** We had a session, and the broker does not have it any more. */
  readonly sessionLost: boolean;
}

export class Subscriptions {
  readonly #config: SourceConfig;
  readonly #table: Table;
  readonly #session: string;
  /** Without a commit in between, the table does not show what was written. */
  #record: RecordRow | undefined;
  #refused = new Set<string>();

  constructor(config: SourceConfig, table: Table) {
    this.#config = config;
    this.#table = table;
    this.#session = `${config.clientId} ${addressOf(config)}`;
    this.#record = parse(table.get(config.name));
  }

  /** Topic Filters that the broker has refused. */
  get refused(): readonly string[] {
    return [...this.#refused];
  }

  /** What to ask of the broker now; `sessionPresent` is its CONNACK's. */
  plan(sessionPresent: boolean): Plan {
    const ours = this.#record?.session === this.#session ? this.#record : undefined;
    const record = sessionPresent ? ours : undefined;
    const had = new Set(record?.filters);
    const wanted = this.#wanted();
    const unsubscribe = [...had]
      .map(topicOf)
      .filter((topic) => !this.#config.topics.includes(topic));
    const subscribe =
      record?.settled === true ? wanted.filter((filter) => !had.has(filter)) : wanted;
    this.#refused.clear();
    if (subscribe.length > 0 || unsubscribe.length > 0)
      this.#write({
        session: this.#session,
        filters: [...new Set([...had, ...wanted])],
        settled: false,
      });
    return {
      subscribe: subscribe.map(topicOf),
      unsubscribe: [...new Set(unsubscribe)],
      sessionLost: !sessionPresent && ours?.settled === true,
    };
  }

  /** The broker's answer for one Topic Filter. */
  answered(topic: string, granted: boolean): void {
    if (granted) this.#refused.delete(topic);
    else this.#refused.add(topic);
  }

  /** Every filter of the plan has been answered. */
  done(): void {
    this.#write({
      session: this.#session,
      filters: this.#wanted().filter((filter) => !this.#refused.has(topicOf(filter))),
      settled: true,
    });
  }

  #wanted(): string[] {
    return this.#config.topics.map((topic) => `${this.#config.qos} ${topic}`);
  }

  #write(record: RecordRow): void {
    this.#record = record;
    this.#table.put(this.#config.name, Buffer.from(JSON.stringify(record)));
  }
}

function topicOf(filter: string): string {
  return filter.slice(2);
}

function parse(row: Buffer | undefined): RecordRow | undefined {
  if (row === undefined) return undefined;
  try {
    const found = JSON.parse(row.toString()) as RecordRow | null;
    return Array.isArray(found?.filters) ? found : undefined;
  } catch {
    return undefined; // Written by nobody we know: subscribe again.
  }
}
