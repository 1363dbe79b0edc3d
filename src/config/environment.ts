// Puts values from the environment into the parsed file: MANGROVE_HUB_SERVERS is `servers` of [hub], and
// MANGROVE_STREAM_PLANT_MAX_AGE is `max_age` of the [[stream]] that is named `plant`. A variable may bring in a table that
// the file does not have, but not one of a list. A variable that means nothing is an error, as a misspelt key is.

import { shown, tableNode, type Content, type Node, type TableNode } from './document.ts';
import type { Context, Kind } from './kinds.ts';
import { isTable, join, type Entries, type Entry } from './schema.ts';
import { nearest } from './suggest.ts';

const PREFIX = 'MANGROVE_';

/** For the tests and the demo: the nats-server that they run, and where they fetch it. */
const IGNORED = new Set([
  'MANGROVE_NATS_SERVER',
  'MANGROVE_NATS_SERVER_2_9',
  'MANGROVE_NATS_SERVER_2_10',
  'MANGROVE_CACHE',
  'MANGROVE_DEBIAN_MIRROR',
]);

/** Set by Kubernetes and Docker links for a service that is called mangrove-something; not meant for us. */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)$/;

/** Where the value of one variable belongs. */
interface Target {
  readonly path: string;
  /** Stores the variable's text in the tree. */
  readonly set: (variable: string, text: string) => void;
}

type Targets = Map<string, Target[]>;

/** Changes `root` by the variables of `env`; reports those that fit nothing. An empty variable counts as not set. */
export function applyEnvironment(
  entries: Entries,
  root: TableNode,
  env: Readonly<Record<string, string | undefined>>,
  context: Context,
): void {
  const targets: Targets = new Map();
  collect(entries, '', PREFIX, () => root, targets);
  for (const variable of Object.keys(env).toSorted()) {
    const text = env[variable] ?? '';
    if (!variable.startsWith(PREFIX) || text === '') continue;
    const [target, ...others] = targets.get(variable) ?? [];
    if (target === undefined) reportUnknown(variable, targets, context);
    else if (others.length > 0) reportAmbiguous(variable, [target, ...others], context);
    else target.set(variable, text);
  }
}

/** Lists the variables of all keys in `entries`. `home` finds the table that holds them, and makes it when it is missing. */
function collect(
  entries: Entries,
  at: string,
  prefix: string,
  home: (variable: string | undefined) => TableNode | undefined,
  targets: Targets,
): void {
  for (const [key, entry] of Object.entries(entries)) {
    const variable = prefix + upper(key);
    const path = join(at, key);
    if (entry.type === 'key') {
      const set = (name: string, text: string): void => {
        const node = nodeFromText(entry.kind, entry.secret, text, name);
        home(name)?.content.entries.set(key, node);
      };
      add(targets, variable, { path, set });
    } else if (entry.type === 'table') {
      collect(
        entry.entries,
        path,
        `${variable}_`,
        (name) => childTable(home(name), key, name),
        targets,
      );
    } else if (entry.type === 'tables') {
      collectList(entry, home(undefined)?.content.entries.get(key), path, variable, targets);
    }
  }
}

function collectList(
  entry: Extract<Entry, { type: 'tables' }>,
  list: Node | undefined,
  at: string,
  prefix: string,
  targets: Targets,
): void {
  if (list?.content.kind !== 'list') return;
  for (const [i, item] of list.content.items.entries()) {
    const id = isTable(item) ? item.content.entries.get(entry.id)?.content : undefined;
    if (!isTable(item) || id?.kind !== 'text') continue;
    const { [entry.id]: _, ...entries } = entry.entries; // Its own name cannot be changed by a variable that is named after it.
    collect(entries, `${at}[${i + 1}]`, `${prefix}_${upper(id.text)}_`, () => item, targets);
  }
}

/** The table under `key`. It is made for a variable, but not while the variables are only being listed. */
function childTable(
  parent: TableNode | undefined,
  key: string,
  variable: string | undefined,
): TableNode | undefined {
  const found = parent?.content.entries.get(key);
  if (found !== undefined) return isTable(found) ? found : undefined;
  if (variable === undefined) return undefined;
  const made = tableNode({ variable }, '');
  parent?.content.entries.set(key, made);
  return made;
}

function add(targets: Targets, variable: string, target: Target): void {
  const known = targets.get(variable);
  if (known === undefined) targets.set(variable, [target]);
  else known.push(target);
}

/** `boiler-1` is `BOILER_1`. */
function upper(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
}

function nodeFromText(kind: Kind<unknown>, secret: boolean, text: string, variable: string): Node {
  const place = { variable };
  return { place, written: secret ? 'a value' : shown(JSON.stringify(text)), content: content() };

  function content(): Content {
    if (kind.shape === 'integer' && /^[+-]?\d+$/.test(text))
      return { kind: 'integer', number: Number(text) };
    if (kind.shape === 'boolean' && /^(true|false)$/.test(text))
      return { kind: 'boolean', on: text === 'true' };
    if (kind.shape === 'list') return { kind: 'list', items: text.split(',').map(item) };
    return { kind: 'text', text };
  }

  function item(part: string): Node {
    const trimmed = part.trim();
    return {
      place,
      written: shown(JSON.stringify(trimmed)),
      content: { kind: 'text', text: trimmed },
    };
  }
}

function reportUnknown(variable: string, targets: Targets, context: Context): void {
  if (IGNORED.has(variable) || SERVICE_LINK.test(variable)) return;
  const message =
    `stands for no key, expected MANGROVE_<TABLE>_<KEY>, or MANGROVE_STREAM_<NAME>_<KEY> for a ` +
    `[[stream]] of the file${guess(variable, targets)}`;
  context.problems.add('', message, { variable });
}

function guess(variable: string, targets: Targets): string {
  const names = [...targets.keys()].map((name) => name.slice(PREFIX.length));
  const found = nearest(variable.slice(PREFIX.length), names);
  return found === undefined ? '' : `; did you mean ${PREFIX}${found}?`;
}

function reportAmbiguous(variable: string, targets: readonly Target[], context: Context): void {
  const paths = targets.map((target) => target.path).join(' and ');
  context.problems.add('', `stands for ${paths}: set them in the file`, { variable });
}
