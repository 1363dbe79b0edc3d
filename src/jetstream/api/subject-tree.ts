// Whether one of many filters overlaps another: a tree of tokens, so that a hundred thousand of them are not compared one by
// one.

interface Branch {
  readonly next: Map<string, Branch>;
  /** A filter ends here. */
  ends?: string;
}

export class SubjectTree {
  readonly #root: Branch = { next: new Map() };

  static of(filters: readonly string[]): SubjectTree {
    const tree = new SubjectTree();
    for (const filter of filters) tree.add(filter);
    return tree;
  }

  /** Adds a filter. */
  add(filter: string): void {
    let branch = this.#root;
    for (const token of filter.split('.')) {
      let next = branch.next.get(token);
      if (next === undefined) branch.next.set(token, (next = { next: new Map() }));
      branch = next;
    }
    branch.ends = filter;
  }

  /** Whether a filter other than `filter` itself covers it. */
  covers(filter: string): boolean {
    return covered(this.#root, filter.split('.'), 0, filter);
  }

  /** A filter with which `filter` has a subject in common, or undefined. */
  overlapping(filter: string): string | undefined {
    return search(this.#root, filter.split('.'), 0);
  }
}

function search(branch: Branch, tokens: readonly string[], at: number): string | undefined {
  const token = tokens[at];
  if (token === undefined) return branch.ends;
  if (token === '>') return any(branch);
  const rest = branch.next.get('>');
  if (rest !== undefined) return rest.ends;
  const ways =
    token === '*' ? branch.next.values() : [branch.next.get(token), branch.next.get('*')];
  for (const way of ways) {
    const found = way === undefined ? undefined : search(way, tokens, at + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Some filter behind `branch`: all there are have at least one token more. */
function any(branch: Branch): string | undefined {
  for (const next of branch.next.values()) {
    const found = next.ends ?? any(next);
    if (found !== undefined) return found;
  }
  return undefined;
}

function covered(branch: Branch, tokens: readonly string[], at: number, self: string): boolean {
  const token = tokens[at];
  if (token === undefined) return branch.ends !== undefined && branch.ends !== self;
  const rest = branch.next.get('>')?.ends;
  if (rest !== undefined && rest !== self) return true;
  if (token === '>') return false;
  for (const way of token === '*' ? ['*'] : [token, '*']) {
    const next = branch.next.get(way);
    if (next !== undefined && covered(next, tokens, at + 1, self)) return true;
  }
  return false;
}
