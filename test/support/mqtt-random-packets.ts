// Random packets of a client, valid in their version, written by mqtt-packet and so by another hand than ours.

import { generate, type IConnectPacket, type Packet, type UserProperties } from 'mqtt-packet';
import type { QoS, Version } from '../../device/mqtt/wire/types.ts';
import { randomBytes, randomInt, type Random } from './random.ts';

const ALPHABET = ['a', 'B', '7', '/', ' ', '$', '.', 'ä', '€', '\u{1f600}', '\ufffd', '\u0001'];
const PUBLISH_REASONS = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASE_REASONS = [0, 0x92];
const DISCONNECT_REASONS = [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98];

const int = randomInt;
const yes = (random: Random): boolean => randomInt(random, 2) === 1;

function pick<T>(random: Random, all: readonly T[]): T {
  const one = all[randomInt(random, all.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}

function text(random: Random, least = 0, most = 12): string {
  const length = least + randomInt(random, most - least + 1);
  return Array.from({ length }, () => pick(random, ALPHABET)).join('');
}

/** Each of `all` with even odds. */
function some<T extends object>(random: Random, all: T): Partial<T> {
  return Object.fromEntries(Object.entries(all).filter(() => yes(random))) as Partial<T>;
}

function userProperties(random: Random): UserProperties {
  const pairs: Record<string, string[]> = {};
  // Where there is none, mqtt-packet writes nothing at all; of two of a name, it forgets a first one that is empty.
  for (let i = 1 + randomInt(random, 4); i > 0; i--) {
    const name = `k${text(random)}`;
    (pairs[name] ??= []).push(text(random, 1));
  }
  return pairs;
}

function messageProperties(random: Random) {
  return some(random, {
    payloadFormatIndicator: yes(random),
    messageExpiryInterval: int(random, 2 ** 32),
    contentType: text(random),
    responseTopic: text(random, 1),
    correlationData: randomBytes(random, int(random, 9)),
    userProperties: userProperties(random),
  });
}

function connect(random: Random, version: Version): Packet {
  const isBridge = version !== 5 && yes(random);
  const username = yes(random) ? text(random) : undefined;
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    ...(isBridge ? { bridgeMode: true } : {}),
    clean: true,
    clientId: text(random, 1),
    keepalive: int(random, 65_536),
  };
  if (username !== undefined) packet.username = username;
  if (username !== undefined && yes(random)) packet.password = randomBytes(random, 5);
  if (yes(random))
    packet.will = {
      topic: text(random, 1),
      payload: randomBytes(random, 1 + int(random, 200)),
      qos: pick<QoS>(random, [0, 1, 2]),
      retain: yes(random),
      ...(version === 5
        ? {
            properties: {
              ...messageProperties(random),
              ...some(random, { willDelayInterval: int(random, 2 ** 32) }),
            },
          }
        : {}),
    };
  if (version === 5)
    packet.properties = some(random, {
      sessionExpiryInterval: int(random, 2 ** 32),
      receiveMaximum: 1 + int(random, 65_535),
      maximumPacketSize: 1 + int(random, 2 ** 32 - 1),
      topicAliasMaximum: int(random, 65_536),
      requestResponseInformation: yes(random),
      requestProblemInformation: yes(random),
      authenticationMethod: text(random),
      userProperties: userProperties(random),
    });
  return packet;
}

function publish(random: Random, version: Version): Packet {
  const qos = pick<QoS>(random, [0, 1, 2]);
  return {
    cmd: 'publish',
    topic: text(random, 1, pick(random, [5, 60, 200])),
    payload: randomBytes(random, int(random, pick(random, [2, 200, 20_000]))),
    qos,
    dup: qos > 0 && yes(random),
    retain: yes(random),
    ...(qos > 0 ? { messageId: 1 + int(random, 65_535) } : {}),
    ...(version === 5
      ? {
          properties: {
            ...messageProperties(random),
            ...some(random, { topicAlias: 1 + int(random, 65_535) }),
          },
        }
      : {}),
  };
}

function acknowledgement(random: Random, version: Version): Packet {
  const cmd = pick(random, ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const);
  const isFirst = cmd === 'puback' || cmd === 'pubrec';
  return {
    cmd,
    messageId: 1 + int(random, 65_535),
    ...(version === 5 && yes(random)
      ? {
          reasonCode: pick(random, isFirst ? PUBLISH_REASONS : RELEASE_REASONS),
          properties: some(random, {
            reasonString: text(random),
            userProperties: userProperties(random),
          }),
        }
      : {}),
  };
}

function subscribe(random: Random, version: Version): Packet {
  const is5 = version === 5;
  return {
    cmd: 'subscribe',
    messageId: 1 + int(random, 65_535),
    subscriptions: Array.from({ length: 1 + int(random, 4) }, () => ({
      topic: text(random, 1),
      qos: pick<QoS>(random, [0, 1, 2]),
      ...(is5 ? { nl: yes(random), rap: yes(random), rh: int(random, 3) } : {}),
    })),
    ...(is5
      ? {
          properties: some(random, {
            subscriptionIdentifier: 1 + int(random, pick(random, [100, 16_000, 268_435_455])),
            userProperties: userProperties(random),
          }),
        }
      : {}),
  };
}

function rest(random: Random, version: Version): Packet {
  const is5 = version === 5;
  switch (int(random, is5 ? 4 : 3)) {
    case 0:
      return {
        cmd: 'unsubscribe',
        messageId: 1 + int(random, 65_535),
        unsubscriptions: Array.from({ length: 1 + int(random, 4) }, () => text(random, 1)),
        ...(is5 ? { properties: some(random, { userProperties: userProperties(random) }) } : {}),
      };
    case 1:
      return { cmd: 'pingreq' };
    case 2:
      if (!is5) return { cmd: 'disconnect' };
      return {
        cmd: 'disconnect',
        reasonCode: pick(random, DISCONNECT_REASONS),
        properties: some(random, {
          sessionExpiryInterval: int(random, 2 ** 32),
          reasonString: text(random),
          userProperties: userProperties(random),
        }),
      };
    default:
      return {
        cmd: 'auth',
        reasonCode: pick(random, [0x18, 0x19]),
        properties: {
          authenticationMethod: text(random),
          ...some(random, {
            authenticationData: randomBytes(random, int(random, 9)),
            userProperties: userProperties(random),
          }),
        },
      };
  }
}

/** A CONNECT of `version`. */
export function randomConnect(random: Random, version: Version): Buffer {
  return generate(connect(random, version), { protocolVersion: version });
}

/** Any other packet of a client of `version`. */
export function randomPacket(random: Random, version: Version): Buffer {
  const make = pick(random, [publish, publish, acknowledgement, subscribe, rest]);
  return generate(make(random, version), { protocolVersion: version });
}
