// The kinds of value that a key can have: how each is read, checked and named in "expected …".

import type { Node } from './document.ts';
import type { Problems } from './problems.ts';
import { didYouMean } from './suggest.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

/** Elements of one list (subjects, servers). A longer one is a mistake, and each costs memory. */
const LIST_ITEMS_MAX = 256;

export interface Context {
  readonly problems: Problems;
  /** Relative paths of the file start here: its own directory. */
  readonly baseDir: string;
}

export interface Kind<T> {
  /** How the text of an environment variable is to be taken. */
  readonly shape: 'text' | 'integer' | 'boolean' | 'list';
  /** Finishes the sentence "expected …". */
  readonly expected: string;
  /** Returns the value, or undefined after it has reported what is wrong with it. */
  readonly read: (node: Node, path: string, context: Context) => T | undefined;
}

/** A value of the right type that is refused all the same; `hint` says why, or what to write instead. */
export class Refusal {
  readonly hint: string;

  constructor(hint: string) {
    this.hint = hint;
  }
}

/** Reports that `node` is not what was `expected`. */
export function refuse(
  node: Node,
  path: string,
  context: Context,
  expected: string,
  hint = '',
): undefined {
  const more = hint === '' || hint.startsWith(';') ? hint : `; ${hint}`;
  context.problems.add(path, `found ${node.written}, expected ${expected}${more}`, node.place);
}

/** A kind written as a string. `parse` returns undefined for what is not one, or a Refusal. */
export function text<T>(
  expected: string,
  parse: (text: string, context: Context) => T | Refusal | undefined,
  numberHint?: (number: number) => string,
): Kind<T> {
  return {
    shape: 'text',
    expected,
    read(node, path, context) {
      const { content } = node;
      if (content.kind !== 'text') {
        const hint =
          content.kind === 'integer' && numberHint !== undefined ? numberHint(content.number) : '';
        return refuse(node, path, context, expected, hint);
      }
      const value = parse(content.text, context);
      if (value instanceof Refusal) return refuse(node, path, context, expected, value.hint);
      if (value === undefined) refuse(node, path, context, expected);
      return value;
    },
  };
}

/** A whole number between `min` and `max`, without a unit: its key names the unit, or it counts. */
export function integer(min: number, max: number): Kind<number> {
  const expected = `a whole number from ${min} to ${max}`;
  return {
    shape: 'integer',
    expected,
    read(node, path, context) {
      const { content } = node;
      if (content.kind === 'integer' && content.number >= min && content.number <= max)
        return content.number;
      const asText = content.kind === 'text' ? content.text : '';
      const meant = parseDuration(asText) ?? parseSize(asText) ?? (/^\d+$/.test(asText) && asText);
      refuse(
        node,
        path,
        context,
        expected,
        meant === false ? '' : `write ${meant}, without quotes`,
      );
      return undefined;
    },
  };
}

export const boolean: Kind<boolean> = {
  shape: 'boolean',
  expected: 'true or false',
  read(node, path, context) {
    if (node.content.kind === 'boolean') return node.content.on;
    const quoted = node.content.kind === 'text' && /^(true|false)$/.test(node.content.text);
    refuse(node, path, context, 'true or false', quoted ? 'without quotes' : '');
    return undefined;
  },
};

/** One of `words`. `later` are words that will come: refused, but not as unknown. */
export function oneOf<const W extends string>(
  words: readonly W[],
  later: readonly string[] = [],
): Kind<W> {
  const expected = words.map((word) => JSON.stringify(word)).join(' or ');
  return text(expected, (found) => {
    const word = words.find((candidate) => candidate === found);
    if (word !== undefined) return word;
    return new Refusal(
      later.includes(found)
        ? `"${found}" is not available in this version of Mangrove`
        : didYouMean(found, words),
    );
  });
}

/** One of `numbers`. */
export function oneOfNumbers<const N extends number>(numbers: readonly N[]): Kind<N> {
  const expected = numbers.join(' or ');
  return {
    shape: 'integer',
    expected,
    read({ content, ...node }, path, context) {
      const number = numbers.find((n) => content.kind === 'integer' && content.number === n);
      if (number === undefined) refuse({ content, ...node }, path, context, expected);
      return number;
    },
  };
}

/** A duration from `min` to `max`, both written as one; read into milliseconds. */
export function duration(min: string, max: string): Kind<number> {
  const minMs = parseDuration(min) ?? 0;
  const maxMs = parseDuration(max) ?? Infinity;
  return text(
    `a duration from "${min}" to "${max}", such as "500ms", "2m" or "1h30m"`,
    (found) => {
      const ms = parseDuration(found);
      return ms !== undefined && (ms < minMs || ms > maxMs) ? undefined : ms;
    },
    (number) => `a number alone has no unit: write "${formatDuration(number * 1000)}" for seconds`,
  );
}

/** A size from `min` to `max`, both written as one; read into bytes. */
export function size(min: string, max: string): Kind<number> {
  const minBytes = parseSize(min) ?? 0;
  const maxBytes = parseSize(max) ?? Infinity;
  return text(
    `a size from "${min}" to "${max}", such as "512MiB" (binary) or "64KB" (decimal)`,
    (found) => {
      const bytes = parseSize(found);
      if (bytes === undefined && /^\d+[KMGT]$/i.test(found))
        return new Refusal(
          `write "${found.toUpperCase()}iB" (1,024s) or "${found.toUpperCase()}B"`,
        );
      return bytes !== undefined && (bytes < minBytes || bytes > maxBytes) ? undefined : bytes;
    },
    (number) => `a number alone has no unit: write "${formatSize(number)}"`,
  );
}

/** Several values of `kind`: at least `least`. */
export function listOf<T>(kind: Kind<T>, several: string, least = 1): Kind<readonly T[]> {
  const expected = `a list of ${several}`;
  return {
    shape: 'list',
    expected,
    read(node, path, context) {
      if (node.content.kind !== 'list') {
        const hint = node.content.kind === 'text' ? `write [${node.written}]` : '';
        return refuse(node, path, context, expected, hint);
      }
      const { items } = node.content;
      if (items.length < least || items.length > LIST_ITEMS_MAX)
        return refuse(node, path, context, `${expected}, ${least} to ${LIST_ITEMS_MAX} of them`);
      const values: T[] = [];
      for (const [i, item] of items.entries()) {
        const itemPath = `${path}[${i + 1}]`;
        context.problems.locate(itemPath, item.place);
        const value = kind.read(item, itemPath, context);
        if (value !== undefined) values.push(value);
      }
      return values.length === items.length ? values : undefined;
    },
  };
}

/** The same; a single one may stand without brackets. */
export function oneOrMore<T>(kind: Kind<T>, several: string): Kind<readonly T[]> {
  const list = listOf(kind, several);
  const expected = `${kind.expected}, or ${list.expected}`;
  return {
    shape: 'list',
    expected,
    read(node, path, context) {
      if (node.content.kind === 'list') return list.read(node, path, context);
      if (node.content.kind !== 'text') return refuse(node, path, context, expected);
      const value = kind.read(node, path, context);
      return value === undefined ? undefined : [value];
    },
  };
}
