// What hubs that fill their streams from ours have missed, and why: for counters, the log, and an operator.

import type { Clock } from '../../clock.ts';
import { RepeatGuard, type Logger } from '../../log.ts';

/** Since start. */
export interface SourcingCounters {
  /** Messages that went by a limit before the hub had them; where it asks too late, sequences. */
  missedMsgs: number;
  /** Messages larger than the hub takes, passed over. */
  oversizeMsgs: number;
  /** How often the numbering went on behind what a hub has, for this store had lost its end. */
  jumps: number;
}

export class SourcingLedger {
  readonly counters: SourcingCounters = { missedMsgs: 0, oversizeMsgs: 0, jumps: 0 };
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  #problem: string | undefined;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#guard = new RepeatGuard(clock);
  }

  /** What an operator should know of; undefined for nothing. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The hub asks for `fromSeq`, and what stands begins behind `toSeq`: with a filter, not all of it was meant for it. */
  askedTooLate(stream: string, consumer: string, fromSeq: number, toSeq: number): void {
    this.counters.missedMsgs += toSeq - fromSeq + 1;
    this.#guard.run(`late ${stream}`, (times) =>
      this.#log.warn(
        { stream, consumer, fromSeq, toSeq, times },
        'the hub asks for messages that are gone by the limits of the stream: it goes on behind them',
      ),
    );
  }

  /** Messages behind `afterSeq` went before they were delivered. */
  missed(stream: string, consumer: string, afterSeq: number, count: number): void {
    this.counters.missedMsgs += count;
    this.#guard.run(`missed ${stream}`, (times) =>
      this.#log.warn(
        { stream, consumer, afterSeq, count, times },
        'messages went by the limits of the stream before the hub had them',
      ),
    );
  }

  /** A message that the hub cannot take was passed over. */
  oversize(stream: string, consumer: string, seq: number, bytes: number): void {
    this.counters.oversizeMsgs++;
    this.#guard.run(`oversize ${stream}`, (times) =>
      this.#log.warn(
        { stream, consumer, seq, bytes, times, hint: 'raise max_payload of the hub' },
        'a message is larger than the hub takes: it is passed over',
      ),
    );
  }

  /** The hub has more than there is here. */
  jumped(
    stream: string,
    consumer: string,
    {
      lastSeq,
      toSeq,
      moved,
      left,
    }: { lastSeq: number; toSeq: number; moved: number; left: number },
  ): void {
    this.counters.jumps++;
    this.#problem =
      `stream ${stream} had lost its end: the hub has it up to ${toSeq}, here it ended at ${lastSeq}; ` +
      `it goes on behind ${toSeq}`;
    this.#log.error(
      {
        stream,
        consumer,
        lastSeq,
        toSeq,
        moved,
        left,
        hint: 'was an image of the disk put back, or the data directory replaced? What the hub has is whole',
      },
      'the hub has more of a stream than this gateway: the numbering goes on behind it',
    );
  }
}
