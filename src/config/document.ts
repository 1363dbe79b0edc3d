// Turns TOML 1.0 text into a tree in which every value knows its line. Relies on toml-eslint-parser, which finds
// syntax errors and keys that are defined twice; it stops at the first, so these are reported alone.

import { parseTOML, ParseError, type AST } from 'toml-eslint-parser';
import { ConfigError, type Place } from './problems.ts';

/** What a message shows of a value; a longer one is cut. */
const WRITTEN_CHARS_MAX = 60;

export interface Node {
  readonly place: Place;
  /** The value as it was written, for messages; at most WRITTEN_CHARS_MAX long. */
  readonly written: string;
  readonly content: Content;
}

export type Content =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'integer'; readonly number: number }
  | { readonly kind: 'boolean'; readonly on: boolean }
  /** A float or a date: no key takes one. */
  | { readonly kind: 'other' }
  | { readonly kind: 'list'; readonly items: Node[] }
  | TableContent;

export interface TableContent {
  readonly kind: 'table';
  readonly entries: Map<string, Node>;
}

export interface TableNode extends Node {
  readonly content: TableContent;
}

/** A new, empty table. */
export function tableNode(place: Place, written: string): TableNode {
  return { place, written, content: { kind: 'table', entries: new Map() } };
}

/** Parses `text` into its root table. Throws a ConfigError with line and column when it is not TOML. */
export function parseDocument(text: string, file: string): TableNode {
  try {
    return toTree(text, file);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause; // The stack: thousands of brackets inside each other.
    const message = 'not valid TOML: arrays or tables are nested too deeply';
    const place = { line: undefined, column: undefined, variable: undefined };
    throw new ConfigError([{ file, ...place, key: '', message }], cause);
  }
}

function toTree(text: string, file: string): TableNode {
  const program = parse(text, file);
  const root = tableNode({ line: 1 }, '');
  for (const item of program.body[0].body) {
    if (item.type === 'TOMLTable') addTable(root, item, text);
    else addKeyValue(root, item, text);
  }
  return root;
}

function parse(text: string, file: string): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: '1.0' });
  } catch (cause) {
    if (!(cause instanceof ParseError)) throw cause;
    throw new ConfigError([syntaxProblem(cause, text, file)], cause);
  }
}

function syntaxProblem(error: ParseError, text: string, file: string) {
  const place = visiblePlace(error, text);
  const duplicate = error.message.startsWith('Defining a key multiple times');
  const line = text.split('\n')[place.line - 1] ?? '';
  return {
    file,
    line: place.line,
    column: place.column,
    variable: undefined,
    ...(duplicate ? describeDuplicate(error, text) : describeSyntax(error, line)),
  };
}

/** Errors that are found only behind what is missing. */
const BEHIND = /^(Unspecified|Unterminated|Missing|The key, equals sign)/;

/** The parser points behind a missing value, which may be the start of the next line: goes back to what the eye looks at. */
function visiblePlace(error: ParseError, text: string): { line: number; column: number } {
  const place = { line: error.lineNumber, column: error.column + 1 };
  if (error.column > 0 || !BEHIND.test(error.message)) return place;
  const before = text.slice(0, error.index).trimEnd();
  const line = before.split('\n').length;
  return { line, column: before.length - before.lastIndexOf('\n') };
}

function describeSyntax(error: ParseError, line: string): { key: string; message: string } {
  const bare = /^\s*([A-Za-z0-9_.-]+)\s*=\s*([^\s"'[{#][^"'[{#]*)?/.exec(line);
  const [, key = '', value = ''] = bare ?? [];
  const isText = value !== '' && !/^(true|false|[+-]?[\d_]+)\s*$/.test(value);
  const hint = isText ? `; text needs quotes: ${key} = "…"` : '';
  return { key, message: `not valid TOML: ${lowerFirst(error.message)}${hint}` };
}

/** Names the key that is there twice. What stands before it is valid TOML, and says in which table it is. */
function describeDuplicate(error: ParseError, text: string): { key: string; message: string } {
  const lineStart = text.lastIndexOf('\n', error.index - 1) + 1;
  const lineEnd = text.indexOf('\n', error.index);
  const line = text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd);
  const header = /^\s*(\[\[?)\s*([^\]]+?)\s*\]/.exec(line);
  if (header !== null) {
    const [, bracket = '[', key = ''] = header;
    const close = bracket.replaceAll('[', ']');
    const hint = bracket === '[' ? `; a table that may repeat is written [[${key}]]` : '';
    const message = `found ${bracket}${key}${close} a second time, expected it once${hint}`;
    return { key, message };
  }
  const name = /^[A-Za-z0-9_-]+|^"[^"\n]*"|^'[^'\n]*'/.exec(text.slice(error.index))?.[0] ?? '';
  const table = enclosingTable(text.slice(0, lineStart));
  const key = table === '' ? name : `${table}.${name}`;
  return { key, message: 'found a second time, expected each key once in a table' };
}

