// Reads the NATS client protocol from a byte stream, in one pass: a control line, and behind PUB and HPUB the message. How
// the bytes are cut into chunks changes nothing. A message that lies within one chunk is a slice of it; of a begun one only
// the bytes that came are held, so neither an announced size nor a byte at a time costs memory.

import type { Budget } from './limits.ts';

/** Held bytes of a begun message that are not charged to the shared budget: more than most messages. */
const PARTIAL_FREE_BYTES = 4096;
/** The longest verb with room for blanks behind it; a held line may be longer than its arguments by this. */
const VERB_BYTES_MAX = 16;
/** A buffer for begun lines is kept for the next one up to this size. */
const LINE_KEPT_BYTES = 256;
/** Digits in a size, as nats-server reads them. */
const SIZE_DIGITS_MAX = 9;
/** Subject, reply and two sizes; one more to notice that there are too many. */
const TOKENS_MAX = 5;

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;

const VERBS = [
  'PUB',
  'HPUB',
  'PING',
  'PONG',
  'SUB',
  'UNSUB',
  'CONNECT',
  'INFO',
  '+OK',
  '-ERR',
] as const;
type Verb = (typeof VERBS)[number];
const NEED_BLANK = VERBS.map((verb) => /^(H?PUB|(UN)?SUB|-ERR)$/.test(verb));
const VERB_BYTES = VERBS.map((verb) => Buffer.from(verb.toLowerCase(), 'latin1'));

/** The peer broke the protocol. `answer` is what it is told before its connection is closed, where it is told anything. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
  readonly answer: string | undefined;

  constructor(message: string, answer?: string) {
    super(message);
    this.answer = answer;
  }
}

/** What a client says. Each may pause or close the parser, or throw a ProtocolError. */
export interface Listener {
  connect(json: string): void;
  /** PUB or HPUB was read, and its message comes: may it? `headerBytes` is -1 for PUB. */
  announced(headerBytes: number, totalBytes: number, subject: string): void;
  publish(
    subject: string,
    reply: string | undefined,
    headers: Buffer | undefined,
    data: Buffer,
  ): void;
  subscribe(subject: string, queue: string | undefined, sid: string): void;
  /** `max` is 0 where none was given. */
  unsubscribe(sid: string, max: number): void;
  ping(): void;
  pong(): void;
}

export interface ParserLimits {
  readonly controlLineBytesMax: number;
}

export class Parser {
  /** Nothing but CONNECT may come. */
  awaitsConnect = false;
  readonly #listener: Listener;
  readonly #limits: ParserLimits;
  readonly #budget: Budget;
  /** What waits while the parser is paused. */
  #rest: Buffer | undefined;
  #stopped: 'paused' | 'closed' | undefined;

  /** A begun control line. */
  #line: Buffer | undefined;
  #lineLength = 0;

  /** Bounds of the tokens of the line that was read last: from, to, from, to, … */
  readonly #bounds = new Int32Array(2 * TOKENS_MAX);
  #tokens = 0;
  /** All of its bytes or-ed: whether it is ASCII. */
  #bits = 0;

  #subject = '';
  #reply: string | undefined;
  #headerBytes = -1;
  #totalBytes = 0;
  /** A begun message, with its CRLF; `#bodyBytes` of it are there. */
  #awaitsBody = false;
  #body: Buffer | undefined;
  #bodyBytes = 0;
  #charged = 0;

  constructor(listener: Listener, limits: ParserLimits, budget: Budget) {
    this.#listener = listener;
    this.#limits = limits;
    this.#budget = budget;
  }

