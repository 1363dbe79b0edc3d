// The PUBLISHes of all clients that wait for the disk, together. Each client has a window of its own (acks.ts); this one
// keeps a hundred of them from filling the store's, which would refuse, and a refused PUBLISH is not repeated by an MQTT
// client before it reconnects. Pushing back costs nothing but time. QoS 0 messages that are stored or retained count too:
// nobody waits for them, and one client that pours them out would fill the store alone, and lose what it sends.

import type { DurableGate } from './tables.ts';

export class PublishWindow {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #gate: DurableGate;
  #waiting: (() => void)[] = [];
  #messages = 0;
  #bytes = 0;
  /** Unanswered ones of this turn. */
  #poured = 0;
  #pouredBytes = 0;

  constructor(messagesMax: number, bytesMax: number, gate: DurableGate) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
    this.#gate = gate;
  }

  get messages(): number {
    return this.#messages;
  }

  /** Nobody may take another. */
  get full(): boolean {
    return this.#messages >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  open(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  /** One that nobody waits for takes its room until the disk has answered about this turn. */
  pour(bytes: number): void {
    if (this.#poured++ === 0) this.#gate.join(() => this.#seal());
    this.#pouredBytes += bytes;
    this.open(bytes);
  }

  /** One is answered. */
  settle(bytes: number): void {
    this.#give(1, bytes);
  }

  #seal(): () => void {
    const messages = this.#poured;
    const bytes = this.#pouredBytes;
    this.#poured = 0;
    this.#pouredBytes = 0;
    return () => this.#give(messages, bytes);
  }

  /** When half of the room is free again, all who wait are told. */
  #give(messages: number, bytes: number): void {
    this.#messages -= messages;
    this.#bytes -= bytes;
    if (this.#waiting.length === 0) return;
    if (this.#messages * 2 > this.#messagesMax || this.#bytes * 2 > this.#bytesMax) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Calls `resume` once there is room. */
  wait(resume: () => void): void {
    this.#waiting.push(resume);
  }
}
