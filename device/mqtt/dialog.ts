// What is said between us and one client, once its CONNECT has been read: its packets one after the other, our answers, and
// what its session sends. The connection beneath knows when to read and how to end.

import { OutboundAliases } from './aliases.ts';
import type { Terms } from './connect.ts';
import type { Client } from './entry.ts';
import { Pause, type Flow } from './flow.ts';
import { Inbound, type PublishLink } from './inbound.ts';
import { responseSubject } from './message.ts';
import type { Outbox } from './outbox.ts';
import { ackPacket } from './reasons.ts';
import type { Closing, Link, Outgoing } from './session/types.ts';
import type { Shared } from './shared.ts';
import { subscribe, unsubscribe, type Answer } from './subscribe.ts';
import { decodeAck } from './wire/ack-packets.ts';
import { decodeAuth, decodeDisconnect } from './wire/disconnect-packet.ts';
import { PacketType, PINGRESP, type AckType } from './wire/packet-type.ts';
import { notAllowed } from './wire/protocol-error.ts';
import { FAILURE, ReasonCode } from './wire/reason-codes.ts';
import { decodeSubscribe, decodeUnsubscribe } from './wire/subscribe-packets.ts';
import type { Subscribe, Version } from './wire/types.ts';

/** An acknowledgement of success. */
const ACK_BYTES = 4;
const SHARED = '$share/';
/** In a Response Topic, where NATS programs wait for answers: looked for before properties are decoded. */
const INBOX = Buffer.from('_INBOX/');
const NOTHING = Buffer.alloc(0);

/** The connection beneath. */
export interface Line {
  readonly flow: Flow;
  readonly outbox: Outbox;
  /** Welcomed, and not closed. */
  readonly connected: boolean;
  /** Something was sent: a client that reads nothing at all is closed. */
  sent(bytes: number): void;
  /** An answer has left, for which the end may have waited. */
  answered(): void;
  /** Closes a client and, in 5.0, says why. */
  disconnect(reasonCode: number, reason: string): void;
  close(reason: string, farewell?: Buffer, closing?: Closing): void;
}

export class Dialog implements Link, PublishLink {
  readonly terms: Terms;
  /** PUBLISHes both ways, and the bytes of these packets. */
  readonly traffic = { inMsgs: 0, inBytes: 0, outMsgs: 0, outBytes: 0 };
  readonly #shared: Shared;
  readonly #line: Line;
  #client: Client | undefined;
  #inbound: Inbound | undefined;
  #aliases: OutboundAliases | undefined;
  #refusedByDisk = false;
  #starved = false;

  constructor(shared: Shared, terms: Terms, line: Line) {
    this.#shared = shared;
    this.terms = terms;
    this.#line = line;
  }

  /** Who it is; undefined before its session is open. */
  get client(): Client | undefined {
    return this.#client;
  }

  get version(): Version {
    return this.terms.version;
  }

  get receiveMaximum(): number {
    return this.terms.receiveMaximum;
  }

  get roomy(): boolean {
    const { roomBytes } = this.#shared.output;
    if (roomBytes === 0) this.#starved = true;
    return this.#line.outbox.bytes < roomBytes;
  }

