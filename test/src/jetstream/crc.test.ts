import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { crcOf } from '../../../src/jetstream/crc.ts';

test('a checksum is the same whichever way it is made, for every length and every byte', () => {
  const bytes = randomBytes(4096);
  const wrong: number[] = [];
  for (let length = 0; length <= 400; length++) {
    const piece = bytes.subarray(length, 2 * length);
    const before = crc32(bytes.subarray(0, length));
    if (crcOf(piece, before) !== crc32(piece, before)) wrong.push(length);
    if (crcOf(piece, 0xffffffff) !== crc32(piece, 0xffffffff)) wrong.push(length);
  }
  expect(wrong).toEqual([]);
  const all = Array.from({ length: 256 }, (_, i) => Buffer.alloc(9, i));
  expect(all.filter((piece) => crcOf(piece, 1) !== crc32(piece, 1))).toEqual([]);
});
