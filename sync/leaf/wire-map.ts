// How far along what we said a count of bytes on the wire is: with compression the two differ, and the kernel knows only of
// the second.

/** Writes that are told apart; with more of them, neighbours are taken together. */
const WRITES_MAX = 1024;

interface Write {
  /** Behind it, in bytes of the protocol. */
  readonly position: number;
  /** Behind it, in bytes on the wire. */
  readonly wire: number;
}

export class WireMap {
  /** Bytes on the wire, so far. */
  sent = 0;
  #last = 0;
  #passed: Write = { position: 0, wire: 0 };
  #writes: Write[] = [];

  /** Everything before `position` is written now, and took `bytes` on the wire. */
  wrote(position: number, bytes: number): void {
    this.sent += bytes;
    this.#last = position;
    this.#writes.push({ position, wire: this.sent });
    if (this.#writes.length > WRITES_MAX)
      this.#writes = this.#writes.filter((_, i) => i % 2 === 1 || i === WRITES_MAX);
  }

  /** The position that the first `wire` bytes reach. Within a write its bytes count alike. Asked for growing counts. */
  position(wire: number): number {
    if (wire >= this.sent) return this.#last;
    const reached = this.#writes.findLastIndex((write) => write.wire <= wire);
    if (reached >= 0) {
      this.#passed = this.#writes[reached] as Write;
      this.#writes.splice(0, reached + 1);
    }
    const [next] = this.#writes;
    const passed = this.#passed;
    if (next === undefined || wire <= passed.wire) return passed.position;
    const into = wire - passed.wire;
    const length = next.wire - passed.wire;
    // Nothing is rounded where nothing is compressed, also over gigabytes.
    const saved = next.position - passed.position - length;
    return passed.position + into + Math.floor((into * saved) / length);
  }
}
