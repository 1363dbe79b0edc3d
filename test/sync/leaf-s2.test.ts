// The S2 codec of the leafnode link against streams made by hand. leaf-s2-fuzz.test.ts and leaf-s2-hub.test.ts go on.

import { describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/assert.ts';
import { crc32c, masked } from '../../sync/leaf/s2/crc32c.ts';
import { S2Error, S2Reader } from '../../sync/leaf/s2/s2-reader.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import {
  block,
  chunk,
  compressed,
  decode,
  plainCrc32c,
  plainDecode,
  S2,
  SNAPPY,
  uncompressed,
} from '../support/s2-stream.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** The alphabet over and over. */
function letters(length: number): Buffer {
  return Buffer.alloc(length, 'abcdefghijklmnopqrstuvwxyz');
}

function crcOf(bytes: Buffer): number {
  return crc32c(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
}

describe('CRC-32C', () => {
  const command = Buffer.from(
    '01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000'.replaceAll(
      ' ',
      '',
    ),
    'hex',
  );
  // RFC 3720, B.4, which shows the bytes of the results in the order of the wire.
  test.each([
    ['zeros', Buffer.alloc(32), 0x8a9136aa],
    ['ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
    ['up', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    ['down', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
    ['an iSCSI command', command, 0xd9963a56],
    ['digits', Buffer.from('123456789'), 0xe3069283],
    ['nothing', Buffer.alloc(0), 0],
  ])('knows %s', (_, bytes, expected) => {
    expect(crcOf(bytes)).toBe(expected);
    expect(plainCrc32c(bytes)).toBe(expected);
  });

  test('takes any part of any bytes', () => {
    const bytes = randomBytes(seededRandom(1), 200);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let from = 0; from < 20; from++)
      for (let to = from; to <= bytes.length; to++)
        expect(crc32c(view, from, to)).toBe(plainCrc32c(bytes.subarray(from, to)));
  });

  test('is masked', () => {
    expect(masked(0)).toBe(0xa282ead8);
    expect(masked(0xe3069283)).toBe(0xc78ab0e5);
    // The sum has a carry beyond 32 bits.
    expect(masked(0xffffffff)).toBe(0xa282ead7);
  });
});

describe('a reader of a stream', () => {
  const [one, two, three] = [letters(10), letters(70), randomBytes(seededRandom(2), 30)];
  const whole = Buffer.concat([
    S2,
    uncompressed(one),
    chunk(0xfe, 'padding'),
    compressed(block(70, [25 << 2], letters(26), [(43 << 2) | 2, 26, 0]), two),
    S2,
    chunk(0x99, 'an index'),
    uncompressed(''),
    compressed(block(0), Buffer.alloc(0)),
    chunk(0x80, ''),
    SNAPPY,
    uncompressed(three),
  ]);

  test('hands out what the chunks carry, and nothing else', () => {
    expect(decode([whole])).toEqual({ pieces: [one, two, three], error: undefined });
  });

  test('does so however it is cut', () => {
    for (let at = 0; at <= whole.length; at++)
      expect(decode([whole.subarray(0, at), whole.subarray(at)]).pieces).toEqual([one, two, three]);
    for (let at = 0; at + 5 <= whole.length; at++)
      expect(
        decode([whole.subarray(0, at), whole.subarray(at, at + 5), whole.subarray(at + 5)]).pieces,
      ).toEqual([one, two, three]);
    expect(decode([...whole].map((byte) => Buffer.of(byte)))).toEqual({
      pieces: [one, two, three],
      error: undefined,
    });
  });

  test('hands out each chunk with its last byte', () => {
    const reader = new S2Reader();
    const stream = Buffer.concat([S2, uncompressed(one)]);
    expect(decode([stream.subarray(0, -1)], reader).pieces).toEqual([]);
    expect(decode([stream.subarray(-1)], reader).pieces).toEqual([one]);
  });

  test.each([
    ['4 MiB', 4 * MIB, 100_003],
    ['4 MiB at once', 4 * MIB, 16 * MIB],
    ['1 MiB byte by byte', MIB, 1],
  ])('takes a block of %s, and hands it out in pieces of their own', (_, size, cut) => {
    const data = Buffer.concat([letters(size - 1000), randomBytes(seededRandom(3), 1000)]);
    const encoded = compressed(block(data.length, literal(data)), data);
    const stream = Buffer.concat([S2, encoded, uncompressed(data)]);
    const { pieces, error } = decode(
      Array.from({ length: Math.ceil(stream.length / cut) }, (_piece, i) =>
        stream.subarray(i * cut, (i + 1) * cut),
      ),
    );
    expect(error).toBeUndefined();
    expect(Buffer.concat(pieces).equals(Buffer.concat([data, data]))).toBe(true);
    if (cut < stream.length)
      expect(Math.max(...pieces.map(({ buffer }) => buffer.byteLength))).toBe(64 * KIB);
  });

  test('goes back to small blocks after a large one', () => {
    const small = [
      letters(100),
      letters(65 * KIB),
      Buffer.alloc(2 * MIB, 'z'),
      letters(9),
      letters(MIB),
    ];
    const chunks = small.map((data) => compressed(block(data.length, literal(data)), data));
    const out = decode([Buffer.concat([S2, ...chunks])]);
    expect(out.error).toBeUndefined();
    expect(Buffer.concat(out.pieces).equals(Buffer.concat(small))).toBe(true);
  });

  test('changes nothing that it handed out', () => {
    const reader = new S2Reader();
    const made: Buffer[] = [];
    const got: Buffer[] = [];
    for (let i = 0; i < 50; i++) {
      const data = Buffer.alloc(300, `${i},`);
      made.push(data);
      const next = i % 2 ? uncompressed(data) : compressed(block(300, literal(data)), data);
      const bytes = i === 0 ? Buffer.concat([S2, next]) : next;
      for (const part of [bytes.subarray(0, 50), bytes.subarray(50)])
        for (const piece of reader.decode(part)) got.push(piece);
    }
    expect(Buffer.concat(got)).toEqual(Buffer.concat(made));
  });

  test('hands out a slice of what it got, where a chunk lies in it as it is', () => {
    const stream = Buffer.concat([S2, uncompressed(letters(5000))]);
    const [piece] = decode([stream]).pieces;
    expect(piece?.buffer).toBe(stream.buffer);
    expect(piece).toEqual(letters(5000));
  });

  test('is asked for all of a piece before it gets the next one', () => {
    const reader = new S2Reader();
    const stream = Buffer.concat([S2, uncompressed(one), uncompressed(two)]);
    reader.decode(stream).next();
    expect(() => reader.decode(stream).next()).toThrow(AssertionError);
  });

  test('decodes a block when it is asked for, not before', () => {
    const stream = Buffer.concat([S2, uncompressed(one), chunk(0x02, '')]);
    const blocks = new S2Reader().decode(stream);
    expect(blocks.next().value).toEqual(one);
    expect(() => blocks.next()).toThrow(S2Error);
  });

  test('holds what came of a chunk, not what it announces', () => {
    const head = Buffer.concat([S2, chunk(0x00, Buffer.alloc(4 * MIB)).subarray(0, 50)]);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 200 }, () => new S2Reader());
    for (const reader of readers)
      expect(decode([head, head.subarray(20)], reader).pieces).toEqual([]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * MIB);
  });

  test('skips megabytes that it does not know', () => {
    const skipped = chunk(0xfd, Buffer.alloc(0xffffff));
    const stream = Buffer.concat([S2, skipped, uncompressed(one)]);
    expect(decode([stream]).pieces).toEqual([one]);
    expect(decode([stream.subarray(0, 12), stream.subarray(12, 99), stream.subarray(99)])).toEqual({
      pieces: [one],
      error: undefined,
    });
  });

  test.each<[string, Buffer, string]>([
    ['text', Buffer.from("-ERR 'no'\r\n"), 'no S2 stream: "-ERR \'no\'\\r\\n"'],
    ['a chunk before the name', uncompressed('abc'), 'no S2 stream: "\\u0001'],
    ['padding before the name', chunk(0xfe, ''), 'no S2 stream: "þ'],
    ['another name', chunk(0xff, 'sNaPpX'), 'a stream that calls itself "sNaPpX"'],
    ['a short name', chunk(0xff, 'S2sTw'), 'a stream identifier of 5 bytes'],
    ['a long name', chunk(0xff, 'S2sTwOo'), 'a stream identifier of 7 bytes'],
    ['another name later', Buffer.concat([S2, chunk(0xff, 'S2stwo')]), 'calls itself "S2stwo"'],
    ['an unknown chunk', Buffer.concat([S2, chunk(0x02, 'x')]), 'a chunk of the unknown type 0x02'],
    ['the last unknown', Buffer.concat([S2, chunk(0x7f, '')]), 'a chunk of the unknown type 0x7f'],
    ['no checksum', Buffer.concat([S2, chunk(0x01, 'abc')]), 'an uncompressed chunk of 3 bytes'],
    ['no block', Buffer.concat([S2, chunk(0x00, 'abcd')]), 'a compressed chunk of 4 bytes'],
    [
      'a wrong checksum',
      Buffer.concat([S2, chunk(0x01, 'abcdefg')]),
      '3 bytes whose checksum is wrong',
    ],
    [
      'a wrong checksum of a block',
      Buffer.concat([S2, compressed(block(3, [8], 'abc'), Buffer.from('abd'))]),
      '3 bytes whose checksum is wrong',
    ],
    [
      'too large a chunk',
      Buffer.concat([S2, chunk(0x01, Buffer.alloc(4 * MIB + 5)).subarray(0, 4)]),
      'an uncompressed chunk of 4194309 bytes',
    ],
    [
      'too large a compressed chunk',
      Buffer.concat([S2, chunk(0x00, Buffer.alloc(4160 * KIB + 1)).subarray(0, 4)]),
      'a compressed chunk of 4259841 bytes',
    ],
    [
      'too large a block',
      Buffer.concat([S2, compressed(block(4 * MIB + 1, [0]), Buffer.alloc(0))]),
      'a block of 4194305 bytes, where 4194304 is the most',
    ],
    [
      'too large a chunk for Snappy',
      Buffer.concat([
        SNAPPY,
        uncompressed(Buffer.alloc(64 * KIB)),
        uncompressed(letters(64 * KIB + 1)),
      ]),
      'an uncompressed chunk of 65541 bytes',
    ],
    [
      'too large a block for Snappy',
      Buffer.concat([S2, SNAPPY, compressed(block(64 * KIB + 1, [0]), Buffer.alloc(0))]),
      'a block of 65537 bytes, where 65536 is the most',
    ],
  ])('says no to %s', (_, stream, error) => {
    expect(decode([stream]).error).toContain(error);
    if (!error.startsWith('no S2')) {
      const bytes = [...stream].map((byte) => Buffer.of(byte));
      expect(decode(bytes).error).toContain(error);
    }
  });

  test('reads nothing after that', () => {
    const reader = new S2Reader();
    expect(decode([S2, chunk(0x02, '')], reader).error).toContain('0x02');
    expect(decode([Buffer.concat([S2, uncompressed(one)])], reader)).toEqual({
      pieces: [],
      error: 'a chunk of the unknown type 0x02',
    });
  });
});

/** `value` in `count` bytes, the lowest first. */
function bytesOf(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

function literal(data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xfc, ...bytesOf(data.length - 1, 4)]), data]);
}

