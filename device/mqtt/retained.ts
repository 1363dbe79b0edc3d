// The retained messages: one per topic, in a table; in memory only an index by subject. A SUBSCRIBE finds the matching
// ones by walking the index level by level, as the broker finds subscriptions.
//
// A retained message is shown only when the disk has it: while a newer one is on its way, `read` says so, because the
// table may already show it.

import type { Message } from '../../src/message.ts';
import type { Base } from './base.ts';
import { Budget } from './limits.ts';
import type { QoS } from './packets.ts';
import { scan, type Table } from './tables.ts';

const VERSION = 0x10;
const SCAN_ROWS = 64;

interface Entry {
  /** Data and subject, while there is a message. */
  bytes: number;
  /** Writes of it that the disk has not answered yet. */
  pending: number;
  /** There is a message: the newest write was no removal. */
  present: boolean;
  /** The disk refused a write: the table knows what holds. */
  doubtful: boolean;
}

interface Level {
  readonly next: Map<string, Level>;
  here: Entry | undefined;
}

export interface RetainedMessage {
  readonly qos: QoS;
  readonly data: Buffer;
}

export class Retained {
  readonly #base: Base;
  readonly #table: Table;
  readonly #budget: Budget;
  readonly #root: Level = { next: new Map(), here: undefined };
  #count = 0;

  constructor(base: Base) {
    this.#base = base;
    this.#table = base.store.retained;
    this.#budget = new Budget(base.limits.retainedBytesMax);
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#budget.used;
  }

  /** Indexes what the table holds. */
  load(): void {
    for (const { key, value } of scan(this.#table, SCAN_ROWS))
      this.#describe(this.#entry(key), key.length + value.length);
  }

  /** Keeps `message` as the one of its subject; empty data removes it [MQTT-3.3.1-10]. */
  set(message: Message, qos: QoS): void {
    const { subject, data } = message;
    const known = this.#find(subject);
    if (data.length === 0) {
      if (known?.present === true) this.#remove(subject, known);
      return; // [MQTT-3.3.1-11]
    }
    const bytes = subject.length + 1 + data.length;
    const before = known?.bytes ?? 0;
    const more = known?.present === true ? 0 : 1;
    if (
      this.#count + more > this.#base.limits.retainedMax ||
      this.#budget.used - before + bytes > this.#budget.max
    ) {
      this.#base.counters.retainedRefused++;
      this.#base.warn('no room for another retained message: it was routed only', { subject });
      // A stale message is worse than none: the device has said something newer.
      if (known?.present === true) this.#remove(subject, known);
      return;
    }
    const entry = known ?? this.#entry(subject);
    this.#describe(entry, bytes);
    this.#table.put(subject, Buffer.concat([Buffer.of(VERSION | qos), data]));
    this.#follow(subject, entry);
  }

  /** Calls `visit` with the subject of each message under `filter`. */
  match(filter: string, visit: (subject: string) => void): void {
    visitLevel(this.#root, filter.split('.'), 0, [], visit);
  }

  /** The message of `subject`; undefined when there is none, 'pending' while the disk has not answered about it. */
  read(subject: string): RetainedMessage | 'pending' | undefined {
    const entry = this.#find(subject);
    if (entry === undefined) return undefined;
    if (entry.pending > 0) return 'pending';
    const value = this.#table.get(subject);
    const first = value?.[0] ?? 0;
    if (value === undefined || (first & 0xf0) !== VERSION) return undefined;
    return { qos: (first & 1) === 1 ? 1 : 0, data: value.subarray(1) };
  }

  #remove(subject: string, entry: Entry): void {
    this.#describe(entry, 0);
    this.#table.delete(subject);
    this.#follow(subject, entry);
  }

  /** Waits for the disk's answer to the write that was just made. */
  #follow(subject: string, entry: Entry): void {
    const held = this.#base.routing.hold();
    entry.pending++;
    this.#base.store.whenDurable((error) => {
      held?.(error);
      entry.pending--;
      if (error !== null) {
        entry.doubtful = true;
        this.#base.counters.retainedRefused++;
      }
      if (entry.pending > 0) return;
      if (entry.doubtful) {
        const value = this.#table.get(subject);
        this.#describe(entry, value === undefined ? 0 : subject.length + value.length);
        entry.doubtful = false;
      }
      if (!entry.present) this.#prune(subject);
    });
  }

  #describe(entry: Entry, bytes: number): void {
    const present = bytes > 0;
    if (present !== entry.present) this.#count += present ? 1 : -1;
    this.#budget.give(entry.bytes);
    this.#budget.force(bytes);
    entry.present = present;
    entry.bytes = bytes;
  }

  #find(subject: string): Entry | undefined {
    let at: Level | undefined = this.#root;
    for (const token of subject.split('.')) {
      at = at.next.get(token);
      if (at === undefined) return undefined;
    }
    return at.here;
  }

  #entry(subject: string): Entry {
    let at = this.#root;
    for (const token of subject.split('.')) {
      let next = at.next.get(token);
      if (next === undefined) at.next.set(token, (next = { next: new Map(), here: undefined }));
      at = next;
    }
    return (at.here ??= { bytes: 0, pending: 0, present: false, doubtful: false });
  }

  #prune(subject: string): void {
    const path: [Level, string][] = [];
    let at = this.#root;
    for (const token of subject.split('.')) {
      const next = at.next.get(token);
      if (next === undefined) return;
      path.push([at, token]);
      at = next;
    }
    at.here = undefined;
    for (const [parent, token] of path.reverse()) {
      const child = parent.next.get(token);
      if (child === undefined || child.here !== undefined || child.next.size > 0) return;
      parent.next.delete(token);
    }
  }
}

function visitLevel(
  at: Level,
  filter: readonly string[],
  depth: number,
  path: string[],
  visit: (subject: string) => void,
): void {
  const token = filter[depth];
  if (token === undefined) {
    if (at.here?.present === true) visit(path.join('.'));
    return;
  }
  if (token === '>') {
    for (const [name, next] of at.next) visitAll(next, [...path, name], visit);
    return;
  }
  if (token === '*') {
    for (const [name, next] of at.next) visitLevel(next, filter, depth + 1, [...path, name], visit);
    return;
  }
  const next = at.next.get(token);
  if (next !== undefined) visitLevel(next, filter, depth + 1, [...path, token], visit);
}

function visitAll(at: Level, path: string[], visit: (subject: string) => void): void {
  if (at.here?.present === true) visit(path.join('.'));
  for (const [name, next] of at.next) visitAll(next, [...path, name], visit);
}
