// The CRC-32 of a piece of a record. Most pieces are short, and for those the way into native code and back takes longer
// than the sum itself: they are done here, eight bytes a step, from tables that say what each byte becomes. The result
// is zlib's.

import { crc32 } from 'node:zlib';

/** Longer pieces go to zlib. */
const SHORT_BYTES = 160;
const POLYNOMIAL = 0xedb88320;
const BYTES = 256;
const STEP = 8;

/** What the byte `i` becomes with `k` bytes behind it, at `BYTES * k + i`. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(STEP * BYTES);
  for (let i = 0; i < BYTES; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[i] = crc;
  }
  for (let i = BYTES; i < tables.length; i++) {
    const before = tables[i - BYTES] as number;
    tables[i] = (before >>> 8) ^ (tables[before & 255] as number);
  }
  return tables;
}

/** The CRC-32 of what `before` is the CRC-32 of, followed by `bytes`. */
export function crcOf(bytes: Buffer, before: number): number {
  const { length } = bytes;
  if (length > SHORT_BYTES) return crc32(bytes, before);
  const t = TABLES as unknown as readonly number[];
  const b = bytes as unknown as readonly number[];
  let crc = ~before;
  let at = 0;
  for (const end = length - STEP; at <= end; at += STEP)
    crc =
      (t[1792 + ((crc ^ (b[at] as number)) & 255)] as number) ^
      (t[1536 + (((crc >>> 8) ^ (b[at + 1] as number)) & 255)] as number) ^
      (t[1280 + (((crc >>> 16) ^ (b[at + 2] as number)) & 255)] as number) ^
      (t[1024 + (((crc >>> 24) ^ (b[at + 3] as number)) & 255)] as number) ^
      (t[768 + (b[at + 4] as number)] as number) ^
      (t[512 + (b[at + 5] as number)] as number) ^
      (t[256 + (b[at + 6] as number)] as number) ^
      (t[b[at + 7] as number] as number);
  for (; at < length; at++) crc = (crc >>> 8) ^ (t[(crc ^ (b[at] as number)) & 255] as number);
  return ~crc >>> 0;
}
