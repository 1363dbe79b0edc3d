// One client from CONNECT to its end, on any Duplex. It reads packets one after the other, in the order in which they
// came; whatever has to wait (CONNACK for the disk, a full window of PUBLISHes) stops the reading, so nothing piles up
// here. A peer that breaks the protocol is closed; 3.1.1 has hardly any other answer.

import type { Duplex } from 'node:stream';
import { PublishError } from '../../src/message.ts';
import { AckQueue } from './acks.ts';
import { admit, type Admission, type Will, type Login } from './connect.ts';
import { FrameReader, remainingMax, type FrameTaker } from './frames.ts';
import { Outbox } from './outbox.ts';
import {
  decode,
  decodePuback,
  decodePublish,
  encodeConnack,
  PacketType,
  PINGRESP,
  ProtocolError,
  ReturnCode,
} from './packets.ts';
import type { Link, Session } from './session.ts';
import type { Opened } from './sessions.ts';
import type { Shared } from './shared.ts';
import { subscribe, unsubscribe, type Answer } from './subscribe.ts';
import { isReserved, TopicError } from './topic.ts';

/** Reasons not to read on. */
const Pause = { disk: 1, window: 2, total: 4, stopping: 8 } as const;

/** The listener, which counts its connections. */
export interface Host {
  /** Whether one more client may connect; `instead` of another connection of the same client. */
  admits(instead: boolean): boolean;
  connected(connection: Connection): void;
  /** No longer a client; its socket may still be open for our last words. */
  closed(connection: Connection): void;
  gone(connection: Connection): void;
}

/** A stream at a limit of its own (10077) is no passing trouble: its PUBACK is withheld, and the connection kept. */
function isStreamLimit(error: Error): boolean {
  return error instanceof PublishError && error.errCode === 10077;
}

export class Connection implements Link, FrameTaker {
  readonly #stream: Duplex;
  readonly #shared: Shared;
  readonly #host: Host;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #acks: AckQueue;
  #phase: 'connecting' | 'admitted' | 'connected' | 'closed' = 'connecting';
  #session: Session | undefined;
  #will: Will | undefined;
  #login: Login | undefined;
  #keepAliveMs = 0;
  /** When the last bytes came; before CONNECT, when the socket was opened; once closed, when we closed it. */
  #sinceMs: number;
  #pauses = 0;
  #cut = false;
  /** The disk had no room for a PUBLISH of this connection: its PUBACK never comes here. */
  #refusedByDisk = false;

