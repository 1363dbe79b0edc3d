// A local stream as forwarding needs it: read by sequence, told what the hub has confirmed. src/jetstream/stream.ts is one.

import type { Cancel } from '../src/clock.ts';
import type { Entry, Epoch, ForwardMark } from '../src/jetstream/stream-types.ts';

export interface LocalStream {
  readonly name: string;
  readonly durableSeq: number;
  readonly firstSeq: number;
  readonly graceSeq: number;
  readonly mark: ForwardMark | null;
  epochs(): readonly Epoch[];
  read(afterSeq: number, max: number, bytesMax: number): Entry[];
  /** Moves the mark; a `late` one may be on the disk some seconds later. */
  confirm(mark: ForwardMark, late?: boolean): void;
  onDurable(fn: () => void): Cancel;
  deadLetter(seq: number, reason: string): Promise<void>;
}
