// A map that forgets: an entry is there for `ms` after it was last used, and for twice as long at most. There is no timer for an
// entry: two maps take turns, and what the older one holds when they change is forgotten. When the younger is full they
// change early, so that `max` twice is the most that it ever holds.

import type { Clock } from '../../src/clock.ts';

export interface RecentOptions<V> {
  readonly clock: Clock;
  /** Entries of one of the two maps. */
  readonly max: number;
  readonly ms: number;
  /** Told of each entry that goes, whyever. */
  readonly gone?: (key: string, value: V) => void;
}

export class Recent<V> {
  readonly #options: RecentOptions<V>;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #turnMs: number;

  constructor(options: RecentOptions<V>) {
    this.#options = options;
    this.#turnMs = options.clock.monotonicMs() + options.ms;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Finds an entry, and keeps it for longer. */
  get(key: string): V | undefined {
    this.#age();
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const aged = this.#old.get(key);
    if (aged !== undefined) this.#move(key, aged);
    return aged;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** Adds an entry; one that is there stays as it is, for longer. */
  add(key: string, make: () => V): void {
    if (this.has(key)) return;
    if (this.#young.size >= this.#options.max) this.#turn();
    this.#young.set(key, make());
  }

  delete(key: string): void {
    for (const map of [this.#young, this.#old]) {
      const value = map.get(key);
      if (value === undefined) continue;
      map.delete(key);
      this.#options.gone?.(key, value);
    }
  }

  keys(): string[] {
    return [...this.#old.keys(), ...this.#young.keys()];
  }

  clear(): void {
    this.#turn();
    this.#turn();
  }

  #move(key: string, value: V): void {
    this.#old.delete(key);
    if (this.#young.size >= this.#options.max) this.#turn();
    this.#young.set(key, value);
  }

  #age(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#turnMs) return;
    // After a long rest the younger is as old as the older would be.
    if (nowMs >= this.#turnMs + this.#options.ms) this.#turn();
    this.#turn();
  }

  #turn(): void {
    const { clock, ms, gone } = this.#options;
    const forgotten = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    this.#turnMs = clock.monotonicMs() + ms;
    if (gone !== undefined) for (const [key, value] of forgotten) gone(key, value);
  }
}
