// CRC-32C (Castagnoli, [RFC3720-12.1]) in the masked form in which Snappy's framing carries it. Sixteen bytes a step, each
// through a table of its own: bytes one by one through one table are four times as slow.

const POLYNOMIAL = 0x82f63b78;
const TABLES = 16;
const MASK_DELTA = 0xa282ead8;

/** Table `k` has at `256 k` what a byte with `k` bytes behind it does to the remainder. */
const TABLE = makeTable();

function makeTable(): Int32Array {
  const table = new Int32Array(256 * TABLES);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * POLYNOMIAL);
    table[byte] = crc;
  }
  for (let i = 256; i < table.length; i++) {
    const before = table[i - 256] as number;
    table[i] = (before >>> 8) ^ (table[before & 0xff] as number);
  }
  return table;
}

/** The CRC-32C of the bytes from `from` up to `to`, as an unsigned number. */
export function crc32c(bytes: DataView, from: number, to: number): number {
  const t = TABLE;
  let crc = -1;
  let at = from;
  for (; at + 16 <= to; at += 16) {
    const a = bytes.getInt32(at, true) ^ crc;
    const b = bytes.getInt32(at + 4, true);
    const c = bytes.getInt32(at + 8, true);
    const d = bytes.getInt32(at + 12, true);
    crc =
      (t[3840 + (a & 0xff)] as number) ^
      (t[3584 + ((a >>> 8) & 0xff)] as number) ^
      (t[3328 + ((a >>> 16) & 0xff)] as number) ^
      (t[3072 + (a >>> 24)] as number) ^
      (t[2816 + (b & 0xff)] as number) ^
      (t[2560 + ((b >>> 8) & 0xff)] as number) ^
      (t[2304 + ((b >>> 16) & 0xff)] as number) ^
      (t[2048 + (b >>> 24)] as number) ^
      (t[1792 + (c & 0xff)] as number) ^
      (t[1536 + ((c >>> 8) & 0xff)] as number) ^
      (t[1280 + ((c >>> 16) & 0xff)] as number) ^
      (t[1024 + (c >>> 24)] as number) ^
      (t[768 + (d & 0xff)] as number) ^
      (t[512 + ((d >>> 8) & 0xff)] as number) ^
      (t[256 + ((d >>> 16) & 0xff)] as number) ^
      (t[d >>> 24] as number);
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ (t[(crc ^ bytes.getUint8(at)) & 0xff] as number);
  return ~crc >>> 0;
}

/** A checksum as it stands in a chunk: a CRC over bytes that hold their own CRC would be of little worth. */
export function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
