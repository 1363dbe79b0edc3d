// Encodes one block: the length of its bytes as a varint, then literals and copies of what was there before. A hash table says
// where four bytes stood last. The search takes wider steps the longer it finds nothing, so that what cannot be compressed
// costs little. Lines of one kind have one distance in many copies: S2 has a short form for that, and for long copies.

import { COPY_1, COPY_2, LITERAL } from './s2-format.ts';

/** The bytes of one block: positions in it fit into the 16 bits of a table's entry. */
export const BLOCK_BYTES = 64 * 1024;
/** Shorter ones are not worth the search. */
const INPUT_LEAST = 32;
/** What the search looks at, and the shortest match. */
const WORD_BYTES = 4;
/** Entries of the tables. 2^13 are 16 KiB, which leaves room in the first cache of a small processor; twice as many save 0.5 %. */
const TABLE_BITS_LEAST = 8;
const TABLE_BITS_MOST = 13;
/** 2^32 over the golden ratio: neighbouring words get distant hashes. */
const HASH_FACTOR = 0x9e3779b1;
/** A step is one byte wide, and a byte wider after each 32 without a match. */
const STEP_SHIFT = 5;
const FIRST_STEPS = 1 << STEP_SHIFT;
/** Distances below it fit into the shortest copy, with lengths of up to NEAR_LONGEST. */
const NEAR = 2048;
const NEAR_LONGEST = 11;
const COPY_LONGEST = 64;

export class BlockEncoder {
  /** Tables for blocks of every size, the smaller ones parts of the largest: only what a block needs is cleared. */
  readonly #tables: readonly Uint16Array[] = makeTables();

  /**
   * Writes the block that lies in `input` from `from` up to `to` into `out` from `at` on; returns where it ends, or `at` where
   * it does not shrink by an eighth. `out` has room for BLOCK_BYTES there.
   */
  encode(input: DataView, from: number, to: number, out: DataView, at: number): number {
    const length = to - from;
    if (length < INPUT_LEAST) return at;
    let bits = TABLE_BITS_LEAST;
    while (bits < TABLE_BITS_MOST && 1 << bits < length) bits++;
    const table = this.#tables[bits - TABLE_BITS_LEAST] as Uint16Array;
    table.fill(0);
    return writeBlock(input, from, to, out, at, table, 32 - bits);
  }
}

function makeTables(): Uint16Array[] {
  const largest = new Uint16Array(1 << TABLE_BITS_MOST);
  const tables: Uint16Array[] = [];
  for (let bits = TABLE_BITS_LEAST; bits <= TABLE_BITS_MOST; bits++)
    tables.push(largest.subarray(0, 1 << bits));
  return tables;
}

/** As `encode`; the table has been cleared, and `shift` leaves as many bits of a hash as it has. */
function writeBlock(
  input: DataView,
  from: number,
  to: number,
  out: DataView,
  start: number,
  table: Uint16Array,
  shift: number,
): number {
  const lastStart = to - WORD_BYTES;
  const end = start + (to - from) - ((to - from) >>> 3);
  let at = writeLength(out, start, to - from);
  let literal = from;
  let offset = 0;
  let here = from + 1;
  search: while (here <= lastStart) {
    let steps = FIRST_STEPS;
    let next = here;
    let candidate = 0;
    let word = 0;
    do {
      here = next;
      if (here > lastStart) break search;
      next = here + (steps++ >>> STEP_SHIFT);
      word = input.getInt32(here, true);
      const hash = Math.imul(word, HASH_FACTOR) >>> shift;
      candidate = from + (table[hash] as number);
      table[hash] = here - from;
    } while (input.getInt32(candidate, true) !== word);
    const distance = here - candidate;
    while (
      here > literal &&
      here - distance > from &&
      input.getUint8(here - 1) === input.getUint8(here - 1 - distance)
    )
      here--;
    // Before it is written: copies of four bytes behind literals of some length make a block longer.
    if (at + (here - literal) > end) return start;
    at = writeLiteral(input, literal, here, out, at);
    literal = matchEnd(input, here, distance, to);
    at = writeCopy(out, at, distance, literal - here, distance === offset);
    offset = distance;
    here = literal;
    if (here <= lastStart)
      table[Math.imul(input.getInt32(here - 2, true), HASH_FACTOR) >>> shift] = here - 2 - from;
  }
  if (at + (to - literal) > end) return start;
  return writeLiteral(input, literal, to, out, at);
}

