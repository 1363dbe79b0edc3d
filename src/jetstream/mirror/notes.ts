// What the gateway remembers of the origins of its mirrors over a start: when each was made, and for a bucket of the hub,
// what it was like. Written in the transaction that stores the first messages of the origin, or before.

import type { Table } from '../table.ts';
import type { Stream } from '../stream.ts';
import type { StreamConfig } from '../stream-types.ts';

/** Of the origin's configuration, what a copy has to keep too. */
export type Likeness = Pick<
  StreamConfig,
  'description' | 'maxAgeMs' | 'maxMsgsPerSubject' | 'maxMsgBytes'
>;

export interface OriginNote {
  /** The origin's `created`, as it writes it. */
  readonly created: string;
  /** How its API began. */
  readonly api: string;
  /** Of the origin of a mirror that follows it. */
  readonly likeness?: Likeness | undefined;
}

export class Notes {
  readonly #table: Table;
  readonly #notes = new Map<string, OriginNote>();

  constructor(table: Table) {
    this.#table = table;
  }

  of(stream: Stream): OriginNote | undefined {
    const key = keyOf(stream);
    const known = this.#notes.get(key);
    if (known !== undefined) return known;
    const row = this.#table.get(key);
    if (row === undefined) return undefined;
    const note = JSON.parse(row.toString('utf8')) as OriginNote;
    this.#notes.set(key, note);
    return note;
  }

  put(stream: Stream, note: OriginNote): void {
    const key = keyOf(stream);
    const text = JSON.stringify(note);
    if (JSON.stringify(this.of(stream)) === text) return;
    this.#notes.set(key, note);
    this.#table.put(key, Buffer.from(text, 'utf8'));
  }

  delete(stream: Stream): void {
    this.#notes.delete(keyOf(stream));
    this.#table.delete(keyOf(stream));
  }
}

/** Streams in memory are numbered apart. */
function keyOf({ id, config: { storage } }: Stream): string {
  return `${storage}:${id}`;
}
