// What leaves for one client: gathered during a turn, written as one buffer at its end, so that a thousand PUBACKs of one
// disk sync are one write. It knows how much the client has not read yet; who sends asks before it sends more.

import type { Duplex } from 'node:stream';
import type { Clock } from '../../src/clock.ts';
import { encodePubacks } from './packets.ts';

export class Outbox {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  readonly #written: () => void;
  #pubacks: number[] = [];
  #packets: Buffer[] = [];
  #packetBytes = 0;
  #armed = false;
  #closed = false;

  /** `written` is called when a write has gone to the system: there is room again. */
  constructor(stream: Duplex, clock: Clock, written: () => void) {
    this.#stream = stream;
    this.#clock = clock;
    this.#written = written;
  }

  /** Bytes that the client has not read, as far as we can know. */
  get bytes(): number {
    return 4 * this.#pubacks.length + this.#packetBytes + this.#stream.writableLength;
  }

  puback(packetId: number): void {
    this.#pubacks.push(packetId);
    this.#arm();
  }

  send(packet: Buffer): void {
    this.#packets.push(packet);
    this.#packetBytes += packet.length;
    this.#arm();
  }

  /** Writes what is gathered. */
  flush(): void {
    if (this.#closed) return;
    if (this.#pubacks.length > 0) {
      this.#packets.push(encodePubacks(this.#pubacks));
      this.#pubacks = [];
    }
    const packets = this.#packets;
    if (packets.length === 0) return;
    this.#packets = [];
    this.#packetBytes = 0;
    const [only] = packets;
    const bytes = packets.length === 1 && only !== undefined ? only : Buffer.concat(packets);
    this.#stream.write(bytes, this.#written);
  }

  /** Drops what is gathered. */
  close(): void {
    this.#closed = true;
    this.#pubacks = [];
    this.#packets = [];
    this.#packetBytes = 0;
  }

  #arm(): void {
    if (this.#armed || this.#closed) return;
    this.#armed = true;
    this.#clock.soon(() => {
      this.#armed = false;
      this.flush();
    });
  }
}
