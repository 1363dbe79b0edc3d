// Decodes one block: the length of its bytes as a varint, then tags that say which bytes to take as they stand (literals) and
// which to copy from before. Everything is checked against the input and against the announced length before it is used.

import { COPY_1, COPY_2, LITERAL, S2Error } from './s2-format.ts';

/** Room behind the block: short copies go by two words and write up to seven bytes too many. */
const SLACK_BYTES = 8;
/** The buffer grows from here. */
const BUFFER_BYTES = 64 * 1024;
/** Up to here a loop is faster than a call. */
const LITERAL_LOOP_BYTES = 24;
const MATCH_LOOP_BYTES = 64;
/** What the length of a repeat begins from, by how many bytes of it follow the tag. */
const REPEAT_FROM = [0, 8, 260, 65_540];

export class BlockDecoder {
  #out = Buffer.allocUnsafeSlow(BUFFER_BYTES + SLACK_BYTES);
  #words = wordsOf(this.#out);

  /**
   * The bytes of the block that lies in `input` from `from` up to `to`; they are good until the next call. Throws an
   * S2Error for a corrupt one, and for one of more than `bytesMax` bytes.
   */
  decode(input: Buffer, from: number, to: number, bytesMax: number): Buffer {
    let length = 0;
    let at = from;
    for (let shift = 0; ; shift += 7) {
      if (at === to || shift > 28) throw new S2Error('a block without a length');
      const byte = input[at++] as number;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    if (length > bytesMax)
      throw new S2Error(`a block of ${length} bytes, where ${bytesMax} is the most`);
    this.#makeRoom(length, bytesMax);
    readTags(input, at, to, this.#out, this.#words, length);
    return this.#out.subarray(0, length);
  }

  #makeRoom(length: number, bytesMax: number): void {
    if (length <= this.#out.length - SLACK_BYTES) return;
    this.#out = Buffer.allocUnsafeSlow(Math.min(bytesMax, 2 * length) + SLACK_BYTES);
    this.#words = wordsOf(this.#out);
  }
}

function wordsOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Fills `out` up to `length` from the tags in `input`; `words` is `out` too. */
function readTags(
  input: Buffer,
  from: number,
  to: number,
  out: Buffer,
  words: DataView,
  length: number,
): void {
  let at = from;
  let done = 0;
  let offset = 0;
  while (at < to) {
    const tag = input[at++] as number;
    const kind = tag & 3;
    let count = tag >>> 2;
    if (kind === LITERAL) {
      if (count >= 60) {
        const bytes = count - 59;
        if (bytes > to - at) throw cut();
        count = littleEndian(input, at, bytes);
        at += bytes;
      }
      count++;
      if (count > to - at) throw cut();
      if (count > length - done) throw tooLong(length);
      copyLiteral(input, at, out, done, count);
      done += count;
      at += count;
      continue;
    }
    if (kind === COPY_1) {
      if (at === to) throw cut();
      const low = input[at++] as number;
      const distance = ((tag & 0xe0) << 3) | low;
      count = (count & 7) + 4;
      if (distance > 0) {
        offset = distance;
      } else if (count > 8) {
        // A repeat whose length does not fit into the tag.
        const bytes = count - 8;
        if (bytes > to - at) throw cut();
        count = (REPEAT_FROM[bytes] as number) + littleEndian(input, at, bytes);
        at += bytes;
      }
    } else {
      const bytes = kind === COPY_2 ? 2 : 4;
      if (bytes > to - at) throw cut();
      offset = littleEndian(input, at, bytes);
      at += bytes;
      count++;
    }
    if (offset === 0) throw new S2Error('a copy over a distance of 0 bytes');
    if (offset > done)
      throw new S2Error(`a copy over ${offset} bytes, where ${done} have been before`);
    if (count > length - done) throw tooLong(length);
    copyMatch(out, words, done, offset, count);
    done += count;
  }
  if (done < length)
    throw new S2Error(`a block that announces ${length} bytes and has ${done} of them`);
}

function copyLiteral(input: Buffer, from: number, out: Buffer, to: number, count: number): void {
  if (count > LITERAL_LOOP_BYTES) {
    input.copy(out, to, from, from + count);
  } else {
    for (let i = 0; i < count; i++) out[to + i] = input[from + i] as number;
  }
}

function copyMatch(out: Buffer, words: DataView, to: number, offset: number, count: number): void {
  const end = to + count;
  const from = to - offset;
  if (count > MATCH_LOOP_BYTES) {
    // Where it overlaps itself each step makes the next one twice as long.
    for (let at = to; at < end;) {
      const step = Math.min(end - at, at - from);
      out.copyWithin(at, from, from + step);
      at += step;
    }
  } else if (offset >= 4) {
    for (let at = to; at < end; at += 8) {
      words.setInt32(at, words.getInt32(at - offset));
      words.setInt32(at + 4, words.getInt32(at + 4 - offset));
    }
  } else {
    for (let at = to; at < end; at++) out[at] = out[at - offset] as number;
  }
}

function littleEndian(input: Buffer, at: number, bytes: number): number {
  let value = input[at] as number;
  if (bytes > 1) value |= (input[at + 1] as number) << 8;
  if (bytes > 2) value |= (input[at + 2] as number) << 16;
  if (bytes > 3) value += (input[at + 3] as number) * 0x1000000;
  return value;
}

function cut(): S2Error {
  return new S2Error('a block that ends within a tag or a literal');
}

function tooLong(length: number): S2Error {
  return new S2Error(`a block that has more than the ${length} bytes that it announces`);
}
