// The S2 codec with data of all kinds: what the writer makes comes back from the reader and from a plain decoder, and what
// is broken on the way is either found out or changes nothing. A failing case has its seed and number in its message.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { S2Writer } from '../../sync/leaf/s2/s2-writer.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../support/random.ts';
import { FIXTURES, recordings } from '../support/recordings.ts';
import {
  block,
  compressed,
  decode,
  plainCrc32c,
  plainDecode,
  S2,
  SNAPPY,
  uncompressed,
} from '../support/s2-stream.ts';

const KIB = 1024;
const BLOCK = 64 * KIB;
/** Head and checksum of a chunk. */
const HEAD = 8;
const NAME = 10;

interface Chunk {
  readonly type: number;
  readonly checksum: number;
  readonly body: Buffer;
}

/** The chunks of a stream, behind its identifier. */
function chunksOf(stream: Buffer): Chunk[] {
  const chunks: Chunk[] = [];
  for (let at = 0; at < stream.length;) {
    const end = at + 4 + stream.readUIntLE(at + 1, 3);
    const checksum = stream.readUInt32LE(at + 4);
    chunks.push({ type: stream[at] as number, checksum, body: stream.subarray(at + HEAD, end) });
    at = end;
  }
  return chunks;
}

function masked(bytes: Buffer): number {
  const crc = plainCrc32c(bytes);
  return ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) % 2 ** 32;
}

/** What a stream's chunks stand for, by the plain decoder. */
function plainly(chunks: readonly Chunk[]): Buffer {
  const parts = chunks.map(({ type, checksum, body }) => {
    const data = type === 0 ? plainDecode(body) : body;
    if (data === undefined || type > 1) throw new Error('a chunk that nobody can read');
    if (masked(data) !== checksum) throw new Error('a wrong checksum');
    return data;
  });
  return Buffer.concat(parts);
}

/** Encodes all of it with one writer; throws unless both decoders give it back. Returns the chunks of each. */
function roundTrip(all: readonly Buffer[]): Chunk[][] {
  const writer = new S2Writer();
  const encoded = all.map((data) => writer.encode(data));
  const stream = Buffer.concat(encoded);
  expect(stream.subarray(0, NAME)).toEqual(S2);
  const { pieces, error } = decode([stream]);
  expect(error).toBeUndefined();
  expect(Buffer.concat(pieces).equals(Buffer.concat(all))).toBe(true);
  let begun = false;
  return encoded.map((bytes, i) => {
    const data = all[i] as Buffer;
    const chunks = chunksOf(begun ? bytes : bytes.subarray(NAME));
    begun ||= bytes.length > 0;
    expect(chunks.length).toBe(Math.ceil(data.length / BLOCK));
    if (!plainly(chunks).equals(data)) throw new Error(`number ${i} has changed`);
    return chunks;
  });
}

/** Bytes that the chunks take, without their heads and checksums. */
function sizeOf(chunks: readonly Chunk[]): number {
  return chunks.reduce((bytes, { body }) => bytes + body.length, 0);
}

function readings(random: Random, bytes: number): Buffer {
  let text = '';
  for (let i = 1000; text.length < bytes; i++) {
    const json = `{"device":"boiler-${i % 7}","temperature":${(20 + 5 * random()).toFixed(2)},"quality":"good","seq":${i}}`;
    text += `LMSG $JS.ACK.READINGS.hub.1.${i}.${i}.17322${randomInt(random, 1e6)}.0 plant1.boiler ${json.length}\r\n${json}\r\n`;
  }
  return Buffer.from(text.slice(0, bytes), 'latin1');
}

/** Parts of every kind that a compressor looks at in its own way, `bytes` in all. */
function mixture(random: Random, bytes: number): Buffer {
  let all: Buffer = Buffer.alloc(0);
  while (all.length < bytes) {
    const length = 1 + Math.floor(random() ** 3 * (bytes - all.length));
    const kind = randomInt(random, 5);
    const from = randomInt(random, all.length + 1);
    let part = all.subarray(from, from + length);
    if (kind === 0 || part.length === 0) part = randomBytes(random, length);
    else if (kind === 1)
      part = Buffer.alloc(length, randomBytes(random, 1 + randomInt(random, 40)));
    else if (kind === 2) part = readings(random, length);
    all = Buffer.concat([all, part]);
  }
  return all;
}

