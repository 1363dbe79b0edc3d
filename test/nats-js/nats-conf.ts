// Reads the configuration language of nats-server, as far as its clients' tests write it: maps, arrays, quoted strings, bare
// words, numbers with a unit, comments. Variables and includes are refused.

export type ConfValue = string | number | boolean | readonly ConfValue[] | ConfMap;
export interface ConfMap {
  readonly [key: string]: ConfValue;
}

/** The text is not what nats-server would read. */
export class NatsConfError extends Error {}

const UNITS: ReadonlyMap<string, number> = new Map(
  ['k', 'm', 'g', 't'].flatMap((letter, i) => [
    [letter, 1000 ** (i + 1)],
    [`${letter}b`, 1024 ** (i + 1)],
    [`${letter}i`, 1024 ** (i + 1)],
    [`${letter}ib`, 1024 ** (i + 1)],
  ]),
);
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['no', false],
  ['off', false],
]);
/** Maps and arrays in one another; a configuration has five. */
const DEPTH_MAX = 32;

/** Parses `text` into the map of its top level. Throws a NatsConfError with the line. */
export function parseNatsConf(text: string): ConfMap {
  return new Reader(text).document();
}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): ConfMap {
    const map = this.#entries(undefined);
    if (this.#at < this.#text.length) this.#fail(`an unexpected ${this.#peek()}`);
    return map;
  }

  #entries(end: '}' | undefined): ConfMap {
    const map: Record<string, ConfValue> = {};
    for (;;) {
      this.#skip(/[\s,;]/);
      if (this.#at >= this.#text.length) {
        if (end !== undefined) this.#fail(`the end, and no ${end}`);
        return map;
      }
      if (this.#peek() === end) {
        this.#at++;
        return map;
      }
      const key = this.#key();
      this.#skip(/\s/);
      if (':='.includes(this.#peek())) this.#at++;
      map[key] = this.#value();
    }
  }

  #key(): string {
    if (`"'`.includes(this.#peek())) return this.#quoted();
    const key = this.#take(/[^\s:={}[\],;"]+/y);
    if (key === '') this.#fail(`${this.#peek()} where a key is expected`);
    return key;
  }

  #value(): ConfValue {
    this.#skip(/\s/);
    if (++this.#depth > DEPTH_MAX) this.#fail('too many maps in one another');
    try {
      switch (this.#peek()) {
        case '{':
          this.#at++;
          return this.#entries('}');
        case '[':
          this.#at++;
          return this.#array();
        case '"':
        case "'":
          return this.#quoted();
        default:
          return this.#bare();
      }
    } finally {
      this.#depth--;
    }
  }

  #array(): ConfValue[] {
    const values: ConfValue[] = [];
    for (;;) {
      this.#skip(/[\s,]/);
      if (this.#at >= this.#text.length) this.#fail('the end, and no ]');
      if (this.#peek() === ']') {
        this.#at++;
        return values;
      }
      values.push(this.#value());
    }
  }

  #quoted(): string {
    const quote = this.#peek();
    const text = this.#take(quote === '"' ? /"(?:[^"\\]|\\[^])*"/y : /'[^']*'/y);
    if (text === '') this.#fail(`a ${quote} without its end`);
    const inner = text.slice(1, -1);
    return quote === '"'
      ? inner.replaceAll(/\\([^])/g, (_, code: string) => unescape(code))
      : inner;
  }

  #bare(): ConfValue {
    const word = this.#take(/[^\s,;\]}]+/y);
    if (word === '') this.#fail(`${this.#peek() || 'the end'} where a value is expected`);
    if (word.startsWith('$')) this.#fail(`the variable ${word}`);
    const [, digits, unit = ''] = /^([-+]?\d+(?:\.\d+)?)([a-z]*)$/i.exec(word) ?? [];
    if (digits === undefined) return BOOLEANS.get(word.toLowerCase()) ?? word;
    const factor = unit === '' ? 1 : UNITS.get(unit.toLowerCase());
    return factor === undefined ? word : Number(digits) * factor; // `2s` is a word.
  }

  #peek(): string {
    return this.#text[this.#at] ?? '';
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found = ''] = pattern.exec(this.#text) ?? [];
    this.#at += found.length;
    return found;
  }

  /** Passes over `blank` and comments. */
  #skip(blank: RegExp): void {
    while (this.#at < this.#text.length) {
      if (blank.test(this.#peek())) this.#at++;
      else if (this.#take(/(#|\/\/)[^\n]*/y) === '') return;
    }
  }

  #fail(found: string): never {
    const line = this.#text.slice(0, this.#at).split('\n').length;
    throw new NatsConfError(`line ${line}: found ${found}`);
  }
}

function unescape(code: string): string {
  const known: Record<string, string> = { n: '\n', t: '\t', r: '\r' };
  return known[code] ?? code;
}
