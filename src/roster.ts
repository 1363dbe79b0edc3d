// Keeps what runs in step with a list of orders: what is no longer ordered, or ordered differently, is stopped; what is new
// is started; what is ordered as before is not touched. Orders are plain values and are compared by content.

import { isDeepStrictEqual } from 'node:util';
import { assert } from './assert.ts';

/** Something that runs; `stop` is called once. */
export interface Running {
  stop(): Promise<void> | void;
}

interface Entry<Order, Part> {
  readonly order: Order;
  readonly part: Part;
}

export class Roster<Order, Part extends Running> {
  readonly #nameOf: (order: Order) => string;
  readonly #start: (order: Order) => Part | Promise<Part>;
  #running = new Map<string, Entry<Order, Part>>();

  /** `nameOf` tells orders apart; `start` sets one going, and must not fail where an older one was stopped for it. */
  constructor(nameOf: (order: Order) => string, start: (order: Order) => Part | Promise<Part>) {
    this.#nameOf = nameOf;
    this.#start = start;
  }

  /** What runs, in the order of the last `follow`. */
  get parts(): readonly Part[] {
    return [...this.#running.values()].map(({ part }) => part);
  }

  /** Stops what `orders` does not have as it is, the last started first. Resolves with the names of what was stopped. */
  async release(orders: readonly Order[]): Promise<string[]> {
    const wanted = new Map(orders.map((order) => [this.#nameOf(order), order]));
    const gone = [...this.#running].filter(
      ([name, { order }]) => !wanted.has(name) || !isDeepStrictEqual(wanted.get(name), order),
    );
    for (const [name, { part }] of gone.toReversed()) {
      this.#running.delete(name);
      await part.stop();
    }
    return gone.map(([name]) => name);
  }

  /** Releases, then starts what is missing. Resolves with the names of all that was stopped or started. */
  async follow(orders: readonly Order[]): Promise<string[]> {
    const changed = new Set(await this.release(orders));
    const running = new Map<string, Entry<Order, Part>>();
    for (const order of orders) {
      const name = this.#nameOf(order);
      assert(!running.has(name), `${name} is ordered once`);
      let entry = this.#running.get(name);
      if (entry === undefined) {
        changed.add(name);
        entry = { order, part: await this.#start(order) };
        this.#running.set(name, entry);
      }
      running.set(name, entry);
    }
    this.#running = running;
    return [...changed];
  }

  /** Stops everything, the last started first. */
  async stop(): Promise<void> {
    await this.release([]);
  }
}
