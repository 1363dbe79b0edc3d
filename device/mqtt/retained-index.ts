// The index of the retained messages: a tree by the tokens of their subjects. It may change while somebody walks it: what
// was there all the time is visited once, what came or went meanwhile once or not at all.

import { isReserved, levelUp } from './topic.ts';
import type { RetainedMessage } from './retained-row.ts';

export interface Entry {
  /** Row and subject, while there is a message. */
  bytes: number;
  /** Store time; Infinity for never. */
  expiresMs: number;
  /** Writes of it that the disk has not answered yet. */
  pending: number;
  /** There is a message: the newest write was no removal. */
  present: boolean;
  /** The disk refused a write: the table knows what holds. */
  doubtful: boolean;
  /** A message of our own that is not on the disk. */
  volatile: RetainedMessage | undefined;
}

interface Level {
  readonly next: Map<string, Level>;
  here: Entry | undefined;
}

export class RetainedIndex {
  readonly #root: Level = { next: new Map(), here: undefined };

  find(subject: string): Entry | undefined {
    let at: Level | undefined = this.#root;
    for (const token of subject.split('.')) {
      at = at.next.get(token);
      if (at === undefined) return undefined;
    }
    return at.here;
  }

  /** The entry of `subject`, made where there is none. */
  make(subject: string): Entry {
    let at = this.#root;
    for (const token of subject.split('.')) {
      let next = at.next.get(token);
      if (next === undefined) at.next.set(token, (next = { next: new Map(), here: undefined }));
      at = next;
    }
    return (at.here ??= {
      bytes: 0,
      expiresMs: Infinity,
      pending: 0,
      present: false,
      doubtful: false,
      volatile: undefined,
    });
  }

  /** Forgets the entry of `subject`, and the levels that only it needed. */
  prune(subject: string): void {
    const path: [Level, string][] = [];
    let at = this.#root;
    for (const token of subject.split('.')) {
      const next = at.next.get(token);
      if (next === undefined) return;
      path.push([at, token]);
      at = next;
    }
    at.here = undefined;
    for (const [parent, token] of path.reverse()) {
      const child = parent.next.get(token);
      if (child === undefined || child.here !== undefined || child.next.size > 0) return;
      parent.next.delete(token);
    }
  }

  /** Subjects with a message under the filter of a subscription: `foo.>` finds `foo` too, as `foo/#` does. */
  *walk(filter: string): Generator<string, void> {
    const above = levelUp(filter);
    if (above !== undefined) yield* walkLevel(this.#root, above.split('.'), 0, '');
    yield* walkLevel(this.#root, filter.split('.'), 0, '');
  }

  *all(): Generator<[subject: string, entry: Entry], void> {
    yield* allBelow(this.#root, '');
  }
}

function* walkLevel(
  at: Level,
  filter: readonly string[],
  depth: number,
  path: string,
): Generator<string, void> {
  const token = filter[depth];
  if (token === undefined) {
    if (isShown(at.here)) yield path;
  } else if (token === '*' || token === '>') {
    for (const [name, next] of at.next) {
      // [MQTT-4.7.2-1]
      if (depth === 0 && isReserved(name)) continue;
      if (token === '*') yield* walkLevel(next, filter, depth + 1, join(path, name));
      else
        for (const [subject, entry] of allBelow(next, join(path, name)))
          if (isShown(entry)) yield subject;
    }
  } else {
    const next = at.next.get(token);
    if (next !== undefined) yield* walkLevel(next, filter, depth + 1, join(path, token));
  }
}

function* allBelow(at: Level, path: string): Generator<[string, Entry], void> {
  if (at.here !== undefined) yield [path, at.here];
  for (const [name, next] of at.next) yield* allBelow(next, join(path, name));
}

function join(path: string, token: string): string {
  return path === '' ? token : `${path}.${token}`;
}

function isShown(entry: Entry | undefined): boolean {
  return entry !== undefined && (entry.present || entry.volatile !== undefined);
}
