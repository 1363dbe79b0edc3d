// Reads what a client says, as far as a trace of system calls needs it: which packets, of which session, and what they
// carry. Relies on a client that breaks no rule.

import type { RawVersion } from './mqtt-raw-encode.ts';

export type RawSaid =
  | { type: 'connect'; packetId: 0; version: RawVersion; persistent: boolean }
  | { type: 'publish'; packetId: number; data: Buffer }
  | { type: 'subscribe' | 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'; packetId: number }
  | { type: 'other'; packetId: 0 };

const WITH_ID = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp', 8: 'subscribe' } as const;

/** The packets of one connection, which come in pieces. */
export class RawPackets {
  #rest: Buffer = Buffer.alloc(0);
  #version: RawVersion = 4;

  /** The packets that are whole with `chunk`. */
  read(chunk: Buffer): RawSaid[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const found: RawSaid[] = [];
    for (;;) {
      const [size, start] = varint(this.#rest, 1);
      if (size === undefined || this.#rest.length < start + size) return found;
      const packet = this.#rest.subarray(start, start + size);
      found.push(this.#decode(this.#rest[0] ?? 0, packet));
      this.#rest = this.#rest.subarray(start + size);
    }
  }

  #decode(first: number, packet: Buffer): RawSaid {
    const type = first >> 4;
    if (type === 1) return this.#connect(packet);
    if (type === 3) {
      const qos = (first >> 1) & 3;
      let at = 2 + packet.readUInt16BE(0);
      const packetId = qos === 0 ? 0 : packet.readUInt16BE(at);
      if (qos > 0) at += 2;
      return {
        type: 'publish',
        packetId,
        data: packet.subarray(this.#behindProperties(packet, at)),
      };
    }
    const name = WITH_ID[type as keyof typeof WITH_ID];
    if (name === undefined) return { type: 'other', packetId: 0 };
    return { type: name, packetId: packet.readUInt16BE(0) };
  }

  #connect(packet: Buffer): RawSaid {
    const at = 2 + packet.readUInt16BE(0);
    this.#version = (packet[at] ?? 4) as RawVersion;
    const isClean = ((packet[at + 1] ?? 0) & 2) !== 0;
    // The properties of 5.0 stand behind the keep-alive; one of any length is an expiry in these tests.
    const persistent = this.#version === 5 ? (packet[at + 4] ?? 0) > 0 : !isClean;
    return { type: 'connect', packetId: 0, version: this.#version, persistent };
  }

  #behindProperties(packet: Buffer, at: number): number {
    if (this.#version !== 5) return at;
    const [size = 0, start] = varint(packet, at);
    return start + size;
  }
}

/** The number at `at`, undefined while it is not whole, and where what follows begins. */
function varint(bytes: Buffer, at: number): [number | undefined, number] {
  let [value, shift] = [0, 0];
  for (let i = at; ; i++, shift += 7) {
    const byte = bytes[i];
    if (byte === undefined) return [undefined, i];
    value |= (byte & 127) << shift;
    if (byte < 128) return [value, i + 1];
  }
}
