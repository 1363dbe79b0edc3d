// When the configuration is read again: one reading at a time, each asked for is followed by one that began later, and
// none is begun before the agent is up or after it was told to stop.

/** Runs `reread` as often as it is asked to, never twice at once. */
export class Reload {
  readonly #reread: () => Promise<void>;
  #phase: 'starting' | 'up' | 'stopping' = 'starting';
  #wanted = false;
  #running: Promise<void> | undefined;

  /** `reread` must not reject. */
  constructor(reread: () => Promise<void>) {
    this.#reread = reread;
  }

  /** Asks for a reading. While one runs, one more follows it, however often it was asked for. False: too late, we stop. */
  request(): boolean {
    if (this.#phase === 'stopping') return false;
    this.#wanted = true;
    this.#go();
    return true;
  }

  /** The agent is up: what was asked for meanwhile is done now. */
  up(): void {
    if (this.#phase === 'starting') this.#phase = 'up';
    this.#go();
  }

  /** Begins no further reading; resolves when none runs. */
  async stop(): Promise<void> {
    this.#phase = 'stopping';
    this.#wanted = false;
    await this.#running;
  }

  #go(): void {
    if (this.#phase !== 'up' || this.#running !== undefined || !this.#wanted) return;
    this.#wanted = false;
    this.#running = this.#reread().finally(() => {
      this.#running = undefined;
      this.#go();
    });
  }
}
