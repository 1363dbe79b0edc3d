// One connection to a broker, from our CONNECT to its end, on any Duplex. It reads packets in their order and hands each
// PUBLISH to the inflow; while that takes no more, it does not read, so the broker keeps what we cannot. Only the
// inflow says when a PUBACK leaves.

import type { Duplex } from 'node:stream';
import type { Cancel, Clock } from '../../../src/clock.ts';
import { every } from '../../../src/clock.ts';
import { FrameReader, type FrameTaker } from '../wire/frames.ts';
import { Budget } from '../limits.ts';
import { Outbox } from '../outbox.ts';
import { DISCONNECT, PINGREQ, type Version } from '../wire/client-packets.ts';
import { PacketType } from '../wire/packet-type.ts';
import { ProtocolError } from '../wire/protocol-error.ts';
import type { Arrivals } from './source-arrivals.ts';
import { CONTROL_BYTES_MAX, PUBLISH_BYTES_MAX, type SourceConfig } from './source-config.ts';
import { connackError, disconnectError, networkError, SourceError } from './source-error.ts';
import {
  decodeAnswer,
  decodeConnack,
  decodeDisconnect,
  encodeSubscribe,
  encodeUnsubscribe,
} from './source-packets.ts';
import type { Subscriptions } from './source-subscriptions.ts';

/** Time for TCP, TLS and CONNACK together. */
const CONNECT_TIMEOUT_MS = 10_000;
/** How long a broker may take to read our last words. */
const LINGER_MS = 1000;
const PROTOCOL_HINT = 'what answers at url is no MQTT broker, or a broken one';

/** What one connection works on; the source keeps it over connections. */
export interface SourceParts {
  readonly config: SourceConfig;
  readonly clock: Clock;
  readonly arrivals: Arrivals;
  readonly subscriptions: Subscriptions;
}

/** The source, which hears how its connection fares. */
export interface SourceHost {
  connected(sessionPresent: boolean, sessionLost: boolean): void;
  /** `code`: granted QoS, or a reason from 0x80 on. */
  subscribed(topic: string, code: number): void;
  /** Called once. Null: we ended it ourselves. */
  ended(error: SourceError | null): void;
}

export class SourceConnection implements FrameTaker {
  readonly #stream: Duplex;
  readonly #version: Version;
  readonly #parts: SourceParts;
  readonly #host: SourceHost;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #cancelTick: Cancel;
  #cancelLinger: Cancel | undefined;
  #phase: 'connecting' | 'connected' | 'draining' | 'closed' = 'connecting';
  #paused = false;
  /** Set while a turn is due in which reading goes on. */
  #resuming = false;
  /** Packet Identifier of a SUBSCRIBE or UNSUBSCRIBE -> its Topic Filter. */
  readonly #asked = new Map<number, { topic: string; subscribe: boolean }>();
  #lastPacketId = 0;
  #keepAliveMs: number;
  #heardMs: number;
  #spokeMs: number;
  #openedMs: number;

