// The probe of a window: one message that goes alone after a doubt, before what seems to be missing at the hub is sent again.
//
// Why. A reading comes from the leader's store, and the store may be behind the leader's log: a leader that was just elected
// has not applied yet what its predecessor took, and one without a majority takes messages that it cannot apply. What is in
// that log is missing from the reading, and would go a second time: only the hub's memory of IDs then refuses it. That
// memory is short, and three servers before 2.11 that have refused something in their log may disagree afterwards
// about what they hold (docs/hub.md). The log is applied in its order. So once a message has been acknowledged that was sent
// after all attempts in doubt, each of them has been applied or is gone for good, and a reading that shows that message
// shows all of them.
//
// The probe is a message that was never sent before: it can be no repetition itself, and order is not claimed here. Only
// where everything that waits may have been sent it is the first that is missing. Should the hub know its ID, the reading
// was behind; servers from 2.10 on say so before their log has it, which is worth one more reading and no more.

import type { ForwardState } from './forward-state.ts';
import { positionOf } from './hub-message.ts';
import { Pipeline } from './pipeline.ts';
import type { Errand, Progress } from './way.ts';

/** An entry, and what it lies behind. */
interface Place {
  readonly afterSeq: number;
  readonly seq: number;
}

export class WindowProbe {
  readonly #errand: Errand;
  /** The process before this one left a window open. */
  readonly #wasOpen: boolean;
  /** The last local sequence that may have been sent; undefined before the first look. */
  #attemptedSeq: number | undefined;
  /** A reading that shows this hub sequence is right: the last probe's. */
  #shownSeq = Infinity;

  constructor(errand: Errand, state: ForwardState) {
    this.#errand = errand;
    this.#wasOpen = state.value.window !== null;
  }

  /** Up to `seq` everything has been sent, or may have been. */
  attempted(seq: number): void {
    this.#attemptedSeq = Math.max(this.#attemptedSeq ?? 0, seq);
    this.#shownSeq = Infinity;
  }

  /**
   * True where `progress`, as the last reading found it, tells of all attempts. Else the probe has gone, and the hub is
   * to be read again. Call it before the first message after a reading. Rejects with a HubError. `closing`: nothing new
   * shall go out of order any more.
   */
  async assured(progress: Progress, closing = false): Promise<boolean> {
    const { stream } = this.#errand;
    // How far the process before this one had come nobody knows.
    this.#attemptedSeq ??= this.#wasOpen ? stream.durableSeq : 0;
    const { afterSeq, fenceSeq } = progress;
    if (afterSeq >= this.#attemptedSeq || fenceSeq >= this.#shownSeq) return true;
    const next = (closing ? undefined : this.#fresh(this.#attemptedSeq)) ?? this.#missing(afterSeq);
    const probe = new Pipeline(this.#errand, { ...progress, afterSeq: next.afterSeq });
    // What no publish can carry is for the window to set aside.
    if (probe.fill(() => undefined, { upToSeq: next.seq }) !== undefined) return true;
    this.attempted(next.seq);
    await probe.settled();
    const [failure] = probe.failures;
    if (failure?.error.kind === 'poison') return true;
    if (failure !== undefined) throw failure.error;
    const [ack] = probe.acks;
    if (ack !== undefined) this.#shownSeq = ack.duplicate ? 0 : ack.seq;
    return false;
  }

  /** The first message that was never sent. */
  #fresh(attemptedSeq: number): Place | undefined {
    const [entry] = this.#errand.stream.read(attemptedSeq, 1, 1);
    // A gap may begin among what was sent: there its record would tell of a part only.
    if (entry === undefined || entry.kind === 'gap') return undefined;
    return { afterSeq: attemptedSeq, seq: positionOf(entry).seq };
  }

  #missing(afterSeq: number): Place {
    const [entry] = this.#errand.stream.read(afterSeq, 1, 1);
    return { afterSeq, seq: entry === undefined ? afterSeq : positionOf(entry).seq };
  }
}
