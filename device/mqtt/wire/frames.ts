// Cuts the byte stream of one client into whole Control Packets, each within the limit for its type, before anything
// looks inside. A packet that lies within one chunk is a slice of it; of a begun packet only the bytes that came are
// held, in one buffer that grows as they come: neither a large announced length nor a byte at a time costs memory.

import type { Budget } from '../limits.ts';
import { ProtocolError } from './protocol-error.ts';
import { ReasonCode } from './reason-codes.ts';
import type { Version } from './types.ts';

/** Held bytes of a begun packet that are not charged to the shared budget: more than most packets. */
const PARTIAL_FREE_BYTES = 4096;
const FIRST_PARTIAL_BYTES = 64;
/** Enough of an oversized packet: a Topic Name of 65,535 bytes with its length, and a Packet Identifier. */
const HEAD_BYTES = 2 + 65_535 + 2;
/** A fixed header: the type, and at most four bytes of Remaining Length [2.2.3]. */
const FIXED_HEADER_MAX = 5;

export interface FrameTaker {
  /** Of the peer, where it is known and matters: in 5.0 a Remaining Length has no byte too many [MQTT-1.5.5-1]. */
  readonly version?: Version | undefined;
  /** The largest Remaining Length for a packet that begins with `first`. Throws a ProtocolError when it may not come now. */
  remainingMax(first: number): number;
  /** A whole packet; its variable header begins at `start`. May pause or close the reader. */
  take(frame: Buffer, start: number): void;
  /**
   * Where it is there, a packet over its maximum is no error: its first bytes come here, enough for a Topic Name and a
   * Packet Identifier, and the rest is read and dropped.
   */
  takeOversized?(head: Buffer, start: number): void;
}

interface Header {
  /** Bytes of the fixed header. */
  start: number;
  /** Bytes of the whole packet, or of what is taken of it. */
  length: number;
  /** Bytes behind them to drop; 0 for a packet within its limit. */
  excess: number;
}

export class FrameReader {
  readonly #taker: FrameTaker;
  readonly #budget: Budget;
  #input: Buffer | undefined;
  #partial: Buffer | undefined;
  #have = 0;
  #charged = 0;
  #header: Header | undefined;
  /** Bytes of an oversized packet that are still to be dropped. */
  #excess = 0;
  #paused = false;
  #closed = false;

  constructor(taker: FrameTaker, budget: Budget) {
    this.#taker = taker;
    this.#budget = budget;
  }

  /** Takes the next bytes. Throws a ProtocolError. */
  read(chunk: Buffer): void {
    if (this.#closed) return;
    this.#input = this.#input === undefined ? chunk : Buffer.concat([this.#input, chunk]);
    this.#run();
  }

  /** Takes no further packet until `resume`; the rest of the current chunk waits. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what waits. Throws a ProtocolError. */
  resume(): void {
    this.#paused = false;
    this.#run();
  }

  /** Drops everything; nothing is taken any more. */
  close(): void {
    this.#closed = true;
    this.#input = undefined;
    this.#drop();
  }

  #run(): void {
    while (this.#input !== undefined && !this.#paused) {
      const input = this.#input;
      // Taken out first: `take` may end in `resume`, which then finds nothing to do, and this loop goes on.
      this.#input = undefined;
      const used =
        this.#excess > 0
          ? this.#skip(input)
          : this.#partial === undefined
            ? this.#whole(input)
            : this.#fill(input);
      if (used < input.length && !this.#closed) this.#input = input.subarray(used);
    }
  }

  /** Takes the packets that lie wholly in `input`, and begins to collect the last one. Returns the bytes used. */
  #whole(input: Buffer): number {
    let at = 0;
    while (at < input.length && this.#excess === 0 && !this.#paused && !this.#closed) {
      const header = this.#readHeader(input, at, input.length);
      if (header === undefined || at + header.length > input.length) {
        this.#header = header;
        this.#append(input, at, input.length);
        return input.length;
      }
      const frame = input.subarray(at, at + header.length);
      at += header.length;
      this.#take(frame, header);
    }
    return at;
  }

  #take(frame: Buffer, { start, excess }: Header): void {
    this.#excess = excess;
    if (excess === 0) this.#taker.take(frame, start);
    else this.#taker.takeOversized?.(frame, start);
  }

  #skip(input: Buffer): number {
    const used = Math.min(input.length, this.#excess);
    this.#excess -= used;
    return used;
  }

  /** Adds to the begun packet. Returns the bytes used. */
  #fill(input: Buffer): number {
    let used = 0;
    while (this.#header === undefined && used < input.length) {
      this.#append(input, used, ++used);
      if (this.#partial !== undefined)
        this.#header = this.#readHeader(this.#partial, 0, this.#have);
    }
    if (this.#header === undefined) return used;
    const missing = this.#header.length - this.#have;
    const end = Math.min(input.length, used + missing);
    this.#append(input, used, end);
    if (this.#have === this.#header.length && this.#partial !== undefined) {
      const frame = this.#partial.subarray(0, this.#have);
      const header = this.#header;
      this.#drop();
      this.#take(frame, header);
    }
    return end;
  }

  #readHeader(bytes: Buffer, at: number, end: number): Header | undefined {
    const first = bytes[at];
    if (first === undefined || at >= end) return undefined;
    const max = this.#taker.remainingMax(first);
    let remaining = 0;
    for (let i = 1; i < FIXED_HEADER_MAX; i++) {
      const byte = bytes[at + i];
      if (byte === undefined || at + i >= end) return undefined;
      remaining += (byte & 0x7f) * 2 ** (7 * (i - 1));
      if ((byte & 0x80) !== 0) continue;
      if (byte === 0 && i > 1 && this.#taker.version === 5)
        throw new ProtocolError('a padded Remaining Length');
      if (remaining <= max) return { start: 1 + i, length: 1 + i + remaining, excess: 0 };
      if (this.#taker.takeOversized === undefined)
        throw new ProtocolError(`a packet of ${remaining} bytes`, ReasonCode.packetTooLarge);
      const taken = Math.min(max, HEAD_BYTES);
      return { start: 1 + i, length: 1 + i + taken, excess: remaining - taken };
    }
    throw new ProtocolError('malformed Remaining Length');
  }

  #append(input: Buffer, from: number, to: number): void {
    const needed = this.#have + to - from;
    if (this.#partial === undefined || this.#partial.length < needed) this.#grow(needed);
    if (this.#partial !== undefined) input.copy(this.#partial, this.#have, from, to);
    this.#have = needed;
  }

  #grow(needed: number): void {
    const doubled = Math.max(needed, 2 * this.#have, FIRST_PARTIAL_BYTES);
    const size = this.#header === undefined ? doubled : Math.min(doubled, this.#header.length);
    const charge = Math.max(0, size - PARTIAL_FREE_BYTES) - this.#charged;
    if (charge > 0 && !this.#budget.take(charge))
      throw new ProtocolError('too many bytes of incomplete packets', ReasonCode.quotaExceeded);
    this.#charged += Math.max(0, charge);
    const grown = Buffer.allocUnsafe(size);
    this.#partial?.copy(grown, 0, 0, this.#have);
    this.#partial = grown;
  }

  #drop(): void {
    this.#budget.give(this.#charged);
    this.#charged = 0;
    this.#partial = undefined;
    this.#have = 0;
    this.#header = undefined;
  }
}
