// Reads what a hub sends on a leafnode connection, in one pass: INFO, LS+, LS-, LMSG, HMSG, PING, PONG, +OK and -ERR. How
// the bytes are cut into chunks changes nothing. A message that lies within one chunk is a slice of it; of a begun one only
// the bytes that came are held, so an announced size costs no memory.

import type { Message } from '../../src/message.ts';
import type { LeafListener } from './types.ts';

/** A buffer for begun lines is kept for the next one up to this size. */
const LINE_KEPT_BYTES = 1024;
/** Digits in a size or weight, as nats-server reads them. */
const DIGITS_MAX = 9;
/** So much of a strange line is shown to the operator. */
const SHOWN_BYTES = 60;

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const PLUS = 43;
const BAR = 124;

const VERBS = ['LMSG', 'HMSG', 'LS+', 'LS-', 'PING', 'PONG', 'INFO', '-ERR', '+OK'] as const;
type Verb = (typeof VERBS)[number];
const VERB_BYTES = VERBS.map((verb) => Buffer.from(verb.toLowerCase(), 'latin1'));
const NEED_BLANK = VERBS.map((verb) => /^(.MSG|LS.|INFO|-ERR)$/.test(verb));

/** The hub broke the protocol, or what answers is no leafnode port: the connection is of no use any more. */
export class LeafProtocolError extends Error {
  override name = 'LeafProtocolError';
}

export interface LeafParserLimits {
  /** Headers and data of one message. A hub takes `max_payload` (1 MiB by default, 64 MiB at most) from its own clients. */
  readonly messageBytesMax: number;
  /** One line, with its verb. INFO lists permissions and URLs; a message names the queue groups that get it. */
  readonly controlLineBytesMax: number;
}

export class LeafParser {
  readonly #listener: LeafListener;
  readonly #limits: LeafParserLimits;
  #closed = false;

  /** A begun line. */
  #line: Buffer | undefined;
  #lineLength = 0;

  /** Bounds of the tokens of the line that was read last: from, to, from, to, … */
  #bounds = new Int32Array(64);
  #tokens = 0;
  /** All of its bytes or-ed: whether it is ASCII. */
  #bits = 0;

  #subject = '';
  #reply: string | undefined;
  #queues: readonly string[] = [];
  #headerBytes = 0;
  #totalBytes = 0;
  /** A begun message, with its CRLF; `#bodyBytes` of it are there. */
  #awaitsBody = false;
  #body: Buffer | undefined;
  #bodyBytes = 0;

  constructor(listener: LeafListener, limits: LeafParserLimits) {
    this.#listener = listener;
    this.#limits = limits;
  }

  /** Takes the next bytes. Throws a LeafProtocolError, and what the listener throws: it is of no use after either. */
  parse(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#closed) at = this.#step(chunk, at);
  }

  /** Nothing is read any more, and what came behind the present line is dropped: also from within the listener. */
  close(): void {
    this.#closed = true;
    this.#line = undefined;
    this.#body = undefined;
  }

  /** Uses some of `input` from `at` on; returns where it goes on. */
  #step(input: Buffer, at: number): number {
    if (this.#awaitsBody) return this.#fillBody(input, at);
    const lf = input.indexOf(LF, at);
    if (lf < 0 || this.#lineLength > 0) return this.#fillLine(input, at, lf);
    this.#readLine(input, at, lf);
    return this.#awaitsBody ? this.#readBody(input, lf + 1) : lf + 1;
  }

  // --- lines ---

  #fillLine(input: Buffer, at: number, lf: number): number {
    const end = lf < 0 ? input.length : lf + 1;
    const line = this.#holdLine(input, at, end);
    if (lf < 0) {
      // Whoever speaks another language need not end a line to be heard so.
      findVerb(line, 0, this.#lineLength);
      return end;
    }
    const last = this.#lineLength - 1;
    this.#lineLength = 0;
    if (line.length > LINE_KEPT_BYTES) this.#line = undefined;
    this.#readLine(line, 0, last);
    return end;
  }

  #holdLine(input: Buffer, from: number, to: number): Buffer {
    const length = this.#lineLength + to - from;
    this.#checkLength(length);
    let line = this.#line;
    if (line === undefined || line.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(64, 2 * length));
      line?.copy(grown, 0, 0, this.#lineLength);
      this.#line = line = grown;
    }
    input.copy(line, this.#lineLength, from, to);
    this.#lineLength = length;
    return line;
  }

  #checkLength(bytes: number): void {
    const { controlLineBytesMax } = this.#limits;
    if (bytes > controlLineBytesMax + 2)
      throw new LeafProtocolError(`a line of more than ${controlLineBytesMax} bytes`);
  }