describe('what is written is read again', () => {
  const random = seededRandom(1);

  test('nothing, as nothing', () => {
    const writer = new S2Writer();
    expect(writer.encode(Buffer.alloc(0)).length).toBe(0);
    expect(writer.encode(Buffer.from('x'))).toEqual(Buffer.concat([S2, uncompressed('x')]));
    expect(writer.encode(Buffer.alloc(0)).length).toBe(0);
    expect(writer.encode(Buffer.from('x'))).toEqual(uncompressed('x'));
  });

  test('of any size', () => {
    const around = [4096, 32 * KIB, BLOCK, 2 * BLOCK].flatMap((size) => [size - 1, size, size + 1]);
    const sizes = [...Array.from({ length: 300 }, (_, i) => i), ...around];
    roundTrip(sizes.map((size) => Buffer.alloc(size, 7)));
    roundTrip(sizes.map((size) => randomBytes(random, size)));
    roundTrip(sizes.map((size) => readings(random, size)));
    roundTrip(sizes.map((size) => Buffer.alloc(size, randomBytes(random, 3 + (size % 50)))));
  });

  test('recordings of devices', () => {
    for (const { bytes } of recordings()) roundTrip([bytes, bytes.subarray(1, 700), bytes]);
  });

  test('copies over any distance', () => {
    const near = Array.from({ length: 300 }, (_, i) => i + 1);
    const edges = [2046, 2047, 2048, 2049, 32_767, 32_768, 65_000, 65_400, 65_470];
    for (const distance of [...near, ...edges]) {
      const bytes = randomBytes(random, distance);
      const length = Math.min(BLOCK, distance + 400);
      const [chunks] = roundTrip([Buffer.alloc(length, bytes)]);
      // Only what comes first costs anything, where the rest is worth it.
      if (distance < 300) expect(sizeOf(chunks ?? [])).toBeLessThan(distance + 25);
    }
  });

  test('copies of any length, the first over their distance and not', () => {
    const lengths = [
      ...Array.from({ length: 90 }, (_, i) => i + 4),
      255,
      256,
      257,
      258,
      259,
      260,
      261,
      262,
      263,
      264,
      265,
      266,
      267,
      268,
      272,
      319,
      320,
      323,
      324,
      515,
      516,
    ];
    const all: Buffer[] = [];
    for (const distance of [1200, 2047, 2048, 5000])
      for (const length of lengths) {
        const bytes = randomBytes(random, distance);
        const between = randomBytes(random, 1);
        const part = bytes.subarray(10, 10 + length);
        const next = bytes.subarray(11 + length, 11 + 2 * length);
        const gap = randomBytes(random, 10);
        all.push(Buffer.concat([bytes, gap, part, between, next, Buffer.alloc(4000)]));
      }
    for (const chunks of roundTrip(all)) expect(chunks[0]?.type).toBe(0);
  });

  test('the longest copies', () => {
    for (const length of [65_535, 65_536])
      for (const period of [1, 2, 3, 4, 5, 100, 2500]) {
        const [chunks] = roundTrip([Buffer.alloc(length, randomBytes(random, period))]);
        expect(sizeOf(chunks ?? [])).toBeLessThan(period + 30);
      }
  });

  test('mixtures of it all', () => {
    for (let seed = 0; seed < 200; seed++) {
      const each = seededRandom(seed);
      const all = Array.from({ length: 6 }, () =>
        mixture(each, 1 + Math.floor(each() ** 4 * 20_000)),
      );
      const sizes = roundTrip(all).map(sizeOf);
      all.forEach(({ length }, i) => expect(sizes[i], `seed ${seed}`).toBeLessThanOrEqual(length));
    }
  });

  test('what is given is not kept: neither the bytes nor what became of them', () => {
    const writer = new S2Writer();
    const data = readings(random, 5000);
    const first = writer.encode(data);
    const copy = Buffer.from(first);
    data.fill(0);
    writer.encode(readings(random, 5000));
    writer.encode(randomBytes(random, 5000));
    expect(first).toEqual(copy);
  });
});

