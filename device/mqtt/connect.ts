// Decides about a CONNECT as far as the packet alone tells: whether it can be taken, what is agreed on with the client, and
// what its CONNACK says. Who may come in is decided in `access/`.

import type { Access } from './access/types.ts';
import type { MqttLimits } from './limits.ts';
import { toMessage } from './message.ts';
import { NEVER_EXPIRES, type Will } from './session/types.ts';
import { topicToSubject } from './topic.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import type { Connect, Properties, Version } from './wire/types.ts';

/** Packets of any size, as far as the protocol goes. */
const UNLIMITED = Number.POSITIVE_INFINITY;
/** Receive Maximum where a client names none [3.1.2.11.3]; the older versions have no other. */
const RECEIVE_MAXIMUM_DEFAULT = 65_535;

/** Why a client is not let in: a Reason Code of 5.0, and words for the log and the Reason String. */
export interface Refusal {
  readonly reasonCode: number;
  readonly reason: string;
}

/** Refusals for want of room. */
export const TOO_MANY_CONNECTIONS: Refusal = {
  reasonCode: ReasonCode.serverBusy,
  reason: 'too many connections',
};
export const TOO_MANY_SESSIONS: Refusal = {
  reasonCode: ReasonCode.quotaExceeded,
  reason: 'too many sessions',
};
export const TOO_MANY_WILLS: Refusal = {
  reasonCode: ReasonCode.quotaExceeded,
  reason: 'the Wills of all clients take too much memory',
};
export const DISK_FULL: Refusal = {
  reasonCode: ReasonCode.quotaExceeded,
  reason: 'the disk is full',
};
export const NO_ROOM_FOR_CONNACK: Refusal = {
  reasonCode: ReasonCode.packetTooLarge,
  reason: 'a Maximum Packet Size that no CONNACK fits into',
};
/** A session is not given to another user than the one who has it. */
export const FOREIGN_SESSION: Refusal = {
  reasonCode: ReasonCode.clientIdentifierNotValid,
  reason: 'another user has a session of this Client Identifier',
};

/** What is agreed on with a client. */
export interface Terms {
  readonly version: Version;
  readonly bridge: boolean;
  readonly cleanStart: boolean;
  /** Session Expiry Interval; seconds. */
  readonly expirySeconds: number;
  /** 0 for none. */
  readonly keepAliveMs: number;
  /** What the client takes: messages in flight, bytes of a packet, Topic Aliases. */
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly topicAliasesMax: number;
  /** Reason Strings are welcome in acknowledgements [3.1.2.11.7]. */
  readonly problemInformation: boolean;
}

/** Why a CONNECT cannot be taken; undefined where it can. */
export function refusalOf(connect: Connect, limits: Readonly<MqttLimits>): Refusal | undefined {
  const { version, clientId, cleanStart, properties } = connect;
  if (properties.authenticationMethod !== undefined)
    return { reasonCode: ReasonCode.badAuthenticationMethod, reason: 'enhanced authentication' };
  const reasonCode = ReasonCode.clientIdentifierNotValid;
  // 3.1 wants one, and 3.1.1 for a session that stays [MQTT-3.1.3-8].
  if (clientId === '' && (version === 3 || (version === 4 && !cleanStart)))
    return { reasonCode, reason: 'empty Client Identifier' };
  if (Buffer.byteLength(clientId) > limits.clientIdBytesMax)
    return { reasonCode, reason: 'Client Identifier too long' };
  // A server may be choosy beyond letters and digits [MQTT-3.1.3-5]; our keys and log lines are.
  // oxlint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f\u{10ffff}]/u.test(clientId))
    return { reasonCode, reason: 'control character in the Client Identifier' };
  return undefined;
}

/** What is agreed on with the client that sent `connect`. */
export function termsOf(connect: Connect, limits: Readonly<MqttLimits>): Terms {
  const { version, bridge, cleanStart, properties } = connect;
  const keepAliveSeconds = serverKeepAlive(connect, limits) ?? connect.keepAliveSeconds;
  return {
    version,
    bridge,
    cleanStart,
    expirySeconds: Math.min(expirySecondsOf(connect), limits.sessionExpirySecondsMax),
    keepAliveMs: 1000 * keepAliveSeconds,
    receiveMaximum: properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
    packetBytesMax: properties.maximumPacketSize ?? UNLIMITED,
    topicAliasesMax: Math.min(properties.topicAliasMaximum ?? 0, limits.topicAliasesMax),
    problemInformation: properties.requestProblemInformation !== 0,
  };
}

/** The Will of a CONNECT. Its data is copied: it waits for days. Throws a TopicError. */
export function willOf({ will }: Connect): Will | undefined {
  if (will === undefined) return undefined;
  const { topic, qos, retain, properties } = will;
  const message = toMessage({ data: Buffer.from(will.data), properties }, topicToSubject(topic));
  return { message, qos, retain, delaySeconds: properties.willDelayInterval ?? 0 };
}

/** Why a client that may come in cannot have this Will. */
export function willRefusal(will: Will | undefined, access: Access): Refusal | undefined {
  if (will === undefined || access.mayPublish(will.message.subject)) return undefined;
  return {
    reasonCode: ReasonCode.notAuthorized,
    reason: 'a Will Topic that the client may not publish to',
  };
}

/** What CONNACK says of us and of the session [3.2.2.3]. What we have in full is not mentioned: QoS 2, retained messages, … */
export function connackProperties(
  connect: Connect,
  clientId: string,
  limits: Readonly<MqttLimits>,
): Properties {
  if (connect.version !== 5) return {};
  const assigned = connect.clientId === '' ? { assignedClientIdentifier: clientId } : {};
  const keepAlive = serverKeepAlive(connect, limits);
  const expirySeconds = expirySecondsOf(connect);
  const capped = expirySeconds > limits.sessionExpirySecondsMax; // [3.2.2.3.2]
  return {
    receiveMaximum: Math.min(limits.publishesInFlightMax, RECEIVE_MAXIMUM_DEFAULT),
    maximumPacketSize: packetBytesOf(limits.packetBytesMax),
    topicAliasMaximum: limits.topicAliasesMax,
    ...assigned,
    ...(capped ? { sessionExpiryInterval: limits.sessionExpirySecondsMax } : {}),
    ...(keepAlive === undefined ? {} : { serverKeepAlive: keepAlive }),
  };
}

/** How long the session shall outlive its connection; seconds. */
function expirySecondsOf({ version, cleanStart, properties }: Connect): number {
  if (version === 5) return properties.sessionExpiryInterval ?? 0;
  return cleanStart ? 0 : NEVER_EXPIRES;
}

/** The keep-alive that a client is told to use instead of its own [3.2.2.3.14]; the older versions cannot be told. */
function serverKeepAlive(
  { version, keepAliveSeconds }: Connect,
  { keepAliveSecondsMax }: Readonly<MqttLimits>,
): number | undefined {
  if (version !== 5 || keepAliveSecondsMax === 0) return undefined;
  const within = keepAliveSeconds > 0 && keepAliveSeconds <= keepAliveSecondsMax;
  return within ? undefined : keepAliveSecondsMax;
}

/** Bytes of a packet of so much Remaining Length. */
function packetBytesOf(remaining: number): number {
  const lengthBytes = remaining < 0x80 ? 1 : remaining < 0x4000 ? 2 : remaining < 0x20_0000 ? 3 : 4;
  return 1 + lengthBytes + remaining;
}
