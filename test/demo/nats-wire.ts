// The NATS client protocol as the stand-in hub speaks it: enough for one well-behaved client library, and no more.

/** What a client sends. */
export type ClientOp =
  | { readonly op: 'connect' | 'ping' | 'pong' }
  | { readonly op: 'sub'; readonly subject: string; readonly sid: string }
  | { readonly op: 'unsub'; readonly sid: string }
  | {
      readonly op: 'pub';
      readonly subject: string;
      readonly reply: string | undefined;
      readonly headers: Buffer | undefined;
      readonly data: Buffer;
    };

/** Longest control line, as in nats-server. */
const LINE_BYTES_MAX = 4_096;
/** Headers and data of one message; nats-server's default. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024;

/** Cuts a client's bytes into operations. Throws on what it does not know. */
export class WireReader {
  #rest: Buffer = Buffer.alloc(0);

  *read(bytes: Buffer): Generator<ClientOp> {
    let buffer = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const end = buffer.indexOf('\r\n');
      if (end < 0) {
        if (buffer.length > LINE_BYTES_MAX) throw new Error('Maximum Control Line Exceeded');
        break;
      }
      const words = buffer.toString('latin1', 0, end).split(/\s+/);
      const op = (words[0] ?? '').toUpperCase();
      const length = op === 'PUB' || op === 'HPUB' ? Number(words.at(-1)) : undefined;
      if (length === undefined) {
        yield simple(op, words);
        buffer = buffer.subarray(end + 2);
        continue;
      }
      if (!(length <= PAYLOAD_BYTES_MAX)) throw new Error('Maximum Payload Violation');
      if (buffer.length < end + 2 + length + 2) break;
      const content = buffer.subarray(end + 2, end + 2 + length);
      yield publish(op, words, content);
      buffer = buffer.subarray(end + 2 + length + 2);
    }
    this.#rest = Buffer.from(buffer);
  }
}

function simple(op: string, words: readonly string[]): ClientOp {
  switch (op) {
    case 'CONNECT':
    case 'PING':
    case 'PONG':
      return { op: op === 'CONNECT' ? 'connect' : op === 'PING' ? 'ping' : 'pong' };
    case 'SUB':
      return { op: 'sub', subject: words[1] ?? '', sid: words.at(-1) ?? '' };
    case 'UNSUB':
      return { op: 'unsub', sid: words[1] ?? '' };
    default:
      throw new Error('Unknown Protocol Operation');
  }
}

/** PUB subject [reply] bytes, HPUB subject [reply] header-bytes bytes. */
function publish(op: string, words: readonly string[], content: Buffer): ClientOp {
  const numbers = op === 'HPUB' ? 2 : 1;
  const headerBytes = op === 'HPUB' ? Number(words.at(-2)) : 0;
  return {
    op: 'pub',
    subject: words[1] ?? '',
    reply: words.length === 3 + numbers ? words[2] : undefined,
    headers: headerBytes > 0 ? content.subarray(0, headerBytes) : undefined,
    data: content.subarray(headerBytes),
  };
}

/** MSG or HMSG. */
export function encodeMessage(
  { subject, sid, reply }: { subject: string; sid: string; reply?: string | undefined },
  data: Buffer,
  headers?: Buffer,
): Buffer {
  const to = `${subject} ${sid}${reply === undefined ? '' : ` ${reply}`}`;
  const control =
    headers === undefined
      ? `MSG ${to} ${data.length}\r\n`
      : `HMSG ${to} ${headers.length} ${headers.length + data.length}\r\n`;
  return Buffer.concat([
    Buffer.from(control, 'latin1'),
    headers ?? Buffer.alloc(0),
    data,
    Buffer.from('\r\n'),
  ]);
}
