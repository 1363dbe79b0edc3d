// Last Wills [3.1.2.5]: published when a connection ends without DISCONNECT, after their delay or at the end of the session,
// whichever comes first [MQTT-3.1.3-9], and not at all when the client is back by then. Relies on `MqttStore` for rows
// that a killed process leaves behind, and on a publisher that says how it went.

import type { Cancel } from '../../../src/clock.ts';
import type { Base } from '../base.ts';
import { Budget } from '../limits.ts';
import { isPassing, scan, type Settled } from '../tables.ts';
import type { Will } from './types.ts';
import { decodeWill, encodeWill, parseWillKey, willKey } from './will-row.ts';

const SCAN_ROWS = 64;
/** Wills published in one turn: after a restart thousands may be due together. */
const WILLS_PER_TURN = 64;
/** How exactly a delay is kept: it is given in whole seconds, and the fewer timers the better. */
const GRID_MS = 100;
/** How soon what the disk refused is tried again. */
const RETRY_MS = 5000;
/**
 * After a restart each client gets so long to come back, whatever its delay: it was we who were gone. The usual clients
 * try again after 1 to 2 s (mosquitto, Paho, MQTT.js), so a second try is in time; who watches for the Will of a device
 * that went with the gateway waits no longer than for a missed keep-alive.
 */
export const RESTART_GRACE_MS = 5000;
/**
 * Wills in memory: those of open connections, and those that wait and that the disk has not taken. Each has up to 64 KiB; beyond it
 * no client with another is admitted, and none waits.
 */
const WILL_BYTES_MAX = 16 * 1024 * 1024;
/** Wills that were refused and are tried again: as many as there may be sessions. Beyond it the newest is given up, and counted. */
const WILLS_REFUSED_MAX = 10_000;
const PUBLISHED = Buffer.alloc(0);

/**
 * The way into the broker. `settled` is called exactly once: null when the disk has all of it, or when nobody has to
 * wait (QoS 0), an Error where any of it was refused.
 */
export interface WillPublisher {
  publishWill(will: Will, clientId: string, settled: Settled): void;
}

interface HasClientId {
  readonly clientId: string;
}

interface Entry {
  readonly clientId: string;
  /** Of its row; the row may not be there: a full disk takes none. */
  readonly key: string;
  /** Something was written under `key`, and has to be removed. */
  hasRow: boolean;
  /** Store time; undefined while the connection is open. */
  dueMs: number | undefined;
  /** While its connection is open, or the disk has not got it. */
  will: Will | undefined;
  /** What `will` takes of the memory. */
  bytes: number;
}

/**
 * The Wills of one listener.
 *
 * A Will is published once: its message and the mark in its row that says so are one transaction. The mark is an empty
 * row, not a removal, because a full disk refuses additions and keeps removals: a removal would survive the refusal of
 * the message. A Will has a row from CONNECT on and so outlives the process, also that of a session which ends with its
 * connection: it is what tells others that a device is gone, and a power cut takes devices with it. What is done with it
 * after a restart is decided by `RESTART_GRACE_MS`.
 */
export class Wills {
  readonly #base: Base;
  readonly #publisher: WillPublisher;
  /** Of open connections, and those that wait for their time, by Client Identifier. As many as there are sessions. */
  readonly #current = new Map<string, Entry>();
  readonly #refused = new Set<Entry>();
  readonly #memory = new Budget(WILL_BYTES_MAX);
  #number = 0;
  #armedMs = Infinity;
  #cancelTimer: Cancel | undefined;
  #retryArmed = false;

  constructor(base: Base, publisher: WillPublisher) {
    this.#base = base;
    this.#publisher = publisher;
  }

