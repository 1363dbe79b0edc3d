// The note on the disk that what the hub holds behind a place may have holes; window-reading.ts reads by it. It is written
// before the first message that may leave a hole, and moved on now and then, so that a start after a crash has less to read.

import type { ForwardState } from './forward-state.ts';
import type { Errand, Progress } from './way.ts';

/** Confirmed messages until the note moves on: a reading sees at most these and what was in flight. */
const NOTE_MESSAGES = 5_000;

export class WindowNote {
  readonly #errand: Errand;
  readonly #state: ForwardState;
  #notedSeq = 0;

  constructor(errand: Errand, state: ForwardState) {
    this.#errand = errand;
    this.#state = state;
  }

  /** Notes that holes may come behind `progress`, unless that is noted already. False when the disk takes nothing. */
  async open(progress: Progress): Promise<boolean> {
    if (this.#state.value.window === null) return this.#write(progress);
    this.#notedSeq = Math.max(this.#notedSeq, progress.afterSeq);
    return true;
  }

  /** Moves the note on when it is time to; nothing that was in the way of order may lie behind `progress`. */
  async follow(progress: Progress): Promise<void> {
    if (progress.afterSeq - this.#notedSeq >= NOTE_MESSAGES) await this.#write(progress);
  }

  async #write({ afterSeq, fenceSeq, stream }: Progress): Promise<boolean> {
    const { mark } = this.#errand.stream;
    const afterId = mark?.seq === afterSeq ? mark.id : '';
    // Where the place has no name, nothing may be left out.
    const fromSeq = afterSeq > 0 && afterId === '' ? 1 : fenceSeq + 1;
    this.#notedSeq = afterSeq;
    try {
      const window = { afterId, fromSeq, created: stream.created };
      await this.#state.save({ ...this.#state.value, window });
      return true;
    } catch {
      return false;
    }
  }
}
