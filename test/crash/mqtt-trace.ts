// Reads a system call trace of the agent and finds every MQTT packet that left before the disk had what it speaks of. What
// is checked of a packet is what its receiver may conclude from it:
//
// - PUBACK, PUBREC and a PUBLISH speak of a message: the commit that first wrote it must be synced.
// - CONNACK of a new session, SUBACK, PUBREL and PUBCOMP speak of what the agent noted upon CONNECT, SUBSCRIBE, PUBREC and
//   PUBREL: a commit that was complete only after those had been read must be synced.

import { RawPackets, type RawSaid } from '../support/mqtt-raw-said.ts';
import { decodeRaw, type RawPacket } from '../support/mqtt-raw-decode.ts';
import type { RawVersion } from '../support/mqtt-raw-encode.ts';
import { isSync, readTrace, straceWrapper, type Call, type TraceReader } from './trace.ts';

export interface MqttTraceReport {
  /** Packets that left, by type. */
  readonly left: Readonly<Record<string, number>>;
  readonly syncs: number;
  readonly commitsDuringSync: number;
  /** What left too early, as sentences. */
  readonly violations: readonly string[];
}

/** What wraps the agent so that `checkMqttTrace` can read it. */
export function mqttStraceWrapper(file: string): string[] {
  return straceWrapper(file).map((arg) => (arg.startsWith('trace=') ? `${arg},read` : arg));
}

/** `mqttPort` is the agent's; `publishers` are the names that messages begin with. */
export function checkMqttTrace(
  file: string,
  mqttPort: number,
  publishers: readonly string[],
): MqttTraceReport {
  const checker = new Checker(mqttPort, publishers);
  readTrace(file, checker);
  return checker.report;
}

/** One client, as the agent sees it. */
interface Peer {
  readonly said: RawPackets;
  version: RawVersion;
  persistent: boolean;
  /** Bytes of a packet that left in part. */
  rest: Buffer;
  /** Its PUBLISHes, by Packet Identifier. */
  readonly published: Map<number, string>;
  /** Commits that were complete when a packet was read that is answered by another: by the answer's name. */
  readonly asked: Map<string, number>;
}

class Checker implements TraceReader {
  readonly #port: string;
  readonly #message: RegExp;
  #commits = 0;
  #durable = 0;
  #syncs = 0;
  #syncCovers: number | undefined;
  #commitsDuringSync = 0;
  #writing = new Set<string>();
  #lastFrame = false;
  /** The commit that made each message. */
  readonly #commitOf = new Map<string, number>();
  readonly #peers = new Map<string, Peer>();
  readonly #left: Record<string, number> = {};
  readonly #violations: string[] = [];

  constructor(port: number, publishers: readonly string[]) {
    this.#port = `:${port}->`;
    this.#message = new RegExp(`((?:${publishers.join('|')}):\\d+):\\d+:\\.`, 'g');
  }

  get report(): MqttTraceReport {
    return {
      left: this.#left,
      syncs: this.#syncs,
      commitsDuringSync: this.#commitsDuringSync,
      violations: this.#violations,
    };
  }

  began(call: Call): void {
    if (isSync(call)) this.#syncCovers = this.#commits;
    else if (call.name !== 'read' && call.on.includes(this.#port)) this.#leaves(call);
  }

  returned(call: Call): void {
    if (isSync(call)) {
      if (call.result === 0) this.#durable = Math.max(this.#durable, this.#syncCovers ?? 0);
      this.#syncCovers = undefined;
      this.#syncs++;
    } else if (call.name === 'pwrite64' && call.on.endsWith('.db-wal')) this.#walWrite(call.bytes);
    else if (call.on.includes(this.#port)) {
      if (call.name === 'read') this.#arrives(call);
      else if (call.result !== call.bytes.length)
        throw new Error('a write in parts: the trace cannot be read');
    }
  }

  #walWrite(bytes: Buffer): void {
    if (bytes.length === 24) {
      this.#lastFrame = bytes.readUInt32BE(4) !== 0;
      return;
    }
    for (const [, message = ''] of bytes.toString('latin1').matchAll(this.#message))
      if (!this.#commitOf.has(message)) this.#writing.add(message);
    if (!this.#lastFrame) return;
    this.#lastFrame = false;
    this.#commits++;
    if (this.#syncCovers !== undefined) this.#commitsDuringSync++;
    for (const message of this.#writing) this.#commitOf.set(message, this.#commits);
    this.#writing.clear();
  }

  #peer(on: string): Peer {
    const known = this.#peers.get(on);
    if (known !== undefined) return known;
    const peer: Peer = {
      said: new RawPackets(),
      version: 4,
      persistent: false,
      rest: Buffer.alloc(0),
      published: new Map(),
      asked: new Map(),
    };
    this.#peers.set(on, peer);
    return peer;
  }

  #arrives({ on, bytes, result }: Call): void {
    if (!(result > 0)) return;
    const peer = this.#peer(on);
    for (const said of peer.said.read(bytes)) this.#asks(peer, said);
  }

  #asks(peer: Peer, said: RawSaid): void {
    const { type, packetId } = said;
    if (type === 'connect') {
      peer.version = said.version;
      peer.persistent = said.persistent;
      peer.asked.set('connack', this.#commits);
    } else if (type === 'publish') {
      const [message = ''] = /^[a-z0-9]+:\d+/.exec(said.data.toString('latin1')) ?? [];
      if (packetId !== 0) peer.published.set(packetId, message);
    } else if (type === 'subscribe') peer.asked.set(`suback ${packetId}`, this.#commits);
    else if (type === 'pubrec') peer.asked.set(`pubrel ${packetId}`, this.#commits);
    else if (type === 'pubrel') peer.asked.set(`pubcomp ${packetId}`, this.#commits);
  }

  #leaves({ on, bytes }: Call): void {
    const peer = this.#peer(on);
    peer.rest = Buffer.concat([peer.rest, bytes]);
    for (;;) {
      const found = decodeRaw(peer.version, peer.rest);
      if (found === undefined) return;
      peer.rest = peer.rest.subarray(found.length);
      this.#check(peer, found.packet);
    }
  }

  #check(peer: Peer, packet: RawPacket): void {
    const { type } = packet;
    this.#left[type] = (this.#left[type] ?? 0) + 1;
    if (type === 'publish') {
      const [message = ''] = /^[a-z0-9]+:\d+/.exec(packet.data.toString('latin1')) ?? [];
      this.#checkMessage(message, 'was delivered');
    } else if (type === 'puback' || type === 'pubrec') {
      this.#checkMessage(peer.published.get(packet.packetId) ?? '', `got its ${type}`);
    } else if (type === 'connack') {
      if (peer.persistent && !packet.present) this.#checkAnswer(peer, 'connack');
    } else if (type === 'suback' || type === 'pubrel' || type === 'pubcomp') {
      if (peer.persistent) this.#checkAnswer(peer, `${type} ${packet.packetId}`);
    }
  }

  #checkMessage(message: string, what: string): void {
    const commit = this.#commitOf.get(message);
    if (commit === undefined) this.#violations.push(`${message} ${what} before it was written`);
    else if (commit > this.#durable)
      this.#violations.push(
        `${message} ${what} after commit ${commit} and sync of ${this.#durable}`,
      );
  }

  #checkAnswer(peer: Peer, answer: string): void {
    const commits = peer.asked.get(answer);
    if (commits === undefined) this.#violations.push(`${answer} left without being asked for`);
    else if (this.#durable <= commits)
      this.#violations.push(
        `${answer} left, asked for after commit ${commits}, durable is ${this.#durable}`,
      );
  }
}
