// The ordered fast batches of a JetStream stream as a model in memory (gap mode "fail"): what nats-server 2.15 makes of each
// message of one, at the leader and at the replicas that follow. Those learn of a batch from the messages that they
// store, and hear neither of its end nor of its kill; whoever becomes leader opens what he knows of again.

import { jetStreamError, type HubError } from '../../sync/hub-error.ts';
import type { ModelAck, Write } from './hub-model.ts';

/** An open batch that nothing is heard of is forgotten after this. */
const IDLE_MS = 10_000;
const FLOW_MAX = 500;

export interface FastMessage {
  readonly id: string;
  /** Its number in the batch. */
  readonly n: number;
  /** `end`: ends the batch and is not stored; `only`: first and last of its batch, and stored. */
  readonly op: 'start' | 'append' | 'only' | 'end' | 'ping';
  readonly flow: number;
  readonly write?: Write;
}

export type FastAnswer =
  | { readonly kind: 'ack'; readonly seq: number; readonly msgs: number }
  | { readonly kind: 'gap' }
  | { readonly kind: 'error'; readonly error: HubError }
  | {
      readonly kind: 'end';
      readonly seq: number;
      readonly count: number;
      readonly duplicate: boolean;
    };

export type Answer = (answer: FastAnswer) => void;

/** A message of a batch that has been proposed, and is not stored yet. */
export interface Registered {
  readonly message: FastMessage;
  readonly answer: Answer;
}

/** The stream's side of it. */
export interface Store {
  readonly batched: () => boolean;
  /** What the server would answer at once: throws a HubError, or returns the sequence of a duplicate. */
  check(write: Write): number | undefined;
  /** Stores it, now or later, and then calls stored(). */
  propose(write: Write, registered: Registered): void;
}

interface Batch {
  readonly flow: number;
  /** Last number taken in, stored, and told of. */
  taken: number;
  stored: number;
  told: number;
  /** Hub sequence of the last one stored. */
  seq: number;
  pending: number;
  granted: number;
  ending: boolean;
  dueMs: number;
  answer: Answer;
}

export class FastBatchModel {
  readonly #store: Store;
  /** Refuses the next with 10211. */
  openMax = 1_000;
  /** At the leader. */
  readonly #open = new Map<string, Batch>();
  /** What a follower knows: the last message stored. */
  readonly #known = new Map<
    string,
    { n: number; seq: number; flow: number; dueMs: number; answer: Answer }
  >();
  /** "Must happen" counters. */
  readonly counters = {
    batchesOpened: 0,
    batchesKilled: 0,
    batchesReopened: 0,
    batchesSealed: 0,
    leaderChangesInBatch: 0,
    /** Late messages that would have been stored but for the kill, or but for the seal. */
    savedByKill: 0,
    savedBySeal: 0,
  };
  /** What the killed and the sealed would still take, by whom it would be taken, had they not been. */
  readonly #ghosts = new Map<
    string,
    { next: number; dueMs: number; by: 'kill' | 'seal' | 'seal, led anew' }
  >();

  constructor(store: Store) {
    this.#store = store;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Takes in a message; the leader's. */
  receive(message: FastMessage, nowMs: number, answer: Answer): void {
    const fail = (error: HubError): void => answer({ kind: 'error', error });
    if (!this.#store.batched()) return fail(error(10205, 'batch publish is disabled'));
    this.#expire(nowMs);
    const { id, n, op } = message;
    const batch = this.#open.get(id) ?? (n === 1 ? this.#begin(message, nowMs, answer) : undefined);
    if (batch === undefined) {
      this.#haunt(message);
      const crowded = n === 1 && op !== 'ping';
      return fail(crowded ? error(10211, 'too many') : error(10208, 'batch publish ID unknown'));
    }
    this.#open.set(id, batch);
    batch.dueMs = nowMs + IDLE_MS;
    if (op === 'ping') return this.#ping(batch, message, answer);
    // It waits for what is pending; who asks hears nothing.
    if (batch.ending) return;
    if (n !== batch.taken + 1) {
      if (op === 'end') this.#killed(id, batch);
      answer({ kind: 'gap' });
      return this.#end(id, batch, answer);
    }
    if (op === 'end') return this.#end(id, batch, answer);
    batch.taken++;
    if (op === 'only') batch.ending = true;
    else if (n === 1) answer({ kind: 'ack', seq: 0, msgs: batch.granted });
    this.#append(message, batch, answer);
  }

  #killed(id: string, { taken, dueMs }: Batch): void {
    this.counters.batchesKilled++;
    this.#ghosts.set(id, { next: taken + 1, dueMs, by: 'kill' });
  }

  #haunt({ id, n }: FastMessage): void {
    const ghost = this.#ghosts.get(id);
    if (ghost?.next !== n) return;
    if (ghost.by === 'kill') this.counters.savedByKill++;
    else if (ghost.by === 'seal, led anew') this.counters.savedBySeal++;
    else return;
    this.#ghosts.delete(id);
  }

