// What a client may say, as bytes, and ways to damage it: the material of fuzzing.

import {
  rawAck,
  rawAuth,
  rawConnect,
  rawDisconnect,
  rawPublish,
  rawSubscribe,
  rawUnsubscribe,
  RAW_PINGREQ,
  type RawProperties,
  type RawVersion,
} from './mqtt-raw-encode.ts';
import { randomBytes, randomInt, type Random } from './random.ts';

export interface Sayings {
  /** CONNECTs. */
  readonly hello: readonly Buffer[];
  /** What comes after one; most of it does not end the connection. */
  readonly rest: readonly Buffer[];
}

const PROPERTIES: RawProperties = [
  ['payloadFormatIndicator', 1],
  ['messageExpiryInterval', 100],
  ['contentType', 'text/plain'],
  ['responseTopic', 'answer'],
  ['correlationData', Buffer.from([1, 2, 3])],
  ['userProperty', ['a', 'b']],
  ['userProperty', ['a', 'c']],
];

export function sayings(version: RawVersion, clientId: string): Sayings {
  const five = version === 5;
  const kept: RawProperties = five ? [['sessionExpiryInterval', 1000]] : [];
  const properties = five ? PROPERTIES : [];
  const alias: RawProperties = five ? [['topicAlias', 2]] : [];
  const publish = (qos: number, packetId: number | undefined, more: object = {}): Buffer =>
    rawPublish(version, { topic: 'f/a', data: 'x'.repeat(50), qos, packetId, properties, ...more });
  return {
    hello: [
      rawConnect({ version, clientId }),
      rawConnect({ version, clientId, clean: false, properties: kept }),
      rawConnect({
        version,
        clientId,
        clean: false,
        will: { topic: 'f/will', data: 'gone', qos: 1, retain: true, properties },
        properties: [...kept, ...(five ? [['receiveMaximum', 3] as const] : [])],
      }),
      rawConnect({ version, clientId, username: 'u', password: 'p', keepAliveSeconds: 60 }),
    ],
    rest: [
      publish(0, undefined),
      publish(0, undefined, { retain: true, data: 'y'.repeat(3_000) }),
      publish(1, 5),
      publish(1, 6, { topic: 'stream/a' }),
      publish(2, 7),
      publish(2, 7, { dup: true }),
      publish(2, 8, { topic: 'f/b', retain: true }),
      publish(0, undefined, { properties: [...alias] }),
      ...(five ? [publish(0, undefined, { topic: '', properties: [...alias] })] : []),
      rawSubscribe(version, 9, [
        { filter: 'f/#', qos: 2 },
        { filter: '+/b', qos: 0 },
      ]),
      rawSubscribe(version, 10, [{ filter: '$share/g/f/+', qos: 1 }]),
      rawUnsubscribe(version, 11, ['f/#', '+/b']),
      rawAck('puback', 1),
      rawAck('pubrec', 1),
      rawAck('pubrec', 2),
      rawAck('pubcomp', 1),
      rawAck('pubrel', 7),
      rawAck('pubrel', 8),
      RAW_PINGREQ,
      RAW_PINGREQ,
      rawDisconnect(),
      ...(five ? [rawDisconnect(4), rawAuth(0x18, [['authenticationMethod', 'x']])] : []),
    ],
  };
}

/** `packet` with something done to it, or something else instead. */
export function mutate(packet: Buffer, random: Random): Buffer {
  const bytes = Buffer.from(packet);
  switch (randomInt(random, 7)) {
    case 0:
      return randomBytes(random, randomInt(random, 64));
    case 1:
      return bytes.subarray(0, randomInt(random, bytes.length));
    case 2:
      for (let i = randomInt(random, 4); i >= 0; i--)
        bytes[randomInt(random, bytes.length)] = randomInt(random, 256);
      return bytes;
    case 3:
      bytes[1] = randomInt(random, 256);
      return bytes;
    case 4:
      bytes[0] = randomInt(random, 256);
      return bytes;
    case 5: {
      const at = randomInt(random, bytes.length);
      return Buffer.concat([
        bytes.subarray(0, at),
        randomBytes(random, 1 + randomInt(random, 5)),
        bytes.subarray(at),
      ]);
    }
    default:
      return Buffer.concat([bytes, randomBytes(random, randomInt(random, 16))]);
  }
}