/** Where what begins at `at` stops being what was `distance` bytes before; `to` at most. */
function matchEnd(input: DataView, at: number, distance: number, to: number): number {
  let end = at;
  for (; end + 4 <= to; end += 4) {
    const difference = input.getInt32(end, true) ^ input.getInt32(end - distance, true);
    if (difference !== 0) return end + ((31 - Math.clz32(difference & -difference)) >>> 3);
  }
  while (end < to && input.getUint8(end) === input.getUint8(end - distance)) end++;
  return end;
}

function writeLength(out: DataView, from: number, length: number): number {
  let at = from;
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) out.setUint8(at++, (rest & 0x7f) | 0x80);
  out.setUint8(at++, rest);
  return at;
}

function writeLiteral(
  input: DataView,
  from: number,
  to: number,
  out: DataView,
  start: number,
): number {
  const more = to - from - 1;
  if (more < 0) return start;
  let at = start;
  if (more < 60) {
    out.setUint8(at++, (more << 2) | LITERAL);
  } else if (more < 0x100) {
    out.setUint16(at, (60 << 2) | LITERAL | (more << 8), true);
    at += 2;
  } else {
    out.setUint8(at, (61 << 2) | LITERAL);
    out.setUint16(at + 1, more, true);
    at += 3;
  }
  let i = from;
  for (; i + 4 <= to; i += 4, at += 4) out.setInt32(at, input.getInt32(i));
  for (; i < to; i++, at++) out.setUint8(at, input.getUint8(i));
  return at;
}

/** Lengths from 4 on; `isRepeat` where the copy before had the same distance. */
function writeCopy(
  out: DataView,
  at: number,
  distance: number,
  length: number,
  isRepeat: boolean,
): number {
  if (isRepeat) return writeRepeat(out, at, distance, length);
  if (distance < NEAR) {
    if (length <= NEAR_LONGEST) return writeNear(out, at, distance, length);
    if (length <= COPY_LONGEST) return writeFar(out, at, distance, length);
    return writeRepeat(out, writeNear(out, at, distance, 8), distance, length - 8);
  }
  if (length <= COPY_LONGEST) return writeFar(out, at, distance, length);
  // A repeat has four bytes at least.
  const first = COPY_LONGEST - 4;
  return writeRepeat(out, writeFar(out, at, distance, first), distance, length - first);
}

/** A copy with a distance of 11 bits and a length of 4 to 11. */
function writeNear(out: DataView, at: number, distance: number, length: number): number {
  const high = (distance >>> 8) << 5;
  out.setUint16(at, high | ((length - 4) << 2) | COPY_1 | ((distance & 0xff) << 8), true);
  return at + 2;
}

/** A copy with a distance of 16 bits and a length of 1 to 64. */
function writeFar(out: DataView, at: number, distance: number, length: number): number {
  out.setUint8(at, ((length - 1) << 2) | COPY_2);
  out.setUint16(at + 1, distance, true);
  return at + 3;
}

/** A copy over the distance of the one before, which is said by the distance 0. */
function writeRepeat(out: DataView, at: number, distance: number, length: number): number {
  if (length <= 8) return writeNear(out, at, 0, length);
  if (length <= NEAR_LONGEST && distance < NEAR) return writeNear(out, at, distance, length);
  if (length < 8 + 0x100) {
    out.setUint8(writeNear(out, at, 0, 9), length - 8);
    return at + 3;
  }
  // Up to 65,795: a block has no longer ones.
  out.setUint16(writeNear(out, at, 0, 10), length - 260, true);
  return at + 4;
}
