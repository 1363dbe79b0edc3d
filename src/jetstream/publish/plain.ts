// Most messages say nothing to their stream but their ID, if that. This finds them at a fraction of the cost of reading
// everything that headers may say.

const START = 'NATS/1.0'.length;
/** Longer blocks are read in full. */
const PLAIN_BYTES_MAX = 256;
const PREFIX = Buffer.from('Nats-');
const ID = Buffer.from('Nats-Msg-Id:');
const CR = 13;
const SPACE = 32;

/** The `Nats-Msg-Id` of a block that has no other `Nats-` header, '' for none; undefined: the block is to be read in full. */
export function plainId(block: Buffer | undefined): string | undefined {
  if (block === undefined) return '';
  const { length } = block;
  if (length > PLAIN_BYTES_MAX || block[START] !== CR) return undefined;
  let id = '';
  for (let line = START + 2; line < length && block[line] !== CR;) {
    let end = line;
    while (end < length && block[end] !== CR) end++;
    if (begins(block, line, PREFIX)) {
      if (id !== '' || !begins(block, line, ID)) return undefined;
      let from = line + ID.length;
      while (block[from] === SPACE) from++;
      id = block.toString('latin1', from, end);
      if (id === '' || !isAscii(block, from, end)) return undefined;
    }
    line = end + 2;
  }
  // An empty block is stored as none.
  return length === START + 4 ? undefined : id;
}

function begins(block: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (block[at + i] !== word[i]) return false;
  return true;
}

/** Without spaces at its end, which are no part of it. */
function isAscii(block: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; at++) if ((block[at] ?? 0) > 126) return false;
  return block[end - 1] !== SPACE;
}