  /** Reads the line from `from` up to the line feed at `lf`. */
  #readLine(input: Buffer, from: number, lf: number): void {
    this.#checkLength(lf + 1 - from);
    const verb = findVerb(input, from, lf);
    if (verb === undefined) throw unknown(input, from, lf);
    const behind = from + verb.length;
    switch (verb) {
      case 'LMSG':
      case 'HMSG':
        return this.#announce(input, behind, lf, verb);
      case 'LS+':
      case 'LS-':
        return this.#interest(input, behind, lf, verb);
      case 'PING':
        return this.#listener.ping();
      case 'PONG':
        return this.#listener.pong();
      case 'INFO':
        return this.#listener.info(rest(input, behind, lf));
      case '-ERR':
        return this.#listener.error(rest(input, behind, lf).replace(/^'(.*)'$/s, '$1'));
      case '+OK':
    }
  }

  /** Finds the tokens of a line. */
  #split(input: Buffer, from: number, to: number): void {
    let bits = 0;
    let at = 0;
    let inside = false;
    for (let i = from; i < to; i++) {
      const byte = input[i] as number;
      bits |= byte;
      const blank = byte === SPACE || byte === TAB || byte === CR;
      if (blank !== inside) continue;
      if (at === this.#bounds.length) this.#growBounds();
      this.#bounds[at++] = i;
      inside = !inside;
    }
    if (inside) this.#bounds[at++] = to;
    this.#tokens = at / 2;
    this.#bits = bits;
  }

  #growBounds(): void {
    const grown = new Int32Array(2 * this.#bounds.length);
    grown.set(this.#bounds);
    this.#bounds = grown;
  }

  #token(input: Buffer, index: number): string {
    const from = this.#bounds[2 * index] as number;
    const to = this.#bounds[2 * index + 1] as number;
    return this.#bits < 0x80
      ? input.toString('latin1', from, to)
      : input.toString('utf8', from, to);
  }

  /** A number of up to nine digits; -1 where there is none. */
  #number(input: Buffer, index: number): number {
    const from = this.#bounds[2 * index] as number;
    const to = this.#bounds[2 * index + 1] as number;
    if (to - from > DIGITS_MAX) return -1;
    let number = 0;
    for (let i = from; i < to; i++) {
      const digit = (input[i] as number) - 48;
      if (digit < 0 || digit > 9) return -1;
      number = 10 * number + digit;
    }
    return number;
  }

  #interest(input: Buffer, from: number, to: number, verb: 'LS+' | 'LS-'): void {
    this.#split(input, from, to);
    const adds = verb === 'LS+';
    const count = this.#tokens;
    if (count !== 1 && count !== (adds ? 3 : 2)) throw wrong(verb);
    const subject = this.#token(input, 0);
    const queue = count > 1 ? this.#token(input, 1) : undefined;
    if (!adds) return this.#listener.unsubscribe(subject, queue);
    const weight = queue === undefined ? 1 : this.#number(input, 2);
    if (weight < 0) throw wrong(verb);
    this.#listener.subscribe(subject, queue, weight);
  }

  // --- messages ---

  /** Takes `subject [reply] sizes`, `subject + reply queues sizes` or `subject | queues sizes`. */
  #announce(input: Buffer, from: number, to: number, verb: 'LMSG' | 'HMSG'): void {
    this.#split(input, from, to);
    const sizes = verb === 'HMSG' ? 2 : 1;
    const extra = this.#tokens - 1 - sizes;
    if (extra < 0) throw wrong(verb);
    const total = this.#number(input, this.#tokens - 1);
    const headers = sizes === 2 ? this.#number(input, this.#tokens - 2) : 0;
    if (total < 0 || headers < 0 || headers > total) throw wrong(verb);
    if (total > this.#limits.messageBytesMax)
      throw new LeafProtocolError(
        `a message of ${total} bytes, where ${this.#limits.messageBytesMax} is the most`,
      );
    if (!this.#isSubject(input)) this.#subject = this.#token(input, 0);
    if (extra > 1) {
      this.#listed(input, extra, verb);
    } else {
      this.#reply = extra === 1 ? this.#token(input, 1) : undefined;
      this.#queues = NO_QUEUES;
    }
    this.#headerBytes = headers;
    this.#totalBytes = total;
    this.#awaitsBody = true;
  }

  /** Takes `+ reply queues` or `| queues`: `extra` tokens behind the subject. */
  #listed(input: Buffer, extra: number, verb: Verb): void {
    const start = this.#bounds[2] as number;
    const mark = (this.#bounds[3] as number) - start === 1 ? input[start] : undefined;
    if (mark !== PLUS && mark !== BAR) throw wrong(verb);
    this.#reply = mark === PLUS ? this.#token(input, 2) : undefined;
    const queues: string[] = [];
    for (let i = mark === PLUS ? 3 : 2; i <= extra; i++) queues.push(this.#token(input, i));
    this.#queues = queues;
  }

  /** Whether the first token is the subject of the last message: often it is, and its string can be used again. */
  #isSubject(input: Buffer): boolean {
    const from = this.#bounds[0] as number;
    const subject = this.#subject;
    if (this.#bits >= 0x80 || (this.#bounds[1] as number) - from !== subject.length) return false;
    // From the end: subjects of one stream or of one consumer differ there.
    for (let i = subject.length - 1; i >= 0; i--)
      if (subject.charCodeAt(i) !== input[from + i]) return false;
    return true;
  }

  #readBody(input: Buffer, at: number): number {
    const end = at + this.#totalBytes;
    if (end + 2 > input.length) return at; // `#fillBody` goes on, with what there is.
    if (input[end] !== CR || input[end + 1] !== LF) throw unknown(input, end, input.length);
    this.#message(input, at, end);
    return end + 2;
  }

  #message(bytes: Buffer, from: number, to: number): void {
    this.#awaitsBody = false;
    const split = from + this.#headerBytes;
    const message: Writable<Message> = { subject: this.#subject, data: bytes.subarray(split, to) };
    if (this.#reply !== undefined) message.reply = this.#reply;
    // A block of no bytes is none.
    if (split > from) message.headers = bytes.subarray(from, split);
    this.#listener.message(message, this.#queues);
  }

  #fillBody(input: Buffer, at: number): number {
    const length = this.#totalBytes + 2;
    if (this.#body === undefined && at + length <= input.length) return this.#readBody(input, at);
    const to = Math.min(input.length, at + length - this.#bodyBytes);
    const have = this.#bodyBytes + to - at;
    const body = this.#room(have, length);
    input.copy(body, this.#bodyBytes, at, to);
    this.#bodyBytes = have;
    if (have < length) return to;
    const end = this.#totalBytes;
    if (body[end] !== CR || body[end + 1] !== LF) throw unknown(body, end, length);
    this.#body = undefined;
    this.#bodyBytes = 0;
    this.#message(body, 0, end);
    return to;
  }

  /** A buffer for the begun message that has room for `have` of its `length` bytes. */
  #room(have: number, length: number): Buffer {
    const body = this.#body;
    if (body !== undefined && body.length >= have) return body;
    const grown = Buffer.allocUnsafe(Math.min(length, Math.max(have, 2 * this.#bodyBytes, 64)));
    body?.copy(grown, 0, 0, this.#bodyBytes);
    this.#body = grown;
    return grown;
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const NO_QUEUES: readonly string[] = [];

/** The verb at `from`; undefined while it is not whole. Throws for what can become none. */
function findVerb(input: Buffer, from: number, to: number): Verb | undefined {
  for (let v = 0; v < VERBS.length; v++) {
    const bytes = VERB_BYTES[v] as Buffer;
    const length = Math.min(bytes.length, to - from);
    let i = 0;
    while (i < length && bytes[i] === lower(input[from + i] as number)) i++;
    if (i < length) continue;
    if (length < bytes.length) return undefined;
    const behind = from + length;
    if (behind < to && NEED_BLANK[v] === true && !isBlank(input[behind] as number)) break;
    return VERBS[v];
  }
  throw unknown(input, from, to);
}

/** What follows a verb, without the blanks around it. */
function rest(input: Buffer, from: number, to: number): string {
  return input.toString('utf8', from, to).trim();
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function wrong(verb: Verb): LeafProtocolError {
  return new LeafProtocolError(`${verb} with wrong arguments`);
}

/** The operator sees the begin of what came: an HTTP answer, say. */
function unknown(input: Buffer, from: number, to: number): LeafProtocolError {
  const shown = input.toString('latin1', from, Math.min(to, from + SHOWN_BYTES));
  return new LeafProtocolError(`no line of the leafnode protocol: ${JSON.stringify(shown)}`);
}
