// The line on which the scripted hub's fast batches travel: in order, until the link is cut. Then a part of what was on its way
// arrives, and the rest is lost, or comes later and in order, as the bytes of an old connection do.

import type { Cancel, Clock } from '../../src/clock.ts';
import { localError, type HubError } from '../../sync/hub-error.ts';
import type { Answer, FastBatchModel, FastMessage } from './fast-batch-model.ts';
import { randomInt, type Random } from './random.ts';
import type { Post } from './scripted-batch.ts';
import type { Faults } from './scripted-options.ts';

export interface LineParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
  readonly latencyMs: number;
  readonly batches: FastBatchModel;
  /** Nothing passes. */
  readonly isBlack: () => boolean;
  readonly isLeaderless: () => boolean;
}

interface Posted {
  readonly messages: readonly FastMessage[];
  readonly arrive: (messages: readonly FastMessage[]) => void;
  cancel: Cancel;
}

export class ScriptedLine {
  readonly #parts: LineParts;
  readonly #posted = new Set<Posted>();
  readonly #listeners = new Set<(error: HubError) => void>();
  /** Called when messages of an open batch set out. */
  onAppend: () => void = () => undefined;
  readonly counters = { lostBatchMessages: 0, lateBatchMessages: 0 };

  constructor(parts: LineParts) {
    this.#parts = parts;
  }

  /** Calls `fail` when the link is lost. */
  onDrop(fail: (error: HubError) => void): Cancel {
    this.#listeners.add(fail);
    return () => void this.#listeners.delete(fail);
  }

  /** Sends over the link as it is now. */
  post(): Post {
    const { clock, random, faults, latencyMs, isBlack } = this.#parts;
    let live = true;
    this.onDrop(() => (live = false));
    return (messages, answer) => {
      if (!live || isBlack()) return;
      const back: Answer = (what) => {
        if (random() < faults.lostAck / 4) return;
        clock.after(latencyMs, () => {
          if (live && !isBlack()) answer(what);
        });
      };
      const arrive = (some: readonly FastMessage[]): void => {
        this.#posted.delete(posted);
        this.#arrive(some, back);
      };
      const cancel = clock.after(latencyMs, () => arrive(messages));
      const posted: Posted = { messages, arrive, cancel };
      this.#posted.add(posted);
      if (messages[0]?.op === 'append') this.onAppend();
      // On a link that lives, servers of the hub may still lose it between them.
      if (random() >= faults.lostRequest / 4) return;
      this.counters.lostBatchMessages += messages.length;
      cancel();
      this.#posted.delete(posted);
    };
  }

  #arrive(messages: readonly FastMessage[], answer: Answer): void {
    const { clock, random, batches, isLeaderless } = this.#parts;
    if (isLeaderless()) {
      if (random() < 0.5)
        answer({ kind: 'error', error: localError('noResponders', 'nobody takes it') });
      return;
    }
    for (const message of messages) batches.receive(message, clock.monotonicMs(), answer);
  }

  /** A black hole: what is on its way is gone. */
  swallow(): void {
    for (const { cancel } of this.#posted) cancel();
    this.#posted.clear();
  }

  /** The link is lost. */
  drop(): void {
    if (this.#posted.size > 0) this.#strand();
    for (const fail of this.#listeners)
      fail(localError('linkDown', 'the connection to the hub ended'));
    this.#listeners.clear();
  }

  #strand(): void {
    const { clock, random, faults, latencyMs } = this.#parts;
    const { zombieMinMs, zombieMaxMs, zombie } = faults;
    const lateMs = zombieMinMs + randomInt(random, zombieMaxMs - zombieMinMs + 1);
    const late = random() < zombie;
    let arrives = random() < 0.5;
    for (const { messages, arrive, cancel } of this.#posted) {
      cancel();
      const whole = arrives && random() < 0.5;
      const count = arrives && !whole ? randomInt(random, messages.length + 1) : 0;
      const now = whole ? messages : messages.slice(0, count);
      const rest = messages.slice(now.length);
      arrives = whole;
      if (now.length > 0) clock.after(latencyMs, () => arrive(now));
      if (!late || rest.length === 0) continue;
      clock.after(lateMs, () => {
        this.counters.lateBatchMessages += rest.length;
        arrive(rest);
      });
    }
    this.#posted.clear();
  }
}