  /** Takes the next bytes. Throws a ProtocolError. */
  parse(chunk: Buffer): void {
    if (this.#stopped === 'closed') return;
    const input = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (at < input.length && this.#stopped === undefined) at = this.#step(input, at);
    if (at < input.length && !this.#isClosed()) this.#rest = input.subarray(at);
  }

  /** Takes no further line until `resume`; the rest of the current chunk waits. */
  pause(): void {
    this.#stopped ??= 'paused';
  }

  /** Goes on with what waits. Throws a ProtocolError. */
  resume(): void {
    if (this.#stopped === 'paused') this.#stopped = undefined;
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.parse(rest);
  }

  /** Drops everything; nothing is read any more. */
  close(): void {
    this.#stopped = 'closed';
    this.#rest = undefined;
    this.#line = undefined;
    this.#dropBody();
  }

  // A call of its own: the value changes under the loop above.
  #isClosed(): boolean {
    return this.#stopped === 'closed';
  }

  /** Uses some of `input` from `at` on; returns where it goes on. */
  #step(input: Buffer, at: number): number {
    if (this.#awaitsBody) return this.#fillBody(input, at);
    if (this.#lineLength > 0) return this.#fillLine(input, at);
    const lf = this.#readLine(input, at, input.length);
    if (lf < 0) {
      this.#holdLine(input, at, input.length);
      return input.length;
    }
    return this.#awaitsBody ? this.#readBody(input, lf + 1) : lf + 1;
  }

  // --- lines ---

  #fillLine(input: Buffer, at: number): number {
    const lf = input.indexOf(LF, at);
    const end = lf < 0 ? input.length : lf + 1;
    this.#holdLine(input, at, end);
    if (lf < 0 || this.#line === undefined) return end;
    const length = this.#lineLength;
    const line = this.#line;
    this.#lineLength = 0;
    if (line.length > LINE_KEPT_BYTES) this.#line = undefined;
    this.#readLine(line, 0, length);
    return end;
  }

  #holdLine(input: Buffer, from: number, to: number): void {
    const length = this.#lineLength + to - from;
    const max = this.#limits.controlLineBytesMax + VERB_BYTES_MAX;
    if (length > max) throw lineTooLong();
    if (this.#line === undefined || this.#line.length < length) {
      const grown = Buffer.allocUnsafe(Math.min(max, Math.max(64, 2 * length)));
      this.#line?.copy(grown, 0, 0, this.#lineLength);
      this.#line = grown;
    }
    input.copy(this.#line, this.#lineLength, from, to);
    this.#lineLength = length;
    // Whoever speaks another language need not end a line to hear so.
    this.#verb(this.#line, 0, length);
  }

  /** The verb at `from`; undefined while it is not whole. Throws for what can become none. */
  #verb(input: Buffer, from: number, to: number): Verb | undefined {
    const first = lower(input[from] as number);
    if (this.awaitsConnect && first !== 0x63)
      throw new ProtocolError('not logged in', 'Authorization Violation');
    for (let v = 0; v < VERBS.length; v++) {
      const bytes = VERB_BYTES[v] as Buffer;
      if (bytes[0] !== first) continue;
      const length = Math.min(bytes.length, to - from);
      let i = 1;
      while (i < length && bytes[i] === lower(input[from + i] as number)) i++;
      if (i < length) continue;
      if (length < bytes.length) return undefined;
      const behind = from + length;
      if (behind < to && NEED_BLANK[v] === true && !isBlank(input[behind] as number)) break;
      return VERBS[v];
    }
    throw unknownOperation();
  }

  /** Reads the line at `from` if it ends before `to`; returns where, or -1. */
  #readLine(input: Buffer, from: number, to: number): number {
    const verb = this.#verb(input, from, to);
    if (verb === undefined) return -1;
    const behind = from + verb.length;
    switch (verb) {
      case 'PUB':
      case 'HPUB':
      case 'SUB':
      case 'UNSUB':
        return this.#readArguments(verb, input, behind, to);
      case 'CONNECT':
      case 'INFO':
      case '-ERR':
        return this.#readRaw(verb, input, behind, to);
      case 'PING':
      case 'PONG':
      case '+OK': {
        const lf = lineEnd(input, behind, to);
        if (lf >= 0 && verb === 'PING') this.#listener.ping();
        if (lf >= 0 && verb === 'PONG') this.#listener.pong();
        return lf;
      }
    }
  }

  #readRaw(verb: 'CONNECT' | 'INFO' | '-ERR', input: Buffer, from: number, to: number): number {
    const lf = lineEnd(input, from, to);
    if (lf < 0) return -1;
    let start = from;
    while (isBlank(input[start] as number)) start++;
    const end = lf > start && input[lf - 1] === CR ? lf - 1 : lf;
    if (end - start > this.#limits.controlLineBytesMax) throw lineTooLong();
    if (verb === 'CONNECT') this.#listener.connect(input.toString('utf8', start, end));
    if (verb === '-ERR') throw new ProtocolError('the client reports an error');
    return lf;
  }

  #readArguments(verb: Verb, input: Buffer, from: number, to: number): number {
    const lf = this.#split(input, from, to);
    if (lf < 0) return -1;
    if (verb === 'PUB') this.#announce(input, -1);
    else if (verb === 'HPUB') this.#announce(input, 0);
    else if (verb === 'SUB') this.#subscribe(input);
    else this.#unsubscribe(input);
    return lf;
  }

  /** Finds the tokens from `from` to the end of the line; returns where that is, or -1. */
  #split(input: Buffer, from: number, to: number): number {
    const bounds = this.#bounds;
    let bits = 0;
    let tokens = 0;
    let start = -1;
    let first = -1;
    for (let i = from; i < to; i++) {
      const byte = input[i] as number;
      if (byte > SPACE) {
        bits |= byte;
        if (start >= 0) continue;
        start = i;
        if (first < 0) first = i;
      } else if (byte === SPACE || byte === LF || byte === CR || byte === TAB) {
        if (start >= 0) {
          if (tokens < TOKENS_MAX) {
            bounds[2 * tokens] = start;
            bounds[2 * tokens + 1] = i;
          }
          tokens++;
          start = -1;
        }
        if (byte !== LF) continue;
        if (first >= 0 && i - first > this.#limits.controlLineBytesMax + 1) throw lineTooLong();
        this.#tokens = tokens;
        this.#bits = bits;
        return i;
      } else if (start < 0) {
        start = i;
        if (first < 0) first = i;
      }
    }
    if (first >= 0 && to - first > this.#limits.controlLineBytesMax + 1) throw lineTooLong();
    return -1;
  }

  #token(input: Buffer, index: number): string {
    const from = this.#bounds[2 * index] as number;
    const to = this.#bounds[2 * index + 1] as number;
    return this.#bits < 0x80
      ? input.toString('latin1', from, to)
      : input.toString('utf8', from, to);
  }

  #size(input: Buffer, index: number): number {
    const from = this.#bounds[2 * index] as number;
    const to = this.#bounds[2 * index + 1] as number;
    if (to - from > SIZE_DIGITS_MAX) return -1;
    let size = 0;
    for (let i = from; i < to; i++) {
      const digit = (input[i] as number) - 48;
      if (digit < 0 || digit > 9) return -1;
      size = 10 * size + digit;
    }
    return size;
  }

