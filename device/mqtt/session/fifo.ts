// A queue without the cost of moving all of an array at each shift.

export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const first = this.#items[this.#head++];
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return first;
  }

  /** All items, the oldest first. */
  *items(): Generator<T> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as T;
  }

  /** Removes and returns the items for which `out` holds; it is asked once for each, the oldest first. */
  extract(out: (item: T) => boolean): T[] {
    const extracted: T[] = [];
    const kept: T[] = [];
    for (const item of this.items()) (out(item) ? extracted : kept).push(item);
    this.#items = kept;
    this.#head = 0;
    return extracted;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
