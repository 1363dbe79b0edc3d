// Reads the fields of one packet in their order [1.5]. It never reads beyond its end; a field that would is a malformed
// packet.

import { ProtocolError } from './protocol-error.ts';
import { decodeUtf8 } from './utf8.ts';
import { VARIABLE_BYTES_MAX } from './variable-integer.ts';

export class Cursor {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  /** Reads `bytes` from `at` to before `end`. */
  constructor(bytes: Buffer, at: number, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  byte(): number {
    return this.#bytes[this.#advance(1)] ?? 0;
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  /** A Variable Byte Integer in the fewest bytes [MQTT-1.5.5-1]. */
  variable(): number {
    let value = 0;
    for (let i = 0; i < VARIABLE_BYTES_MAX; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** (7 * i);
      if ((byte & 0x80) !== 0) continue;
      if (byte === 0 && i > 0) break;
      return value;
    }
    throw new ProtocolError('malformed Variable Byte Integer');
  }

  utf8(): string {
    const length = this.uint16();
    const start = this.#advance(length);
    return decodeUtf8(this.#bytes, start, this.#at);
  }

  /** Binary Data: a slice of the packet. */
  binary(): Buffer {
    const length = this.uint16();
    const start = this.#advance(length);
    return this.#bytes.subarray(start, this.#at);
  }

  /** The next `length` bytes as a cursor of their own. */
  part(length: number): Cursor {
    const start = this.#advance(length);
    return new Cursor(this.#bytes, start, this.#at);
  }

  /** Throws unless everything was read. */
  finish(): void {
    if (this.#at !== this.#end) throw new ProtocolError('bytes behind the end of the packet');
  }

  #advance(length: number): number {
    const start = this.#at;
    if (start + length > this.#end) throw new ProtocolError('a packet that is cut short');
    this.#at = start + length;
    return start;
  }
}
