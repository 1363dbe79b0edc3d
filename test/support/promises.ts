// Everything that a stream has promised to anybody, and what it may therefore have, or not have, after its process died.

import { matches } from '../../src/subject.ts';

/** A message that was published, told apart by its data. */
export interface Sent {
  readonly token: string;
  readonly subject: string;
  readonly id: string | undefined;
  readonly rollup: 'sub' | 'all' | undefined;
  /** The clock's time from which on it may go by age. */
  readonly dueMs: number;
  /** The tokens of the atomic batch that it came in. */
  readonly batch: readonly string[] | undefined;
  /** Known once anybody was told, or could have read it. */
  seq: number | undefined;
  refused: boolean;
  /** Somebody has asked for its removal. */
  mayGo: boolean;
  /** Somebody was told that it is gone. */
  gone: boolean;
  /** Consumers that have acknowledged it, and those that were told that this is on the disk. */
  readonly acks: Set<string>;
  readonly ackSyncs: Set<string>;
}

/** What of a stream's configuration lets messages go. */
export interface Going {
  readonly retention: 'limits' | 'interest' | 'workqueue';
  readonly maxMsgs?: number | undefined;
  readonly maxMsgsPerSubject?: number | undefined;
  /** By name, the filter of each consumer. */
  readonly consumers: ReadonlyMap<string, string>;
}

export class Promises {
  readonly sent = new Map<string, Sent>();
  /** Purges that are not answered yet: what comes meanwhile may go as well. */
  readonly purges = new Set<{ readonly filter: string }>();
  lastSeq = 0;
  /** The hub has everything up to here; Infinity where there is none. */
  confirmedSeq = Infinity;
  readonly #going: Going;
  #tokens = 0;

  constructor(going: Going) {
    this.#going = going;
  }

  /** Notes a message that is about to be published. */
  publish(message: Partial<Sent> & { readonly subject: string }, token = this.token()): Sent {
    const sent: Sent = {
      id: undefined,
      rollup: undefined,
      dueMs: Infinity,
      batch: undefined,
      seq: undefined,
      refused: false,
      mayGo: [...this.purges].some(({ filter }) => matches(filter, message.subject)),
      gone: false,
      acks: new Set(),
      ackSyncs: new Set(),
      ...message,
      token,
    };
    this.sent.set(token, sent);
    return sent;
  }

  token(): string {
    return `t${++this.#tokens}`;
  }

  /** Somebody was told of `seq`, or could read it. */
  shown(sent: Sent, seq: number): void {
    if (sent.refused) throw new Error(`${sent.token} was refused and is there`);
    if (sent.seq !== undefined && sent.seq !== seq)
      throw new Error(`${sent.token} was ${sent.seq} and is ${seq}`);
    sent.seq = seq;
    this.lastSeq = Math.max(this.lastSeq, seq);
  }

  /** Messages that a purge under `filter` takes. */
  under(filter: string): Sent[] {
    return [...this.sent.values()].filter(({ subject }) => matches(filter, subject));
  }

  coveredBy({ subject }: Sent): string[] {
    return [...this.#going.consumers]
      .filter(([, filter]) => matches(filter, subject))
      .map(([name]) => name);
  }

  /** Whether it may be absent, as nobody was promised it, or something that was has taken its place. */
  mayBeAbsent(sent: Sent, nowMs: number): boolean {
    if (sent.seq === undefined || sent.mayGo || sent.gone || nowMs >= sent.dueMs) return true;
    const { seq, subject } = sent;
    const later = [...this.sent.values()].filter(
      (other) => (other.seq ?? 0) > seq && !other.refused,
    );
    const { maxMsgs = Infinity, maxMsgsPerSubject = Infinity } = this.#going;
    const same = later.filter((other) => other.subject === subject);
    if (later.length >= maxMsgs || same.length >= maxMsgsPerSubject) return true;
    if (later.some(({ rollup }) => rollup === 'all')) return true;
    if (same.some(({ rollup }) => rollup === 'sub')) return true;
    return this.#mayBeConsumed(sent);
  }

  #mayBeConsumed(sent: Sent): boolean {
    const { retention } = this.#going;
    const covering = this.coveredBy(sent);
    if (retention === 'workqueue') return covering.some((name) => sent.acks.has(name));
    return (
      retention === 'interest' &&
      (sent.seq ?? 0) <= this.confirmedSeq &&
      covering.every((name) => sent.acks.has(name))
    );
  }

  /** Why it must not be there, seeing what is, and up to where the hub's mark says; undefined where it may. */
  mustBeAbsent(sent: Sent, present: readonly Sent[], confirmedSeq = Infinity): string | undefined {
    if (sent.refused) return 'it was refused';
    if (sent.gone) return 'somebody was told that it is gone';
    const { retention } = this.#going;
    const covering = this.coveredBy(sent);
    if (retention === 'workqueue' && covering.some((name) => sent.ackSyncs.has(name)))
      return 'it was acknowledged';
    if (
      retention === 'interest' &&
      (sent.seq ?? 0) <= confirmedSeq &&
      covering.every((name) => sent.ackSyncs.has(name))
    )
      return 'everybody has acknowledged it';
    const seq = sent.seq ?? 0;
    const by = present.find(
      (other) =>
        (other.seq ?? 0) > seq &&
        (other.rollup === 'all' || (other.rollup === 'sub' && other.subject === sent.subject)),
    );
    return by && `${by.token} (${by.seq}) has rolled it up`;
  }
}
