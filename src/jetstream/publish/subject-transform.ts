// Subject mappings (ADR-30), for what comes into a stream and for what it republishes: the tokens that the wildcards of
// the source stand for, put into a destination, as they are or through one of nats-server's functions. A destination that
// cannot be right is refused with nats-server's words when it is configured.

import { randomBytes } from 'node:crypto';
import { matches, isPublishSubject } from '../../subject.ts';
import type { SubjectMapping } from '../stream-types.ts';

/** A mapping that cannot be; the message is nats-server's. */
export class MappingError extends Error {
  override name = 'MappingError';
}

const INVALID = 'invalid mapping destination';
const UNKNOWN_FUNCTION = `${INVALID}: unknown function`;
const OUT_OF_RANGE = `${INVALID}: wildcard index out of range`;
const TOO_FEW = `${INVALID}: not enough arguments passed to the function`;
const TOO_MANY = `${INVALID}: too many arguments passed to the function`;
const BAD_ARGUMENT = `${INVALID}: function argument is invalid or in the wrong format`;
const BAD_TRANSFORM = `${INVALID}: invalid transform`;
const LARGEST_INT32 = 0x7fffffff;

const CALL = /\{\{\s*([A-Za-z]+)\s*\((.*)\)\s*\}\}/;
/** The first letter of each word may be small. */
const FUNCTIONS =
  /^(?:[pP]artition|[wW]ildcard|[sS]plit[fF]rom(?:[lL]eft|[rR]ight)|[sS]lice[fF]rom(?:[lL]eft|[rR]ight)|[sS]plit|[lL]eft|[rR]ight|[rR]andom)$/;

/** Gives the text that stands for one token of the destination. `tokens` are the source's. */
type Piece = (tokens: readonly string[]) => string;

interface Call {
  readonly token: string;
  readonly name: string;
  readonly args: readonly string[];
}

export class SubjectTransform {
  readonly #src: string;
  readonly #pieces: readonly Piece[];
  /** Where the rest of the source's tokens begins, if the destination ends with it. */
  readonly #restFrom: number | undefined;

  /** Throws a MappingError. An empty `src` is `>`. */
  constructor(src: string, dest: string) {
    const source = info(src === '' ? '>' : src);
    const target = info(dest);
    if (source === undefined || target === undefined) throw new MappingError('invalid subject');
    if (target.stars.length > 0 || source.endsOpen !== target.endsOpen)
      throw new MappingError('invalid subject');
    this.#src = src === '' ? '>' : src;
    const tokens = target.endsOpen ? target.tokens.slice(0, -1) : target.tokens;
    this.#pieces = tokens.map((token) => pieceOf(token, source));
    this.#restFrom = target.endsOpen ? source.tokens.length - 1 : undefined;
  }

