// Does long gets a slice at a time, one after the other, so that none of them, nor all together, holds the event loop. A
// get whose client has much unread waits until it has read.

import type { Clock } from '../../clock.ts';

/** Long gets under way; one holds a few hundred bytes, and up to 1,024 sequences. Beyond it: 429. */
export const DIRECT_GETS_MAX = 1_000;
/** How much of a turn of the event loop they may take, and how much they may send in it. */
const TURN_MS = 2;
const TURN_BYTES_MAX = 512 * 1024;
/** When to look again whether a client has read. */
const BUSY_MS = 5;

/** A get that takes several slices. */
export interface LongGet {
  /** Begins; calls `ready` when a slice can be taken: at once or later. */
  begin(ready: () => void): void;
  /** Sends a bounded number of messages: how many bytes; `again` to begin once more; undefined when it has ended. */
  slice(): number | 'again' | undefined;
  /** There is no room for it. */
  refuse(): void;
}

interface Entry {
  readonly get: LongGet;
  readonly client: object | undefined;
}

export class DirectRun {
  readonly #clock: Clock;
  readonly #isBusy: (client: object) => boolean;
  #count = 0;
  #ready: Entry[] = [];
  #isArmed = false;

  constructor(clock: Clock, isBusy: (client: object) => boolean = () => false) {
    this.#clock = clock;
    this.#isBusy = isBusy;
  }

  /** Gets under way. */
  get count(): number {
    return this.#count;
  }

  /** Takes the first slice at once where it can: most gets are short. */
  add(get: LongGet, client: object | undefined): void {
    if (this.#count >= DIRECT_GETS_MAX) return get.refuse();
    this.#count++;
    const entry = { get, client };
    get.begin(() => {
      if (this.#ready.length > 0 || this.#slice(entry) !== undefined) this.#wait(entry);
    });
  }

  #wait(entry: Entry): void {
    this.#ready.push(entry);
    this.#arm();
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#clock.soon(() => {
      this.#isArmed = false;
      this.#turn();
    });
  }

  #turn(): void {
    const endMs = this.#clock.monotonicMs() + TURN_MS;
    let bytes = 0;
    const again: Entry[] = [];
    const waiting = this.#ready;
    this.#ready = [];
    for (const [i, entry] of waiting.entries()) {
      if (bytes >= TURN_BYTES_MAX || this.#clock.monotonicMs() >= endMs) {
        // Those that had no turn come first in the next.
        again.unshift(...waiting.slice(i));
        break;
      }
      if (entry.client !== undefined && this.#isBusy(entry.client)) {
        this.#clock.after(BUSY_MS, () => this.#wait(entry));
        continue;
      }
      const sent = this.#slice(entry);
      if (sent === 'again') entry.get.begin(() => this.#wait(entry));
      else if (sent !== undefined) {
        bytes += sent;
        again.push(entry);
      }
    }
    this.#ready = [...again, ...this.#ready];
    if (this.#ready.length > 0) this.#arm();
  }

  #slice({ get }: Entry): number | 'again' | undefined {
    const sent = get.slice();
    if (sent === undefined) this.#count--;
    return sent;
  }
}
