// Message IDs and the sequences they got, without the IDs: 128 bits made of an ID stand for it, in flat arrays that the
// garbage collector does not look into. A Map of strings took a seventh of the processor's time of a publish.
//
// Why no two IDs are taken for one another: the chance that any two of a million IDs share their 128 bits is 10^-27. The
// mixing starts from a random seed and is no secret cipher: whoever wanted another's message dropped as a duplicate would
// have to know its ID before it comes, and could then simply use that ID.

import { randomBytes } from 'node:crypto';

const OTHERS = 3;
const FIRST_SLOTS = 64;
/** Slots in use, in quarters, at which the table doubles. */
const FULL_QUARTERS = 3;

const SEED = new Int32Array(new Uint8Array(randomBytes(16)).buffer);
const C1 = 0x239b961b;
const C2 = 0xab0e9789 | 0;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93 | 0;

/** The 128 bits of the ID that was asked for last: several tables are asked for one ID, one after the other. */
const digest = { a: 0, b: 0, c: 0, d: 0 };
let digested: string | undefined;

export class IdTable {
  /** The first word of each slot's digest; 0 marks a free slot. Apart, so that a look for a new ID reads little memory. */
  #firsts = new Int32Array(FIRST_SLOTS);
  /** The other words. */
  #others = new Int32Array(OTHERS * FIRST_SLOTS);
  /** A sequence of 0 marks an ID that was removed. */
  #seqs = new Float64Array(FIRST_SLOTS);
  #used = 0;
  #size = 0;

  /** IDs in the table. */
  get size(): number {
    return this.#size;
  }

  get(id: string): number | undefined {
    if (this.#size === 0) return undefined;
    if (id !== digested) mix(id);
    const seq = this.#seqs[this.#find()] as number;
    return seq === 0 ? undefined : seq;
  }

  /** `seq` is 1 or more. */
  set(id: string, seq: number): void {
    if (4 * this.#used >= FULL_QUARTERS * this.#seqs.length) this.#grow();
    if (id !== digested) mix(id);
    const slot = this.#find();
    if (this.#firsts[slot] === 0) {
      this.#put(slot);
      this.#used++;
    }
    if (this.#seqs[slot] === 0) this.#size++;
    this.#seqs[slot] = seq;
  }

  remove(id: string): void {
    if (this.#size === 0) return;
    if (id !== digested) mix(id);
    const slot = this.#find();
    if (this.#seqs[slot] === 0) return;
    this.#seqs[slot] = 0;
    this.#size--;
  }

  /** IDs whose sequence is greater than `seq`. */
  countAfter(seq: number): number {
    let count = 0;
    for (const each of this.#seqs) if (each > seq) count++;
    return count;
  }

  /** The slot of `digest`, or the free one where it would be. */
  #find(): number {
    const firsts = this.#firsts;
    const others = this.#others;
    const mask = firsts.length - 1;
    const { a: first, b: second, c: third, d: fourth } = digest;
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const found = firsts[slot];
      if (found === 0) return slot;
      if (found !== first) continue;
      const at = OTHERS * slot;
      if (others[at] === second && others[at + 1] === third && others[at + 2] === fourth)
        return slot;
    }
  }

  #put(slot: number): void {
    const at = OTHERS * slot;
    this.#firsts[slot] = digest.a;
    this.#others[at] = digest.b;
    this.#others[at + 1] = digest.c;
    this.#others[at + 2] = digest.d;
  }

  #grow(): void {
    const firsts = this.#firsts;
    const others = this.#others;
    const seqs = this.#seqs;
    // Removed ones go; where they are many, there is room again.
    const slots = 2 * this.#size >= seqs.length ? 2 * seqs.length : seqs.length;
    this.#firsts = new Int32Array(slots);
    this.#others = new Int32Array(OTHERS * slots);
    this.#seqs = new Float64Array(slots);
    this.#used = this.#size;
    digested = undefined;
    for (let i = 0; i < seqs.length; i++) {
      if (seqs[i] === 0) continue;
      digest.a = firsts[i] as number;
      digest.b = others[OTHERS * i] as number;
      digest.c = others[OTHERS * i + 1] as number;
      digest.d = others[OTHERS * i + 2] as number;
      const slot = this.#find();
      this.#put(slot);
      this.#seqs[slot] = seqs[i] as number;
    }
  }
}

/** Mixes `id` into `digest`: four lanes, each multiplied and rotated with two characters at a time, as in MurmurHash3. */
function mix(id: string): void {
  digested = id;
  const { length } = id;
  let a = SEED[0] as number;
  let b = SEED[1] as number;
  let c = SEED[2] as number;
  let d = SEED[3] as number;
  for (let i = 0; i < length; i += 8) {
    a = rotate(a ^ scramble(pair(id, i), C1, C2), 19) + b;
    a = (Math.imul(a, 5) + 0x561ccd1b) | 0;
    b = rotate(b ^ scramble(pair(id, i + 2), C2, C3), 17) + c;
    b = (Math.imul(b, 5) + 0x0bcaa747) | 0;
    c = rotate(c ^ scramble(pair(id, i + 4), C3, C4), 15) + d;
    c = (Math.imul(c, 5) + 0x96cd1c35) | 0;
    d = rotate(d ^ scramble(pair(id, i + 6), C4, C1), 13) + a;
    d = (Math.imul(d, 5) + 0x32ac3b17) | 0;
  }
  // The length tells an ID from the same with zeros behind it.
  a ^= length;
  b ^= length;
  c ^= length;
  d ^= length;
  a = (a + b + c + d) | 0;
  b = (b + a) | 0;
  c = (c + a) | 0;
  d = (d + a) | 0;
  a = finish(a);
  b = finish(b);
  c = finish(c);
  d = finish(d);
  a = (a + b + c + d) | 0;
  digest.a = a === 0 ? 1 : a;
  digest.b = (b + a) | 0;
  digest.c = (c + a) | 0;
  digest.d = (d + a) | 0;
}

/** Two characters as one word; 0 behind the end. */
function pair(id: string, at: number): number {
  const { length } = id;
  if (at + 1 < length) return id.charCodeAt(at) | (id.charCodeAt(at + 1) << 16);
  return at < length ? id.charCodeAt(at) : 0;
}

function scramble(word: number, by: number, then: number): number {
  return Math.imul(rotate(Math.imul(word, by), 15), then);
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function finish(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
