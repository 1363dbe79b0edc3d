// A limit that became smaller takes many steps: one at a time, and no more than a transaction takes, for commits may rest.

import type { Clock } from '../clock.ts';
import { nextSlice } from './slices.ts';
import type { Store } from './store.ts';

export class KeepMore {
  readonly #on: { readonly store: Store; readonly clock: Clock };
  readonly #keep: () => void;
  #isAsked = false;
  #isClosed = false;

  /** `keep` does one step. */
  constructor(on: { readonly store: Store; readonly clock: Clock }, keep: () => void) {
    this.#on = on;
    this.#keep = keep;
  }

  /** More is over the limits than one step drops: there is another when the disk has this one. */
  ask(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    const { store, clock } = this.#on;
    const step = (): void => {
      this.#isAsked = false;
      if (!this.#isClosed) this.#keep();
    };
    store.whenDurable(() => nextSlice(clock, step));
  }

  /** There are no more steps. */
  close(): void {
    this.#isClosed = true;
  }
}