  /** Wills that wait for their time, or for the disk. */
  get waiting(): number {
    let waiting = this.#refused.size;
    for (const { dueMs } of this.#current.values()) if (dueMs !== undefined) waiting++;
    return waiting;
  }

  /** Bytes of Wills in memory. */
  get bytes(): number {
    return this.#memory.used;
  }

  /** Brings back what an earlier process left. After the sessions were loaded. */
  load(): void {
    const { store, log } = this.#base;
    const nowMs = store.nowMs();
    for (const { key, value } of scan(store.wills, SCAN_ROWS)) {
      const { clientId, number } = parseWillKey(key);
      this.#number = Math.max(this.#number, number);
      const row = decodeWill(value);
      if (row === undefined) {
        if (value.length > 0) log.error({ clientId }, 'the Will of an MQTT client cannot be read');
        store.wills.delete(key);
        continue;
      }
      const delayMs = row.will.delaySeconds * 1000;
      const dueMs = Math.max(row.dueMs ?? nowMs + delayMs, nowMs + RESTART_GRACE_MS);
      const entry = { ...this.#entry(clientId, key), hasRow: true, dueMs };
      // Two of one client: the disk had refused the earlier one, and it was overdue then.
      const before = this.#current.get(clientId);
      if (before !== undefined) this.#keepTrying(before);
      this.#current.set(clientId, entry);
    }
    this.#arm();
  }

  /** Whether one more connection may have such a Will. */
  fits(will: Will): boolean {
    return this.#memory.used + bytesOf(will) <= this.#memory.max;
  }

  /**
   * A connection has opened a session with this Will (undefined for none); `expirySeconds` is its Session Expiry Interval.
   * True where CONNACK has to wait until `answered`: the disk has it. One that the disk refuses lives with the process.
   * `cancel` or `ended` comes first.
   */
  opened(
    { clientId }: HasClientId,
    will: Will | undefined,
    expirySeconds: number,
    answered: () => void,
  ): boolean {
    if (will === undefined) return false;
    this.cancel(clientId);
    const entry = this.#entry(clientId);
    entry.hasRow = true;
    this.#hold(entry, will);
    this.#current.set(clientId, entry);
    // After a restart nobody knows when a session in memory would have ended: it has.
    const delaySeconds = Math.min(will.delaySeconds, expirySeconds);
    this.#base.store.wills.put(entry.key, encodeWill({ ...will, delaySeconds }, undefined));
    this.#base.store.whenDurable((error) => {
      if (error !== null)
        this.#base.warn('the disk has no room for the Will of an MQTT client', { clientId });
      answered();
    });
    return true;
  }

