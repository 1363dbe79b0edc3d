// Changes that come one after the other, each to what the one before has left.

export class InTurn {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `body` when all before it are over, however they ended. */
  run<T>(body: () => Promise<T>): Promise<T> {
    const change = this.#last.then(body);
    this.#last = change.catch(() => undefined);
    return change;
  }
}
