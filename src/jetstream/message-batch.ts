// Messages that came, or went, together, as those who watch a stream hear of them: a thousand consumers look at what all
// have in common, and not each at every message.

import type { SubjectFilter } from './subject-filter.ts';

export class MessageBatch {
  readonly #seqs: number[] = [];
  readonly #ids: number[] = [];
  readonly #subjects: string[] = [];
  #counts: Map<string, number> | undefined;
  /** The lowest sequence; Infinity when empty. */
  firstSeq = Infinity;
  /** The highest one; 0 when empty. */
  lastSeq = 0;

  get size(): number {
    return this.#seqs.length;
  }

  add(seq: number, subjectId: number, subject: string): void {
    this.#seqs.push(seq);
    this.#ids.push(subjectId);
    this.#subjects.push(subject);
    this.#counts = undefined;
    this.firstSeq = Math.min(this.firstSeq, seq);
    this.lastSeq = Math.max(this.lastSeq, seq);
  }

  /** One by one, in the order in which they were added. */
  each(fn: (seq: number, subjectId: number, subject: string) => void): void {
    for (const [i, seq] of this.#seqs.entries())
      fn(seq, this.#ids[i] ?? 0, this.#subjects[i] ?? '');
  }

  /** How many are under `filter`. */
  under(filter: SubjectFilter): number {
    if (filter.isAll) return this.size;
    const counts = (this.#counts ??= this.#count());
    if (filter.literal !== undefined) return counts.get(filter.literal) ?? 0;
    let under = 0;
    for (const [subject, count] of counts) if (filter.covers(subject)) under += count;
    return under;
  }

  #count(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const subject of this.#subjects) counts.set(subject, (counts.get(subject) ?? 0) + 1);
    return counts;
  }
}
