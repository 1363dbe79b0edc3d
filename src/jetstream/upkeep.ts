// What is looked at once a second, whatever else happens: the wall clock, ages and limits, the room on the disk, and
// whether the disk still takes a write.

import { every, type Cancel, type Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Participant } from './store.ts';
import type { Stores } from './stores.ts';
import type { Timeline } from './timeline.ts';

const TICK_MS = 1_000;
/**
 * The row of this start is written this often. An idle store finds out by it whether the disk still takes a write: one
 * that has turned read-only keeps its `rw` in /proc/mounts. And a crash forgets no more store time than this, so that
 * what went by its age does not come back for longer. 11 MB a day.
 */
const PROBE_MS = 30_000;

export class Upkeep {
  readonly #stores: Stores;
  readonly #timeline: Timeline;
  readonly #deps: { readonly clock: Clock; readonly log: Logger };
  #cancel: Cancel = () => {};
  #savedMs = 0;

  constructor(
    stores: Stores,
    timeline: Timeline,
    deps: { readonly clock: Clock; readonly log: Logger },
  ) {
    this.#stores = stores;
    this.#timeline = timeline;
    this.#deps = deps;
  }

  /** Begins; `tick` sees to the streams. */
  start(tick: () => void): void {
    const { clock } = this.#deps;
    this.#savedMs = clock.monotonicMs();
    this.#cancel = every(clock, TICK_MS, () => {
      if (this.#stores.file.failed !== undefined) return;
      this.#observe();
      tick();
      this.#stores.refreshRoom();
      this.#probe();
    });
  }

  stop(): void {
    this.#cancel();
  }

  /** Queues the row of this start. */
  save(): void {
    this.#stores.file.queue(this.#row, 0, 0);
  }

  #observe(): void {
    const stepMs = this.#timeline.observe();
    if (stepMs === 0) return;
    this.#deps.log.warn(
      { stepMs: Math.round(stepMs), synced: this.#timeline.synced },
      'the wall clock was set: stored messages of this start get their time by it',
    );
    this.save();
  }

  /** A commit as good as any finds out whether the disk still takes one. A failure ends as any failed commit does. */
  #probe(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#savedMs < PROBE_MS) return;
    this.#savedMs = nowMs;
    this.save();
  }

  /** The boot row travels in the store's transactions like everything else. */
  readonly #row: Participant = {
    write: () => this.#timeline.save(),
    writeRemovals: () => {},
    committed: () => undefined,
    refused: () => undefined,
  };
}
