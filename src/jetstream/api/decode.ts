// Turns the JSON of a request into the shape that its endpoint expects, strictly: an unknown field or another type is
// refused with nats-server's words (error 10025). Names are found in any case, null leaves a field as it is, the last of
// two equal keys counts: as Go's encoding/json has it.

import { ApiError } from './api-error.ts';
import { JsonError, parseJson, quoted, type JsonNode } from './json.ts';

/** A body of more bytes is refused before it is looked at; metadata alone may have 128 KiB. */
export const API_REQUEST_BYTES_MAX = 256 * 1024;

/** Where a value belongs, for the words of an error. */
interface Place {
  /** Unknown fields are passed over. */
  readonly isLenient?: boolean;
  /** Such as `Go struct field StreamConfigRequest.max_msgs`. */
  readonly name: string;
  readonly text: string;
}

/** How a value of type T stands in JSON. */
export interface Shape<T> {
  /** Go's name of the type. */
  readonly go: string;
  /** What null stands for in a list. */
  readonly zero: T;
  /** Null is not left to the caller. */
  readonly readsNull?: boolean;
  /** Throws a JsonError. */
  read(node: JsonNode, place: Place): T;
}

type Fields = Readonly<Record<string, Shape<unknown>>>;

/** What a struct of these fields gives: only those that were there. */
export type Decoded<F extends Fields> = {
  -readonly [K in keyof F]?: F[K] extends Shape<infer T> ? T : never;
};

export type ShapeOf<S> = S extends Shape<infer T> ? T : never;

const FIELD = 'Go struct field ';

function mismatch(node: JsonNode, place: Place, go: string, withText = false): JsonError {
  const kind = node.kind === 'number' && withText ? `number ${node.text}` : node.kind;
  const into = place.name === '' ? 'Go value' : place.name;
  return new JsonError(`json: cannot unmarshal ${kind} into ${into} of type ${go}`);
}

/** A text. */
export const string: Shape<string> = {
  go: 'string',
  zero: '',
  read(node, place) {
    if (node.kind !== 'string') throw mismatch(node, place, 'string');
    return node.value;
  },
};

export const bool: Shape<boolean> = {
  go: 'bool',
  zero: false,
  read(node, place) {
    if (node.kind !== 'bool') throw mismatch(node, place, 'bool');
    return node.value;
  },
};

function whole(go: string, min: bigint, max: bigint): Shape<bigint> {
  return {
    go,
    zero: 0n,
    read(node, place) {
      if (node.kind !== 'number') throw mismatch(node, place, go);
      // Longer ones are out of every range, and BigInt takes its time over a million digits.
      const value = /^-?[0-9]{1,20}$/.test(node.text) ? BigInt(node.text) : undefined;
      if (value === undefined || value < min || value > max) throw mismatch(node, place, go, true);
      return value;
    },
  };
}

const INT64_TOP = 2n ** 63n - 1n;

function mapped<A, B>(shape: Shape<A>, zero: B, map: (value: A) => B): Shape<B> {
  return { go: shape.go, zero, read: (node, place) => map(shape.read(node, place)) };
}

/** What is beyond 2^53 - 1 becomes that: a limit of 9 PB, or of as many messages, is never reached. */
function number(value: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > max ? max : value < -max ? -max : value);
}

export const int64: Shape<number> = mapped(whole('int64', -INT64_TOP - 1n, INT64_TOP), 0, number);
export const int: Shape<number> = mapped(whole('int', -INT64_TOP - 1n, INT64_TOP), 0, number);
export const int32: Shape<number> = mapped(whole('int32', -(2n ** 31n), 2n ** 31n - 1n), 0, number);
export const uint64: Shape<number> = mapped(whole('uint64', 0n, 2n ** 64n - 1n), 0, number);

/** Nanoseconds on the wire, milliseconds here: with a fraction where they are not whole. See `wireNanos`. */
export const durationMs: Shape<number> = mapped(
  whole('time.Duration', -INT64_TOP - 1n, INT64_TOP),
  0,
  (nanos) => (nanos % 1_000_000n === 0n ? Number(nanos / 1_000_000n) : Number(nanos) / 1e6),
);

