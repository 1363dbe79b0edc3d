// The PUBLISHes of one client, and their PUBRELs: judged, routed and answered. Only a client that publishes has one of
// these.
//
// Nothing is acknowledged before the disk has it, and answers keep the order of the PUBLISHes (acks.ts). A QoS 2 message is
// noted by its Packet Identifier in the same transaction, is routed once however often it is sent, and forgotten with its
// PUBREL; PUBCOMP waits until that is on the disk too, for the client uses the identifier again for another message after
// it, and after a power cut we would take that one for a repetition.

import { isUtf8 } from 'node:buffer';
import type { Routed } from '../../src/broker.ts';
import { withoutForeignReply } from './access/foreign-reply.ts';
import type { Access } from './access/types.ts';
import { AckQueue, NO_ANSWER } from './acks.ts';
import { InboundAliases } from './aliases.ts';
import { toMessage } from './message.ts';
import type { Received } from './publisher.ts';
import type { Shared } from './shared.ts';
import { isPassing } from './tables.ts';
import { TopicError } from './topic.ts';
import { decodeAck } from './wire/ack-packets.ts';
import { PacketType, type AckType } from './wire/packet-type.ts';
import { ProtocolError } from './wire/protocol-error.ts';
import { decodePublish } from './wire/publish-packet.ts';
import { FAILURE, ReasonCode } from './wire/reason-codes.ts';
import { NO_PROPERTIES, type Publish, type QoS, type Version } from './wire/types.ts';

/** Whose PUBLISHes they are. */
export interface Publishing {
  readonly version: Version;
  readonly access: Access;
  readonly session: {
    readonly clientId: string;
    readonly user: string | undefined;
    readonly received: Received & { readonly full: boolean };
  };
}

/** The connection on which they come. */
export interface PublishLink {
  /** Sends an acknowledgement; `reason` explains a failure. */
  acknowledge(type: AckType, packetId: number, reasonCode: number, reason?: string): void;
  /** Whether it shall be read on; asked for after each PUBLISH, and when answers have left. */
  windowChanged(full: boolean): void;
  /** The disk had no room for a message of a client that cannot be told. */
  refusedByDisk(): void;
}

/** A PUBLISH that is not routed. */
interface Refusal {
  readonly reasonCode: number;
  readonly reason: string;
}

const NOT_PERMITTED: Refusal = {
  reasonCode: ReasonCode.notAuthorized,
  reason: 'the client may not publish to this topic',
};
const NOT_UTF8: Refusal = {
  reasonCode: ReasonCode.payloadFormatInvalid,
  reason: 'the data is not UTF-8, as its format indicator says',
};

export class Inbound {
  readonly #shared: Shared;
  readonly #client: Publishing;
  readonly #link: PublishLink;
  readonly #acks: AckQueue;
  #aliases: InboundAliases | undefined;
  /** 5.0: QoS 2 PUBLISHes of this connection without their PUBREL. */
  readonly #unreleased = new Set<number>();
  /** Packet Identifiers of PUBRELs of this turn; negative where we do not know them. */
  #released: number[] = [];
  /** PUBRELs without their PUBCOMP. */
  #completing = 0;

