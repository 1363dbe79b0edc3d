// The duplicate window: message IDs seen lately and the sequences they got. It counts monotonic time and holds a named
// maximum of IDs; beyond it the older half is forgotten early, which is counted.
//
// Two generations, so that nothing is ever removed one by one: new IDs go to the young one; when that holds half the
// maximum it becomes the old one, and the old one goes. An ID is out of the window when its sequence lies at or
// before the last that was given out a window ago, whichever generation still holds it.

import type { Clock } from '../clock.ts';
import { IdTable } from './id-table.ts';

/** How finely the window is kept: one remembered moment each 64th of it. */
const MOMENTS = 64;

export class DuplicateWindow {
  readonly #clock: Clock;
  #windowMs = 0;
  #generationMax = 0;
  #young = new IdTable();
  #old = new IdTable();
  /** Sequences up to `seq` were given out within a step from `atMs`; oldest first. */
  #moments: { atMs: number; seq: number }[] = [];
  /** Sequences up to this one are out of the window. */
  #expiredSeq = 0;
  #lastSeq = 0;
  /** IDs forgotten before their window was over. */
  forgottenEarly = 0;

  constructor(clock: Clock, windowMs: number, idsMax: number) {
    this.#clock = clock;
    this.resize(windowMs, idsMax);
  }

  /** Changes the window from now on. IDs that are out of the old one stay forgotten. */
  resize(windowMs: number, idsMax: number): void {
    this.#expire(this.#clock.monotonicMs());
    this.#windowMs = windowMs;
    this.#generationMax = Math.ceil(idsMax / 2);
  }

  /** IDs held in memory. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The sequence that `id` got within the window, or undefined. */
  find(id: string): number | undefined {
    const seq = this.#young.get(id) ?? this.#old.get(id);
    if (seq === undefined) return undefined;
    this.#expire(this.#clock.monotonicMs());
    return seq > this.#expiredSeq ? seq : undefined;
  }

  /** Remembers `id`, which has come at `nowMs` of the clock; sequences must come in ascending order. */
  add(id: string, seq: number, nowMs = this.#clock.monotonicMs()): void {
    if (this.#generationMax === 0 || this.#windowMs === 0) return;
    const last = this.#moments.at(-1);
    if (last === undefined || nowMs - last.atMs > this.#windowMs / MOMENTS) {
      this.#expire(nowMs);
      this.#moments.push({ atMs: nowMs, seq });
    } else {
      last.seq = seq;
    }
    this.#lastSeq = seq;
    if (this.#young.size >= this.#generationMax) this.#age();
    this.#young.set(id, seq);
  }

  /** Forgets `id`: its message was refused after all. */
  remove(id: string): void {
    this.#young.remove(id);
    this.#old.remove(id);
  }

  /** The numbers behind `lastSeq` are given out again: what was noted of them says nothing about who gets them next. */
  takeBack(lastSeq: number): void {
    this.#lastSeq = Math.min(this.#lastSeq, lastSeq);
    this.#expiredSeq = Math.min(this.#expiredSeq, lastSeq);
    for (const moment of this.#moments) moment.seq = Math.min(moment.seq, lastSeq);
  }

  #age(): void {
    this.forgottenEarly += this.#old.countAfter(this.#expiredSeq);
    this.#old = this.#young;
    this.#young = new IdTable();
  }

  /** What was given out in a step is out of the window when its end is. */
  #expire(nowMs: number): void {
    const outMs = this.#windowMs + this.#windowMs / MOMENTS;
    for (let moment = this.#moments[0]; moment !== undefined; moment = this.#moments[0]) {
      if (nowMs - moment.atMs < outMs) return;
      this.#expiredSeq = Math.max(this.#expiredSeq, moment.seq);
      this.#moments.shift();
      if (this.#lastSeq <= this.#expiredSeq) {
        this.#young = new IdTable();
        this.#old = new IdTable();
      }
    }
  }
}
