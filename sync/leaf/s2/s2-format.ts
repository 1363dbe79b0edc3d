// The figures of the S2 stream format that its two ends share: Snappy's framing with blocks of up to 4 MiB and with repeats.

export const COMPRESSED = 0x00;
export const UNCOMPRESSED = 0x01;
/** From here on chunks of an unknown type may be skipped. */
export const SKIPPABLE_FROM = 0x80;
export const IDENTIFIER = 0xff;

/** Type and length of a chunk. */
export const CHUNK_HEAD_BYTES = 4;
export const CHECKSUM_BYTES = 4;

export const S2_NAME = 'S2sTwO';
export const SNAPPY_NAME = 'sNaPpY';

/** The two low bits of a tag: a literal, or a copy whose distance has 11, 16 or (3) 32 bits. */
export const LITERAL = 0;
export const COPY_1 = 1;
export const COPY_2 = 2;

/** The peer's stream is corrupt: where it goes on is not known any more. */
export class S2Error extends Error {
  override name = 'S2Error';
}
