// The way back from a full disk. Additions are refused from the moment a transaction found no room; removals go on, alone,
// because in one transaction with additions nothing would ever be freed. The room set aside is given back to them, each
// look checkpoints, so that what they have freed can be used, and intake resumes by itself.

import type { Clock } from '../clock.ts';
import type { PublishError } from '../message.ts';
import type { Room } from './room.ts';

/** How often it is looked whether there is room again. */
const LOOK_MS = 500;

/** What the way back asks of the store. */
export interface FullStore {
  /** It takes no part any more: it has failed, or is stopping. */
  readonly over: boolean;
  /** Moves the log into the database, then calls `then`. */
  checkpoint(then: () => void): void;
  /** Refuses what was added meanwhile, never forgets it, and commits its removals. */
  refuseQueued(): void;
  /** There is room: what is queued may be committed. */
  resume(): void;
}

export class FullDisk {
  readonly #room: Room;
  readonly #clock: Clock;
  readonly #store: FullStore;
  readonly #onFull: (error: PublishError | null) => void;

  /** `onFull` hears that the disk became full or still is (with the reason), and that it has room again (null). */
  constructor(
    room: Room,
    clock: Clock,
    store: FullStore,
    onFull: (error: PublishError | null) => void,
  ) {
    this.#room = room;
    this.#clock = clock;
    this.#store = store;
    this.#onFull = onFull;
  }

  /** A transaction found no room: additions are refused with this error. Call `began` once that is done. */
  found(): { error: PublishError; began: () => void } {
    const before = this.#room.full !== null;
    const error = this.#room.becameFull();
    const began = (): void => {
      if (before) return;
      this.#onFull(error);
      this.#clock.after(0, () => this.#look());
    };
    return { error, began };
  }

  /** Frees what can be freed, and looks whether there is room again. */
  #look(): void {
    if (this.#store.over || this.#room.full === null) return;
    this.#room.giveBack();
    this.#store.checkpoint(() => {
      this.#store.refuseQueued();
      if (this.#store.over) return;
      if (this.#room.tryResume()) {
        this.#onFull(null);
        this.#store.resume();
      } else {
        this.#onFull(this.#room.full);
        this.#clock.after(LOOK_MS, () => this.#look());
      }
    });
  }
}