  /** Goes on with what others, who did not read, have kept from the client: nothing of its own will say that there is room. */
  feed(): void {
    if (!this.#starved) return;
    this.#starved = false;
    this.#client?.session.pump();
  }

  /** Packets of the client that still wait for their answer. */
  get waiting(): number {
    return this.#inbound?.waiting ?? 0;
  }

  /** The disk had no room for a PUBLISH, and the client could not be told: its answer never comes on this connection. */
  get isRefusedByDisk(): boolean {
    return this.#refusedByDisk;
  }

  entered(client: Client): void {
    this.#client = client;
  }

  /** CONNACK has been sent. */
  start(): void {
    this.#client?.session.start();
  }

  /** The client has been silent for a while. */
  rest(): void {
    this.#inbound?.rest();
  }

  mayReceive(subject: string): boolean {
    return this.#client?.access.mayReceive(subject) === true;
  }

  publish(outgoing: Outgoing): boolean {
    const client = this.#client;
    if (client === undefined) return false;
    if (client.topicAliasesMax > 0) this.#aliases ??= new OutboundAliases(client.topicAliasesMax);
    const packet = this.#shared.encoder.encode(outgoing, client, this.#aliases);
    if (packet === undefined) return false;
    if (client.version === 5 && outgoing.form.properties.includes(INBOX)) {
      const subject = responseSubject(outgoing.form);
      if (subject !== undefined) client.access.received(subject);
    }
    this.traffic.outMsgs++;
    this.traffic.outBytes += packet.length;
    this.#line.outbox.send(packet, this.#shared.encoder.isShared(packet));
    this.#line.sent(packet.length);
    return true;
  }

  pubrel(packetId: number, reasonCode: number = ReasonCode.success): void {
    this.acknowledge(PacketType.pubrel, packetId, reasonCode);
  }

  acknowledge(type: AckType, packetId: number, reasonCode: number, reason?: string): void {
    if (!this.#line.connected) return;
    const { counters } = this.#shared;
    if (type === PacketType.puback && reasonCode < FAILURE) counters.pubacks++;
    else if (type === PacketType.pubrec && reasonCode < FAILURE) counters.pubrecs++;
    const { outbox } = this.#line;
    if (reasonCode === ReasonCode.success || this.version !== 5) {
      outbox.ack(type, packetId);
      this.#line.sent(ACK_BYTES);
    } else {
      const packet = ackPacket(type, packetId, reasonCode, reason, this.terms);
      if (packet !== undefined) outbox.answer(packet);
      if (packet !== undefined) this.#line.sent(packet.length);
    }
    this.#line.answered();
  }

  send(packet: Buffer): void {
    this.#line.outbox.send(packet);
    this.#line.sent(packet.length);
  }

  takeOver(): void {
    this.#shared.counters.takeovers++;
    this.#line.disconnect(ReasonCode.sessionTakenOver, 'another connection of the same client');
  }

  windowChanged(full: boolean): void {
    const { flow } = this.#line;
    if (full) flow.pause(Pause.window);
    else flow.unpause(Pause.window);
    flow.yieldToOthers();
    this.#line.answered();
  }

  refusedByDisk(): void {
    this.#refusedByDisk = true;
  }

  /** Takes any packet but CONNECT. Throws a ProtocolError or a TopicError. */
  take(frame: Buffer, start: number): void {
    const client = this.#client;
    if (client === undefined) throw notAllowed('a packet before CONNACK'); // We read none.
    const type = (frame[0] ?? 0) >> 4;
    if (type === PacketType.publish) {
      this.traffic.inMsgs++;
      this.traffic.inBytes += frame.length;
      this.#publications(client).publish(frame, start);
    } else if (type === PacketType.pubrel) this.#publications(client).pubrel(frame, start);
    else if (type === PacketType.pingreq) this.send(PINGRESP);
    else if (type <= PacketType.pubcomp) this.#acknowledged(client, frame, start);
    else this.#takeRare(client, type, frame, start);
  }

  #publications(client: Client): Inbound {
    return (this.#inbound ??= new Inbound(this.#shared, client, this));
  }

  #acknowledged({ session, version }: Client, frame: Buffer, start: number): void {
    const { packetId, reasonCode } = decodeAck(frame, start, version);
    const type = (frame[0] ?? 0) >> 4;
    const expected =
      type === PacketType.puback
        ? session.puback(packetId)
        : type === PacketType.pubrec
          ? session.pubrec(packetId, reasonCode)
          : session.pubcomp(packetId);
    if (!expected) throw notAllowed('an acknowledgement of another kind than the message wants');
  }

  #takeRare(client: Client, type: number, frame: Buffer, start: number): void {
    const { version } = client;
    const { flow } = this.#line;
    switch (type) {
      case PacketType.subscribe: {
        const packet = asBridge(client, decodeSubscribe(frame, start, version));
        flow.pause(Pause.disk);
        return subscribe(this.#shared, client, packet, (...answer) => this.#answer(...answer));
      }
      case PacketType.unsubscribe: {
        const packet = decodeUnsubscribe(frame, start, version);
        flow.pause(Pause.disk);
        return unsubscribe(this.#shared, client, packet, (...answer) => this.#answer(...answer));
      }
      case PacketType.disconnect:
        return this.#disconnected(client, frame, start);
      default:
        decodeAuth(frame, start, version);
        // Nobody has begun an enhanced authentication [4.12].
        throw notAllowed('an AUTH without an authentication method in CONNECT');
    }
  }

  #disconnected({ version, expirySeconds }: Client, frame: Buffer, start: number): void {
    const { reasonCode, properties } = decodeDisconnect(frame, start, version);
    const { sessionExpiryInterval: asked } = properties;
    if (expirySeconds === 0 && (asked ?? 0) > 0)
      throw notAllowed('a session that ends with its connection cannot be kept'); // [3.14.2.2.2]
    const { sessionExpirySecondsMax } = this.#shared.limits;
    // [MQTT-3.14.4-3]: any other reason leaves the Will to be published.
    this.#line.close('DISCONNECT', NOTHING, {
      will: reasonCode === ReasonCode.normalDisconnection ? 'discard' : 'publish',
      expirySeconds: asked === undefined ? undefined : Math.min(asked, sessionExpirySecondsMax),
    });
  }

  /** Sends SUBACK or UNSUBACK; those of a session that stays come when the disk has it. Then reading goes on. */
  #answer(...[packet, then]: Parameters<Answer>): void {
    const line = this.#line;
    if (!line.connected) return;
    if (packet === undefined) return line.disconnect(ReasonCode.quotaExceeded, 'the disk is full');
    if (packet.length > this.terms.packetBytesMax)
      return line.disconnect(ReasonCode.packetTooLarge, 'the client takes no such large answer');
    this.send(packet);
    then?.();
    line.flow.unpause(Pause.disk);
    line.answered();
  }
}

/** A bridge of mosquitto's wants no echo of its own, and RETAIN as it was published; its protocol cannot say so. */
function asBridge({ bridge }: Terms, packet: Subscribe): Subscribe {
  if (!bridge) return packet;
  const filters = packet.filters.map((each) => ({
    ...each,
    noLocal: !each.filter.startsWith(SHARED),
    retainAsPublished: true,
  }));
  return { ...packet, filters };
}