  /** `connect` is the CONNECT packet; it is sent as soon as `stream` takes it. */
  constructor(
    stream: Duplex,
    { version, connect }: { version: Version; connect: Buffer },
    parts: SourceParts,
    host: SourceHost,
  ) {
    this.#stream = stream;
    this.#version = version;
    this.#parts = parts;
    this.#host = host;
    const { clock, config } = parts;
    this.#keepAliveMs = config.keepAliveMs;
    this.#openedMs = this.#heardMs = this.#spokeMs = clock.monotonicMs();
    // One begun packet at a time, and no larger than the largest.
    this.#reader = new FrameReader(this, new Budget(PUBLISH_BYTES_MAX + CONTROL_BYTES_MAX));
    this.#outbox = new Outbox(stream, clock, new Budget(Infinity), () => undefined);
    this.#cancelTick = every(clock, Math.max(10, config.keepAliveMs / 4), () => this.#tick());
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('error', (error) => this.#end(networkError(error)));
    stream.on('end', () => this.#lost());
    stream.on('close', () => this.#lost());
    this.#send(connect);
  }

  get connected(): boolean {
    return this.#phase === 'connected';
  }

  /** Not reading, because too much waits for the disk. */
  get paused(): boolean {
    return this.#paused;
  }

  /** The inflow may have room again, or nothing more under way. */
  room(): void {
    const { inflow } = this.#parts.arrivals;
    if (this.#phase === 'draining') {
      if (inflow.held === 0) this.#leave();
      return;
    }
    if (!this.#paused || this.#resuming || !inflow.roomy) return;
    this.#resuming = true;
    // In a turn of its own: this may be a callback of the disk, no place to publish from.
    this.#parts.clock.soon(() => this.#resume());
  }

  /** Reads no more, lets the PUBACKs of what was published leave, and says goodbye. */
  drain(): void {
    if (this.#phase !== 'connected') return this.#end(null);
    this.#phase = 'draining';
    this.#reader.pause();
    this.#stream.pause();
    this.room();
  }

  /** Asks once more for what the broker has refused. */
  resubscribe(): void {
    if (this.#phase !== 'connected' || this.#asked.size > 0) return;
    for (const topic of this.#parts.subscriptions.refused) this.#ask(topic, true);
  }

  /** Ends it at once. */
  destroy(): void {
    this.#end(null);
    this.#cancelLinger?.();
    this.#stream.destroy();
  }

  remainingMax(first: number): number {
    const type = first >> 4;
    if (this.#phase === 'connecting' && type !== PacketType.connack)
      throw new ProtocolError('the first packet is no CONNACK');
    return type === PacketType.publish ? PUBLISH_BYTES_MAX : CONTROL_BYTES_MAX;
  }

  take(frame: Buffer, start: number): void {
    const type = (frame[0] ?? 0) >> 4;
    if (this.#phase === 'connecting') return this.#welcome(frame, start);
    if (type === PacketType.publish) {
      this.#parts.arrivals.publish(frame, start, this.#version);
      if (this.#parts.arrivals.inflow.full) this.#pause();
    } else if (type === PacketType.suback || type === PacketType.unsuback)
      this.#answered(frame, start);
    else if (type === PacketType.disconnect && this.#version === 5)
      this.#end(disconnectError(decodeDisconnect(frame, start)));
    else if (type !== PacketType.pingresp) throw new ProtocolError(`a packet of type ${type}`);
  }

  takeOversized(head: Buffer, start: number): void {
    const type = (head[0] ?? 0) >> 4;
    if (type !== PacketType.publish)
      throw new ProtocolError(`a packet of type ${type} without end`);
    this.#parts.arrivals.oversized(head, start);
    if (this.#parts.arrivals.inflow.full) this.#pause();
  }

  #welcome(frame: Buffer, start: number): void {
    const is5 = this.#version === 5;
    const { code, keepAlive, sessionPresent } = decodeConnack(frame, start, this.#version);
    if (code !== 0) return this.#end(connackError(code, is5));
    this.#phase = 'connected';
    if (keepAlive !== undefined && keepAlive > 0)
      this.#keepAliveMs = Math.min(this.#keepAliveMs, keepAlive * 1000);
    this.#parts.arrivals.inflow.open(sessionPresent, (packetId) => this.#puback(packetId));
    // What the connection before has brought may fill the room already.
    if (this.#parts.arrivals.inflow.full) this.#pause();
    const plan = this.#parts.subscriptions.plan(sessionPresent);
    this.#host.connected(sessionPresent, plan.sessionLost);
    // In this order a message that both an old and a new filter match may come twice; in the other it might not come.
    for (const topic of plan.subscribe) this.#ask(topic, true);
    for (const topic of plan.unsubscribe) this.#ask(topic, false);
  }

  #ask(topic: string, subscribe: boolean): void {
    const packetId = (this.#lastPacketId % 65_535) + 1;
    this.#lastPacketId = packetId;
    this.#asked.set(packetId, { topic, subscribe });
    const { qos, retained } = this.#parts.config;
    this.#send(
      subscribe
        ? encodeSubscribe(packetId, topic, qos, retained, this.#version)
        : encodeUnsubscribe(packetId, topic, this.#version),
    );
  }

  #answered(frame: Buffer, start: number): void {
    const { code, packetId } = decodeAnswer(frame, start, this.#version);
    const asked = this.#asked.get(packetId);
    if (asked === undefined) return;
    this.#asked.delete(packetId);
    if (asked.subscribe) {
      this.#parts.subscriptions.answered(asked.topic, code < 0x80);
      this.#host.subscribed(asked.topic, code);
    }
    if (this.#asked.size === 0) this.#parts.subscriptions.done();
  }

  #puback(packetId: number): void {
    if (this.#phase === 'closed') return;
    this.#outbox.ack(PacketType.puback, packetId);
    this.#spokeMs = this.#parts.clock.monotonicMs();
  }

  #send(packet: Buffer): void {
    this.#outbox.send(packet);
    this.#spokeMs = this.#parts.clock.monotonicMs();
  }

  #read(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#heardMs = this.#parts.clock.monotonicMs();
    this.#guard(() => this.#reader.read(chunk));
  }

  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const text = `the broker broke the protocol: ${error.message}`;
      this.#end(new SourceError(text, { hint: PROTOCOL_HINT, cause: error }));
    }
  }

  #pause(): void {
    if (this.#phase !== 'connected') return;
    this.#paused = true;
    this.#reader.pause();
    this.#stream.pause();
  }

  #resume(): void {
    this.#resuming = false;
    if (this.#phase !== 'connected' || !this.#parts.arrivals.inflow.roomy) return;
    this.#paused = false;
    this.#heardMs = this.#parts.clock.monotonicMs();
    this.#guard(() => this.#reader.resume());
    if (this.#phase === 'connected' && !this.#paused) this.#stream.resume();
  }

  /** Looks at the time: CONNACK, keep-alive in both directions. */
  #tick(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#phase === 'connecting') {
      if (nowMs - this.#openedMs < CONNECT_TIMEOUT_MS) return;
      return this.#end(
        new SourceError('the broker does not answer', { hint: 'check url, and the network' }),
      );
    }
    // It is we who do not read: the answer to a PINGREQ may lie in the socket.
    if (this.#paused) this.#heardMs = nowMs;
    const silentMs = nowMs - this.#heardMs;
    if (silentMs >= this.#keepAliveMs) {
      const hint = 'check the network, and that the broker runs';
      return this.#end(new SourceError('the broker has fallen silent', { hint }));
    }
    // [MQTT-3.1.2-24]: what we send counts; and only an answer shows that the broker is there.
    const quietMs = Math.max(nowMs - this.#spokeMs, silentMs);
    if (quietMs >= this.#keepAliveMs / 2) this.#send(PINGREQ);
  }

  #lost(): void {
    const early = this.#phase === 'connecting';
    this.#end(
      new SourceError(
        early ? 'the broker closed the connection at once' : 'the broker closed the connection',
        { hint: 'look into the log of the broker', wrongVersion: early },
      ),
    );
  }

  #leave(): void {
    this.#outbox.flush(); // The PUBACKs first: what is sent goes before them.
    this.#outbox.send(DISCONNECT[this.#version]);
    this.#end(null);
  }

  #end(error: SourceError | null): void {
    if (this.#phase === 'closed') return;
    const drained = this.#phase === 'draining';
    this.#phase = 'closed';
    this.#cancelTick();
    this.#reader.close();
    if (drained) this.#outbox.flush();
    this.#outbox.close();
    this.#parts.arrivals.inflow.close();
    if (drained) {
      // What still comes is read and dropped: a reset would take our last PUBACKs from the broker.
      this.#stream.resume();
      this.#stream.end();
      this.#cancelLinger = this.#parts.clock.after(LINGER_MS, () => this.#stream.destroy());
      this.#stream.once('close', this.#cancelLinger);
    } else this.#stream.destroy();
    this.#host.ended(error);
  }
}