  constructor(stream: Duplex, shared: Shared, host: Host) {
    this.#stream = stream;
    this.#shared = shared;
    this.#host = host;
    const { clock, limits } = shared;
    this.#sinceMs = clock.monotonicMs();
    this.#reader = new FrameReader(this, shared.partials);
    this.#outbox = new Outbox(stream, clock, () => {
      if (this.#phase === 'connected') this.#session?.pump();
    });
    this.#acks = new AckQueue(
      limits.publishesInFlightMax,
      limits.publishBytesInFlightMax,
      (packetId) => this.#puback(packetId),
    );
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => this.close('the client closed the connection'));
    stream.on('error', (error) => this.close(error.message));
    stream.on('close', () => {
      this.close('the client closed the connection');
      this.#host.gone(this);
    });
  }

  get clientId(): string | undefined {
    return this.#session?.clientId;
  }

  get roomy(): boolean {
    return this.#outbox.bytes < this.#shared.limits.outputBytesMax;
  }

  send(packet: Buffer): void {
    this.#outbox.send(packet);
    this.#checkOutput();
  }

  takeOver(): void {
    this.#shared.counters.takeovers++;
    this.close('another connection of the same client');
  }

  /** Looks at the time: CONNECT, keep-alive, our last words. */
  tick(nowMs: number): void {
    const { limits, counters, store } = this.#shared;
    const idleMs = nowMs - this.#sinceMs;
    // A client whose window is full of refused messages sends nothing more; it sends them again when it reconnects.
    if (this.#phase === 'connected' && this.#refusedByDisk && store.hasRoom?.() === true) {
      return this.close('the disk takes messages again');
    }
    if (this.#phase === 'connecting' && idleMs >= limits.connectTimeoutMs) {
      counters.connectTimeouts++;
      this.close('no CONNECT in time');
    } else if (this.#phase === 'connected' && this.#pauses !== 0) {
      this.#sinceMs = nowMs; // It is we who do not read.
    } else if (this.#phase === 'connected' && this.#keepAliveMs > 0) {
      if (idleMs <= 1.5 * this.#keepAliveMs) return;
      counters.keepAliveTimeouts++;
      this.close('keep-alive timeout'); // [MQTT-3.1.2-24]
    } else if (this.#phase === 'closed' && idleMs >= limits.lingerMs) this.destroy();
  }

  /** Closes a client whose user is gone, or has another password now. */
  checkUser(): void {
    if (this.#login === undefined || this.#shared.users.check(this.#login) === undefined) return;
    this.close('its user may no longer connect');
  }

  /** Reads no more, lets the answers to what was taken leave, and closes. */
  drain(): void {
    if (this.#phase === 'connecting') return this.close('stopping');
    this.#pause(Pause.stopping);
    this.#closeWhenAnswered();
  }

  destroy(): void {
    this.close('destroyed');
    this.#stream.destroy();
  }

  /** Ends the connection; its Will is published unless DISCONNECT took it back. With `farewell` the peer gets to read it. */
  close(reason: string, farewell?: Buffer): void {
    if (this.#phase === 'closed') return;
    const { clock, log, sessions } = this.#shared;
    log.debug({ clientId: this.clientId, reason }, 'MQTT connection closed');
    this.#phase = 'closed';
    this.#sinceMs = clock.monotonicMs();
    this.#reader.close();
    if (this.#session !== undefined) sessions.close(this.#session, this);
    this.#host.closed(this);
    this.#publishWill();
    if (farewell !== undefined) this.#outbox.send(farewell);
    if (farewell !== undefined) this.#outbox.flush();
    this.#outbox.close();
    if (farewell === undefined) this.#stream.destroy();
    else this.#stream.end();
    // What still comes is read and dropped: a reset would take our last words from the peer.
    this.#stream.resume();
  }

  remainingMax(first: number): number {
    return remainingMax(first, this.#phase !== 'connecting', this.#shared.limits);
  }

  take(frame: Buffer, start: number): void {
    const type = (frame[0] ?? 0) >> 4;
    if (type === PacketType.publish) this.#publish(frame, start);
    else if (type === PacketType.puback) this.#session?.puback(decodePuback(frame));
    else if (type === PacketType.pingreq) this.send(PINGRESP);
    else if (type === PacketType.connect) this.#connect(frame, start);
    else this.#takeRare(frame);
  }

  #takeRare(frame: Buffer): void {
    const packet = decode(frame);
    const session = this.#session;
    if (packet.cmd === 'disconnect') {
      this.#will = undefined; // [MQTT-3.14.4-3]
      this.close('DISCONNECT', Buffer.alloc(0));
    } else if (session !== undefined && packet.cmd === 'subscribe') {
      this.#pause(Pause.disk);
      subscribe(this.#shared, session, packet, this.#answer);
    } else if (session !== undefined && packet.cmd === 'unsubscribe') {
      this.#pause(Pause.disk);
      unsubscribe(this.#shared, session, packet, this.#answer);
    }
  }

  /** Sends SUBACK or UNSUBACK; those of a persistent session come when the disk has it. Then reading goes on. */
  readonly #answer: Answer = (packet, then) => {
    if (this.#phase !== 'connected') return;
    if (packet === undefined) return this.close('the disk is full');
    this.send(packet);
    then?.();
    this.#unpause(Pause.disk);
    this.#closeWhenAnswered();
  };

  #connect(frame: Buffer, start: number): void {
    const { users, limits, sessions } = this.#shared;
    const admission = admit(frame, start, users, limits);
    if ('reason' in admission) return this.#refuse(admission.reason, admission.connack);
    const { clientId, clean } = admission;
    if (this.#host.admits(sessions.owned(clientId)) && (clean || !sessions.full(clientId)))
      return this.#open(admission);
    this.#refuse(
      'too many connections or sessions',
      encodeConnack(ReturnCode.serverUnavailable, false),
    );
  }

  #open(admission: Admission): void {
    const { sessions } = this.#shared;
    this.#phase = 'admitted';
    this.#login = admission.login;
    const clientId = admission.clientId === '' ? sessions.newClientId() : admission.clientId;
    this.#pause(Pause.disk);
    const opened = sessions.open(clientId, admission.clean, this, (error) => {
      if (this.#phase !== 'admitted') return;
      if (error === null) return this.#welcome(admission, opened);
      this.#refuse('the disk is full', encodeConnack(ReturnCode.serverUnavailable, false));
    });
    this.#session = opened.session;
    if (!opened.written) this.#welcome(admission, opened);
  }

  #welcome({ keepAliveMs, will }: Admission, { session, present }: Opened): void {
    this.#shared.counters.connects++;
    this.#phase = 'connected';
    this.#sinceMs = this.#shared.clock.monotonicMs();
    this.#keepAliveMs = keepAliveMs;
    this.#will = will;
    this.#host.connected(this);
    this.send(encodeConnack(ReturnCode.accepted, present));
    session.start();
    this.#unpause(Pause.disk);
    this.#closeWhenAnswered();
  }

  #refuse(reason: string, connack: Buffer): void {
    this.#shared.counters.connectsRefused++;
    this.#shared.warn(`an MQTT client was refused: ${reason}`, {});
    this.close(reason, connack);
  }

  #publish(frame: Buffer, start: number): void {
    const { topic, packetId, qos, retain, data } = decodePublish(frame, start);
    const { counters, publisher, subjects, window } = this.#shared;
    counters.inMsgs++;
    counters.inBytes += data.length;
    const subject = subjects.get(topic);
    if (isReserved(subject)) return this.#dropReserved(topic, packetId);
    const message = { subject, data };
    if (qos === 0) {
      if (publisher.publish(message, retain) !== 'stored') counters.unroutedMsgs++;
      return;
    }
    const slot = this.#acks.open(packetId, data.length);
    window.open(data.length);
    const routed = publisher.publishAcknowledged(message, retain, (error) => {
      window.settle(data.length);
      this.#settle(slot, error);
    });
    if (routed !== 'stored') counters.unroutedMsgs++;
    if (this.#acks.full) this.#pause(Pause.window);
    this.#yieldToOthers();
  }

  /** Takes nothing more while all clients together wait for too much. */
  #yieldToOthers(): void {
    const { window } = this.#shared;
    if (!window.full || (this.#pauses & Pause.total) !== 0) return;
    this.#pause(Pause.total);
    window.wait(() => this.#unpause(Pause.total));
  }

  /**
   * A topic of the system's. [MQTT-3.3.5-2] leaves a positive answer or closing; closing would meet the same message
   * again after each reconnect, and everything behind it would wait for ever.
   */
  #dropReserved(topic: string, packetId: number): void {
    this.#shared.counters.notPermittedMsgs++;
    this.#shared.warn('MQTT messages to a reserved topic are dropped', {
      clientId: this.clientId,
      topic,
    });
    if (packetId !== 0) this.#acks.settle(this.#acks.open(packetId, 0), true);
  }

  #settle(slot: number, error: Error | null): void {
    if (error !== null) {
      this.#shared.counters.refusedMsgs++;
      // 3.1.1 has no negative answer. Without PUBACK the client keeps the message and sends it again when it reconnects.
      const { clientId } = this;
      this.#shared.warn('MQTT messages were refused and get no PUBACK', { clientId, err: error });
      this.#refusedByDisk ||= !isStreamLimit(error);
    }
    this.#acks.settle(slot, error === null);
    if (this.#acks.roomy) this.#unpause(Pause.window);
    this.#closeWhenAnswered();
  }

  #puback(packetId: number): void {
    if (this.#phase === 'closed') return;
    this.#shared.counters.pubacks++;
    this.#outbox.puback(packetId);
    this.#checkOutput();
  }

  #publishWill(): void {
    const will = this.#will;
    this.#will = undefined;
    if (will !== undefined) this.#shared.publisher.publishWill(will, this.clientId);
  }

  #read(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    if (this.#phase === 'connected') {
      this.#sinceMs = this.#shared.clock.monotonicMs();
      this.#yieldToOthers();
    }
    this.#guard(() => this.#reader.read(chunk));
  }

  /** Closes the connection when `step` finds the peer at fault. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof TopicError)) throw error;
      this.#shared.counters.protocolErrors++;
      const { clientId } = this;
      this.#shared.warn('an MQTT client broke the protocol and was closed', {
        clientId,
        reason: error.message,
      });
      this.close(error.message);
    }
  }

  #pause(reason: number): void {
    this.#pauses |= reason;
    this.#reader.pause();
    this.#stream.pause();
  }

  #unpause(reason: number): void {
    if ((this.#pauses & reason) === 0) return;
    this.#pauses &= ~reason;
    if (this.#pauses !== 0) return;
    // In a turn of its own: this may be a callback of the disk, no place to publish from.
    this.#shared.clock.soon(() => {
      if (this.#phase === 'closed') return;
      if (this.#pauses === 0) this.#yieldToOthers();
      if (this.#pauses !== 0) return;
      this.#guard(() => this.#reader.resume());
      if (this.#pauses === 0) this.#stream.resume();
    });
  }

  /** A client that reads nothing at all is closed, in a turn of its own. */
  #checkOutput(): void {
    if (this.#cut || this.#outbox.bytes <= this.#shared.limits.outputBytesCut) return;
    this.#cut = true;
    this.#shared.clock.soon(() => {
      if (this.#phase === 'closed') return;
      this.#shared.counters.slowReaders++;
      this.close('the client does not read');
    });
  }

  #closeWhenAnswered(): void {
    const stopping = (this.#pauses & Pause.stopping) !== 0;
    if (!stopping || (this.#pauses & Pause.disk) !== 0 || this.#acks.waiting > 0) return;
    this.close('stopping', Buffer.alloc(0));
  }
}
