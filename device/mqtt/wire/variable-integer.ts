// Variable Byte Integers as they are written [1.5.5]: seven bits a byte, the least first, in the fewest bytes.

/** Bytes of a Variable Byte Integer: the standard's own. */
export const VARIABLE_BYTES_MAX = 4;

/** How many bytes `value` takes as a Variable Byte Integer. */
export function variableBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Writes `value` (below 2^28) to `bytes` at `at`; returns where it ends. */
export function writeVariable(bytes: Buffer, at: number, value: number): number {
  let end = at;
  let rest = value;
  while (rest > 0x7f) {
    bytes[end++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[end++] = rest;
  return end;
}

/** `value` as a Variable Byte Integer. */
export function encodeVariable(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(variableBytes(value));
  writeVariable(bytes, 0, value);
  return bytes;
}