  #subscribe(input: Buffer): void {
    if (this.#tokens === 2)
      this.#listener.subscribe(this.#token(input, 0), undefined, this.#token(input, 1));
    else if (this.#tokens === 3)
      this.#listener.subscribe(this.#token(input, 0), this.#token(input, 1), this.#token(input, 2));
    else throw new ProtocolError('SUB with wrong arguments');
  }

  #unsubscribe(input: Buffer): void {
    if (this.#tokens !== 1 && this.#tokens !== 2)
      throw new ProtocolError('UNSUB with wrong arguments');
    const max = this.#tokens === 2 ? this.#size(input, 1) : 0;
    this.#listener.unsubscribe(this.#token(input, 0), Math.max(0, max));
  }

  // --- messages ---

  /** Takes the arguments of PUB, or with `sizes` 0 of HPUB. */
  #announce(input: Buffer, sizes: -1 | 0): void {
    const least = sizes + 3;
    const count = this.#tokens;
    if (count !== least && count !== least + 1) throw new ProtocolError('PUB with wrong arguments');
    const total = this.#size(input, count - 1);
    const headers = sizes < 0 ? -1 : this.#size(input, count - 2);
    if (total < 0 || headers < sizes || headers > total)
      throw new ProtocolError('PUB with a wrong size');
    if (!this.#isSubject(input)) this.#subject = this.#token(input, 0);
    this.#listener.announced(headers, total, this.#subject);
    this.#reply = count > least ? this.#token(input, 1) : undefined;
    this.#headerBytes = headers;
    this.#totalBytes = total;
    this.#awaitsBody = true;
  }

  /** Whether the first token is the subject of the last message: most often it is, and its string can be used again. */
  #isSubject(input: Buffer): boolean {
    const from = this.#bounds[0] as number;
    const subject = this.#subject;
    if (this.#bits >= 0x80 || (this.#bounds[1] as number) - from !== subject.length) return false;
    // From the end: subjects of one plant differ there.
    for (let i = subject.length - 1; i >= 0; i--)
      if (subject.charCodeAt(i) !== input[from + i]) return false;
    return true;
  }

  #readBody(input: Buffer, at: number): number {
    const end = at + this.#totalBytes;
    if (end + 2 > input.length) return at; // `#fillBody` goes on, with what there is.
    if (input[end] !== CR || input[end + 1] !== LF) throw unknownOperation();
    this.#publish(input, at, end);
    return end + 2;
  }

