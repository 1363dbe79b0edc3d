// The one client that a consumer with `pinned_client` delivers to (ADR-42). It holds a pin for as long as it asks for
// messages in time.

import { randomBytes } from 'node:crypto';
import type { Cancel, Clock } from '../../clock.ts';
import type { ConsumerEvents } from './consumer-events.ts';

const TIMEOUT_DEFAULT_MS = 120_000;

export class Pin {
  readonly #clock: Clock;
  readonly #events: ConsumerEvents;
  readonly #lost: () => void;
  #group = '';
  #cancel: Cancel | undefined;
  /** Empty for nobody. */
  id = '';
  /** Wall clock. */
  sinceMs: number | undefined;

  /** `lost` is called when the client has not asked in time. */
  constructor(clock: Clock, events: ConsumerEvents, lost: () => void) {
    this.#clock = clock;
    this.#events = events;
    this.#lost = lost;
  }

  give(group: string, timeoutMs: number | undefined): string {
    this.id = randomBytes(16).toString('base64url');
    this.sinceMs = this.#clock.wallMs();
    this.#group = group;
    this.renew(timeoutMs);
    this.#events.pinned(group, this.id);
    return this.id;
  }

  /** Its client has asked. */
  renew(timeoutMs = TIMEOUT_DEFAULT_MS): void {
    this.#cancel?.();
    this.#cancel = this.#clock.after(timeoutMs, () => {
      if (this.id === '') return;
      this.drop();
      this.#events.unpinned(this.#group, 'timeout');
      this.#lost();
    });
  }

  /** An operator takes it away; false where nobody has it. */
  takeAway(): boolean {
    if (this.id === '') return false;
    this.drop();
    this.#events.unpinned(this.#group, 'admin');
    this.#lost();
    return true;
  }

  drop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.id = '';
    this.sinceMs = undefined;
  }
}
