// Small durable maps, ordered by key, for what is not a stream: MQTT sessions, their queues, retained messages.

import type { Statement } from 'better-sqlite3';
import type { PublishError } from '../message.ts';
import type { Participant, Store } from './store.ts';

type Write = { readonly key: string; readonly value: Buffer | null };

export interface Row {
  readonly key: string;
  readonly value: Buffer;
}

export class Table implements Participant {
  readonly #name: string;
  readonly #store: Store;
  readonly #get: Statement<[string, string], { value: Buffer }>;
  readonly #put: Statement<[string, string, Buffer]>;
  readonly #delete: Statement<[string, string]>;
  readonly #range: Statement<[string, string, string, number], Row>;
  #queued: Write[] = [];

  constructor(store: Store, name: string) {
    this.#store = store;
    this.#name = name;
    const { db } = store;
    this.#get = db.prepare('SELECT value FROM kv WHERE map = ? AND key = ?');
    this.#put = db.prepare('INSERT OR REPLACE INTO kv (map, key, value) VALUES (?, ?, ?)');
    this.#delete = db.prepare('DELETE FROM kv WHERE map = ? AND key = ?');
    this.#range = db.prepare(
      'SELECT key, value FROM kv WHERE map = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?',
    );
  }

  /** The committed value of `key`. */
  get(key: string): Buffer | undefined {
    return this.#store.guard(undefined, () => this.#get.get(this.#name, key)?.value);
  }

  /** Writes with the next commit; `Store.whenDurable` tells when it is on the disk, or that it was refused. */
  put(key: string, value: Buffer): void {
    this.#queued.push({ key, value });
    this.#store.queue(this, 1, key.length + value.length);
  }

  delete(key: string): void {
    this.#queued.push({ key, value: null });
    this.#store.queue(this, 0, key.length);
  }

  /** Committed rows with from <= key < to in binary order, at most `limit`. */
  range(from: string, to: string, limit: number): Row[] {
    return this.#store.guard([], () => this.#range.all(this.#name, from, to, limit));
  }

  write(): void {
    for (const { key, value } of this.#queued) {
      if (value === null) this.#delete.run(this.#name, key);
      else this.#put.run(this.#name, key, value);
    }
  }

  writeRemovals(): void {
    for (const { key } of this.#queued) this.#delete.run(this.#name, key);
  }

  committed(): undefined {
    this.#queued = [];
    return undefined;
  }

  refused(_error: PublishError): undefined {
    this.#queued = this.#queued.filter(({ value }) => value === null);
    return undefined;
  }
}