  /** The subject that `subject` becomes; undefined where the source does not cover it, or where nothing valid comes out. */
  apply(subject: string): string | undefined {
    if (!matches(this.#src, subject)) return undefined;
    const tokens = subject.split('.');
    const mapped = this.#pieces.map((piece) => piece(tokens));
    if (this.#restFrom !== undefined) mapped.push(...tokens.slice(this.#restFrom));
    const result = mapped.join('.');
    return isPublishSubject(result) ? result : undefined;
  }
}

const compiled = new WeakMap<SubjectMapping, SubjectTransform>();

/** The transform of a mapping that was checked when it was configured; compiled once. */
export function transformOf(mapping: SubjectMapping | undefined): SubjectTransform | undefined {
  if (mapping === undefined) return undefined;
  let transform = compiled.get(mapping);
  if (transform === undefined)
    compiled.set(mapping, (transform = new SubjectTransform(mapping.src, mapping.dest)));
  return transform;
}

/** Throws a MappingError where a stream cannot have `mapping` as its `subject_transform` (10156). */
export function checkMapping({ src, dest }: SubjectMapping): void {
  if (dest === '') return;
  const tokens = dest.split('.');
  for (const [i, token] of tokens.entries()) {
    if (token === '' || (i > 0 && tokens[i - 1] === '>')) throw failure(BAD_TRANSFORM, token);
    if (isCall(token)) {
      const name = CALL.exec(token)?.[1];
      if (name === undefined || !FUNCTIONS.test(name)) throw failure(UNKNOWN_FUNCTION, token);
    } else if (/[\t\n\f\r ]/.test(token)) {
      throw new MappingError(BAD_TRANSFORM);
    }
  }
  void new SubjectTransform(src, dest);
}

interface Info {
  readonly tokens: readonly string[];
  /** Where the tokens `*` stand. */
  readonly stars: readonly number[];
  readonly endsOpen: boolean;
}

/** The parts of a filter, or undefined where it is none. */
function info(filter: string): Info | undefined {
  const tokens = filter.split('.');
  const open = tokens.indexOf('>');
  if (tokens.includes('') || (open >= 0 && open < tokens.length - 1)) return undefined;
  const stars = tokens.flatMap((token, i) => (token === '*' ? [i] : []));
  return { tokens, stars, endsOpen: open >= 0 };
}

function failure(what: string, token: string): MappingError {
  return new MappingError(token === '' ? what : `${what} in ${token}`);
}

function isCall(token: string): boolean {
  return token.length > 4 && token.startsWith('{{') && token.endsWith('}}');
}

function pieceOf(token: string, source: Info): Piece {
  if (token.length > 1 && token.startsWith('$')) {
    const index = integer(token.slice(1));
    // Other things begin with `$` too.
    return index === undefined ? () => token : at(place(index, token, source));
  }
  if (!isCall(token)) return () => token;
  const [, name, list] = CALL.exec(token) ?? [];
  if (name === undefined || list === undefined || !FUNCTIONS.test(name))
    throw failure(UNKNOWN_FUNCTION, token);
  return pieceOfCall({ token, name: name.toLowerCase(), args: list.split(/,\s*/) }, source);
}

function pieceOfCall(call: Call, source: Info): Piece {
  const { token, name, args } = call;
  if (name === 'wildcard') {
    if (args[0] === '' && args.length === 1) throw failure(TOO_FEW, token);
    if (args.length > 1) throw failure(TOO_MANY, token);
    return at(place(argument(args[0], token), token, source));
  }
  if (name === 'partition') return partition(call, source);
  if (name === 'random') {
    if (args.length !== 1) throw failure(TOO_FEW, token);
    const ceiling = count(args[0], token);
    return () => String(ceiling === 0 ? 0 : (randomBytes(4).readUInt32LE() >>> 1) % ceiling);
  }
  if (args.length < 2) throw failure(TOO_FEW, token);
  if (args.length > 2) throw failure(TOO_MANY, token);
  const index = argument(args[0], token);
  if (name === 'split') {
    const separator = args[1] ?? '';
    if (separator.includes(' ')) throw failure(BAD_ARGUMENT, token);
    const from = at(place(index, token, source));
    return (tokens) => split(from(tokens), separator);
  }
  const size = count(args[1], token);
  const cut = CUTS[name];
  if (cut === undefined) throw failure(UNKNOWN_FUNCTION, token);
  const from = at(place(index, token, source));
  return (tokens) => {
    const text = from(tokens);
    return size > 0 && size < text.length ? cut(text, size) : text;
  };
}

/** What is done with a token that is longer than `size`. */
const CUTS: Readonly<Record<string, (text: string, size: number) => string>> = {
  left: (text, size) => text.slice(0, size),
  right: (text, size) => text.slice(-size),
  splitfromleft: (text, size) => `${text.slice(0, size)}.${text.slice(size)}`,
  splitfromright: (text, size) => `${text.slice(0, -size)}.${text.slice(-size)}`,
  slicefromleft: (text, size) => slices(text, size, 0),
  slicefromright: (text, size) => slices(text, size, text.length % size),
};

/** `text` in pieces of `size` behind a first one of `first`. */
function slices(text: string, size: number, first: number): string {
  const parts = first > 0 ? [text.slice(0, first)] : [];
  for (let from = first; from < text.length; from += size)
    parts.push(text.slice(from, from + size));
  return parts.join('.');
}

/** Empty parts go, but for a separator that comes first or last: there is nothing to set apart. */
function split(text: string, separator: string): string {
  return text
    .split(separator)
    .filter((part) => part !== '')
    .join('.');
}

/** A number from 0 that is the same for the same tokens: FNV-1a of 32 bits, as nats-server takes it. */
function partition({ token, args }: Call, source: Info): Piece {
  const buckets = count(args[0], token);
  const indexes = args.slice(1).map((arg) => argument(arg, token));
  const hasWildcards = source.stars.length > 0 || source.endsOpen;
  const places = hasWildcards ? indexes.map((index) => place(index, token, source)) : [];
  return (tokens) => {
    if (buckets === 0) return '0';
    const key =
      places.length === 0 ? tokens.join('.') : places.map((i) => tokens[i] ?? '').join('');
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(key, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
    return String((hash >>> 0) % (buckets >>> 0));
  };
}

function at(index: number): Piece {
  return (tokens) => tokens[index] ?? '';
}

/** Where the source has its wildcard number `index`, counted from 1. */
function place(index: number, token: string, { stars, endsOpen }: Info): number {
  if (stars.length === 0 && !endsOpen) throw failure(OUT_OF_RANGE, token);
  if (index > stars.length) throw failure(OUT_OF_RANGE, `${token}: [${index}]`);
  return stars[index - 1] ?? 0;
}

function argument(text: string | undefined, token: string): number {
  const value = integer((text ?? '').replace(/^ +| +$/g, ''));
  if (value === undefined) throw failure(BAD_ARGUMENT, token);
  return value;
}

function count(text: string | undefined, token: string): number {
  const value = argument(text, token);
  if (value > LARGEST_INT32) throw failure(BAD_ARGUMENT, token);
  return value;
}

function integer(text: string): number | undefined {
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
}
