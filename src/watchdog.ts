// Decides whether the agent makes progress. systemd's watchdog is fed only while every part that has something to do takes
// a step of it within its time; that somebody looks at all shows that the event loop runs.
//
// Why a part that waits rightly is not taken for stuck: it says itself whether it has something to do that it can do now.
// A disk with nothing to write, or a forwarder without a link, has not. Why a part is not blamed for time that it did not
// have: between two looks at most two intervals count, however long the process was stopped or its loop was blocked.

/** A part that must make progress. */
export interface Watched {
  /** For the log: `disk`, `forwarder SITE`. */
  readonly name: string;
  /** Without a step for this long it is stuck. */
  readonly limitMs: number;
  /** Whether it has something to do that it can do now. */
  busy(): boolean;
  /** Differs after every step. */
  steps(): string | number;
}

export interface Stuck {
  readonly part: string;
  /** How long it has been without a step. */
  readonly forMs: number;
}

interface Standing {
  steps: string | number;
  idleMs: number;
}

export class Watchdog {
  readonly #intervalMs: number;
  /** What was watched at the last look; a part that is gone is forgotten. */
  #standing = new Map<string, Standing>();
  #lookedAtMs: number | undefined;

  /** It shall be asked every `intervalMs`. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** The parts that are stuck at `nowMs`, of the parts there are; empty when all is well. */
  look(nowMs: number, parts: readonly Watched[]): Stuck[] {
    const passedMs = Math.min(nowMs - (this.#lookedAtMs ?? nowMs), 2 * this.#intervalMs);
    this.#lookedAtMs = nowMs;
    const standing = new Map<string, Standing>();
    const stuck: Stuck[] = [];
    for (const part of parts) {
      const steps = part.steps();
      const before = this.#standing.get(part.name);
      const still = before !== undefined && before.steps === steps && part.busy();
      const idleMs = still ? before.idleMs + passedMs : 0;
      standing.set(part.name, { steps, idleMs });
      if (idleMs > part.limitMs) stuck.push({ part: part.name, forMs: idleMs });
    }
    this.#standing = standing;
    return stuck;
  }
}
