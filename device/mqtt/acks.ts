// The PUBLISHes of one client that wait for the disk, and the order of their answers.
//
// PUBACKs leave in the order in which the PUBLISHes came [MQTT-4.6.0-2], and PUBRECs too [MQTT-4.6.0-3], although receipts
// may come in another: a message that no stream takes is settled at once, one on a slow stream later. So each PUBLISH
// opens the next slot of a ring, and an answer leaves when every slot before it is settled.

import { assert } from '../../src/assert.ts';
import type { QoS } from './wire/types.ts';

/** Instead of a Reason Code: nothing is sent, the older versions have no word for no. */
export const NO_ANSWER = -1;
const WAITING = -2;

/** Called with each answer that may leave now. `reason` explains a failure. */
export type Answered = (
  packetId: number,
  qos: QoS,
  reasonCode: number,
  reason: string | undefined,
) => void;

interface Slot {
  packetId: number;
  qos: QoS;
  bytes: number;
  /** WAITING, NO_ANSWER or a Reason Code. */
  answer: number;
  reason: string | undefined;
}

export class AckQueue {
  #slots: Slot[] = [];
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #answered: Answered;
  #head = 0;
  #tail = 0;
  #bytes = 0;
  #qos1 = 0;

  constructor(messagesMax: number, bytesMax: number, answered: Answered) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
    this.#answered = answered;
  }

  /** PUBLISHes not answered yet. */
  get waiting(): number {
    return this.#tail - this.#head;
  }

  /** Those of QoS 1 among them. */
  get waitingQos1(): number {
    return this.#qos1;
  }

  /** No further PUBLISH may be opened. */
  get full(): boolean {
    return this.waiting >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  /** Half of the room is free again: reading may go on. */
  get roomy(): boolean {
    return this.waiting * 2 <= this.#messagesMax && this.#bytes * 2 <= this.#bytesMax;
  }

  /** Nothing has come for a while: gives back the memory of a burst. */
  rest(): void {
    if (this.waiting > 0 || this.#slots.length === 0) return;
    this.#slots = [];
    this.#head = this.#tail = 0;
  }

  /** Opens the slot of the next PUBLISH; `settle` it once. */
  open(packetId: number, qos: QoS, bytes: number): number {
    assert(this.waiting < this.#messagesMax, 'a PUBLISH beyond the in-flight limit');
    const place = this.#tail % this.#messagesMax;
    const slot = this.#slots[place];
    if (slot === undefined)
      this.#slots[place] = { packetId, qos, bytes, answer: WAITING, reason: undefined };
    else {
      slot.packetId = packetId;
      slot.qos = qos;
      slot.bytes = bytes;
      slot.answer = WAITING;
      slot.reason = undefined;
    }
    this.#bytes += bytes;
    if (qos === 1) this.#qos1++;
    return this.#tail++;
  }

  /** The PUBLISH of this slot is decided: a Reason Code, or NO_ANSWER. */
  settle(slot: number, answer: number, reason?: string): void {
    const settled = this.#slots[slot % this.#messagesMax];
    assert(
      slot >= this.#head && slot < this.#tail && settled?.answer === WAITING,
      'a PUBLISH was settled twice',
    );
    settled.answer = answer;
    settled.reason = reason;
    while (this.#head < this.#tail) {
      const first = this.#slots[this.#head % this.#messagesMax];
      if (first === undefined || first.answer === WAITING) break;
      this.#head++;
      this.#bytes -= first.bytes;
      if (first.qos === 1) this.#qos1--;
      if (first.answer !== NO_ANSWER)
        this.#answered(first.packetId, first.qos, first.answer, first.reason);
    }
  }
}
