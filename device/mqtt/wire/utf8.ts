// UTF-8 Encoded Strings [1.5.4]: two bytes of length, then well-formed UTF-8 without U+0000. Most are short and ASCII.

import { isUtf8 } from 'node:buffer';
import { ProtocolError } from './protocol-error.ts';

/** The string in `bytes` from `start` to `end`. Throws a ProtocolError [MQTT-1.5.4-1], [MQTT-1.5.4-2]. */
export function decodeUtf8(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start, end);
  if (text.includes('\0')) throw new ProtocolError('U+0000 in a string');
  // Decoding turns ill-formed bytes into U+FFFD; whether it was one of the packet's own is seldom asked.
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end)))
    throw new ProtocolError('ill-formed UTF-8');
  return text;
}

/** A string with its two-byte length in front, as every packet carries it. Throws a RangeError beyond 65,535 bytes. */
export function encodeName(text: string): Buffer {
  const bytes = Buffer.byteLength(text);
  const name = Buffer.allocUnsafe(2 + bytes);
  name.writeUInt16BE(bytes, 0); // Throws where it does not fit.
  name.write(text, 2);
  return name;
}
