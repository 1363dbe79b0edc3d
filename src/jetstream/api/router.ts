// Finds the endpoint of a request by its subject: a tree of tokens, in which a literal goes before `*`, and that before a
// last `>`.

interface Branch<T> {
  readonly literals: Map<string, Branch<T>>;
  any?: Branch<T>;
  /** What a last `>` leads to. */
  rest?: T;
  here?: T;
}

export interface Route<T> {
  readonly target: T;
  /** What stands for the wildcards, in order. */
  readonly tokens: readonly string[];
}

export class Router<T> {
  readonly #root: Branch<T> = { literals: new Map() };

  /** `subject` may have wildcards; no two may be the same. */
  add(subject: string, target: T): void {
    let branch = this.#root;
    for (const token of subject.split('.')) {
      if (token === '>') {
        branch.rest = target;
        return;
      }
      branch = token === '*' ? (branch.any ??= { literals: new Map() }) : literal(branch, token);
    }
    branch.here = target;
  }

  find(subject: string): Route<T> | undefined {
    const tokens = subject.split('.');
    const wild: string[] = [];
    const target = search(this.#root, tokens, 0, wild);
    return target === undefined ? undefined : { target, tokens: wild };
  }
}

function literal<T>(branch: Branch<T>, token: string): Branch<T> {
  let next = branch.literals.get(token);
  if (next === undefined) branch.literals.set(token, (next = { literals: new Map() }));
  return next;
}

function search<T>(
  branch: Branch<T>,
  tokens: readonly string[],
  at: number,
  wild: string[],
): T | undefined {
  const token = tokens[at];
  if (token === undefined) return branch.here;
  const next = branch.literals.get(token);
  const found = next === undefined ? undefined : search(next, tokens, at + 1, wild);
  if (found !== undefined) return found;
  if (branch.any !== undefined) {
    wild.push(token);
    const through = search(branch.any, tokens, at + 1, wild);
    if (through !== undefined) return through;
    wild.pop();
  }
  if (branch.rest !== undefined) wild.push(tokens.slice(at).join('.'));
  return branch.rest;
}
