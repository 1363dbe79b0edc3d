// The PUBLISHes of one client that wait for the disk, and the order of their answers.
//
// PUBACKs leave in the order in which the PUBLISHes came [MQTT-4.6.0-2], although receipts may come in another: a
// message that no stream takes is settled at once, one on a slow stream later. So each PUBLISH opens the next slot of a
// ring, and an answer leaves when every slot before it is settled. A refused one leaves nothing: 3.1.1 has no word for no.

import { assert } from '../../src/assert.ts';

const State = { waiting: 0, stored: 1, refused: 2 } as const;

interface Slot {
  packetId: number;
  bytes: number;
  state: number;
}

export class AckQueue {
  readonly #slots: Slot[] = [];
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #acknowledge: (packetId: number) => void;
  #head = 0;
  #tail = 0;
  #bytes = 0;

  /** `acknowledge` is called with each Packet Identifier whose PUBACK may leave now. */
  constructor(messagesMax: number, bytesMax: number, acknowledge: (packetId: number) => void) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
    this.#acknowledge = acknowledge;
  }

  /** PUBLISHes not answered yet. */
  get waiting(): number {
    return this.#tail - this.#head;
  }

  /** No further PUBLISH may be opened. */
  get full(): boolean {
    return this.waiting >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  /** Half of the room is free again: reading may go on. */
  get roomy(): boolean {
    return this.waiting * 2 <= this.#messagesMax && this.#bytes * 2 <= this.#bytesMax;
  }

  /** Opens the slot of the next PUBLISH; `settle` it once. */
  open(packetId: number, bytes: number): number {
    assert(this.waiting < this.#messagesMax, 'a PUBLISH beyond the in-flight limit');
    const place = this.#tail % this.#messagesMax;
    const slot = (this.#slots[place] ??= { packetId: 0, bytes: 0, state: State.waiting });
    slot.packetId = packetId;
    slot.bytes = bytes;
    slot.state = State.waiting;
    this.#bytes += bytes;
    return this.#tail++;
  }

  /** The disk has the message of this slot (`stored`), or it was refused. */
  settle(slot: number, stored: boolean): void {
    const settled = this.#slots[slot % this.#messagesMax];
    assert(
      slot >= this.#head && slot < this.#tail && settled?.state === State.waiting,
      'a PUBLISH was settled twice',
    );
    settled.state = stored ? State.stored : State.refused;
    while (this.#head < this.#tail) {
      const first = this.#slots[this.#head % this.#messagesMax];
      if (first === undefined || first.state === State.waiting) break;
      this.#head++;
      this.#bytes -= first.bytes;
      if (first.state === State.stored) this.#acknowledge(first.packetId);
    }
  }
}
