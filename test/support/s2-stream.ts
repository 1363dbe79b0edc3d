// S2 streams made by hand, and a second decoder that is as plain as the format's description: no speed, no state.

import { S2Error, S2Reader } from '../../sync/leaf/s2/s2-reader.ts';

export const S2 = chunk(0xff, 'S2sTwO');
export const SNAPPY = chunk(0xff, 'sNaPpY');

export function chunk(type: number, body: Buffer | string): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  const head = Buffer.alloc(4);
  head[0] = type;
  head.writeUIntLE(bytes.length, 1, 3);
  return Buffer.concat([head, bytes]);
}

export function uncompressed(data: Buffer | string): Buffer {
  const bytes = Buffer.from(data as string, 'latin1');
  return chunk(0x01, Buffer.concat([checksum(bytes), bytes]));
}

/** A chunk with the block that `data` is encoded as. */
export function compressed(block: Buffer, data: Buffer): Buffer {
  return chunk(0x00, Buffer.concat([checksum(data), block]));
}

/** A block: the length of what it stands for, and tags. */
export function block(length: number, ...tags: readonly (string | number[] | Buffer)[]): Buffer {
  const parts = tags.map((tag) =>
    typeof tag === 'string' ? Buffer.from(tag, 'latin1') : Buffer.from(tag as number[]),
  );
  return Buffer.concat([Buffer.from(varint(length)), ...parts]);
}

export function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) + 0x80, ...varint(Math.floor(value / 0x80))];
}

/** CRC-32C bit by bit. */
export function plainCrc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
  }
  return ~crc >>> 0;
}

function checksum(bytes: Buffer): Buffer {
  const crc = plainCrc32c(bytes);
  const word = Buffer.alloc(4);
  word.writeUInt32LE(((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) % 2 ** 32);
  return word;
}

/** What a block stands for; undefined where it is corrupt, or longer than `most`. */
export function plainDecode(bytes: Buffer, most = 4 * 1024 * 1024): Buffer | undefined {
  const input = [...bytes];
  const take = (count: number): number => {
    if (count > input.length) throw new RangeError('cut');
    return input.splice(0, count).reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
  };
  try {
    let length = 0;
    for (let digit = 0, byte = 0x80; byte >= 0x80; digit++) {
      if (digit === 5) return undefined;
      byte = take(1);
      length += (byte % 0x80) * 128 ** digit;
    }
    if (length > most) return undefined;
    const out: number[] = [];
    let offset = 0;
    while (input.length > 0) {
      const tag = take(1);
      const high = tag >>> 2;
      let count: number;
      if (tag % 4 === 0) {
        count = (high < 60 ? high : take(high - 59)) + 1;
        if (count > input.length || out.length + count > length) return undefined;
        out.push(...input.splice(0, count));
        continue;
      }
      if (tag % 4 === 1) {
        const distance = (high >>> 3) * 256 + take(1);
        const small = high % 8;
        if (distance > 0) offset = distance;
        count = distance > 0 || small < 5 ? small + 4 : take(small - 4);
        if (distance === 0 && small >= 5) count += [8, 260, 65_540][small - 5] as number;
      } else {
        offset = take(tag % 4 === 2 ? 2 : 4);
        count = high + 1;
      }
      if (offset === 0 || offset > out.length || out.length + count > length) return undefined;
      for (let i = 0; i < count; i++) out.push(out[out.length - offset] as number);
    }
    return out.length === length ? Buffer.from(out) : undefined;
  } catch (error) {
    if (error instanceof RangeError && error.message === 'cut') return undefined;
    throw error;
  }
}

export interface Decoded {
  readonly pieces: readonly Buffer[];
  /** Why it ended early. */
  readonly error: string | undefined;
}

/** What a reader makes of a stream that comes in these pieces. */
export function decode(pieces: readonly Buffer[], reader = new S2Reader()): Decoded {
  const out: Buffer[] = [];
  try {
    for (const piece of pieces) for (const data of reader.decode(piece)) out.push(data);
  } catch (error) {
    if (!(error instanceof S2Error)) throw error;
    return { pieces: out, error: error.message };
  }
  return { pieces: out, error: undefined };
}
