// What a link has counted on all its connections together.

import type { LeafSession } from './leaf-session.ts';
import type { LeafCounters } from './types.ts';

type Counted = Pick<LeafCounters, 'inMsgs' | 'inBytes' | 'outMsgs' | 'outBytes' | 'droppedMsgs'> & {
  readonly lines: number;
};

const NOTHING: Counted = {
  lines: 0,
  inMsgs: 0,
  inBytes: 0,
  outMsgs: 0,
  outBytes: 0,
  droppedMsgs: 0,
};

export class LeafTotals {
  #ended = NOTHING;

  /** Of all connections that have ended, and of `session`. */
  with(session: LeafSession | undefined): Counted {
    if (session === undefined) return this.#ended;
    const { lines, inMsgs, inBytes } = session.counters;
    const { outMsgs, outBytes, droppedMsgs } = session.outbound.counters;
    return {
      lines: this.#ended.lines + lines,
      inMsgs: this.#ended.inMsgs + inMsgs,
      inBytes: this.#ended.inBytes + inBytes,
      outMsgs: this.#ended.outMsgs + outMsgs,
      outBytes: this.#ended.outBytes + outBytes,
      droppedMsgs: this.#ended.droppedMsgs + droppedMsgs,
    };
  }

  /** `session` has ended. */
  add(session: LeafSession): void {
    this.#ended = this.with(session);
  }
}