  /**
   * The connection is closed: publishes its Will, now or after its delay. `will` is undefined where DISCONNECT took it
   * back [MQTT-3.14.4-3]; `expirySeconds` is as it is at the end.
   */
  closed({ clientId }: HasClientId, will: Will | undefined, expirySeconds: number): void {
    const known = this.#current.get(clientId);
    if (will === undefined) {
      if (known !== undefined) this.#forget(known);
      return;
    }
    const entry = known ?? this.#entry(clientId);
    this.#current.set(clientId, entry);
    const waitMs = Math.min(will.delaySeconds, expirySeconds) * 1000;
    if (waitMs === 0 || !this.#hold(entry, will)) return this.#publish(entry, will);
    this.#await(entry, will, this.#base.store.nowMs() + waitMs);
  }

  /** A new connection goes on with the session: a Will that waits is not published [MQTT-3.1.3-9]. */
  cancel(clientId: string): void {
    const entry = this.#current.get(clientId);
    if (entry !== undefined) this.#forget(entry);
  }

  /** The session has ended (expired, Clean Start, administratively): a Will that waits is published now. */
  ended(clientId: string): void {
    const entry = this.#current.get(clientId);
    if (entry !== undefined) this.#publishWaiting(entry);
  }

  #entry(clientId: string, key?: string): Entry {
    return {
      clientId,
      key: key ?? willKey(clientId, ++this.#number),
      hasRow: false,
      dueMs: undefined,
      will: undefined,
      bytes: 0,
    };
  }

  /** Waits until `dueMs`, in memory until the disk has the row. */
  #await(entry: Entry, will: Will, dueMs: number): void {
    const { store } = this.#base;
    entry.dueMs = dueMs;
    entry.hasRow = true;
    store.wills.put(entry.key, encodeWill(will, dueMs));
    store.whenDurable((error) => {
      // Refused, the row of the open connection may be there: it says the same, but for the time.
      const isSafe = error === null || decodeWill(store.wills.get(entry.key)) !== undefined;
      if (isSafe && entry.will === will && !this.#refused.has(entry)) this.#release(entry);
    });
    this.#arm();
  }

  /** Publishes what waited. */
  #publishWaiting(entry: Entry): void {
    const will = entry.will ?? decodeWill(this.#base.store.wills.get(entry.key))?.will;
    if (will === undefined) {
      // Neither the disk nor the memory had room for it.
      this.#base.counters.willsDropped++;
      return this.#forget(entry);
    }
    this.#publish(entry, will);
  }

  #publish(entry: Entry, will: Will): void {
    const { store, counters } = this.#base;
    const { clientId, key } = entry;
    if (this.#current.get(clientId) === entry) this.#current.delete(clientId);
    // Until the disk has answered; without the room for it there is no second try.
    if (entry.will === undefined) this.#hold(entry, will);
    let failure: Error | null = null;
    let waits = 2; // For the publisher, and for the end of this.
    const part = (error: Error | null): void => {
      failure ??= error;
      if (--waits === 0) this.#settle(entry, failure);
    };
    store.together(() => {
      this.#publisher.publishWill(will, clientId, part);
      // Refused at once: the row stays as it is.
      if (!entry.hasRow || failure !== null) return;
      waits++;
      store.wills.put(key, PUBLISHED);
      store.whenDurable(part);
    });
    counters.wills++;
    part(null);
  }

  #settle(entry: Entry, error: Error | null): void {
    if (error === null) return this.#forget(entry);
    const { counters } = this.#base;
    const { clientId } = entry;
    counters.refusedMsgs++;
    this.#base.warn('the Will of an MQTT client was refused', { clientId, err: error });
    // A stream's own rules are no passing trouble, and everybody else has got the Will.
    if (!isPassing(error, this.#base.store)) return this.#forget(entry);
    this.#keepTrying(entry);
  }

  #keepTrying(entry: Entry): void {
    const isThere = entry.will !== undefined || entry.hasRow;
    if (!isThere || (!this.#refused.has(entry) && this.#refused.size >= WILLS_REFUSED_MAX)) {
      this.#base.counters.willsDropped++;
      return this.#forget(entry);
    }
    this.#refused.add(entry);
    this.#armRetry();
  }

  /** Tries again, some at a time, once the disk takes messages. */
  #retry(): void {
    const { store } = this.#base;
    this.#retryArmed = false;
    if (store.hasRoom?.() !== false) {
      for (const entry of [...this.#refused].slice(0, WILLS_PER_TURN)) {
        this.#refused.delete(entry);
        this.#publishWaiting(entry);
      }
    }
    if (this.#refused.size > 0) this.#armRetry();
  }

  #armRetry(): void {
    if (this.#retryArmed) return;
    this.#retryArmed = true;
    this.#base.clock.after(RETRY_MS, () => this.#retry());
  }

  #forget(entry: Entry): void {
    this.#release(entry);
    this.#refused.delete(entry);
    if (this.#current.get(entry.clientId) === entry) this.#current.delete(entry.clientId);
    if (!entry.hasRow) return;
    entry.hasRow = false;
    this.#base.store.wills.delete(entry.key);
  }

  /** Keeps the Will in memory; false when there is no room for it. */
  #hold(entry: Entry, will: Will): boolean {
    if (entry.will === will) return true;
    this.#release(entry);
    const bytes = bytesOf(will);
    if (!this.#memory.take(bytes)) return false;
    entry.will = will;
    entry.bytes = bytes;
    return true;
  }

  #release(entry: Entry): void {
    this.#memory.give(entry.bytes);
    entry.bytes = 0;
    entry.will = undefined;
  }

  /** Sees to it that the timer runs when the next one is due. */
  #arm(): void {
    let nextMs = Infinity;
    for (const { dueMs } of this.#current.values())
      if (dueMs !== undefined && dueMs < nextMs) nextMs = dueMs;
    if (nextMs >= this.#armedMs || nextMs === Infinity) return;
    this.#cancelTimer?.();
    this.#armedMs = nextMs;
    const waitMs = Math.max(0, nextMs - this.#base.store.nowMs());
    const gridMs = Math.ceil(waitMs / GRID_MS) * GRID_MS;
    this.#cancelTimer = this.#base.clock.after(gridMs, () => this.#due());
  }

  #due(): void {
    const { store, clock } = this.#base;
    this.#armedMs = Infinity;
    this.#cancelTimer = undefined;
    const nowMs = store.nowMs();
    let room = WILLS_PER_TURN;
    for (const entry of this.#current.values()) {
      if (entry.dueMs === undefined || entry.dueMs > nowMs) continue;
      if (room-- === 0) return clock.soon(() => this.#due());
      this.#publishWaiting(entry);
    }
    this.#arm();
  }
}

function bytesOf({ message: { subject, headers, data } }: Will): number {
  return subject.length + (headers?.length ?? 0) + data.length;
}