  #begin({ flow }: FastMessage, nowMs: number, answer: Answer): Batch | undefined {
    if (this.#open.size >= this.openMax) return undefined;
    return {
      flow,
      taken: 0,
      stored: 0,
      told: 0,
      seq: 0,
      pending: 0,
      granted: this.#open.size > 0 ? 1 : Math.min(FLOW_MAX, flow),
      ending: false,
      dueMs: nowMs + IDLE_MS,
      answer,
    };
  }

  #ping(batch: Batch, { id, n }: FastMessage, answer: Answer): void {
    if (n <= batch.taken) return answer({ kind: 'ack', seq: batch.told, msgs: batch.granted });
    answer({ kind: 'gap' });
    this.#end(id, batch, answer);
  }

  #append(message: FastMessage, batch: Batch, answer: Answer): void {
    const { id, n, op, write } = message;
    if (write === undefined) return;
    let original: number | undefined;
    try {
      original = this.#store.check(write);
    } catch (refusal) {
      const failure = refusal as HubError;
      answer({ kind: 'error', error: failure });
      if (n === 1) return void this.#open.delete(id);
      batch.taken--;
      return this.#end(id, batch, answer);
    }
    if (original !== undefined) {
      // Skipped, and the batch goes on.
      if (batch.pending === 0) {
        batch.stored = n;
        this.#tell(batch, answer);
      }
      if (op === 'only') {
        this.#open.delete(id);
        answer({ kind: 'end', seq: original, count: n, duplicate: true });
      }
      return;
    }
    if (n === 1 && op === 'start') this.counters.batchesOpened++;
    batch.pending++;
    this.#store.propose(write, { message, answer });
  }

  /** What was proposed is stored at `seq`; with `leads`, by the leader that proposed it. */
  stored({ message, answer }: Registered, { seq }: ModelAck, nowMs: number, leads: boolean): void {
    const { id, n, op, flow } = message;
    if (op === 'only') {
      this.counters.batchesSealed++;
      const known = this.#known.get(id);
      if (known !== undefined)
        this.#ghosts.set(id, { next: known.n + 1, dueMs: known.dueMs, by: 'seal' });
      this.#known.delete(id);
    } else {
      this.#known.set(id, { n, seq, flow, dueMs: nowMs + IDLE_MS, answer });
    }
    const batch = this.#open.get(id);
    if (!leads || batch === undefined) return;
    batch.answer = answer;
    batch.pending--;
    batch.seq = seq;
    batch.stored = batch.pending === 0 ? batch.taken : n;
    if (batch.ending && batch.stored === batch.taken) return this.#over(id, batch, answer);
    this.#tell(batch, answer);
  }

  #tell(batch: Batch, answer: Answer): void {
    if (batch.stored < batch.told + batch.granted) return;
    batch.told += Math.floor((batch.stored - batch.told) / batch.granted) * batch.granted;
    const most = Math.min(
      batch.flow,
      Math.max(1, Math.floor(FLOW_MAX / Math.max(1, this.#open.size))),
    );
    if (batch.granted < most) batch.granted = Math.min(most, batch.granted * 2);
    else if (batch.granted > most) batch.granted = Math.max(most, Math.floor(batch.granted / 2));
    answer({ kind: 'ack', seq: batch.told, msgs: batch.granted });
  }

  /** Ends it behind what was taken in, at once or when that is stored. */
  #end(id: string, batch: Batch, answer: Answer): void {
    batch.ending = true;
    if (batch.pending === 0) this.#over(id, batch, answer);
  }

  #over(id: string, batch: Batch, answer: Answer): void {
    this.#open.delete(id);
    answer({ kind: 'end', seq: batch.seq, count: batch.taken, duplicate: false });
  }

  #expire(nowMs: number): void {
    for (const [id, batch] of this.#open)
      if (!batch.ending && nowMs >= batch.dueMs) this.#open.delete(id);
    for (const [id, { dueMs }] of this.#known) if (nowMs >= dueMs) this.#known.delete(id);
    for (const [id, { dueMs }] of this.#ghosts) if (nowMs >= dueMs) this.#ghosts.delete(id);
  }

  /** Another replica leads: it opens what it knows of again, and says so. */
  changeLeader(nowMs: number): void {
    this.#expire(nowMs);
    if ([...this.#open.values()].some(({ ending }) => !ending))
      this.counters.leaderChangesInBatch++;
    this.#open.clear();
    for (const [id, ghost] of this.#ghosts)
      if (ghost.by === 'seal')
        this.#ghosts.set(id, { ...ghost, dueMs: nowMs + IDLE_MS, by: 'seal, led anew' });
    for (const [id, { n, seq, flow, answer }] of this.#known) {
      this.counters.batchesReopened++;
      const granted = this.#open.size > 0 ? 1 : Math.min(FLOW_MAX, flow);
      const state = { taken: n, stored: n, told: n, seq, pending: 0, granted, ending: false };
      this.#open.set(id, { flow, ...state, dueMs: nowMs + IDLE_MS, answer });
      answer({ kind: 'ack', seq: n, msgs: granted });
    }
  }

  /** Restarted, recreated, or batches are not allowed any more. */
  forget(): void {
    this.#open.clear();
    this.#known.clear();
    this.#ghosts.clear();
  }
}

function error(errCode: number, description: string): HubError {
  return jetStreamError(400, errCode, description);
}