describe('a block', () => {
  const near = (distance: number, length: number): number[] => [
    ((distance >> 8) << 5) | ((length - 4) << 2) | 1,
    distance & 0xff,
  ];
  const far = (distance: number, length: number): number[] => [
    ((length - 1) << 2) | 2,
    ...bytesOf(distance, 2),
  ];
  const farthest = (distance: number, length: number): number[] => [
    ((length - 1) << 2) | 3,
    ...bytesOf(distance, 4),
  ];
  const repeat = (code: number, ...more: number[]): number[] => [(code << 2) | 1, 0, ...more];
  const abc = [2 << 2, 0x61, 0x62, 0x63];
  const run = (text: string, length: number): string => text.repeat(length).slice(0, length);

  test.each<[string, Buffer, string]>([
    ['a literal of one byte', block(1, [0], 'x'), 'x'],
    ['a literal of 60', block(60, [59 << 2], run('xy', 60)), run('xy', 60)],
    ['a literal with one byte of length', block(61, [60 << 2, 60], run('xy', 61)), run('xy', 61)],
    ['one of 256', block(256, [60 << 2, 255], run('xy', 256)), run('xy', 256)],
    ['one with two', block(257, [61 << 2, 0, 1], run('xy', 257)), run('xy', 257)],
    ['one with three', block(65_537, [62 << 2, 0, 0, 1], run('xy', 65_537)), run('xy', 65_537)],
    ['one with four', block(3, [63 << 2, 2, 0, 0, 0], 'xyz'), 'xyz'],
    [
      'a length of more bytes than it needs',
      Buffer.from([0x81, 0x80, 0x80, 0x80, 0, 0, 0x78]),
      'x',
    ],
    ['a near copy', block(7, abc, near(3, 4)), 'abcabca'],
    ['the longest', block(14, abc, near(2, 11)), 'abcbcbcbcbcbcb'],
    ['a copy over one byte', block(13, abc, near(1, 10)), `ab${run('c', 11)}`],
    ['a far copy of one byte', block(4, abc, far(3, 1)), 'abca'],
    ['a far copy', block(67, abc, far(3, 64)), run('abc', 67)],
    ['the farthest', block(5, abc, farthest(2, 2)), 'abcbc'],
    ['a repeat of 4', block(11, abc, near(3, 4), repeat(0)), run('abc', 11)],
    ['a repeat of 8', block(15, abc, near(3, 4), repeat(4)), run('abc', 15)],
    ['a repeat with one byte', block(15, abc, near(3, 4), repeat(5, 0)), run('abc', 15)],
    ['the longest of these', block(270, abc, near(3, 4), repeat(5, 255)), run('abc', 270)],
    ['a repeat with two', block(267, abc, far(3, 4), repeat(6, 0, 0)), run('abc', 267)],
    ['another', block(524, abc, far(3, 4), repeat(6, 1, 1)), run('abc', 524)],
    ['a repeat with three', block(65_547, abc, far(3, 4), repeat(7, 0, 0, 0)), run('abc', 65_547)],
    [
      'another with three',
      block(65_547 + 65_794, abc, far(3, 4), repeat(7, 2, 1, 1)),
      run('abc', 65_547 + 65_794),
    ],
    ['a repeat behind a literal', block(12, abc, near(2, 4), [0], 'x', repeat(0)), 'abcbcbcxcxcx'],
    ['a repeat of a repeat', block(15, abc, farthest(3, 4), repeat(0), repeat(0)), run('abc', 15)],
  ])('can have %s', (_, bytes, text) => {
    const data = Buffer.from(text, 'latin1');
    expect(plainDecode(bytes)).toEqual(data);
    expect(decode([S2, compressed(bytes, data)])).toMatchObject({ error: undefined });
    // Also at the end of a piece, where nothing follows that could be read by mistake.
    const { pieces } = decode([Buffer.concat([S2, compressed(bytes, data)])]);
    expect(Buffer.concat(pieces)).toEqual(data);
  });

  test('can copy over any distance, any length', () => {
    const start = randomBytes(seededRandom(4), 2100);
    const lengths = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 63, 64];
    const distances = [
      ...Array.from({ length: 80 }, (_, i) => i + 1),
      255,
      256,
      257,
      2047,
      2048,
      2100,
    ];
    for (const distance of distances) {
      const tags: number[][] = [];
      for (const length of lengths) {
        tags.push(far(distance, length), farthest(distance, length));
        if (distance < 2048 && length >= 4 && length < 12) tags.push(near(distance, length));
      }
      for (const tag of tags) {
        const copied =
          ((tag[0] as number) & 3) === 1
            ? (((tag[0] as number) >> 2) & 7) + 4
            : ((tag[0] as number) >> 2) + 1;
        const bytes = block(2100 + copied, literal(start), tag);
        const data = plainDecode(bytes) as Buffer;
        expect(decode([S2, compressed(bytes, data)]).pieces).toEqual([data]);
      }
      for (const length of [65, 66, 127, 128, 129, 263]) {
        const bytes = block(2104 + length, literal(start), far(distance, 4), repeat(5, length - 8));
        const data = plainDecode(bytes) as Buffer;
        expect(decode([S2, compressed(bytes, data)]).pieces).toEqual([data]);
      }
    }
  });

  test('can copy from very far', () => {
    const data = Buffer.concat([letters(100_000), randomBytes(seededRandom(5), 100)]);
    const all = Buffer.concat([data, data.subarray(50, 114), data.subarray(114, 300)]);
    const bytes = block(all.length, literal(data), farthest(100_050, 64), repeat(5, 186 - 8));
    expect(Buffer.concat(decode([S2, compressed(bytes, all)]).pieces).equals(all)).toBe(true);
  });

  const within = 'a block that ends within a tag or a literal';
  test.each<[string, Buffer, string]>([
    ['no length', Buffer.from([0x80]), 'a block without a length'],
    [
      'a length of six bytes',
      Buffer.from([0x81, 0x80, 0x80, 0x80, 0x80, 0, 0, 0x78]),
      'without a length',
    ],
    [
      'a length beyond all',
      Buffer.from([0xff, 0xff, 0xff, 0xff, 0x7f]),
      'a block of 34359738367 bytes',
    ],
    ['a repeat as the first copy', block(7, abc, repeat(0)), 'a copy over a distance of 0 bytes'],
    ['a far copy over nothing', block(7, abc, far(0, 4)), 'a copy over a distance of 0 bytes'],
    ['a farthest copy over nothing', block(7, abc, farthest(0, 4)), 'a distance of 0 bytes'],
    [
      'a near copy from before',
      block(7, abc, near(4, 4)),
      'a copy over 4 bytes, where 3 have been',
    ],
    ['a far copy from before', block(7, abc, far(4, 4)), 'a copy over 4 bytes, where 3 have been'],
    [
      'a farthest copy from before',
      block(7, abc, farthest(2 ** 32 - 1, 4)),
      'over 4294967295 bytes',
    ],
    ['a copy of nothing', block(4, near(1, 4)), 'a copy over 1 bytes, where 0 have been'],
    ['too long a literal', block(2, abc), 'more than the 2 bytes that it announces'],
    ['too long a copy', block(6, abc, near(3, 4)), 'more than the 6 bytes that it announces'],
    ['too long a repeat', block(269, abc, near(3, 4), repeat(5, 255)), 'more than the 269 bytes'],
    ['too much for nothing', block(0, [0], 'x'), 'more than the 0 bytes that it announces'],
    ['too little', block(4, abc), 'a block that announces 4 bytes and has 3 of them'],
    ['nothing at all', block(4), 'a block that announces 4 bytes and has 0 of them'],
    ['a literal cut off', block(4, [12], 'abc'), within],
    ['a literal of 4 GiB', block(4, [0xfc, 0xff, 0xff, 0xff, 0xff], 'abc'), within],
    ['a literal without its length', block(4, [60 << 2]), within],
    ['a literal with half of it', block(4, [61 << 2, 3]), within],
    ['one with two thirds', block(4, [62 << 2, 3, 0]), within],
    ['one with three quarters', block(4, [63 << 2, 3, 0, 0]), within],
    ['a near copy cut off', block(7, abc, [1]), within],
    ['a far copy cut off', block(7, abc, [14, 3]), within],
    ['a farthest copy cut off', block(7, abc, [15, 3, 0, 0]), within],
    ['a repeat without its length', block(19, abc, near(3, 4), repeat(5)), within],
    ['a repeat with half of it', block(19, abc, near(3, 4), repeat(6, 0)), within],
    ['a repeat with two thirds', block(19, abc, near(3, 4), repeat(7, 0, 0)), within],
  ])('is corrupt with %s', (_, bytes, error) => {
    expect(plainDecode(bytes)).toBeUndefined();
    // What follows in the piece is not the block's.
    const stream = Buffer.concat([S2, compressed(bytes, Buffer.alloc(0)), Buffer.alloc(8)]);
    expect(decode([stream]).error).toContain(error);
  });
});