describe('what it costs on the wire', () => {
  const random = seededRandom(2);
  const cost = (data: Buffer): number => sizeOf(roundTrip([data])[0] ?? []) / data.length;

  // As exact as that: each part of the search that is left out costs more.
  test('readings in flushes of 64 KiB, 8 KiB and 2 KiB, and a recording', () => {
    expect(cost(readings(random, BLOCK))).toBeLessThan(0.2005);
    expect(cost(readings(random, 8 * KIB))).toBeLessThan(0.2286);
    expect(cost(readings(random, 2 * KIB))).toBeLessThan(0.285);
    const recording = readFileSync(join(FIXTURES, 'nmea0183/gps.log')).subarray(0, BLOCK);
    expect(cost(recording)).toBeLessThan(0.23);
  });

  test('what does not shrink by an eighth goes as it is', () => {
    for (const length of [1, 31, 32, 100, 1000, BLOCK]) {
      const [chunks] = roundTrip([randomBytes(random, length)]);
      expect(chunks).toMatchObject([{ type: 1 }]);
    }
    for (const equal of [0, 40, 80, 120, 160, 200, 240, 400]) {
      const data = Buffer.concat([randomBytes(random, 1000 - equal), Buffer.alloc(equal)]);
      const [chunks] = roundTrip([data]);
      expect(chunks?.[0]?.type, `${equal}`).toBe(
        equal < 120 ? 1 : equal > 160 ? 0 : chunks?.[0]?.type,
      );
      if (chunks?.[0]?.type === 0) expect(sizeOf(chunks)).toBeLessThanOrEqual(875 + 3);
    }
  });

  test('a copy goes to the last byte, whatever its length', () => {
    for (const length of [300, 301, 302, 303]) {
      const bytes = randomBytes(random, 1000);
      const [chunks] = roundTrip([Buffer.concat([bytes, bytes.subarray(0, length)])]);
      // The length, a literal with its tag, and a copy with its repeat.
      expect(sizeOf(chunks ?? [])).toBe(2 + 3 + 1000 + 2 + 4);
    }
  });

  test('few bytes go as they are', () => {
    expect(roundTrip([Buffer.alloc(31), Buffer.alloc(32)]).flat()).toMatchObject([
      { type: 1 },
      { type: 0 },
    ]);
  });

  test('what would grow by its copies goes as it is', () => {
    // A literal of 62 bytes has two bytes in front; the copy of the first four of an earlier one takes three.
    for (let run = 0; run < 8; run++) {
      const groups: Buffer[] = [];
      for (let i = 0; i < 992; i++) {
        const start = groups[2 * (i - 33)]?.subarray(0, 4) ?? Buffer.alloc(4);
        groups.push(randomBytes(random, 62), start);
      }
      expect(roundTrip([Buffer.concat(groups)])[0]).toMatchObject([{ type: 1 }]);
    }
  });

  test('zeros behind random bytes are found, for all the wide steps', () => {
    const data = Buffer.concat([randomBytes(random, 40_000), Buffer.alloc(20_000)]);
    expect(cost(data)).toBeLessThan(0.7);
  });
});

