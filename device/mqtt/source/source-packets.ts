// The Control Packets of the client's side, in 3.1.1 and 5: what a source asks of a broker, and what it reads in the
// answers. mqtt-packet writes (client-packets.ts); the short answers are read by hand, since a broker without MQTT 5 answers a
// CONNECT of MQTT 5 in the words of 3.1.1.

import { decode, encode, propertiesEnd, type QoS, type Version } from '../wire/client-packets.ts';
import { ProtocolError } from '../wire/protocol-error.ts';
import { IN_FLIGHT_MAX, type SourceConfig } from './source-config.ts';

/** The session stays at the broker until it is asked for again, as with CleanSession 0 of 3.1.1 [MQTT-3.1.2-23]. */
const SESSION_EXPIRY_NEVER = 0xffff_ffff;
/** Retain Handling: retained messages only with a new subscription, or not at all. */
const RETAINED_IF_NEW = 1;
const RETAINED_NEVER = 2;

/** CONNECT with a session that lasts. */
export function encodeConnect(
  config: SourceConfig,
  version: Version,
  password: Buffer | undefined,
): Buffer {
  return encode(
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clientId: config.clientId,
      clean: false,
      keepalive: Math.min(65_535, Math.max(1, Math.ceil(config.keepAliveMs / 1000))),
      ...(config.user === undefined ? {} : { username: config.user }),
      ...(password === undefined ? {} : { password }),
      ...(version === 5
        ? {
            properties: {
              sessionExpiryInterval: SESSION_EXPIRY_NEVER,
              receiveMaximum: IN_FLIGHT_MAX,
            },
          }
        : {}),
    },
    version,
  );
}

export function encodeSubscribe(
  messageId: number,
  topic: string,
  qos: QoS,
  retained: boolean,
  version: Version,
): Buffer {
  const rh = retained ? RETAINED_IF_NEW : RETAINED_NEVER;
  const options = version === 5 ? { nl: false, rap: false, rh } : {};
  return encode(
    { cmd: 'subscribe', messageId, subscriptions: [{ topic, qos, ...options }] },
    version,
  );
}

export function encodeUnsubscribe(messageId: number, topic: string, version: Version): Buffer {
  return encode({ cmd: 'unsubscribe', messageId, unsubscriptions: [topic] }, version);
}

export interface Connack {
  readonly sessionPresent: boolean;
  readonly code: number;
  /** Seconds; the broker's word goes before ours [MQTT-3.1.2-21 of MQTT 5]. */
  readonly keepAlive: number | undefined;
}

/** Reads a CONNACK; its variable header begins at `start`. Throws a ProtocolError. */
export function decodeConnack(frame: Buffer, start: number, version: Version): Connack {
  const flags = frame[start];
  const code = frame[start + 1];
  if (flags === undefined || code === undefined) throw new ProtocolError('malformed CONNACK');
  const sessionPresent = (flags & 1) !== 0;
  if (code !== 0 || version !== 5) return { sessionPresent, code, keepAlive: undefined };
  const packet = decode(frame, version);
  const properties = packet.cmd === 'connack' ? packet.properties : undefined;
  return { sessionPresent, code, keepAlive: properties?.serverKeepAlive };
}

export interface Answer {
  readonly packetId: number;
  /** Granted QoS, or a reason from 0x80 on. UNSUBACK of 3.1.1 has none: 0. */
  readonly code: number;
}

/** Reads a SUBACK or UNSUBACK for one Topic Filter. Throws a ProtocolError. */
export function decodeAnswer(frame: Buffer, start: number, version: Version): Answer {
  if (frame.length < start + 2) throw new ProtocolError('malformed SUBACK or UNSUBACK');
  const at = version === 5 ? propertiesEnd(frame, start + 2) : start + 2;
  return { packetId: frame.readUInt16BE(start), code: frame[at] ?? 0 };
}

/** The Reason Code of a broker's DISCONNECT; 0 where it has none. */
export function decodeDisconnect(frame: Buffer, start: number): number {
  return frame[start] ?? 0;
}
