// How the tables and keys of a configuration are declared, and how a parsed file is read against a declaration. One
// declaration gives the checks, the defaults, the names of the environment variables, the types and the list that the
// documentation is tested against.

import { tableNode, type Node, type TableNode } from './document.ts';
import { refuse, type Context, type Kind } from './kinds.ts';
import { mosquittoHint } from './mosquitto-names.ts';
import { didYouMean } from './suggest.ts';

export interface Key<T> {
  readonly type: 'key';
  readonly kind: Kind<NonNullable<T>>;
  readonly presence: 'required' | 'optional';
  /** The default as the file would have it; undefined where there is none. */
  readonly preset: string | number | boolean | undefined;
  /** Messages do not repeat a secret. */
  readonly secret: boolean;
  /** Only for the types: what reading gives. */
  readonly value?: T;
}

/** A table. An `always` one is read even where the file has none, for its defaults and required keys. */
export interface Table<E extends Entries, A extends boolean> {
  readonly type: 'table';
  readonly always: A;
  readonly entries: E;
}

/** A list of tables, told apart by their `id` key. */
export interface Tables<E extends Entries> {
  readonly type: 'tables';
  readonly id: string;
  readonly max: number;
  readonly entries: E;
}

export type Entry = Key<unknown> | Table<Entries, boolean> | Tables<Entries>;
export interface Entries {
  readonly [name: string]: Entry;
}

/** What a declaration reads into when nothing is wrong. */
export type Values<E extends Entries> = { readonly [K in keyof E]: Value<E[K]> };
type Value<X> =
  X extends Key<infer T>
    ? T
    : X extends Table<infer E, infer A>
      ? A extends true
        ? Values<E>
        : Values<E> | undefined
      : X extends Tables<infer E>
        ? readonly Values<E>[]
        : undefined;

/** The same while there may be problems: whatever could not be read is undefined. */
export type Draft<E extends Entries> = { readonly [K in keyof E]: DraftValue<E[K]> };
type DraftValue<X> =
  X extends Key<infer T>
    ? T | undefined
    : X extends Table<infer E, boolean>
      ? Draft<E> | undefined
      : X extends Tables<infer E>
        ? readonly Draft<E>[]
        : undefined;

export function required<T>(kind: Kind<NonNullable<T>>): Key<T> {
  return { type: 'key', kind, presence: 'required', preset: undefined, secret: false };
}

export function optional<T>(kind: Kind<NonNullable<T>>): Key<T | undefined> {
  return { type: 'key', kind, presence: 'optional', preset: undefined, secret: false };
}

export function preset<T>(kind: Kind<NonNullable<T>>, value: string | number | boolean): Key<T> {
  return { type: 'key', kind, presence: 'optional', preset: value, secret: false };
}

export function secret<T>(key: Key<T>): Key<T> {
  return { ...key, secret: true };
}

export function table<E extends Entries>(entries: E): Table<E, false> {
  return { type: 'table', always: false, entries };
}

export function alwaysTable<E extends Entries>(entries: E): Table<E, true> {
  return { type: 'table', always: true, entries };
}

export function tables<E extends Entries>(
  id: keyof E & string,
  max: number,
  entries: E,
): Tables<E> {
  return { type: 'tables', id, max, entries };
}

/** Reads `node` against `entries`, reporting everything that is wrong in it. `at` is the table's path; empty for the root. */
export function readTable<E extends Entries>(
  entries: E,
  node: TableNode,
  at: string,
  context: Context,
): Draft<E> {
  if (at !== '') context.problems.locate(at, node.place);
  for (const [key, child] of node.content.entries)
    if (!Object.hasOwn(entries, key)) reportUnknown(entries, key, child, at, context);
  const values: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(entries)) {
    const child = node.content.entries.get(key);
    values[key] = readEntry(entry, child, join(at, key), context);
  }
  return values as Draft<E>;
}

function readEntry(entry: Entry, node: Node | undefined, path: string, context: Context): unknown {
  if (node !== undefined) context.problems.locate(path, node.place);
  switch (entry.type) {
    case 'key':
      return readKey(entry, node, path, context);
    case 'table':
      if (node === undefined && !entry.always) return undefined;
      return readOne(entry, node ?? tableNode({ line: 1 }, ''), path, context);
    case 'tables':
      return node === undefined ? [] : readSeveral(entry, node, path, context);
  }
}

function readKey(
  key: Key<unknown>,
  node: Node | undefined,
  path: string,
  context: Context,
): unknown {
  if (node !== undefined)
    return key.kind.read(key.secret ? { ...node, written: 'a value' } : node, path, context);
  if (key.presence === 'required')
    context.problems.add(path, `missing, expected ${key.kind.expected}`);
  return key.preset === undefined
    ? undefined
    : key.kind.read(presetNode(key.preset), path, context);
}

function presetNode(value: string | number | boolean): Node {
  const node = { place: {}, written: String(value) };
  if (typeof value === 'string') return { ...node, content: { kind: 'text', text: value } };
  if (typeof value === 'number') return { ...node, content: { kind: 'integer', number: value } };
  return { ...node, content: { kind: 'boolean', on: value } };
}

function readOne(
  entry: Table<Entries, boolean>,
  node: Node,
  path: string,
  context: Context,
): unknown {
  if (isTable(node)) return readTable(entry.entries, node, path, context);
  refuse(node, path, context, path.includes('.') ? `a table { … }` : `one table [${path}]`);
  return undefined;
}

function readSeveral(
  entry: Tables<Entries>,
  node: Node,
  path: string,
  context: Context,
): unknown[] {
  if (node.content.kind !== 'list') {
    refuse(node, path, context, `a list of tables, each headed [[${path}]]`);
    return [];
  }
  const { items } = node.content;
  if (items.length > entry.max)
    context.problems.add(path, `found ${items.length} of them, expected at most ${entry.max}`);
  const drafts: unknown[] = [];
  for (const [i, item] of items.slice(0, entry.max).entries()) {
    const itemPath = `${path}[${i + 1}]`;
    if (isTable(item)) drafts.push(readTable(entry.entries, item, itemPath, context));
    else refuse(item, itemPath, context, 'a table { … }');
  }
  return drafts;
}

function reportUnknown(
  entries: Entries,
  key: string,
  node: Node,
  at: string,
  context: Context,
): void {
  const names = Object.keys(entries);
  const isHeader = at === '' && (isTable(node) || node.content.kind === 'list');
  const list = names.map((name) => (at === '' ? `[${name}]` : `\`${name}\``)).join(', ');
  const home = at === '' && !isHeader ? homeOf(entries, key) : undefined;
  const guess =
    home === undefined
      ? (mosquittoHint(at, key) ?? didYouMean(key, names))
      : `; it belongs in [${home}]`;
  const what = isHeader ? 'unknown table' : 'unknown key';
  context.problems.add(join(at, key), `${what}, expected one of ${list}${guess}`, node.place);
}

/** The table in which a key that stands outside of all tables is known. */
function homeOf(entries: Entries, key: string): string | undefined {
  const home = Object.entries(entries).find(
    ([, entry]) => 'entries' in entry && Object.hasOwn(entry.entries, key),
  );
  return home?.[0];
}

export function isTable(node: Node): node is TableNode {
  return node.content.kind === 'table';
}

export function join(at: string, key: string): string {
  return at === '' ? key : `${at}.${key}`;
}
