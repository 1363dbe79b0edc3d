// Cuts a port's byte stream into frames, incrementally: however the driver splits the bytes, the same frames come out.
// A frame is a copy of its own and never longer than the limit. What is not part of a frame is dropped and counted,
// so that every byte read is a frame's, a delimiter's, or in `droppedBytes`.

import { assert } from '../../src/assert.ts';
import type { FramingConfig } from './serial-config.ts';

export type Emit = (frame: Buffer) => void;

export interface FramingCounters {
  frames: number;
  /** Frames over the limit; each is dropped whole. */
  droppedOversize: number;
  /** Bytes of oversize frames, of half frames, and of what came before the first delimiter after a late join. */
  droppedBytes: number;
}

export interface Framing {
  readonly counters: FramingCounters;
  /** Takes what the driver read and emits the frames it completes. `silentMs`: how long the line was silent before. */
  push(chunk: Buffer, emit: Emit, silentMs?: number): void;
  /** Drops the half frame, if any, and returns its length: the next byte begins a frame. */
  reset(): number;
  /** The next byte may lie within a frame: what comes before the next delimiter is dropped. */
  resync(): void;
}

const LF = Buffer.from('\n');
const CR = 0x0d;

/** The framing for a port. Throws an AssertionError on a configuration that the checker should have refused. */
export function framingFor(config: FramingConfig, frameBytesMax: number): Framing {
  assert(frameBytesMax > 0, 'the frame limit must be positive');
  switch (config.type) {
    case 'line':
      return new DelimitedFraming(LF, frameBytesMax, true);
    case 'delimiter':
      return new DelimitedFraming(config.delimiter, frameBytesMax, false);
    case 'fixed':
      assert(config.length <= frameBytesMax, 'a fixed frame must fit the frame limit');
      return new FixedFraming(config.length, config.idleMs);
  }
}

/**
 * Frames that end with a delimiter. Empty ones are no frames: CRLF pairs, and protocols that send the delimiter on both
 * sides, would make them by the thousand.
 *
 * Memory is bounded because `#half` never grows: a frame that fills it without having ended is over the limit, and from
 * then on only the last bytes that may begin a delimiter are kept, until one is complete.
 */
class DelimitedFraming implements Framing {
  readonly counters: FramingCounters = { frames: 0, droppedOversize: 0, droppedBytes: 0 };
  readonly #delimiter: Buffer;
  readonly #frameBytesMax: number;
  readonly #stripCr: boolean;
  readonly #half: Buffer;
  #used = 0;
  #skipping = false;

  constructor(delimiter: Buffer, frameBytesMax: number, stripCr: boolean) {
    assert(delimiter.length > 0, 'a delimiter must not be empty');
    this.#delimiter = Buffer.from(delimiter);
    this.#frameBytesMax = frameBytesMax;
    this.#stripCr = stripCr;
    this.#half = Buffer.alloc(frameBytesMax + (stripCr ? 1 : 0) + delimiter.length);
  }

  push(chunk: Buffer, emit: Emit): void {
    const last = this.#delimiter[this.#delimiter.length - 1];
    for (const byte of chunk) {
      this.#half[this.#used++] = byte;
      if (byte === last && this.#endsWithDelimiter()) this.#end(emit);
      else if (this.#used === this.#half.length) this.#overflow();
    }
  }

  reset(): number {
    const dropped = this.#used;
    this.#drop(dropped);
    this.#used = 0;
    this.#skipping = false;
    return dropped;
  }

  resync(): void {
    this.#skipping = true;
  }

  #endsWithDelimiter(): boolean {
    const start = this.#used - this.#delimiter.length;
    return start >= 0 && this.#delimiter.compare(this.#half, start, this.#used) === 0;
  }

  #end(emit: Emit): void {
    const whole = this.#used - this.#delimiter.length;
    const length = this.#stripCr && whole > 0 && this.#half[whole - 1] === CR ? whole - 1 : whole;
    const skipped = this.#skipping;
    this.#used = 0;
    this.#skipping = false;
    if (skipped) {
      this.#drop(whole);
    } else if (length > this.#frameBytesMax) {
      this.counters.droppedOversize++;
      this.#drop(whole);
    } else if (length > 0) {
      this.counters.frames++;
      emit(Buffer.from(this.#half.subarray(0, length)));
    }
  }

  #overflow(): void {
    if (!this.#skipping) this.counters.droppedOversize++;
    this.#skipping = true;
    const kept = this.#delimiter.length - 1;
    this.#drop(this.#used - kept);
    this.#half.copyWithin(0, this.#used - kept, this.#used);
    this.#used = kept;
  }

  #drop(bytes: number): void {
    this.counters.droppedBytes += bytes;
  }
}

/**
 * Frames of one length. Nothing in the bytes says where a frame begins, only the silence between frames does: with
 * `idleMs`, a half frame followed by that much silence is dropped and the next byte begins a frame.
 */
class FixedFraming implements Framing {
  readonly counters: FramingCounters = { frames: 0, droppedOversize: 0, droppedBytes: 0 };
  readonly #half: Buffer;
  readonly #idleMs: number;
  #used = 0;

  constructor(length: number, idleMs = Infinity) {
    assert(length > 0, 'a fixed frame must have a length');
    this.#half = Buffer.alloc(length);
    this.#idleMs = idleMs;
  }

  push(chunk: Buffer, emit: Emit, silentMs = 0): void {
    if (silentMs >= this.#idleMs) this.reset();
    for (const byte of chunk) {
      this.#half[this.#used++] = byte;
      if (this.#used < this.#half.length) continue;
      this.#used = 0;
      this.counters.frames++;
      emit(Buffer.from(this.#half));
    }
  }

  reset(): number {
    const dropped = this.#used;
    this.counters.droppedBytes += dropped;
    this.#used = 0;
    return dropped;
  }

  resync(): void {
    // There is nothing to look for: the silence after the first half frame puts it right.
  }
}
