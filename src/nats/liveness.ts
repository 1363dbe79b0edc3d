// Whether one client is still there, told from when it was heard and what it answered. Knows no socket: it is asked, and
// says what to do.

import type { NatsLimits } from './limits.ts';

/** TLS takes a while longer. */
const TLS_MS = 1000;
/** The first PING, which measures the way there and back. */
const FIRST_PING_MS = 2000;

export type Verdict = 'fine' | 'ping' | 'late' | 'stale' | 'stuck' | 'linger';

export class Liveness {
  readonly #limits: Readonly<NatsLimits>;
  readonly #sinceMs: number;
  readonly #connectMs: number;
  lastInMs: number;
  rttMs: number | undefined;
  #pingMs: number | undefined;
  #pingsOut = 0;
  /** Writes that have left, and when that was last seen to change. */
  #writes = 0;
  #seenWrites = 0;
  #movedMs: number;

  constructor(limits: Readonly<NatsLimits>, nowMs: number, tls: boolean) {
    this.#limits = limits;
    this.#sinceMs = nowMs;
    this.lastInMs = nowMs;
    this.#movedMs = nowMs;
    this.#connectMs = limits.authTimeoutMs + (tls ? TLS_MS : 0);
  }

  /** Bytes came (or we did not read); once closed, when that was. */
  heard(nowMs: number): void {
    this.lastInMs = nowMs;
  }

  /** A PONG came. */
  answered(nowMs: number): void {
    if (this.#pingsOut > 0 && this.#pingMs !== undefined) this.rttMs = nowMs - this.#pingMs;
    this.#pingsOut = 0;
  }

  /** Something that was written has left. */
  left(): void {
    this.#writes++;
  }

  look(nowMs: number, phase: 'entering' | 'open' | 'closed', pendingBytes: number): Verdict {
    if (phase === 'closed')
      return nowMs - this.lastInMs >= this.#limits.lingerMs ? 'linger' : 'fine';
    if (phase === 'entering' && nowMs - this.#sinceMs >= this.#connectMs) return 'late';
    if (pendingBytes === 0 || this.#writes !== this.#seenWrites) {
      this.#seenWrites = this.#writes;
      this.#movedMs = nowMs;
    } else if (nowMs - this.#movedMs >= this.#limits.writeDeadlineMs) return 'stuck';
    return phase === 'open' && this.#isPingDue(nowMs) ? this.#ping(nowMs) : 'fine';
  }

  #isPingDue(nowMs: number): boolean {
    const { pingIntervalMs } = this.#limits;
    if (this.#pingMs === undefined)
      return nowMs - this.#sinceMs >= Math.min(FIRST_PING_MS, pingIntervalMs);
    return nowMs - Math.max(this.lastInMs, this.#pingMs) >= pingIntervalMs;
  }

  #ping(nowMs: number): Verdict {
    if (this.#pingsOut + 1 > this.#limits.pingsOutMax) return 'stale';
    this.#pingsOut++;
    this.#pingMs = nowMs;
    return 'ping';
  }
}
