// Tables in memory that behave as the real store does towards a listener: a write becomes visible with the commit at the
// end of its turn (or earlier), and safe with the next sync. When the disk is full a commit applies the removals alone, and
// tells those who had asked by then; who asks later is told of nothing, for nothing of theirs is pending. A test may
// withhold the sync, fill the disk, kill the process (what is committed stays) or cut the power (what is synced stays).

import type { Clock } from '../../src/clock.ts';
import type { MqttStore, Settled, Table } from '../../device/mqtt/tables.ts';

type Rows = Map<string, Buffer>;
type Contents = { sessions: Rows; queue: Rows; retained: Rows; received: Rows; wills: Rows };
type Write = { apply: () => void; removal: boolean };

export class MemoryStore implements MqttStore {
  readonly sessions: Table;
  readonly queue: Table;
  readonly retained: Table;
  readonly received: Table;
  readonly wills: Table;
  readonly #clock: Clock;
  readonly #committed: Contents;
  #synced: Contents;
  #writes: Write[] = [];
  #waiting: Settled[] = [];
  #batches: Settled[][] = [];
  #armed = false;
  #together = 0;
  /** Without it, nothing is safe before `sync`. */
  auto = true;
  /** Nothing but removals fits. */
  full = false;

  constructor(clock: Clock, contents: Contents = emptyContents()) {
    this.#clock = clock;
    this.#committed = copy(contents);
    this.#synced = copy(contents);
    this.sessions = this.#table('sessions');
    this.queue = this.#table('queue');
    this.retained = this.#table('retained');
    this.received = this.#table('received');
    this.wills = this.#table('wills');
  }

  /** Rows that a restart after a power cut would find. */
  get synced(): Contents {
    return this.#synced;
  }

  readonly hasRoom = (): boolean => !this.full;

  /** Nothing commits before the end of the turn unless a test asks for it: then not inside of `body`. */
  together<T>(body: () => T): T {
    this.#together++;
    try {
      return body();
    } finally {
      this.#together--;
    }
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  readonly whenDurable = (done: Settled): void => {
    if (this.#writes.length > 0) this.#waiting.push(done);
    else if (this.#batches.length > 0) this.#batches.at(-1)?.push(done);
    else done(null);
  };

  /** As if a stream had queued a message: something is pending. */
  queueMessage(): void {
    this.#write(false, () => undefined);
  }

  /** Ends the transaction, as a turn does or a stream with many messages. */
  commit(): void {
    if (this.#together > 0) return;
    const writes = this.#writes;
    const waiting = this.#waiting;
    if (writes.length === 0) return;
    this.#writes = [];
    this.#waiting = [];
    for (const { apply, removal } of writes) if (removal || !this.full) apply();
    this.#batches.push(this.full ? [] : waiting);
    if (this.full) for (const done of waiting) done(new Error('the disk is full'));
  }

  /** Makes everything written safe, and says so. */
  sync(): void {
    this.commit();
    this.#sync();
  }

  /** The store that the next process finds. */
  afterKill(): MemoryStore {
    this.commit();
    return new MemoryStore(this.#clock, this.#committed);
  }

  afterPowerCut(): MemoryStore {
    return new MemoryStore(this.#clock, this.#synced);
  }

  #sync(): void {
    const batches = this.#batches;
    this.#batches = [];
    this.#synced = copy(this.#committed);
    for (const done of batches.flat()) done(null);
  }

  #table(name: keyof Contents): Table {
    const rows = this.#committed[name];
    return {
      get: (key) => rows.get(key),
      put: (key, value) => this.#write(false, () => rows.set(key, Buffer.from(value))),
      delete: (key) => this.#write(true, () => rows.delete(key)),
      range: (from, to, limit) =>
        [...rows]
          .filter(([key]) => compare(key, from) >= 0 && compare(key, to) < 0)
          .sort(([a], [b]) => compare(a, b))
          .slice(0, limit)
          .map(([key, value]) => ({ key, value })),
    };
  }

  #write(removal: boolean, apply: () => void): void {
    this.#writes.push({ apply, removal });
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.soon(() => {
      this.#armed = false;
      this.commit();
      if (this.auto) this.#clock.soon(() => this.#sync());
    });
  }
}

function emptyContents(): Contents {
  return {
    sessions: new Map(),
    queue: new Map(),
    retained: new Map(),
    received: new Map(),
    wills: new Map(),
  };
}

function copy({ sessions, queue, retained, received, wills }: Contents): Contents {
  return {
    sessions: new Map(sessions),
    queue: new Map(queue),
    retained: new Map(retained),
    received: new Map(received),
    wills: new Map(wills),
  };
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