describe('what is broken', () => {
  test('on the way is found out, or leaves out a chunk', () => {
    const errors = new Set<string>();
    let right = 0;
    for (let seed = 0; seed < 3000; seed++) {
      const random = seededRandom(seed);
      const writer = new S2Writer();
      const all = Array.from({ length: 5 }, (_, i) =>
        Buffer.concat([Buffer.from(`${seed} ${i}`), mixture(random, 1 + randomInt(random, 400))]),
      );
      const stream = Buffer.concat(all.map((data) => writer.encode(data)));
      for (let changes = 1 + randomInt(random, 3); changes > 0; changes--) {
        const at = randomInt(random, stream.length);
        if (random() < 0.5) stream[at] = randomInt(random, 256);
        else (stream[at] as number) ^= 1 << randomInt(random, 8);
      }
      const from = random() < 0.2 ? randomInt(random, stream.length) : stream.length;
      const rest = stream.subarray(from + randomInt(random, 9));
      const broken = Buffer.concat([stream.subarray(0, from), rest]);
      const cut = randomInt(random, broken.length);
      const { pieces, error } = decode([broken.subarray(0, cut), broken.subarray(cut)]);
      if (error === undefined) right++;
      else errors.add(error.replace(/\d+|0x..|".*"/gs, 'N'));
      // Each piece is one of those that were written, and none comes before an earlier one.
      let next = 0;
      for (const piece of pieces) {
        const index = all.findIndex((data, i) => i >= next && data.equals(piece));
        expect(index, `seed ${seed}`).toBeGreaterThanOrEqual(0);
        next = index + 1;
      }
    }
    expect(right).toBeGreaterThan(0);
    expect(errors.size).toBeGreaterThan(10);
  });

  test('in a block that has a good checksum is what a plain decoder says it is', () => {
    let [good, bad] = [0, 0];
    for (let seed = 0; seed < 6000; seed++) {
      const random = seededRandom(seed);
      const bytes = randomBlock(random);
      const isSnappy = random() < 0.5;
      const data = plainDecode(bytes, isSnappy ? BLOCK : 64 * BLOCK);
      const chunk = compressed(bytes, data ?? Buffer.alloc(0));
      const { pieces, error } = decode([isSnappy ? SNAPPY : S2, chunk]);
      if (data === undefined) bad++;
      else good++;
      expect(error === undefined, `seed ${seed}: ${error}`).toBe(data !== undefined);
      if (data !== undefined && !Buffer.concat(pieces).equals(data))
        throw new Error(`seed ${seed} has changed`);
    }
    expect(good).toBeGreaterThan(1000);
    expect(bad).toBeGreaterThan(1000);
  });
});

/** A block of random tags: mostly a good one, but for what was changed in the end. */
function randomBlock(random: Random): Buffer {
  const tags: (number[] | Buffer)[] = [];
  let length = 0;
  for (let count = 1 + randomInt(random, 12); count > 0; count--) {
    const kind = length === 0 ? 0 : randomInt(random, 5);
    const distance = Math.min(length, 1 + Math.floor(random() ** 2 * length));
    const size = 1 + randomInt(random, random() < 0.2 ? 300 : 64);
    if (kind === 0) {
      const wide =
        size > 60 || random() < 0.1 ? 1 + (size > 256 ? 1 : 0) + randomInt(random, 2) : 0;
      const more = Array.from({ length: wide }, (_, i) => ((size - 1) >> (8 * i)) & 0xff);
      tags.push(
        [((wide === 0 ? size - 1 : 59 + wide) << 2) | 0, ...more],
        randomBytes(random, size),
      );
      length += size;
    } else if (kind === 1) {
      const far = distance % 2048;
      tags.push([((far >> 8) << 5) | ((size % 8) << 2) | 1, far & 0xff]);
      if (far === 0 && size % 8 > 4) tags.push([0, 0, 0].slice(0, (size % 8) - 4));
      length += far > 0 || size % 8 < 5 ? 4 + (size % 8) : ([8, 260, 65_540][(size % 8) - 5] ?? 0);
    } else if (kind < 4) {
      const bytes = Array.from(
        { length: kind === 2 ? 2 : 4 },
        (_, i) => (distance >> (8 * i)) & 0xff,
      );
      tags.push([((size & 63) << 2) | kind, ...bytes]);
      length += (size & 63) + 1;
    } else {
      const more = random() < 0.1 ? 3 : 1 + randomInt(random, 2);
      tags.push([((4 + more) << 2) | 1, 0, ...[size & 0xff, 0, 0].slice(0, more)]);
      length += ([8, 260, 65_540][more - 1] ?? 0) + (size & 0xff);
    }
  }
  const bytes = block(length, ...tags);
  const broken = randomInt(random, 4);
  if (broken === 1) bytes[randomInt(random, bytes.length)] = randomInt(random, 256);
  return broken === 2 ? bytes.subarray(0, randomInt(random, bytes.length)) : bytes;
}
