// When a connection is read, and when not. Whatever has to wait stops the reading, each for a reason of its own, so that
// nothing piles up here: the client's own sending does, in its socket.

import type { Duplex } from 'node:stream';
import type { Shared } from './shared.ts';
import type { FrameReader } from './wire/frames.ts';

/** Reasons not to read on: CONNACK or the disk is waited for, a window is full, ours or that of all, or we stop. */
export const Pause = { entry: 1, disk: 2, window: 4, total: 8, stopping: 16 } as const;

export class Flow {
  readonly #shared: Shared;
  readonly #stream: Duplex;
  readonly #reader: FrameReader;
  readonly #guard: (step: () => void) => void;
  #pauses = 0;
  #closed = false;

  /** `guard` runs a step that may find the peer at fault. */
  constructor(
    shared: Shared,
    stream: Duplex,
    reader: FrameReader,
    guard: (step: () => void) => void,
  ) {
    this.#shared = shared;
    this.#stream = stream;
    this.#reader = reader;
    this.#guard = guard;
  }

  /** It is we who do not read. */
  get paused(): boolean {
    return this.#pauses !== 0;
  }

  has(reason: number): boolean {
    return (this.#pauses & reason) !== 0;
  }

  pause(reason: number): void {
    this.#pauses |= reason;
    this.#reader.pause();
    this.#stream.pause();
  }

  unpause(reason: number): void {
    if ((this.#pauses & reason) === 0) return;
    this.#pauses &= ~reason;
    if (this.#pauses !== 0) return;
    // In a turn of its own: this may be a callback of the disk, no place to publish from.
    this.#shared.clock.soon(() => {
      if (this.#closed) return;
      if (this.#pauses === 0) this.yieldToOthers();
      if (this.#pauses !== 0) return;
      this.#guard(() => this.#reader.resume());
      if (this.#pauses === 0) this.#stream.resume();
    });
  }

  /** Takes nothing more while all clients together wait for too much. */
  yieldToOthers(): void {
    const { window } = this.#shared;
    if (!window.full || this.has(Pause.total)) return;
    this.pause(Pause.total);
    window.wait(() => this.unpause(Pause.total));
  }

  /** What still comes is read and dropped: a reset would take our last words from the peer. */
  close(): void {
    this.#closed = true;
    this.#reader.close();
    this.#stream.resume();
  }
}
