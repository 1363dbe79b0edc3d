// What of the bytes of one connection has crossed: by the PONGs of the hub, and by the kernel's word.

import type { Clock } from '../../src/clock.ts';
import { SendWindow } from './send-window.ts';

/** One PING for this part of a window, but not for less than some bytes. */
const MARKS_A_WINDOW = 4;
const MARK_BYTES = 2048;
/** PINGs without a PONG yet: the liveness sends one a second while megabytes come in before the PONG. */
const PINGS_MAX = 1024;
/** What large messages may take that the network has accepted and the hub has not seen: 1 MiB at 5 kB/s, and no more. */
const PATIENCE_BYTES_A_MS = 5;
const PATIENCE_MS_MAX = 200 * 1000;

/** A look this long after the one before shows what passes now. */
const FRESH_MS = 3000;

interface Ping {
  /** Behind it. */
  readonly position: number;
  /** Bytes that had come in when it was sent. */
  readonly receivedBytes: number;
  /** Bytes of large messages since the PING before. */
  readonly largeBytes: number;
}

/**
 * Only a PONG tells what the hub has; what the kernel's send queue has left may stand in a proxy or a tunnel that took it in
 * the hub's stead. So PONGs open the window, and the kernel's word counts where none can come in time: within a large
 * message, into which no PING goes, and while the PONG stands behind more of the hub's data than we have on its way. In both
 * cases it lets pass a window at a time, and the window itself learns nothing of it.
 */
export class Crossing {
  /** Position of the next byte. */
  sent = 0;
  /** When something of ours was last seen to pass into the network, or nothing was left to pass. */
  ackedMs: number;
  /**
   * When something of ours was last seen to cross. The network's word counts only until the oldest PING without an answer
   * has crossed: from then on the hub itself is to be heard.
   */
  movedMs: number;
  readonly window = new SendWindow();
  readonly #clock: Clock;
  readonly #received: () => number;
  /** Those without a PONG. */
  readonly #pings: Ping[] = [];
  /** Everything before this position is known to have reached the peer's kernel, or what stands in its stead. */
  #acked = 0;
  /** Bytes of large messages since the last PING. */
  #largeBytes = 0;
  #lookedMs = -Infinity;

  /** `received` counts the bytes that came in. */
  constructor(clock: Clock, received: () => number) {
    this.#clock = clock;
    this.#received = received;
    this.ackedMs = this.movedMs = clock.monotonicMs();
  }

  get unansweredPings(): number {
    return this.#pings.length;
  }

  /** Bytes that the network has not acknowledged, as far as is known. */
  get unackedBytes(): number {
    return this.sent - this.#acked;
  }

  /** A line or a message may begin. */
  get isOpen(): boolean {
    return this.sent - this.window.crossed < this.window.bytes;
  }

  /** A PING may be sent at all. */
  get mayPing(): boolean {
    return this.#pings.length < PINGS_MAX;
  }

  /** So much was sent since the last PING that another one is due. */
  get wantsPing(): boolean {
    const every = Math.max(MARK_BYTES, this.window.bytes / MARKS_A_WINDOW);
    return this.mayPing && this.window.unmarked(this.sent) >= every;
  }

  /** The next PONG stands behind data of the hub's. */
  get isBehind(): boolean {
    const oldest = this.#pings[0];
    if (oldest === undefined) return false;
    return this.#received() - oldest.receivedBytes > this.sent - this.window.crossed;
  }

  /** How much later than usual the next PONG may come, for the large messages before it. */
  get patienceMs(): number {
    const bytes = this.#pings[0]?.largeBytes ?? 0;
    return Math.min(PATIENCE_MS_MAX, bytes / PATIENCE_BYTES_A_MS);
  }

  /** A large message of so many bytes begins. */
  large(bytes: number): void {
    this.#largeBytes += bytes;
  }

  /** A PING was sent that ends at `position`. */
  pinged(position: number): void {
    const receivedBytes = this.#received();
    this.#pings.push({ position, receivedBytes, largeBytes: this.#largeBytes });
    this.#largeBytes = 0;
    this.window.mark(position, this.#clock.monotonicMs(), receivedBytes);
  }

  /** The hub has answered the oldest PING; false where there is none. */
  pong(): boolean {
    const ping = this.#pings.shift();
    if (ping === undefined) return false;
    const nowMs = this.#clock.monotonicMs();
    this.window.cross(ping.position, this.sent, nowMs, this.#received());
    this.#acknowledge(ping.position, true);
    this.ackedMs = this.movedMs = nowMs;
    return true;
  }

  /** The kernel has been asked: the network has taken everything before `position`. */
  looked(position: number): void {
    const nowMs = this.#clock.monotonicMs();
    // What passed since an old look may have passed long ago, before the line broke.
    const isFresh = nowMs - this.#lookedMs <= FRESH_MS;
    this.#lookedMs = nowMs;
    this.#acknowledge(position, isFresh);
    if (this.unackedBytes === 0) this.ackedMs = nowMs;
    if (this.isBehind) this.window.assume(this.#acked);
  }

  #acknowledge(position: number, isFresh: boolean): void {
    const before = this.#acked;
    if (position <= before) return;
    this.#acked = position;
    if (!isFresh) return;
    const oldest = this.#pings[0];
    this.ackedMs = this.#clock.monotonicMs();
    if (oldest === undefined || oldest.position > before) this.movedMs = this.ackedMs;
  }
}
