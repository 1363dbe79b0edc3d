// What the parts of a session say to each other: the message in the form in which it waits and leaves, the subscription,
// the Will, and the connection as a session sees it.

import type { Message } from '../../../src/message.ts';
import type { QoS, Version } from '../wire/types.ts';

/** Session Expiry Interval of a session that never ends; seconds [3.1.2.11.2]. */
export const NEVER_EXPIRES = 0xffff_ffff;

/**
 * A message as it leaves for a client, but for what differs from client to client (packet identifier, QoS, retain, alias,
 * subscription identifiers, remaining expiry). Made once for a message, shared by all who get it, never changed.
 */
export interface Form {
  /** The Topic Name as UTF-8, with its two-byte length in front. */
  readonly topic: Buffer;
  /** The encoded properties of the message without their length, without expiry, alias and subscription identifiers. */
  readonly properties: Buffer;
  readonly data: Buffer;
  /** Store time (`MqttStore.nowMs`) at which it expires; Infinity for never. */
  readonly expiresMs: number;
}

/** One PUBLISH to a client. */
export interface Outgoing {
  readonly form: Form;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly subscriptionIdentifiers: readonly number[];
}

/** The client's side of a session: its connection. */
export interface Link {
  readonly version: Version;
  /** QoS 1 and 2 messages that the client takes without an acknowledgement [MQTT-3.3.4-9]; 65,535 for older versions. */
  readonly receiveMaximum: number;
  /** The client reads: more may be sent. */
  readonly roomy: boolean;
  /** Sends; false where the packet is larger than the client takes, and nothing was sent [MQTT-3.1.2-25]. */
  publish(outgoing: Outgoing): boolean;
  /** Whether the client may have messages on this subject; absent where none is looked at. */
  readonly mayReceive?: ((subject: string) => boolean) | undefined;
  pubrel(packetId: number, reasonCode?: number): void;
  /** Another connection has the session now. */
  takeOver(): void;
}

export interface Subscription {
  /** The Topic Filter as the client wrote it, `$share/…` included: what identifies it. */
  readonly filter: string;
  /** The filter behind `$share/<name>/`, as a NATS subject. */
  readonly subject: string;
  /** ShareName of a shared subscription [4.8.2]. */
  readonly share: string | undefined;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** Subscription Identifier; undefined for none. */
  readonly identifier: number | undefined;
}

/** A last Will, ready to be published. */
export interface Will {
  readonly message: Message;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Will Delay Interval; seconds, 0 for at once. */
  readonly delaySeconds: number;
}

/** What CONNECT asks for. */
export interface OpenRequest {
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** 0: the session ends with its connection; NEVER_EXPIRES: it stays. */
  readonly expirySeconds: number;
  readonly will: Will | undefined;
  /** Under which user the session lives; undefined for anonymous. A session is not given to another user. */
  readonly user: string | undefined;
}

/** How a connection ended. */
export interface Closing {
  /** DISCONNECT with reason 0 takes the Will back [MQTT-3.14.4-3]. */
  readonly will: 'publish' | 'discard';
  /** DISCONNECT may change it [3.14.2.2.2]; undefined: as CONNECT had it. */
  readonly expirySeconds?: number | undefined;
}
