// The way of a broker's messages into ours: each is published once, held while the stream refuses it, and acknowledged to
// the broker it came from when the disk has it, many at a time and in their order.

import type { Broker } from '../../../src/broker.ts';
import type { Clock } from '../../../src/clock.ts';
import type { Logger } from '../../../src/log.ts';
import { Intake, type Outcome } from '../../intake.ts';
import { AckQueue } from '../acks.ts';
import { ReasonCode } from '../wire/reason-codes.ts';
import { IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, SOURCE_LIMITS } from './source-config.ts';

/**
 * Messages without a PUBACK that are remembered over a lost link. A broker has no more than a window of them, and sends
 * them first; of one that does not, the oldest are forgotten, and would be stored again.
 */
const REMEMBERED_MAX = 2 * IN_FLIGHT_MAX;
const REMEMBERED_BYTES_MAX = 2 * IN_FLIGHT_BYTES_MAX;

interface Pending {
  readonly subject: string;
  readonly data: Buffer;
  /** Stored, or known never to be. */
  done: boolean;
  /** Its place among the answers of the current connection; undefined while the broker has not sent it there. */
  slot: number | undefined;
}

/**
 * What is stored once, and what may be stored twice.
 *
 * A PUBACK leaves when the intake says that a message is settled, and in the order of the slots, so never before the disk
 * has it and all that came before it. A broker may not use a Packet Identifier for another message before it has had our
 * PUBACK [MQTT-2.3.1-4]. So as long as we have not sent one, an identifier that comes again in the same session, on this
 * connection or a later one, is the same message: it is not published again, and answered when the first is settled.
 * The map holds these. (Subject and data are compared all the
 * same: a broker that breaks the rule costs a second copy, not a message.)
 *
 * Once a PUBACK has been handed to the socket we cannot know whether it arrived. If it did not, the broker sends the
 * message again, and it is stored again: with the PUBACK received it might be a new one with the same words, and the
 * promise of QoS 1 is at least once. After a kill of the agent the same holds for everything that had no PUBACK.
 */
export class Inflow {
  readonly counters = { acked: 0, redelivered: 0 };
  readonly #intake: Intake;
  readonly #onRoom: () => void;
  readonly #pending = new Map<number, Pending>();
  #acks: AckQueue | undefined;

  /** `onRoom` may be called often; it asks `full`. */
  constructor(deps: { broker: Broker; clock: Clock; log: Logger }, onRoom: () => void) {
    this.#onRoom = onRoom;
    this.#intake = new Intake(undefined, deps, onRoom, SOURCE_LIMITS);
  }

  /** What became of the messages; see IntakeCounters. */
  get fates(): Intake['counters'] {
    return this.#intake.counters;
  }

  /** No further message may be taken until `onRoom`. */
  get full(): boolean {
    return this.#intake.full || this.#acks?.full === true;
  }

  /** Half of the room is free again. */
  get roomy(): boolean {
    return !this.#intake.full && this.#acks?.roomy !== false;
  }

  /** Messages of this connection without a PUBACK. */
  get unacked(): number {
    return this.#acks?.waiting ?? 0;
  }

  /** Messages that no disk has yet. */
  get held(): number {
    return this.#intake.heldFrames;
  }

  /** A connection begins. `acknowledge` sends a PUBACK. A broker without our session has forgotten its identifiers. */
  open(sessionPresent: boolean, acknowledge: (packetId: number) => void): void {
    if (!sessionPresent) this.#pending.clear();
    this.#acks = new AckQueue(IN_FLIGHT_MAX, IN_FLIGHT_BYTES_MAX, (packetId) => {
      this.#pending.delete(packetId);
      this.counters.acked++;
      acknowledge(packetId);
    });
  }

  /** The connection has ended: what it brought goes on to the disk, and waits for the broker to ask again. */
  close(): void {
    this.#acks = undefined;
    let bytes = 0;
    for (const pending of this.#pending.values()) {
      pending.slot = undefined;
      bytes += pending.data.length;
    }
    for (const [packetId, { data }] of this.#pending) {
      if (this.#pending.size <= REMEMBERED_MAX && bytes <= REMEMBERED_BYTES_MAX) break;
      this.#pending.delete(packetId);
      bytes -= data.length;
    }
  }

  /** Whether a message is here already, sent again because it has no PUBACK yet; if so, it is taken care of. */
  again(packetId: number, subject: string, data: Buffer): boolean {
    const known = this.#pending.get(packetId);
    if (known?.subject !== subject || !known.data.equals(data)) return false;
    this.counters.redelivered++;
    if (known.slot !== undefined) return true; // Twice on one connection: one answer.
    known.slot = this.#slot(packetId, data.length);
    if (known.done && known.slot !== undefined) this.#acks?.settle(known.slot, ReasonCode.success);
    return true;
  }

  /** Takes a message; `packetId` is 0 for QoS 0. Its data and headers must not change afterwards. */
  take(packetId: number, subject: string, data: Buffer, headers?: Buffer): void {
    if (packetId === 0)
      return this.#intake.accept(data, { subject, headers, settled: () => this.#onRoom() });
    const pending: Pending = {
      subject,
      data,
      done: false,
      slot: this.#slot(packetId, data.length),
    };
    this.#pending.set(packetId, pending);
    this.#intake.accept(data, {
      subject,
      headers,
      settled: (outcome) => this.#settled(packetId, pending, outcome),
    });
  }

  /** Answers a message that is not wanted, in its turn. */
  skip(packetId: number): void {
    if (packetId === 0) return;
    const slot = this.#slot(packetId, 0);
    if (slot !== undefined) this.#acks?.settle(slot, ReasonCode.success);
  }

  /** Takes nothing more, and lets go of what the stream has not been given: the broker still has it. */
  leave(): void {
    this.#intake.leave();
  }

  #slot(packetId: number, bytes: number): number | undefined {
    return this.#acks?.open(packetId, 1, bytes);
  }

  #settled(packetId: number, pending: Pending, outcome: Outcome): void {
    if (outcome === 'dropped') {
      // Not published by us, and without an answer: the broker will send it again.
      if (this.#pending.get(packetId) === pending) this.#pending.delete(packetId);
    } else {
      pending.done = true;
      if (pending.slot !== undefined) this.#acks?.settle(pending.slot, ReasonCode.success);
    }
    this.#onRoom();
  }
}