/** The path of the last table in valid TOML text, or the empty string. */
function enclosingTable(text: string): string {
  try {
    const last = parseTOML(text, { tomlVersion: '1.0' }).body[0].body.findLast(
      (item) => item.type === 'TOMLTable',
    );
    return last?.type === 'TOMLTable' ? pathOf(last.resolvedKey) : '';
  } catch {
    return ''; // The duplicate is inside a value of several lines: its name alone must do.
  }
}

function pathOf(keys: readonly (string | number)[]): string {
  return keys.reduce<string>(
    (path, key) =>
      typeof key === 'number' ? `${path}[${key + 1}]` : path === '' ? key : `${path}.${key}`,
    '',
  );
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function addTable(root: TableNode, table: AST.TOMLTable, text: string): void {
  const place = { line: table.loc.start.line };
  const written = text.slice(...table.key.range);
  const brackets = table.kind === 'array' ? `[[${written}]]` : `[${written}]`;
  let at: Node = root;
  for (const [i, key] of table.resolvedKey.entries()) {
    const next = table.resolvedKey[i + 1];
    at = descend(at, key, typeof next === 'number', { place, written: brackets });
  }
  if (at.content.kind !== 'table') return;
  for (const item of table.body) addKeyValue(at as TableNode, item, text);
}

/** The child of `at` under `key`, made where it is missing: a list of tables when `list`, otherwise a table. */
function descend(
  at: Node,
  key: string | number,
  list: boolean,
  label: { place: Place; written: string },
): Node {
  const made: Node = list
    ? { ...label, content: { kind: 'list', items: [] } }
    : tableNode(label.place, label.written);
  if (at.content.kind === 'list' && typeof key === 'number')
    return (at.content.items[key] ??= made);
  if (at.content.kind !== 'table') return made;
  const found = at.content.entries.get(String(key));
  if (found === undefined) at.content.entries.set(String(key), made);
  return found ?? made;
}

function addKeyValue(table: TableNode, item: AST.TOMLKeyValue, text: string): void {
  const names = item.key.keys.map((key) => (key.type === 'TOMLBare' ? key.name : key.value));
  const place = { line: item.loc.start.line };
  const last = names.pop() ?? '';
  let at: Node = table;
  for (const name of names) at = descend(at, name, false, { place, written: `${name}.…` });
  if (at.content.kind === 'table') at.content.entries.set(last, toNode(item.value, text));
}

function toNode(value: AST.TOMLContentNode, text: string): Node {
  const written = shown(text.slice(...value.range));
  return { place: { line: value.loc.start.line }, written, content: toContent(value, text) };
}

/** What a message may repeat of a value: one line, not too long, without the credentials of a URL. */
export function shown(source: string): string {
  const line = source.replace(/\s+/g, ' ').replace(/\/\/[^"]*@/g, '//…@');
  return line.length > WRITTEN_CHARS_MAX ? `${line.slice(0, WRITTEN_CHARS_MAX - 1)}…` : line;
}

function toContent(value: AST.TOMLContentNode, text: string): Content {
  if (value.type === 'TOMLArray')
    return { kind: 'list', items: value.elements.map((element) => toNode(element, text)) };
  if (value.type === 'TOMLInlineTable') {
    const table = tableNode({ line: value.loc.start.line }, '{…}');
    for (const item of value.body) addKeyValue(table, item, text);
    return table.content;
  }
  if (value.kind === 'string') return { kind: 'text', text: value.value };
  if (value.kind === 'boolean') return { kind: 'boolean', on: value.value };
  return value.kind === 'integer' ? { kind: 'integer', number: value.value } : { kind: 'other' };
}
