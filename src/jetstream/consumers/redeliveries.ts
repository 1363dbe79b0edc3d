// The sequences that are to be delivered once more, first come first served. One that is taken out is forgotten at its
// turn, so that to take one out costs nothing.

/** The front of the queue is cut off when this many have been taken from it. */
const TAKEN_MAX = 1024;

export class Redeliveries {
  readonly #waiting = new Set<number>();
  #queue: number[] = [];
  #taken = 0;

  get size(): number {
    return this.#waiting.size;
  }

  has(seq: number): boolean {
    return this.#waiting.has(seq);
  }

  /** Puts `seq` at the end, unless it waits already. */
  add(seq: number): void {
    if (this.#waiting.has(seq)) return;
    this.#waiting.add(seq);
    this.#queue.push(seq);
  }

  /** Puts back what `next` gave: it is the next again. */
  putBack(seq: number): void {
    this.#waiting.add(seq);
    if (this.#taken > 0) this.#queue[--this.#taken] = seq;
    else this.#queue.unshift(seq);
  }

  delete(seq: number): void {
    if (this.#waiting.delete(seq) && this.#waiting.size === 0) this.clear();
  }

  clear(): void {
    this.#waiting.clear();
    this.#queue = [];
    this.#taken = 0;
  }

  /** Takes the next out; undefined for none. */
  next(): number | undefined {
    while (this.#waiting.size > 0) {
      const seq = this.#queue[this.#taken++];
      if (this.#taken >= TAKEN_MAX) {
        this.#queue.splice(0, this.#taken);
        this.#taken = 0;
      }
      if (seq === undefined) break;
      if (this.#waiting.delete(seq)) {
        if (this.#waiting.size === 0) this.clear();
        return seq;
      }
    }
    return undefined;
  }
}
