// The pull requests that wait, in the order in which they are served: each gets one message and goes behind the others,
// of its own priority where requests have one.

import type { WaitingPull } from './pull-request.ts';

export class PullQueue {
  #pulls: WaitingPull[] = [];
  /** Requests of a lower number come first. */
  readonly #byPriority: boolean;

  constructor(byPriority: boolean) {
    this.#byPriority = byPriority;
  }

  get length(): number {
    return this.#pulls.length;
  }

  get first(): WaitingPull | undefined {
    return this.#pulls[0];
  }

  get all(): readonly WaitingPull[] {
    return this.#pulls;
  }

  add(pull: WaitingPull): void {
    const last = this.#pulls.at(-1);
    if (!this.#byPriority || last === undefined || rank(last) <= rank(pull)) {
      this.#pulls.push(pull);
      return;
    }
    const at = this.#pulls.findIndex((other) => rank(other) > rank(pull));
    this.#pulls.splice(at, 0, pull);
  }

  /** The first goes behind the others. */
  rotate(): void {
    if (this.#pulls.length < 2) return;
    const first = this.#pulls.shift();
    if (first !== undefined) this.add(first);
  }

  /** The first is passed over this time, whatever its priority. */
  pass(): void {
    const first = this.#pulls.shift();
    if (first !== undefined) this.#pulls.push(first);
  }

  remove(pull: WaitingPull): void {
    if (this.#pulls[0] === pull) this.#pulls.shift();
    else this.#pulls = this.#pulls.filter((other) => other !== pull);
  }

  /** Keeps those that `keep` says. */
  filter(keep: (pull: WaitingPull) => boolean): void {
    this.#pulls = this.#pulls.filter((pull) => keep(pull));
  }

  clear(): readonly WaitingPull[] {
    const pulls = this.#pulls;
    this.#pulls = [];
    return pulls;
  }
}

function rank(pull: WaitingPull): number {
  return pull.priority?.priority ?? Infinity;
}
