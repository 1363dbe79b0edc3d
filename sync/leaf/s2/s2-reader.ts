// Reads an S2 stream, or Snappy's: chunks of a type, a length and a body, of which the compressed and the uncompressed ones
// carry data with its checksum. How the bytes are cut into pieces changes nothing. Of a begun chunk only the bytes that came
// are held, so an announced size costs no memory; and blocks are decoded one by one, as they are asked for, since a few bytes
// can stand for megabytes.

import { assert } from '../../../src/assert.ts';
import { BlockDecoder } from './block-decoder.ts';
import { crc32c, masked } from './crc32c.ts';
import {
  CHECKSUM_BYTES,
  CHUNK_HEAD_BYTES,
  COMPRESSED,
  IDENTIFIER,
  S2_NAME,
  S2Error,
  SKIPPABLE_FROM,
  SNAPPY_NAME,
  UNCOMPRESSED,
} from './s2-format.ts';

export { S2Error };

/** One block before compression: the most that S2 knows. */
const BLOCK_BYTES_MAX = 4 * 1024 * 1024;
/** One block before compression in a stream that calls itself Snappy's. */
const SNAPPY_BLOCK_BYTES_MAX = 64 * 1024;
/** A compressed chunk with its checksum: no encoder lets a block of 4 MiB grow by more than some bytes. */
const CHUNK_BYTES_MAX = 4160 * 1024;
/** Decoded bytes are handed out in pieces, so that whoever keeps a message keeps no whole block. */
const PIECE_BYTES = 64 * 1024;
/** So much of what is no stream is shown to the operator. */
const SHOWN_BYTES = 60;

const NO_BYTES: Buffer = Buffer.alloc(0);

export class S2Reader {
  readonly #decoder = new BlockDecoder();
  #error: S2Error | undefined;
  #isReading = false;

  /** Nothing is known before the first identifier. */
  #blockBytesMax = 0;
  /** A begun chunk; `#heldBytes` of its `#chunkBytes` are there, and the head first. The buffer stays for the next one. */
  #held = NO_BYTES;
  #heldBytes = 0;
  #chunkBytes = 0;
  /** What is still to come of a chunk that is skipped. */
  #skipBytes = 0;

  /** What the chunk that was completed last carries; in a buffer that is used again, or in the caller's. */
  #data = NO_BYTES;
  #isLent = false;