  #publish(bytes: Buffer, from: number, to: number): void {
    this.#awaitsBody = false;
    const split = from + Math.max(0, this.#headerBytes);
    // A block of no bytes is none.
    const headers = split > from ? bytes.subarray(from, split) : undefined;
    this.#listener.publish(this.#subject, this.#reply, headers, bytes.subarray(split, to));
  }

  #fillBody(input: Buffer, at: number): number {
    const length = this.#totalBytes + 2;
    if (this.#body === undefined && at + length <= input.length) return this.#readBody(input, at);
    const to = Math.min(input.length, at + length - this.#bodyBytes);
    const have = this.#bodyBytes + to - at;
    if (this.#body === undefined || this.#body.length < have) this.#growBody(have, length);
    const body = this.#body as Buffer;
    input.copy(body, this.#bodyBytes, at, to);
    this.#bodyBytes = have;
    if (have > this.#totalBytes && body[this.#totalBytes] !== CR) throw unknownOperation();
    if (have < length) return to;
    if (body[this.#totalBytes + 1] !== LF) throw unknownOperation();
    this.#dropBody();
    this.#publish(body, 0, this.#totalBytes);
    return to;
  }

  #growBody(have: number, length: number): void {
    const size = Math.min(length, Math.max(have, 2 * this.#bodyBytes, 64));
    const charge = Math.max(0, size - PARTIAL_FREE_BYTES) - this.#charged;
    if (charge > 0 && !this.#budget.take(charge))
      throw new ProtocolError('too many bytes of incomplete messages');
    this.#charged += Math.max(0, charge);
    const grown = Buffer.allocUnsafe(size);
    this.#body?.copy(grown, 0, 0, this.#bodyBytes);
    this.#body = grown;
  }

  #dropBody(): void {
    this.#budget.add(-this.#charged);
    this.#charged = 0;
    this.#body = undefined;
    this.#bodyBytes = 0;
  }
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function lineEnd(input: Buffer, from: number, to: number): number {
  const lf = input.indexOf(LF, from);
  return lf < to ? lf : -1;
}

function unknownOperation(): ProtocolError {
  return new ProtocolError('no line of the protocol', 'Unknown Protocol Operation');
}

function lineTooLong(): ProtocolError {
  return new ProtocolError('a line over the limit', 'maximum control line exceeded');
}
