// Writes bytes as an S2 stream: its identifier, then chunks of up to 64 KiB, each of them compressed where that pays. No chunk
// needs an earlier one: the peer has all of what was given as soon as it has what came out.

import { BLOCK_BYTES, BlockEncoder } from './block-encoder.ts';
import { crc32c, masked } from './crc32c.ts';
import {
  CHECKSUM_BYTES,
  CHUNK_HEAD_BYTES,
  COMPRESSED,
  IDENTIFIER,
  S2_NAME,
  UNCOMPRESSED,
} from './s2-format.ts';

/** Where the parts of `#out` begin: the identifier, the head of a chunk, its checksum, its block. */
const HEAD = CHUNK_HEAD_BYTES + S2_NAME.length;
const CHECKSUM = HEAD + CHUNK_HEAD_BYTES;
const BLOCK = CHECKSUM + CHECKSUM_BYTES;

export class S2Writer {
  readonly #encoder = new BlockEncoder();
  readonly #out = Buffer.allocUnsafeSlow(BLOCK + BLOCK_BYTES);
  readonly #outView = viewOf(this.#out);
  #hasBegun = false;

  constructor() {
    writeHead(this.#out, 0, IDENTIFIER, S2_NAME.length);
    this.#out.write(S2_NAME, CHUNK_HEAD_BYTES, 'latin1');
  }

  /**
   * All of `data` as whole chunks (the stream identifier before the first), in a buffer of its own, to be sent at once.
   * Nothing for nothing.
   */
  encode(data: Buffer): Buffer {
    const view = viewOf(data);
    const chunks: Buffer[] = [];
    for (let at = 0; at < data.length; at += BLOCK_BYTES)
      chunks.push(this.#chunk(data, view, at, Math.min(at + BLOCK_BYTES, data.length)));
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }

  #chunk(data: Buffer, view: DataView, from: number, to: number): Buffer {
    const out = this.#out;
    const start = this.#hasBegun ? HEAD : 0;
    this.#hasBegun = true;
    const end = this.#encoder.encode(view, from, to, this.#outView, BLOCK);
    const isCompressed = end > BLOCK;
    const bytes = isCompressed ? end - BLOCK : to - from;
    writeHead(out, HEAD, isCompressed ? COMPRESSED : UNCOMPRESSED, CHECKSUM_BYTES + bytes);
    this.#outView.setUint32(CHECKSUM, masked(crc32c(view, from, to)), true);
    const chunk = Buffer.allocUnsafe(BLOCK - start + bytes);
    out.copy(chunk, 0, start, isCompressed ? end : BLOCK);
    if (!isCompressed) data.copy(chunk, BLOCK - start, from, to);
    return chunk;
  }
}

function writeHead(out: Buffer, at: number, type: number, length: number): void {
  out[at] = type;
  out.writeUIntLE(length, at + 1, 3);
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
