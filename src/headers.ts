// Reads and writes NATS/1.0 header blocks (ADR-4): a version line, `Name: value` lines, a blank line, all ended by CRLF.
// Names are case-sensitive, as nats-server reads them.

const VERSION = 'NATS/1.0\r\n';

/** The largest header block a stream stores, as in nats-server (error 10097 beyond it). */
export const HEADERS_BYTES_MAX = 64 * 1024;

/** `[name, value]` pairs in wire order. */
export type HeaderLines = readonly (readonly [string, string])[];

/** Encodes header lines as a block; `undefined` for none. Values must hold no CR or LF: they are replaced by spaces. */
export function encodeHeaders(lines: HeaderLines): Buffer | undefined {
  if (lines.length === 0) return undefined;
  let block = VERSION;
  for (const [name, value] of lines) block += `${name}: ${value.replace(/[\r\n]/g, ' ')}\r\n`;
  return Buffer.from(`${block}\r\n`, 'utf8');
}

/** Decodes a block into its lines; a line without a colon is dropped. The status of the version line is not returned. */
export function decodeHeaders(block: Buffer | undefined): [string, string][] {
  if (block === undefined) return [];
  const lines: [string, string][] = [];
  for (const line of block.toString('utf8').split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    if (colon > 0) lines.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return lines;
}

const CR = 13;
const needles = new Map<string, Buffer>();

/** The first value of header `name`, or undefined. Looks at the bytes; decodes nothing else. `name` is one of ours. */
export function headerValue(block: Buffer | undefined, name: string): string | undefined {
  if (block === undefined) return undefined;
  let needle = needles.get(name);
  if (needle === undefined) needles.set(name, (needle = Buffer.from(`\r\n${name}:`, 'latin1')));
  const start = block.indexOf(needle);
  return start < 0 ? undefined : valueAt(block, start + needle.length);
}

/** The value that begins at `from`, behind the colon: up to the end of the line, without the spaces around it. */
export function valueAt(block: Buffer, from: number): string {
  while (block[from] === 32) from++;
  let end = from;
  while (end < block.length && block[end] !== CR) end++;
  return block.toString('utf8', from, end).trimEnd();
}
