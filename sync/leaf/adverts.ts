// What the hub is told that we want: LS+ when a subject is wanted that was not, LS- when nobody wants it any more, and LS+ again
// when a queue group has more or fewer members. What comes and goes within one turn is not said at all.

import { subscribeLine, unsubscribeLine } from './leaf-encoder.ts';
import type { Outbound } from './types.ts';

/**
 * Subjects, each with its group, beyond which the hub is told of no more that `imports` lists, and they are counted. Answers,
 * acknowledgements and flow control have limits of their own and still are told: JetStream must not stand still for it. 1 KiB each.
 */
const ADVERTS_MAX = 16_384;
/** Once some were too many, the others are counted again when no more than this are left. */
const ROOM_AGAIN = ADVERTS_MAX * (3 / 4);

interface Advert {
  readonly subject: string;
  readonly queue: string | undefined;
  /** Subscriptions that want it. */
  count: number;
  /** What the hub was told; 0 for nothing. */
  toldWeight: number;
}

export class Adverts {
  /** What could not be told. */
  ignored = 0;
  readonly #adverts = new Map<string, Advert>();
  readonly #dirty = new Set<Advert>();
  readonly #later: () => void;
  /** Some are not counted in: until all are counted anew no other is taken, or what ends could be taken for another. */
  #isShort = false;
  #outbound: Outbound | undefined;

  /** `later` is called when there is something to say: `flush` says it. */
  constructor(later: () => void) {
    this.#later = later;
  }

  open(outbound: Outbound): void {
    this.#outbound = outbound;
  }

  /** The connection has ended, and what it was told with it. */
  clear(): void {
    this.#outbound = undefined;
    this.#adverts.clear();
    this.#dirty.clear();
    this.#isShort = false;
  }

  /** Some were too many, and there is room for them now: call `recount`. */
  get hasRoomAgain(): boolean {
    return this.#isShort && this.#adverts.size <= ROOM_AGAIN;
  }

  /** Everything is to be wanted anew: the hub is told of the difference. */
  recount(): void {
    this.#isShort = false;
    for (const advert of this.#adverts.values()) {
      advert.count = 0;
      this.#changed(advert);
    }
  }

  /** Of which the hub knows. */
  list(): readonly string[] {
    const told = [...this.#adverts.values()].filter(({ toldWeight }) => toldWeight > 0);
    return told.map(({ subject, queue }) =>
      queue === undefined ? subject : `${subject} ${queue}`,
    );
  }

  /** One more subscription wants `subject`. */
  want(subject: string, queue?: string): void {
    this.#want(keyOf(subject, queue), { subject, queue, count: 0, toldWeight: 0 });
  }

  /** The same for what `imports` lists, of which there may be too many: then it is counted as ignored. */
  wantListed(subject: string, queue?: string): void {
    const key = keyOf(subject, queue);
    this.#isShort ||= this.#adverts.size >= ADVERTS_MAX && !this.#adverts.has(key);
    if (this.#isShort && !this.#adverts.has(key)) this.ignored++;
    else this.#want(key, { subject, queue, count: 0, toldWeight: 0 });
  }

  #want(key: string, fresh: Advert): void {
    const advert = this.#adverts.get(key) ?? fresh;
    if (advert === fresh) this.#adverts.set(key, advert);
    advert.count++;
    this.#changed(advert);
  }

  /** One subscription less wants it. */
  drop(subject: string, queue?: string): void {
    const advert = this.#adverts.get(keyOf(subject, queue));
    if (advert === undefined || advert.count === 0) return;
    advert.count--;
    this.#changed(advert);
  }

  /** Tells the hub what has changed. */
  flush(): void {
    if (this.#dirty.size === 0 || this.#outbound === undefined) return;
    let lines = '';
    for (const advert of this.#dirty) lines += this.#line(advert);
    this.#dirty.clear();
    if (lines !== '') this.#outbound.control(lines);
  }

  #line(advert: Advert): string {
    const { subject, queue, count, toldWeight } = advert;
    if (count === 0) this.#adverts.delete(keyOf(subject, queue));
    const weight = queue === undefined ? Math.min(count, 1) : count;
    if (weight === toldWeight) return '';
    advert.toldWeight = weight;
    return weight === 0 ? unsubscribeLine(subject, queue) : subscribeLine(subject, queue, weight);
  }

  #changed(advert: Advert): void {
    if (this.#dirty.size === 0) this.#later();
    this.#dirty.add(advert);
  }
}

function keyOf(subject: string, queue: string | undefined): string {
  return queue === undefined ? subject : `${subject} ${queue}`;
}
