// Notices a hole in the WAN by the absence of progress: nothing received, and nothing taken off our hands by the
// network. A ping asks for a sign of life before silence is held to be a hole. A stall of our own process is not silence.

import { every, type Cancel, type Clock } from '../src/clock.ts';

/** What is watched. */
export interface Wire {
  /** Bytes received so far. */
  receivedBytes(): number;
  /** Bytes that the network has not taken yet. */
  unsentBytes(): number;
  ping(): void;
}

/** Looks per keep-alive. */
const TICKS = 15;

export class KeepAlive {
  readonly #clock: Clock;
  readonly #wire: Wire;
  readonly #keepAliveMs: number;
  readonly #dead: (silentMs: number) => void;
  readonly #tickMs: number;
  readonly #cancel: Cancel;
  readonly #patience = new Set<{ readonly ms: number }>();
  #received = -1;
  #unsent = 0;
  #progressMs: number;
  #lookedMs: number;
  #pingedMs: number;

  /** Calls `dead` once, within `keepAliveMs` after the last sign of life, unless somebody asked for patience. */
  constructor(clock: Clock, wire: Wire, keepAliveMs: number, dead: (silentMs: number) => void) {
    this.#clock = clock;
    this.#wire = wire;
    this.#keepAliveMs = keepAliveMs;
    this.#dead = dead;
    this.#tickMs = keepAliveMs / TICKS;
    this.#progressMs = this.#lookedMs = this.#pingedMs = clock.monotonicMs();
    this.#cancel = every(clock, this.#tickMs, () => this.#look());
  }

  /** Bears `ms` more silence until the returned function is called: one large message on a slow line. */
  bear(ms: number): () => void {
    const asked = { ms };
    this.#patience.add(asked);
    return () => void this.#patience.delete(asked);
  }

  stop(): void {
    this.#cancel();
  }

  #sense(): void {
    const received = this.#wire.receivedBytes();
    const unsent = this.#wire.unsentBytes();
    if (received !== this.#received || unsent < this.#unsent) {
      this.#progressMs = this.#clock.monotonicMs();
    }
    this.#received = received;
    this.#unsent = unsent;
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#sense();
    // Stopped, suspended or busy: what the network said meanwhile is still unread.
    if (nowMs - this.#lookedMs > 3 * this.#tickMs) this.#progressMs = nowMs;
    this.#lookedMs = nowMs;
    const silentMs = nowMs - this.#progressMs;
    const extraMs = Math.max(0, ...[...this.#patience].map(({ ms }) => ms));
    if (silentMs >= this.#keepAliveMs + extraMs - 2 * this.#tickMs) {
      this.#cancel();
      this.#dead(silentMs);
    } else if (
      silentMs >= this.#keepAliveMs / 3 &&
      nowMs - this.#pingedMs >= this.#keepAliveMs / 3
    ) {
      this.#pingedMs = nowMs;
      this.#wire.ping();
    }
  }
}
