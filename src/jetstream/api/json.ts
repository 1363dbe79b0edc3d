// Reads JSON as nats-server does, so that a client gets the same verdict and the same words: the syntax to the letter, with
// the text of every number kept (an int64 does not fit a JavaScript number) and every key as it came (`__proto__` is a key
// like any other). Input is bounded by its caller; nesting is bounded here.

/** Arrays and objects within each other; a request of the API needs five. Beyond it the request is refused. */
const JSON_DEPTH_MAX = 64;

/** What is wrong with a text; the words are those of Go's encoding/json, which clients print. */
export class JsonError extends Error {
  override name = 'JsonError';
}

/** A value with its place in the text. */
export type JsonNode = { readonly from: number; readonly to: number } & (
  | { readonly kind: 'null' }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly JsonNode[] }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [string, JsonNode])[] }
);

/** The values of `text`, one after the other: mostly one, none in an empty text. Throws a JsonError at a wrong character. */
export function* parseJson(text: string): Generator<JsonNode> {
  const reader = new Reader(text);
  for (;;) {
    const node = reader.next();
    if (node === undefined) return;
    yield node;
  }
}

/** Quotes as Go's %q does, near enough. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

const PLAIN = /[^"\\\p{Cc}]*/uy;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const PART_OF_NUMBER = /-?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};
const VALUE = 'looking for beginning of value';
const KEY = 'looking for beginning of object key string';

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next value, or undefined at the end. */
  next(): JsonNode | undefined {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#at >= this.#text.length ? undefined : this.#value();
  }

  /** Passes what `pattern` matches here; it always matches something, be it nothing. */
  #skip(pattern: RegExp): string {
    const from = this.#at;
    pattern.lastIndex = from;
    if (pattern.test(this.#text)) this.#at = pattern.lastIndex;
    return this.#text.slice(from, this.#at);
  }

  /** The next character that is no white space. */
  #peek(): string {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#here();
  }

  #here(): string {
    const char = this.#text[this.#at];
    if (char === undefined) throw new JsonError('unexpected EOF');
    return char;
  }

  #value(): JsonNode {
    const char = this.#peek();
    const from = this.#at;
    if (char === '"') return { kind: 'string', value: this.#string(), from, to: this.#at };
    if (char === '{') return this.#nested(from, () => this.#object(from));
    if (char === '[') return this.#nested(from, () => this.#array(from));
    if (char === '-' || (char >= '0' && char <= '9')) return this.#number(from);
    if (char === 't') return { ...this.#literal(from, 'true'), kind: 'bool', value: true };
    if (char === 'f') return { ...this.#literal(from, 'false'), kind: 'bool', value: false };
    if (char === 'n') return { ...this.#literal(from, 'null'), kind: 'null' };
    throw this.#invalid(VALUE);
  }

  #nested(from: number, read: () => JsonNode): JsonNode {
    if (this.#depth >= JSON_DEPTH_MAX) throw this.#wrong('exceeded max depth', from + 1);
    this.#depth++;
    this.#at++;
    const node = read();
    this.#depth--;
    return node;
  }

  #object(from: number): JsonNode {
    const entries: [string, JsonNode][] = [];
    if (this.#peek() === '}') this.#at++;
    else {
      do {
        if (this.#peek() !== '"') throw this.#invalid(KEY);
        const key = this.#string();
        if (this.#peek() !== ':') throw this.#invalid('after object key');
        this.#at++;
        entries.push([key, this.#value()]);
      } while (this.#goesOn('}', 'after object key:value pair'));
    }
    return { kind: 'object', entries, from, to: this.#at };
  }

  #array(from: number): JsonNode {
    const items: JsonNode[] = [];
    if (this.#peek() === ']') this.#at++;
    else {
      do items.push(this.#value());
      while (this.#goesOn(']', 'after array element'));
    }
    return { kind: 'array', items, from, to: this.#at };
  }

  #goesOn(end: string, where: string): boolean {
    const char = this.#peek();
    if (char !== ',' && char !== end) throw this.#invalid(where);
    this.#at++;
    return char === ',';
  }

  #literal(from: number, word: string): { from: number; to: number } {
    for (const char of word) {
      if (this.#here() !== char)
        throw this.#invalid(`in literal ${word} (expecting ${quotedChar(char)})`);
      this.#at++;
    }
    return { from, to: this.#at };
  }

  #number(from: number): JsonNode {
    const text = this.#skip(NUMBER);
    if (text === '' || /[.eE]/.test(this.#text[this.#at] ?? '')) {
      this.#at = from;
      this.#skip(PART_OF_NUMBER);
      this.#here();
      throw this.#invalid('in numeric literal');
    }
    return { kind: 'number', text, from, to: this.#at };
  }

  #string(): string {
    this.#at++;
    let value = this.#skip(PLAIN);
    for (;;) {
      const char = this.#here();
      if (char === '"') break;
      if (char === '\\') value += this.#escape();
      // DEL and the C1 characters may stand in a string.
      else if (char < ' ') throw this.#invalid('in string');
      else value += this.#text[this.#at++];
      value += this.#skip(PLAIN);
    }
    this.#at++;
    return value.toWellFormed();
  }

  #escape(): string {
    const from = this.#at++;
    const char = this.#here();
    const plain = ESCAPES[char];
    if (plain !== undefined) {
      this.#at++;
      return plain;
    }
    const sequence = this.#text.slice(from, from + (char === 'u' ? 6 : 2));
    if (!/^\\u[0-9a-fA-F]{4}$/.test(sequence)) {
      throw this.#wrong(
        `invalid escape sequence \`${sequence}\` in string`,
        from + sequence.length,
      );
    }
    this.#at = from + 6;
    return String.fromCharCode(Number.parseInt(sequence.slice(2), 16));
  }

  /** The character here does not belong here. */
  #invalid(where: string): JsonError {
    const char = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0);
    return this.#wrong(`invalid character ${quotedChar(char)} ${where}`, this.#at + char.length);
  }

  /** `upTo`: how far the text was read, which Go counts in bytes. */
  #wrong(what: string, upTo: number): JsonError {
    return new JsonError(`${what} at offset ${Buffer.byteLength(this.#text.slice(0, upTo))}`);
  }
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

/** As Go quotes a character. */
function quotedChar(char: string): string {
  if (char === "'") return "'\\''";
  if (char === '"') return `'"'`;
  const code = char.codePointAt(0) ?? 0;
  if (code < 32 && !/[\n\r\t\f\b]/.test(char)) return `'\\x${code.toString(16).padStart(2, '0')}'`;
  if (code === 0xfeff) return "'\\ufeff'";
  return `'${JSON.stringify(char).slice(1, -1)}'`;
}
