// Decides about a CONNECT: whose it is, with what session and Will, or with which CONNACK it is refused. Looks at
// nothing but the packet and the configured users.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Message } from '../../src/message.ts';
import type { MqttLimits } from './limits.ts';
import {
  decode,
  decodeProtocol,
  encodeConnack,
  encodeConnackUnsupported,
  ProtocolError,
  ReturnCode,
  type ConnectPacket,
  type QoS,
} from './packets.ts';
import { isReserved, TopicError, topicToSubject } from './topic.ts';

export interface MqttUser {
  readonly user: string;
  readonly password: string;
}

export interface Will {
  readonly message: Message;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** An acceptable CONNECT. */
export interface Admission {
  /** Empty: the listener gives one [MQTT-3.1.3-6]. */
  readonly clientId: string;
  readonly clean: boolean;
  readonly keepAliveMs: number;
  readonly will: Will | undefined;
  readonly login: Login;
}

/** What a client proved itself with, as digests; without a user name it is anonymous. */
export interface Login {
  readonly user: Buffer | undefined;
  readonly password: Buffer;
}

export interface Refusal {
  readonly connack: Buffer;
  /** For the log. */
  readonly reason: string;
}

/** Who may connect. Comparing takes the same time whether and where a name or password differs. */
export class Users {
  #known: { user: Buffer; password: Buffer }[] = [];
  #anonymous = false;

  /** Without any user everybody may connect; with users, clients without a user name only if `allowAnonymous`. */
  constructor(users: readonly MqttUser[], allowAnonymous: boolean) {
    this.replace(users, allowAnonymous);
  }

  /** Others may connect from now on. */
  replace(users: readonly MqttUser[], allowAnonymous: boolean): void {
    this.#known = users.map(({ user, password }) => ({
      user: digest(user),
      password: digest(password),
    }));
    this.#anonymous = allowAnonymous || users.length === 0;
  }

  /** Undefined for welcome, else the return code of CONNACK. */
  check({ user, password }: Login): number | undefined {
    if (user === undefined) return this.#anonymous ? undefined : ReturnCode.notAuthorized;
    if (this.#known.length === 0) return undefined;
    let found = false;
    for (const known of this.#known) {
      const sameUser = timingSafeEqual(known.user, user);
      const samePassword = timingSafeEqual(known.password, password);
      found = (sameUser && samePassword) || found;
    }
    return found ? undefined : ReturnCode.badUserOrPassword;
  }
}

function digest(text: string | Buffer): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Judges a CONNECT. Throws a ProtocolError or TopicError where the standard wants silence. */
export function admit(
  frame: Buffer,
  start: number,
  users: Users,
  limits: Readonly<MqttLimits>,
): Admission | Refusal {
  const { name, level } = decodeProtocol(frame, start);
  if (name === 'MQIsdp') return refuse('unacceptableProtocol', 'MQTT 3.1');
  if (name !== 'MQTT') throw new ProtocolError('not MQTT'); // [MQTT-3.1.2-1]
  if (level === 5) return { connack: encodeConnackUnsupported(), reason: 'MQTT 5' };
  if (level !== 4) return refuse('unacceptableProtocol', 'unknown level'); // [MQTT-3.1.2-2]
  const packet = decode(frame);
  if (packet.cmd !== 'connect') throw new ProtocolError('malformed CONNECT');
  const { clientId } = packet;
  const clean = packet.clean === true;
  // [MQTT-3.1.3-8]
  if (clientId === '' && !clean) return refuse('identifierRejected', 'empty Client Identifier');
  if (Buffer.byteLength(clientId) > limits.clientIdBytesMax)
    return refuse('identifierRejected', 'Client Identifier too long');
  // A server may be choosy beyond letters and digits [MQTT-3.1.3-5]; our keys and log lines are.
  // oxlint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f\u{10ffff}]/u.test(clientId))
    return refuse('identifierRejected', 'control character in the Client Identifier');
  const login = loginOf(packet);
  const returnCode = users.check(login);
  if (returnCode === ReturnCode.notAuthorized) return refuse('notAuthorized', 'no user name');
  if (returnCode !== undefined) return refuse('badUserOrPassword', 'wrong user name or password');
  const will = readWill(packet);
  if (will !== undefined && isReserved(will.message.subject))
    return refuse('notAuthorized', 'a Will Topic that devices may not use');
  return { clientId, clean, keepAliveMs: 1000 * (packet.keepalive ?? 0), will, login };
}

function loginOf({ username, password }: Pick<ConnectPacket, 'username' | 'password'>): Login {
  if (username === undefined) return { user: undefined, password: Buffer.alloc(0) };
  return { user: digest(username), password: digest(password ?? '') };
}

function refuse(code: keyof typeof ReturnCode, reason: string): Refusal {
  return { connack: encodeConnack(ReturnCode[code], false), reason };
}

/** A Will of QoS 2 goes out with QoS 1: no subscription is granted more. Its data is copied; it waits for days. */
function readWill({ will }: ConnectPacket): Will | undefined {
  if (will === undefined) return undefined;
  if (will.topic === '') throw new TopicError('empty Will Topic');
  const message = { subject: topicToSubject(will.topic), data: Buffer.from(will.payload) };
  return { message, qos: (will.qos ?? 0) === 0 ? 0 : 1, retain: will.retain === true };
}
