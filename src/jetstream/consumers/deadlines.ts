// When something is due, for many things under one timer. Times are rounded up to slots: to set, to move and to forget
// one costs the same however many there are.

/** Things that are due within the same 5 ms are due together. */
const SLOT_MS = 5;
/** The heap of slots is made anew when this many of them, and half of all, have become empty. */
const EMPTY_SLOTS_MAX = 1024;

/** What can be due; the fields are the deadlines' own. */
export interface Timed {
  slot: number;
  sooner: Timed | undefined;
  later: Timed | undefined;
}

export class Deadlines<T extends Timed> {
  /** The first of each slot; the others hang on it. */
  readonly #slots = new Map<number, Timed>();
  /** A binary heap of the numbers of slots, empty ones among them. */
  #heap: number[] = [];

  /** `entry` is due `atMs`, and no longer when it was before. */
  set(entry: T, atMs: number): void {
    const slot = Math.ceil(atMs / SLOT_MS);
    if (entry.slot === slot) return;
    this.clear(entry);
    const first = this.#slots.get(slot);
    entry.slot = slot;
    entry.later = first;
    if (first === undefined) this.#push(slot);
    else first.sooner = entry;
    this.#slots.set(slot, entry);
  }

  /** `entry` is not due any more. */
  clear(entry: T): void {
    if (entry.slot < 0) return;
    const { slot, sooner, later } = entry;
    if (later !== undefined) later.sooner = sooner;
    if (sooner !== undefined) sooner.later = later;
    else if (later !== undefined) this.#slots.set(slot, later);
    else this.#slots.delete(slot);
    entry.slot = -1;
    entry.sooner = undefined;
    entry.later = undefined;
  }

  /** When the next is due; undefined for never. */
  get nextMs(): number | undefined {
    for (;;) {
      const slot = this.#heap[0];
      if (slot === undefined) return undefined;
      if (this.#slots.has(slot)) return slot * SLOT_MS;
      this.#pop();
    }
  }

  /** Takes out what is due at `nowMs`, in no particular order. */
  due(nowMs: number): T[] {
    const due: T[] = [];
    for (;;) {
      const slot = this.#heap[0];
      if (slot === undefined || slot * SLOT_MS > nowMs) return due;
      this.#pop();
      for (let entry = this.#slots.get(slot); entry !== undefined;) {
        const { later } = entry;
        entry.slot = -1;
        entry.sooner = undefined;
        entry.later = undefined;
        due.push(entry as T);
        entry = later;
      }
      this.#slots.delete(slot);
    }
  }

  #push(slot: number): void {
    const heap = this.#heap;
    if (heap.length > 2 * this.#slots.size + EMPTY_SLOTS_MAX)
      // In order, which is a heap.
      this.#heap = [...this.#slots.keys()].sort((a, b) => a - b);
    this.#siftUp(this.#heap, slot);
  }

  #siftUp(heap: number[], slot: number): void {
    let at = heap.length;
    heap.push(slot);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] ?? 0;
      if (above <= slot) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = slot;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
      const below = heap[child] ?? 0;
      if (below >= last) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}
