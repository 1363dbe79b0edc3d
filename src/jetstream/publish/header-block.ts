// Changes to a header block that a message brings along: the stored copy of it, and what is added to it on its way out.
// A block is never changed in place, for others may hold it.

const VERSION = 'NATS/1.0';
const EMPTY_BLOCK_BYTES = VERSION.length + 4;
const CR = 13;
const CRLF = '\r\n';

/** The block without the status behind its version (`NATS/1.0 503`); null where nothing else is in it. */
export function withoutStatus(block: Buffer): Buffer | null {
  if (block[VERSION.length] === CR || block.toString('latin1', 0, VERSION.length) !== VERSION)
    return block;
  const end = block.indexOf(CR);
  if (end < 0) return block;
  const rest = block.subarray(end);
  if (rest.length === 4) return null;
  return Buffer.concat([block.subarray(0, VERSION.length), rest]);
}

/** The block without any header `name`; null where nothing else is in it. */
export function withoutHeader(block: Buffer, name: string): Buffer | null {
  const needle = Buffer.from(`${CRLF}${name}:`, 'latin1');
  let left = block;
  for (;;) {
    const at = left.indexOf(needle);
    const end = at < 0 ? -1 : left.indexOf(CRLF, at + needle.length);
    if (end < 0) return left;
    left = Buffer.concat([left.subarray(0, at), left.subarray(end)]);
    if (left.length <= EMPTY_BLOCK_BYTES) return null;
  }
}

/** The block, or a new one, with `lines` at its end; each is `Name: value` without the line's end. */
export function withLines(block: Buffer | null | undefined, lines: readonly string[]): Buffer {
  const text = `${lines.join(CRLF)}${CRLF}${CRLF}`;
  if (block === null || block === undefined || block.length <= CRLF.length) {
    return Buffer.from(`${VERSION}${CRLF}${text}`, 'utf8');
  }
  return Buffer.concat([block.subarray(0, block.length - CRLF.length), Buffer.from(text, 'utf8')]);
}
