// Our own mistakes crash the process: systemd restarts it and SQLite recovers. Nobody catches an AssertionError.

export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Throws an AssertionError when `condition` does not hold. For bugs of ours only, never for a peer's input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