  /**
   * The bytes that `chunk` completes, in order; the rest is kept. They are decoded as they are asked for: take all of them
   * before the next call. Some are slices of `chunk`. Throws an S2Error where the stream is corrupt, and at every call after
   * that.
   */
  *decode(chunk: Buffer): Generator<Buffer, void, undefined> {
    if (this.#error !== undefined) throw this.#error;
    assert(!this.#isReading, 'the bytes of the call before were all taken');
    this.#isReading = true;
    for (let at = 0; at < chunk.length;) {
      at = this.#step(chunk, at);
      const data = this.#data;
      this.#data = NO_BYTES;
      if (!this.#isLent && data.length > 0) yield data;
      else
        for (let from = 0; from < data.length; from += PIECE_BYTES)
          yield Buffer.from(data.subarray(from, from + PIECE_BYTES));
    }
    this.#isReading = false;
  }

  /** Uses some of `input` from `at` on, up to the end of a chunk at most; returns where it goes on. */
  #step(input: Buffer, at: number): number {
    try {
      if (this.#skipBytes > 0) return this.#skip(input, at);
      if (this.#heldBytes > 0) return this.#hold(input, at);
      if (this.#blockBytesMax === 0 && input[at] !== IDENTIFIER) throw noStream(input, at);
      if (input.length - at < CHUNK_HEAD_BYTES) return this.#hold(input, at);
      if (!this.#readHead(input, at)) return at + CHUNK_HEAD_BYTES;
      const end = at + this.#chunkBytes;
      if (end > input.length) return this.#hold(input, at);
      this.#readChunk(input, at, end, false);
      return end;
    } catch (error) {
      if (error instanceof S2Error) this.#error = error;
      throw error;
    }
  }

  #skip(input: Buffer, at: number): number {
    const bytes = Math.min(this.#skipBytes, input.length - at);
    this.#skipBytes -= bytes;
    return at + bytes;
  }

  #hold(input: Buffer, at: number): number {
    const isHead = this.#heldBytes < CHUNK_HEAD_BYTES;
    const length = isHead ? CHUNK_HEAD_BYTES : this.#chunkBytes;
    const to = Math.min(input.length, at + length - this.#heldBytes);
    const have = this.#heldBytes + to - at;
    const held = this.#room(have, length);
    input.copy(held, this.#heldBytes, at, to);
    this.#heldBytes = have;
    if (have < length) return to;
    if (isHead) {
      if (!this.#readHead(held, 0)) this.#heldBytes = 0;
      return to;
    }
    this.#heldBytes = 0;
    this.#readChunk(held, 0, length, true);
    return to;
  }

  /** A buffer for the begun chunk that has room for `have` of its `length` bytes. */
  #room(have: number, length: number): Buffer {
    const held = this.#held;
    if (held.length >= have) return held;
    const grown = Buffer.allocUnsafe(Math.min(length, Math.max(have, 2 * held.length, 1024)));
    held.copy(grown, 0, 0, this.#heldBytes);
    this.#held = grown;
    return grown;
  }

  /** Learns from the head of a chunk how long it is; false where it is skipped. */
  #readHead(bytes: Buffer, at: number): boolean {
    const type = bytes[at] as number;
    const length = bytes.readUIntLE(at + 1, 3);
    const max = this.#blockBytesMax;
    this.#chunkBytes = CHUNK_HEAD_BYTES + length;
    switch (type) {
      case IDENTIFIER:
        if (length !== S2_NAME.length) throw badLength('a stream identifier', length);
        return true;
      case COMPRESSED:
        if (length <= CHECKSUM_BYTES || length > CHUNK_BYTES_MAX)
          throw badLength('a compressed chunk', length);
        return true;
      case UNCOMPRESSED:
        if (length < CHECKSUM_BYTES || length - CHECKSUM_BYTES > max)
          throw badLength('an uncompressed chunk', length);
        return true;
    }
    if (type < SKIPPABLE_FROM)
      throw new S2Error(`a chunk of the unknown type 0x${type.toString(16).padStart(2, '0')}`);
    this.#skipBytes = length;
    return false;
  }

  /** Reads the chunk that lies in `bytes` from `from` up to `to`. */
  #readChunk(bytes: Buffer, from: number, to: number, isLent: boolean): void {
    const type = bytes[from] as number;
    const body = from + CHUNK_HEAD_BYTES;
    if (type === IDENTIFIER) return this.#readIdentifier(bytes.toString('latin1', body, to));
    const checksum = bytes.readUInt32LE(body);
    const isCompressed = type === COMPRESSED;
    const data = isCompressed
      ? this.#decoder.decode(bytes, body + CHECKSUM_BYTES, to, this.#blockBytesMax)
      : bytes.subarray(body + CHECKSUM_BYTES, to);
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    if (masked(crc32c(view, 0, data.length)) !== checksum)
      throw new S2Error(`a chunk of ${data.length} bytes whose checksum is wrong`);
    this.#data = data;
    this.#isLent = isLent || isCompressed;
  }

  #readIdentifier(name: string): void {
    if (name === S2_NAME) this.#blockBytesMax = BLOCK_BYTES_MAX;
    else if (name === SNAPPY_NAME) this.#blockBytesMax = SNAPPY_BLOCK_BYTES_MAX;
    else throw new S2Error(`a stream that calls itself ${JSON.stringify(name)}`);
  }
}

function badLength(what: string, length: number): S2Error {
  return new S2Error(`${what} of ${length} bytes`);
}

/** The operator sees the begin of what came: a line of plain text, say. */
function noStream(input: Buffer, at: number): S2Error {
  const shown = input.toString('latin1', at, at + SHOWN_BYTES);
  return new S2Error(`no S2 stream: ${JSON.stringify(shown)}`);
}
