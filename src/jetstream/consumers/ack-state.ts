// How far a consumer is: what it has delivered, what of that is acknowledged, and what comes once more.
//
// Sequences are delivered for the first time in ascending order, each with the next consumer sequence; a redelivery
// takes another consumer sequence, but is known by its first. So the pending message with the lowest sequence has the
// lowest consumer sequence too, everything below it is acknowledged, and the ack floor is right below it; only where that
// message was given up (max_deliver), the floor rests below it until nothing is pending, and rows tell what is done.

import { Pending, type PendingMessage } from './pending.ts';
import { Redeliveries } from './redeliveries.ts';
import { SeqRows } from './seq-rows.ts';
import type { ConsumerConfig, SequencePair } from './types.ts';

/** Messages that were delivered as often as they may be and are remembered for it; beyond it the oldest is forgotten. */
export const EXCEEDED_MAX = 100_000;

/**
 * A hub that has not asked anew takes the consumer sequence that it expects next, and passes over those before it in
 * silence. So what it has not asked for begins this far beyond any that it may expect: then it asks.
 */
export const STRANGE_SEQS = 1_000_000_000;

interface Place {
  consumerSeq: number;
  streamSeq: number;
}

export class AckState {
  readonly delivered: Place;
  readonly floor: Place;
  readonly pending = new Pending();
  readonly redeliveries = new Redeliveries();
  /** By sequence, how often they were delivered. */
  readonly exceeded = new Map<number, number>();
  readonly rows: SeqRows;
  #redelivered = 0;
  /** The message right above the floor was given up: as in nats-server, the floor rests until nothing is pending. */
  #heldUp = false;
  /** Everything that earlier runs delivered is in `pending`; until then the rows tell. */
  isRestored = true;

  constructor(delivered: SequencePair, floor: SequencePair, rows = new SeqRows()) {
    this.delivered = { consumerSeq: delivered.consumerSeq, streamSeq: delivered.streamSeq };
    this.floor = { consumerSeq: floor.consumerSeq, streamSeq: floor.streamSeq };
    this.rows = rows;
  }

  /** Whether its numbers are such that who counts them asks anew. */
  get isStrange(): boolean {
    return this.delivered.consumerSeq >= STRANGE_SEQS;
  }

  /** Messages that were delivered more than once and are not acknowledged. */
  get redelivered(): number {
    return this.#redelivered + this.exceeded.size;
  }

  /** A first delivery that waits for its ack. */
  sent(seq: number, nowMs: number): PendingMessage {
    const { delivered } = this;
    delivered.streamSeq = seq;
    return this.pending.add(seq, ++delivered.consumerSeq, 1, nowMs);
  }

  /** A delivery that needs no ack. */
  sentForGood(seq: number): void {
    this.delivered.streamSeq = seq;
    this.delivered.consumerSeq++;
    this.#moveFloor(this.delivered.consumerSeq, seq);
  }

  sentAgain(message: PendingMessage, nowMs: number): void {
    this.delivered.consumerSeq++;
    if (message.deliveries === 1) this.#redelivered++;
    message.deliveries++;
    message.sentMs = nowMs;
    this.rows.redelivered(message.seq, message.deliveries);
  }

  /** Everything before `seq` counts as done with, and nothing from there on was ever delivered. */
  reset(seq: number): void {
    this.pending.clear();
    this.redeliveries.clear();
    this.exceeded.clear();
    this.rows.clear();
    this.#redelivered = 0;
    this.#heldUp = false;
    this.delivered.consumerSeq = 0;
    this.delivered.streamSeq = seq - 1;
    this.floor.consumerSeq = 0;
    this.floor.streamSeq = seq - 1;
  }

  /** Deliveries go on under consumer sequences that nobody expects who expected one behind `before`. */
  estrange(before: number): void {
    this.delivered.consumerSeq = before + STRANGE_SEQS;
    this.floor.consumerSeq = this.delivered.consumerSeq;
  }

  /**
   * Deliveries begin anew with `seq`, under consumer sequences from 1 on. Of what lies between the ack floor and it, `waiting`
   * was delivered earlier and waits for its ack: whoever begins there has it, but perhaps not for good.
   */
  resumeAt(seq: number, waiting: readonly number[]): void {
    const { streamSeq } = this.floor;
    this.reset(seq);
    this.floor.streamSeq = streamSeq;
    for (const each of waiting) if (each > streamSeq) this.pending.add(each, 0, 1, 0);
  }

  /** Everything that was delivered up to `seq` is done with. */
  confirm(seq: number): PendingMessage[] {
    let last = 0;
    for (const message of this.pending.all()) {
      if (message.seq > seq) break;
      last = message.consumerSeq;
    }
    return this.ackAll(seq, last);
  }