  constructor(shared: Shared, client: Publishing, link: PublishLink) {
    const { publishesInFlightMax, publishBytesInFlightMax } = shared.limits;
    this.#shared = shared;
    this.#client = client;
    this.#link = link;
    this.#acks = new AckQueue(
      publishesInFlightMax,
      publishBytesInFlightMax,
      (packetId, qos, reasonCode, reason) => this.#acknowledge(packetId, qos, reasonCode, reason),
    );
  }

  /** Packets that still wait for their answer. */
  get waiting(): number {
    return this.#acks.waiting + this.#completing;
  }

  /** The client has been silent for a while. */
  rest(): void {
    this.#acks.rest();
  }

  /** Takes a PUBLISH. Throws a ProtocolError or a TopicError. */
  publish(frame: Buffer, start: number): void {
    const { counters, publisher } = this.#shared;
    const { version, session, access } = this.#client;
    const publish = decodePublish(frame, start, version);
    const { packetId, qos, retain, data } = publish;
    counters.inMsgs++;
    counters.inBytes += data.length;
    if (version === 5 && qos > 0) this.#assureQuota(packetId, qos);
    const subject = this.#subjectOf(publish);
    if (typeof subject !== 'string') return this.#refuse(publish, subject);
    if (qos === 2 && session.received.has(packetId)) return this.#repeat(packetId);
    if (qos === 2 && session.received.full) return this.#putOff(packetId, subject);
    const refusal = this.#refusalOf(publish, subject);
    if (refusal !== undefined) return this.#refuse(publish, refusal);
    const message =
      publish.properties === NO_PROPERTIES
        ? { subject, data }
        : withoutForeignReply(toMessage(publish, subject), access);
    if (qos === 0) {
      const routed = publisher.publish(message, retain, session.clientId);
      if (routed !== 'stored') counters.unroutedMsgs++;
      if (routed === 'stored' || retain) this.#shared.window.pour(data.length);
      if (this.#shared.window.full) this.#tellWindow();
      return;
    }
    const slot = this.#acks.open(packetId, qos, data.length);
    this.#shared.window.open(data.length);
    const settled = (error: Error | null, routed: Routed): void => {
      this.#shared.window.settle(data.length);
      this.#settle(slot, subject, error, routed);
    };
    const routed =
      qos === 1
        ? publisher.publishAcknowledged(message, 1, retain, session.clientId, settled)
        : publisher.publishOnce(message, retain, session, packetId, settled);
    if (routed !== 'stored') counters.unroutedMsgs++;
    this.#tellWindow();
  }

  /** Takes a PUBREL. Throws a ProtocolError. */
  pubrel(frame: Buffer, start: number): void {
    const { version, session } = this.#client;
    const { packetId } = decodeAck(frame, start, version);
    const { received } = session;
    this.#unreleased.delete(packetId);
    const known = received.has(packetId);
    if (known) received.delete(packetId);
    // The older versions answer alike, known or not.
    this.#released.push(known || version !== 5 ? packetId : -packetId);
    this.#completing++;
    if (this.#released.length === 1) this.#shared.clock.soon(() => this.#complete());
    this.#tellWindow();
  }

  get #full(): boolean {
    return this.#acks.full || this.#completing >= this.#shared.limits.publishesInFlightMax;
  }

  #tellWindow(): void {
    this.#link.windowChanged(this.#full);
  }

  /**
   * Receive Maximum [MQTT-3.3.4-7]. While answers wait for the disk we do not read beyond it, so only a client that leaves
   * QoS 2 messages unreleased gets here.
   */
  #assureQuota(packetId: number, qos: QoS): void {
    const max = this.#shared.limits.publishesInFlightMax;
    const known = qos === 2 && this.#unreleased.has(packetId);
    if (!known && this.#acks.waitingQos1 + this.#unreleased.size >= max)
      throw new ProtocolError(
        'more messages in flight than our Receive Maximum',
        ReasonCode.receiveMaximumExceeded,
      );
    if (qos === 2) this.#unreleased.add(packetId);
  }

  #subjectOf(publish: Publish): string | Refusal {
    const { subjects, limits } = this.#shared;
    const { topic, properties } = publish;
    try {
      if (properties.topicAlias === undefined) return subjects.get(topic);
      this.#aliases ??= new InboundAliases(limits.topicAliasesMax, subjects);
      return this.#aliases.resolve(publish);
    } catch (error) {
      // Well-formed, and too long for a subject. Anything else is no Topic Name.
      const isName = topic !== '' && !topic.includes('+') && !topic.includes('#');
      if (!(error instanceof TopicError) || !isName) throw error;
      return { reasonCode: ReasonCode.topicNameInvalid, reason: error.message };
    }
  }

  #refusalOf({ properties, data }: Publish, subject: string): Refusal | undefined {
    if (!this.#client.access.mayPublish(subject)) return NOT_PERMITTED;
    if (properties.payloadFormatIndicator === 1 && !isUtf8(data)) return NOT_UTF8;
    return undefined;
  }

  /**
   * Answers a message that is not routed. Before 5.0 [MQTT-3.3.5-2] of 3.1.1 leaves a positive answer or closing; closing
   * would meet the same message again after each reconnect, and everything behind it would wait for ever.
   */
  #refuse({ topic, packetId, qos }: Publish, { reasonCode, reason }: Refusal): void {
    const { clientId, user } = this.#client.session;
    this.#shared.counters.notPermittedMsgs++;
    this.#shared.warn('MQTT messages are not taken', { clientId, user, topic, reason });
    if (qos === 0) return;
    const slot = this.#acks.open(packetId, qos, 0);
    if (this.#client.version === 5) this.#acks.settle(slot, reasonCode, reason);
    else this.#acks.settle(slot, ReasonCode.success);
    this.#tellWindow(); // Its answer may wait behind others, and takes its place until then.
  }

  /** A QoS 2 PUBLISH comes again [4.3.3]: it is answered as the first one is. */
  #repeat(packetId: number): void {
    const slot = this.#acks.open(packetId, 2, 0);
    const { received } = this.#client.session;
    this.#shared.publisher.repeated(received, packetId, (error) => {
      if (error === null) this.#acks.settle(slot, ReasonCode.success);
      else this.#refused(slot, error);
      this.#tellWindow();
    });
    this.#tellWindow();
  }

  /** Too many QoS 2 messages are not released. */
  #putOff(packetId: number, subject: string): void {
    const slot = this.#acks.open(packetId, 2, 0);
    const error = new Error('too many QoS 2 messages without their PUBREL');
    this.#settle(slot, subject, error, 'nobody');
    this.#tellWindow();
  }

  #settle(slot: number, subject: string, error: Error | null, routed: Routed): void {
    if (error !== null) {
      const { clientId, user } = this.#client.session;
      this.#shared.counters.refusedMsgs++;
      this.#shared.warn('MQTT messages were refused and get no PUBACK', {
        clientId,
        user,
        subject,
        error: error.message,
      });
      this.#refused(slot, error);
    } else if (this.#client.version === 5 && routed === 'nobody')
      this.#acks.settle(slot, ReasonCode.noMatchingSubscribers);
    else this.#acks.settle(slot, ReasonCode.success);
    if (this.#acks.roomy) this.#tellWindow();
  }

  /** Without an answer a client keeps the message and sends it again when it reconnects; 5.0 has a word for no. */
  #refused(slot: number, error: Error): void {
    if (this.#client.version === 5)
      return this.#acks.settle(slot, ReasonCode.quotaExceeded, error.message);
    this.#acks.settle(slot, NO_ANSWER);
    if (isPassing(error, this.#shared.store)) this.#link.refusedByDisk();
  }

  #acknowledge(packetId: number, qos: QoS, reasonCode: number, reason: string | undefined): void {
    if (qos === 1) return this.#link.acknowledge(PacketType.puback, packetId, reasonCode, reason);
    if (reasonCode >= FAILURE) this.#unreleased.delete(packetId);
    this.#link.acknowledge(PacketType.pubrec, packetId, reasonCode, reason);
  }

  /** Sends the PUBCOMPs of this turn's PUBRELs when the disk has forgotten their identifiers. */
  #complete(): void {
    const released = this.#released;
    this.#released = [];
    const { whenDurable } = this.#shared.store;
    const done = (): void => {
      this.#completing -= released.length;
      for (const packetId of released)
        if (packetId > 0) this.#link.acknowledge(PacketType.pubcomp, packetId, 0);
        else
          this.#link.acknowledge(
            PacketType.pubcomp,
            -packetId,
            ReasonCode.packetIdentifierNotFound,
          );
      if (!this.#full) this.#tellWindow();
    };
    // A full disk refuses messages; removals it takes, and asked again it says when it has them.
    whenDurable((error) => (error === null ? done() : whenDurable(done)));
  }
}
