// What is wrong with a configuration, and where. All of it is collected first, so that an operator on a slow link
// corrects a file once and not once per mistake.

/** Problems shown by a report; beyond it the rest is only counted. A file with more is not the file that was meant. */
const PROBLEMS_SHOWN_MAX = 50;

/** Where a value was written: a line and column (from 1) of the file, or an environment variable. */
export interface Place {
  readonly line?: number;
  readonly column?: number;
  readonly variable?: string;
}

export interface Problem {
  readonly file: string;
  /** From 1; undefined when the value came from the environment, or the file could not be read at all. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** The environment variable that the value came from. */
  readonly variable: string | undefined;
  /** The key's path, tables of a list counted from 1: `stream[2].max_age`. Empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
}

/** The configuration cannot be used. The caller prints `report()` and exits with EXIT_CONFIG. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], cause?: unknown) {
    super(problems.map(problemLine).join('\n'), { cause });
    this.problems = problems;
  }

  /** One line per problem, `file:line: key: what was found and what was expected`, then their number. */
  report(): string {
    const lines = this.problems.slice(0, PROBLEMS_SHOWN_MAX).map(problemLine);
    const more = this.problems.length - lines.length;
    if (more > 0) lines.push(`… and ${more} more`);
    const count = this.problems.length;
    lines.push(`${count} ${count === 1 ? 'problem' : 'problems'}; nothing was started`);
    return lines.join('\n');
  }
}

function problemLine(problem: Problem): string {
  const line = problem.line === undefined ? '' : `:${problem.line}`;
  const column = problem.column === undefined ? '' : `:${problem.column}`;
  const place = problem.variable ?? `${problem.file}${line}${column}`;
  return problem.key === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.key}: ${problem.message}`;
}

/** Collects problems by key path and knows where each path was written. */
export class Problems {
  readonly file: string;
  readonly #places = new Map<string, Place>();
  readonly #list: Problem[] = [];

  constructor(file: string) {
    this.file = file;
  }

  get list(): readonly Problem[] {
    return this.#list;
  }

  /** Remembers where `path` was written. */
  locate(path: string, place: Place): void {
    this.#places.set(path, place);
  }

  /** Whether `path` was written, in the file or the environment; a default was not. */
  isWritten(path: string): boolean {
    return this.#places.has(path);
  }

  /** Where `path`, or the nearest table around it, was written. */
  placeOf(path: string): Place {
    for (let at = path; at !== ''; at = parentOf(at)) {
      const place = this.#places.get(at);
      if (place !== undefined) return place;
    }
    return { line: 1 };
  }

  /** `line 12`, or the variable's name: for a message that points at a second place. */
  where(path: string): string {
    const place = this.placeOf(path);
    return place.variable ?? `line ${place.line ?? 1}`;
  }

  add(path: string, message: string, place: Place = this.placeOf(path)): void {
    this.#list.push({
      file: this.file,
      line: place.line,
      column: undefined,
      variable: place.variable,
      key: path,
      message,
    });
  }

  /** Throws a ConfigError with all problems, in the order of the file, when there is any. */
  throwIfAny(): void {
    if (this.#list.length === 0) return;
    throw new ConfigError(
      this.#list.toSorted((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity) || 0),
    );
  }
}

/** `a.b[2]` is in `a.b`, which is in `a`. */
function parentOf(path: string): string {
  const cut = Math.max(path.lastIndexOf('.'), path.lastIndexOf('['));
  return cut < 0 ? '' : path.slice(0, cut);
}
