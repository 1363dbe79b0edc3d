// What the listener needs of the disk: ordered maps, and to be told when what it wrote is safe. `main.ts` hands over the real
// ones; nothing here knows how they are stored.

import type { Clock } from '../../src/clock.ts';
import { PublishError } from '../../src/message.ts';

/** A durable map, ordered by key. Writes join this turn's commit; reads see committed rows only. */
export interface Table {
  get(key: string): Buffer | undefined;
  put(key: string, value: Buffer): void;
  delete(key: string): void;
  /** Rows with from <= key < to (binary order), at most `limit`. */
  range(from: string, to: string, limit: number): { key: string; value: Buffer }[];
}

/**
 * Calls `done` once everything written or published up to now is on the disk (null), or was refused (an Error: the
 * disk is full). At once when nothing is pending; callbacks run in order. Ask right after a write, before anything else
 * reaches the store: it may commit in the middle of a turn, and who asks after a refusal hears nothing of it.
 */
export type WhenDurable = (done: (error: Error | null) => void) => void;

export interface MqttStore {
  /** Client Identifier -> subscriptions. */
  readonly sessions: Table;
  /** Client Identifier and an ordered number -> a message that its session has yet to acknowledge. */
  readonly queue: Table;
  /** Subject -> retained message. */
  readonly retained: Table;
  readonly whenDurable: WhenDurable;
  /** Client Identifier and Packet Identifier -> a QoS 2 PUBLISH that was taken and not yet released. */
  readonly received: Table;
  /** Client Identifier -> the Will of its connection, or one that waits for its time. */
  readonly wills: Table;
  /** Runs `body`, and puts everything that it publishes and writes into one transaction. */
  together<T>(body: () => T): T;
  /** Store time: milliseconds that never step and go on over restarts; the time that the power is off does not count. */
  nowMs(): number;
  /** Whether the disk takes messages just now; absent where that is not known. */
  readonly hasRoom?: () => boolean;
}

/**
 * Whether a message that was refused may be taken when it comes again: the disk is full just now, or behind. What a stream
 * refuses by its own rules (a limit, too large, sealed) it refuses again.
 */
export function isPassing(error: Error, { hasRoom }: Pick<MqttStore, 'hasRoom'>): boolean {
  if (!(error instanceof PublishError) || error.code === 429) return true;
  return hasRoom === undefined ? error.errCode === 10047 : !hasRoom();
}

/** Beyond every key that we write. */
const KEYS_END = '\u{10ffff}\u{10ffff}';

/** Told null when the disk has it, an Error when it was refused. */
export type Settled = (error: Error | null) => void;

/**
 * Asks the disk once a turn on behalf of those who have written nothing, and wait for what others published. A participant
 * is opened at the last moment before the question is put, so whatever was published in the turn is covered by the
 * answer. A refusal may have passed by then: what was refused concerns them no more.
 */
export class DurableGate {
  readonly #clock: Clock;
  readonly #whenDurable: WhenDurable;
  #joined: (() => () => void)[] = [];

  constructor(clock: Clock, whenDurable: WhenDurable) {
    this.#clock = clock;
    this.#whenDurable = whenDurable;
  }

  /** Calls `seal` at the end of this turn, and what it returned when everything published until then is settled. */
  join(seal: () => () => void): void {
    if (this.#joined.length === 0) this.#clock.soon(() => this.#ask());
    this.#joined.push(seal);
  }

  /** Calls `settled` when everything published until the end of this turn is on the disk, or was refused. */
  after(settled: () => void): void {
    this.join(() => settled);
  }

  #ask(): void {
    const joined = this.#joined;
    this.#joined = [];
    const sealed = joined.map((seal) => seal());
    this.#whenDurable(() => {
      for (const settled of sealed) settled();
    });
  }
}

/** All rows from `first` to before `end` in order, read `rowsMax` at a time. */
export function* scan(
  table: Table,
  rowsMax: number,
  first = '',
  end = KEYS_END,
): Generator<{ key: string; value: Buffer }> {
  let from = first;
  for (;;) {
    const rows = table.range(from, end, rowsMax);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < rowsMax) return;
    from = `${last.key}\0`;
  }
}
