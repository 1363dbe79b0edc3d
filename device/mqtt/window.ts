// The PUBLISHes of all clients that wait for the disk, together. Each client has a window of its own (acks.ts); this one
// keeps a hundred of them from filling the store's, which would refuse, and a refused PUBLISH is not repeated by an MQTT
// client before it reconnects. Pushing back costs nothing but time.

export class PublishWindow {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  #waiting: (() => void)[] = [];
  #messages = 0;
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
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

  /** One is answered. When half of the room is free again, all who wait are told. */
  settle(bytes: number): void {
    this.#messages--;
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
