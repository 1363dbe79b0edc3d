// What leaves for one client: gathered during a turn, written as one buffer at its end, so that a thousand PUBACKs of one
// disk sync are one write. It knows how much the client has not read yet; who sends asks before it sends more.
// Acknowledgements leave in the order in which they were given [MQTT-4.6.0-2, -3].

import type { Duplex } from 'node:stream';
import type { Clock } from '../../src/clock.ts';
import type { Budget } from './limits.ts';
import { encodeAcks } from './wire/ack-packets.ts';
import { PacketType, type AckType } from './wire/packet-type.ts';

export class Outbox {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  readonly #total: Budget;
  readonly #written: () => void;
  /** What `total` counts of us: gathered bytes of our own, and those that the system had not taken when we looked last. */
  #counted = 0;
  /** Acknowledgements of one kind that are not encoded yet. */
  #acks: number[] = [];
  #ackType: AckType = PacketType.puback;
  #packets: Buffer[] = [];
  #packetBytes = 0;
  /** Of packets that no other outbox has. */
  #ownBytes = 0;
  #armed = false;
  #closed = false;

  /**
   * `total` counts what all clients have not read. `written` is called when a write has gone to the system: there is room
   * again.
   */
  constructor(stream: Duplex, clock: Clock, total: Budget, written: () => void) {
    this.#stream = stream;
    this.#clock = clock;
    this.#total = total;
    this.#written = () => {
      this.#count();
      written();
    };
  }

  /** Bytes that the client has not read, as far as we can know. */
  get bytes(): number {
    return 4 * this.#acks.length + this.#packetBytes + this.#stream.writableLength;
  }

  /** Sends an acknowledgement of success. */
  ack(type: AckType, packetId: number): void {
    if (type !== this.#ackType) {
      this.#encodeAcks();
      this.#ackType = type;
    }
    this.#acks.push(packetId);
    this.#arm();
  }

  /** Sends an acknowledgement with more to it, behind those that were given before. */
  answer(packet: Buffer): void {
    this.#encodeAcks();
    this.send(packet);
  }

  /** `shared`: other outboxes have the same buffer. */
  send(packet: Buffer, shared = false): void {
    this.#packets.push(packet);
    this.#packetBytes += packet.length;
    if (!shared) {
      this.#ownBytes += packet.length;
      this.#count();
    }
    this.#arm();
  }

  /** Writes what is gathered. */
  flush(): void {
    if (this.#closed) return;
    this.#encodeAcks();
    const packets = this.#packets;
    if (packets.length === 0) return;
    this.#packets = [];
    this.#packetBytes = 0;
    this.#ownBytes = 0;
    const [only] = packets;
    const bytes = packets.length === 1 && only !== undefined ? only : Buffer.concat(packets);
    this.#stream.write(bytes, this.#written);
    this.#count();
  }

  #count(): void {
    const unread = this.#closed ? 0 : this.#ownBytes + this.#stream.writableLength;
    if (unread === this.#counted) return;
    this.#total.force(unread - this.#counted);
    this.#counted = unread;
  }

  /** Drops what is gathered. */
  close(): void {
    this.#closed = true;
    this.#acks = [];
    this.#packets = [];
    this.#packetBytes = 0;
    this.#count();
  }

  #encodeAcks(): void {
    if (this.#acks.length === 0) return;
    const packets = encodeAcks(this.#ackType, this.#acks);
    this.#acks = [];
    this.#packets.push(packets);
    this.#packetBytes += packets.length;
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