/** Milliseconds as nanoseconds: what `durationMs` has read comes out as it was, up to 26 days to the nanosecond. */
export function wireNanos(ms: number): number {
  return Math.round(ms * 1e6);
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** A point in time (RFC 3339), as wall-clock milliseconds. */
export const timeMs: Shape<number> = {
  go: 'time.Time',
  zero: Number.NaN,
  read(node, place) {
    if (node.kind !== 'string') throw mismatch(node, place, 'time.Time');
    const ms = TIME.test(node.value) ? Date.parse(node.value) : Number.NaN;
    if (Number.isNaN(ms)) {
      const text = quoted(node.value);
      throw new JsonError(
        `parsing time ${text} as "2006-01-02T15:04:05Z07:00": cannot parse ${text} as "2006"`,
      );
    }
    return ms;
  },
};

/** One of some words; `refusal` replaces the words of the error. */
export function choice<const T extends string>(
  words: readonly T[],
  refusal?: string,
): Shape<T | ''> {
  return {
    go: '',
    zero: '',
    readsNull: true,
    read(node, { text }) {
      const word = node.kind === 'string' ? words.find((one) => one === node.value) : undefined;
      if (word === undefined)
        throw new JsonError(
          refusal ?? `can not unmarshal ${quoted(text.slice(node.from, node.to))}`,
        );
      return word;
    },
  };
}

export function list<T>(of: Shape<T>, go = `[]${of.go}`): Shape<readonly T[]> {
  return {
    go,
    zero: [],
    read(node, place) {
      if (node.kind !== 'array') throw mismatch(node, place, go);
      const name = place.name.replace(FIELD, '');
      return node.items.map((item, i) =>
        item.kind === 'null' ? of.zero : of.read(item, { ...place, name: `${name}.${i}` }),
      );
    },
  };
}

/** Any keys with texts. */
export const stringMap: Shape<Readonly<Record<string, string>>> = {
  go: 'map[string]string',
  zero: {},
  read(node, place) {
    if (node.kind !== 'object') throw mismatch(node, place, this.go);
    return Object.fromEntries(
      node.entries.map(([key, value]) => [
        key,
        value.kind === 'null' ? '' : string.read(value, { ...place, name: `${place.name}.${key}` }),
      ]),
    );
  },
};

/** An object of these fields; `name` is Go's name of the struct. */
export function struct<F extends Fields>(name: string, fields: F): Shape<Decoded<F>> {
  const folded = new Map(Object.keys(fields).map((field) => [field.toLowerCase(), field]));
  const go = `server.${name}`;
  return {
    go,
    zero: {},
    read(node, place) {
      if (node.kind !== 'object') throw mismatch(node, place, go);
      const path = place.name === '' ? name : place.name.replace(FIELD, '');
      const within = `${FIELD}${path}`;
      const found = new Map<string, unknown>();
      for (const [key, value] of node.entries) {
        const field = Object.hasOwn(fields, key) ? key : folded.get(key.toLowerCase());
        const shape = field === undefined ? undefined : fields[field];
        if (field === undefined || shape === undefined) {
          if (place.isLenient === true) continue;
          throw new JsonError(`json: unknown field ${quoted(key)}`);
        }
        if (value.kind === 'null' && shape.readsNull !== true) continue;
        found.set(field, shape.read(value, { ...place, name: `${within}.${field}` }));
      }
      return Object.fromEntries(found) as Decoded<F>;
    },
  };
}

/**
 * The fields of a request; empty where its body is. Throws the ApiError 10025 for what is no JSON of that shape, 10054
 * for what is too big to look at. Who is `isLenient` does not mind a field that nobody knows.
 */
export function decode<F extends Fields>(
  shape: Shape<Decoded<F>>,
  data: Buffer,
  isLenient = false,
): Decoded<F> {
  checkSize(data);
  const text = data.toString('utf8');
  let all: Decoded<F> = {};
  try {
    for (const node of parseJson(text))
      if (node.kind !== 'null')
        all = { ...all, ...shape.read(node, { name: '', text, isLenient }) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new ApiError(400, 10025, `invalid JSON: ${error.message}`);
  }
  return all;
}

/** Throws an ApiError where `data` is too big to be looked at. */
export function checkSize(data: Buffer): void {
  if (data.length > API_REQUEST_BYTES_MAX)
    throw new ApiError(400, 10054, 'message size exceeds maximum allowed');
}

/** No body, or an object without a field. */
export function isEmptyRequest(data: Buffer): boolean {
  if (data.length === 0) return true;
  if (data.length > API_REQUEST_BYTES_MAX) return false;
  return /^[ \t\r\n]*\{[ \t\r\n]*\}[ \t\r\n]*$/.test(data.toString('latin1'));
}

/** Whether a body that may be anything is meant as JSON: other bytes count as no body at all. */
export function isObjectOrArray(data: Buffer): boolean {
  for (const byte of data) {
    if (byte === 32 || (byte >= 9 && byte <= 13)) continue;
    return byte === 0x7b || byte === 0x5b;
  }
  return false;
}
