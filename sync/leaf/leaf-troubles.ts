// What only an operator can mend, over all connections of a link: why the last one failed or ended, another gateway with
// our name, the hub's own domain, a subject that the hub does not want. It also says how long to keep still.
//
// Of two gateways with one name the hub keeps the one that came last. Whoever is thrown out twice takes it for that, and
// waits long and ever longer, drawn anew each time: the two change places now and then, and load nobody.

import type { Clock } from '../../src/clock.ts';
import type { Random } from '../backoff.ts';
import type { LeafError } from './leaf-error.ts';

/** Thrown out twice within this time: it is no accident. It also outlasts the longest pause below. */
const TWIN_MS = 40 * 60_000;
/** The first pause of one of two gateways with the same name, and the longest; each may be drawn twice as long. */
const TWIN_PAUSE_MS = 30_000;
const TWIN_PAUSE_MAX_MS = 10 * 60_000;

export class LeafTroubles {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #name: string;
  #failure: LeafError | undefined;
  /** Ended a connection that stood: it is remembered until one stands longer. */
  #late: LeafError | undefined;
  #complaint: LeafError | undefined;
  #domain: string | undefined;
  #evictions = 0;
  #evictedMs = -Infinity;

  constructor(name: string, { clock, random }: { clock: Clock; random: Random }) {
    this.#name = name;
    this.#clock = clock;
    this.#random = random;
  }

  /** One line, or null. */
  get problem(): string | null {
    return (
      this.twin ??
      sentence(this.#failure) ??
      sentence(this.#late) ??
      this.#domain ??
      sentence(this.#complaint) ??
      null
    );
  }

  /** Another gateway has our name: the sentence for it. */
  get twin(): string | undefined {
    if (this.#evictions < 2 || this.#clock.monotonicMs() - this.#evictedMs > TWIN_MS)
      return undefined;
    return `another gateway with the name "${this.#name}" takes the place of this one at the hub. Give each gateway a name of its own`;
  }

  /** A connection stands. `domain` is set where the hub has ours. */
  up(domain: string | undefined): void {
    this.#failure = undefined;
    this.#domain =
      domain === undefined
        ? undefined
        : `the hub has the JetStream domain "${domain}" of this gateway: nothing of JetStream crosses. Give one of them another domain`;
  }

  /** A connection has stood for a while. */
  settled(): void {
    this.#late = undefined;
  }

  /** The hub complains of something, and goes on. */
  complained(error: LeafError): void {
    this.#complaint = error;
  }

  /** The hub no longer means what it complained of: it has started anew, or its permissions changed. */
  forgiven(): void {
    this.#complaint = undefined;
  }

  /** No connection came about, or one has ended, `stood` says which. Returns for how many ms to keep still. */
  failed(error: LeafError, stood: boolean): number {
    if (stood) this.#late = error.needsOperator ? error : this.#late;
    else this.#failure = error.needsOperator ? error : undefined;
    if (error.denied !== undefined) this.#complaint = error;
    const pauseMs = error.kind === 'twin' ? this.#evicted() : error.pauseMs;
    return pauseMs * (1 + this.#random());
  }

  #evicted(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#evictedMs > TWIN_MS) this.#evictions = 0;
    this.#evictedMs = nowMs;
    this.#late = undefined;
    const repeats = this.#evictions++ - 1;
    if (repeats < 0) return 0;
    return Math.min(TWIN_PAUSE_MAX_MS, TWIN_PAUSE_MS * 2 ** Math.min(repeats, 20));
  }
}

function sentence(error: LeafError | undefined): string | undefined {
  return error === undefined ? undefined : `${error.message}: ${error.hint}`;
}
