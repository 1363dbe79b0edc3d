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

  /** Removes and returns the items for which `out` holds. */
  extract(out: (item: T) => boolean): T[] {
    const items = this.#items.slice(this.#head);
    this.#items = items.filter((item) => !out(item));
    this.#head = 0;
    return items.filter(out);
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