  /** Found at the start: delivered by an earlier run, and not acknowledged. In ascending order. */
  restore(seq: number, deliveries: number): void {
    const consumerSeq = Math.min(
      this.floor.consumerSeq + this.pending.size + 1,
      this.delivered.consumerSeq,
    );
    this.pending.add(seq, consumerSeq, deliveries, 0);
    if (deliveries > 1) this.#redelivered++;
    this.redeliveries.add(seq);
  }

  /** One message is done with: acknowledged, terminated, or gone from the stream. */
  ack(seq: number): PendingMessage | undefined {
    const message = this.pending.get(seq);
    if (message === undefined) {
      if (this.exceeded.delete(seq)) this.#forgetExceeded(seq);
      return undefined;
    }
    this.#forget(message);
    this.#settle(message);
    if (seq > this.floor.streamSeq)
      this.rows.acked(seq, this.delivered.streamSeq, () => this.pending.all());
    return message;
  }

  /** Everything up to `seq` is done with; `consumerSeq` is that of the delivery that was acknowledged. */
  ackAll(seq: number, consumerSeq: number): PendingMessage[] {
    const done: PendingMessage[] = [];
    for (let first = this.pending.first; first !== undefined && first.seq <= seq;) {
      done.push(first);
      this.#forget(first);
      ({ first } = this.pending);
    }
    this.#moveFloor(Math.min(consumerSeq, this.delivered.consumerSeq), seq);
    return done;
  }

  /** It was delivered as often as it may be: it waits for no ack, and is remembered. */
  exceed(message: PendingMessage): void {
    this.#forget(message);
    if (this.exceeded.size >= EXCEEDED_MAX) {
      const [oldest = 0] = this.exceeded.keys();
      this.exceeded.delete(oldest);
      this.#forgetExceeded(oldest);
    }
    this.exceeded.set(message.seq, message.deliveries);
    this.rows.exceeded(message.seq, message.deliveries);
    const { first } = this.pending;
    this.#heldUp ||= first === undefined || first.seq > message.seq;
  }

  /** It is to be delivered no more, also after a start that finds the floor below it. */
  #forgetExceeded(seq: number): void {
    if (seq <= this.floor.streamSeq) this.rows.forget(seq);
    else this.rows.acked(seq, this.delivered.streamSeq, () => this.pending.all());
  }

  /** Up to `seq` there is nothing that is not delivered. */
  looked(seq: number): void {
    this.delivered.streamSeq = Math.max(this.delivered.streamSeq, seq);
  }

  /** Of what a purge has left, `firstSeq` is the first that concerns the consumer: all before it is over. */
  purged(firstSeq: number): PendingMessage[] {
    const { delivered, floor } = this;
    this.looked(firstSeq - 1);
    const done: PendingMessage[] = [];
    for (let first = this.pending.first; first !== undefined && first.seq < firstSeq;) {
      done.push(first);
      this.#forget(first);
      ({ first } = this.pending);
    }
    for (const seq of this.exceeded.keys()) {
      if (seq >= firstSeq) continue;
      this.exceeded.delete(seq);
      this.#forgetExceeded(seq);
    }
    const consumerSeq = Math.max(floor.consumerSeq, done.at(-1)?.consumerSeq ?? 0);
    if (this.pending.first === undefined)
      this.#moveFloor(delivered.consumerSeq, delivered.streamSeq);
    else this.#moveFloor(consumerSeq, firstSeq - 1);
    return done;
  }

  /** Whether a message that the consumer covers is still needed; `nextSeq` is the first that it has not looked at. */
  needs(seq: number, ackPolicy: ConsumerConfig['ackPolicy'], nextSeq: number): boolean {
    if (this.exceeded.has(seq)) return true;
    if (seq <= this.floor.streamSeq) return false;
    if (ackPolicy !== 'explicit' || seq >= nextSeq) return true;
    return this.isRestored ? this.pending.has(seq) : this.rows.waits(seq);
  }

  #forget(message: PendingMessage): void {
    this.pending.delete(message);
    this.redeliveries.delete(message.seq);
    if (message.deliveries > 1) this.#redelivered--;
  }

  /** `message` is out of the pending ones: the floor moves if it was the lowest. */
  #settle(message: PendingMessage): void {
    const { first } = this.pending;
    const { consumerSeq, streamSeq } = this.delivered;
    if (first === undefined) this.#moveFloor(consumerSeq, streamSeq);
    else if (first.seq > message.seq && !this.#heldUp)
      this.#moveFloor(first.consumerSeq - 1, first.seq - 1);
  }

  #moveFloor(consumerSeq: number, streamSeq: number): void {
    const from = this.floor.streamSeq;
    this.floor.consumerSeq = Math.max(this.floor.consumerSeq, consumerSeq);
    if (streamSeq <= from) return;
    this.floor.streamSeq = streamSeq;
    this.#heldUp = false;
    this.rows.floorMoved(from, streamSeq);
  }
}
