import { parser, type IConnectPacket, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import type {
  Ack,
  Connect,
  Properties,
  Publish,
  Reasoned,
  Subscribe,
  Unsubscribe,
  Version,
} from '../../../../device/mqtt/wire/types.ts';
import { readStream } from '../../../support/mqtt-frames.ts';
import { randomConnect, randomPacket } from '../../../support/mqtt-random-packets.ts';
import { randomInt, seededRandom } from '../../../support/random.ts';

/** What mqtt-packet reads. */
function reference(stream: Buffer, protocolVersion: Version): Packet[] {
  const reader = parser({ protocolVersion });
  const packets: Packet[] = [];
  reader.on('packet', (packet) => packets.push(packet));
  reader.on('error', (error) => {
    throw error;
  });
  expect(reader.parse(stream)).toBe(0);
  return packets;
}

const BITS = ['payloadFormatIndicator', 'requestProblemInformation', 'requestResponseInformation'];

/** mqtt-packet's properties in our words. */
function ours(properties: object | undefined): Properties {
  const entries = Object.entries(properties ?? {}).map(([name, value]): [string, unknown] => {
    if (BITS.includes(name)) return [name, value === true ? 1 : 0];
    if (name === 'subscriptionIdentifier') return ['subscriptionIdentifiers', [value]];
    if (name === 'userProperties') return [name, sorted(Object.entries(value as object))];
    return [name, value];
  });
  return Object.fromEntries(entries);
}

/** Pairs by their names: mqtt-packet does not keep the order of different ones. */
function sorted(entries: readonly (readonly [string, string | string[]])[]): string[][] {
  return entries
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
    .toSorted(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0));
}

function own(properties: Properties): object {
  if (properties.userProperties === undefined) return properties;
  return { ...properties, userProperties: sorted(properties.userProperties as [string, string][]) };
}

function assertConnect(read: Connect, wanted: IConnectPacket, version: Version): void {
  const will = wanted.will;
  expect({ ...read, properties: own(read.properties), will: undefined }).toEqual({
    version,
    bridge: (wanted as { bridgeMode?: boolean }).bridgeMode === true,
    clientId: wanted.clientId,
    cleanStart: wanted.clean,
    keepAliveSeconds: wanted.keepalive,
    username: wanted.username,
    password: wanted.password,
    properties: ours(wanted.properties),
    will: undefined,
  });
  expect(read.will === undefined).toBe(will === undefined);
  if (read.will === undefined || will === undefined) return;
  expect({ ...read.will, properties: own(read.will.properties) }).toEqual({
    topic: will.topic,
    data: will.payload,
    qos: will.qos,
    retain: will.retain,
    properties: ours(will.properties),
  });
}

function assertSame(read: unknown, wanted: Packet): void {
  switch (wanted.cmd) {
    case 'publish': {
      const { properties, ...rest } = read as Publish;
      expect(rest).toEqual({
        topic: wanted.topic,
        packetId: wanted.messageId ?? 0,
        qos: wanted.qos,
        retain: wanted.retain,
        dup: wanted.dup,
        data: wanted.payload,
      });
      return expect(own(properties)).toEqual(ours(wanted.properties));
    }
    case 'subscribe': {
      const { packetId, filters, properties } = read as Subscribe;
      expect(packetId).toBe(wanted.messageId);
      expect(filters).toEqual(
        wanted.subscriptions.map(({ topic, qos, nl, rap, rh }) => ({
          filter: topic,
          qos,
          noLocal: nl === true,
          retainAsPublished: rap === true,
          retainHandling: rh ?? 0,
        })),
      );
      return expect(own(properties)).toEqual(ours(wanted.properties));
    }
    case 'unsubscribe': {
      const { packetId, filters, properties } = read as Unsubscribe;
      expect([packetId, filters]).toEqual([wanted.messageId, wanted.unsubscriptions]);
      return expect(own(properties)).toEqual(ours(wanted.properties));
    }
    case 'disconnect':
    case 'auth': {
      const { reasonCode, properties } = read as Reasoned;
      expect(reasonCode).toBe(wanted.reasonCode ?? 0);
      return expect(own(properties)).toEqual(ours(wanted.properties));
    }
    case 'pingreq':
      return expect(read).toBe(undefined);
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp': {
      const { packetId, reasonCode, properties } = read as Ack;
      const { messageId, reasonCode: reason } = wanted;
      expect([packetId, reasonCode]).toEqual([messageId, reason ?? 0]);
      return expect(own(properties)).toEqual(ours(wanted.properties));
    }
    case 'connect':
    case 'connack':
    case 'suback':
    case 'unsuback':
    case 'pingresp':
      throw new Error(`${wanted.cmd} is not for here`);
  }
}

test.each([3, 4, 5] as const)(
  'packets of version %i are read as mqtt-packet reads them, whole, by the byte and in pieces',
  (version) => {
    const random = seededRandom(500 + version);
    for (let round = 0; round < 60; round++) {
      const packets = Array.from({ length: 20 }, () => randomPacket(random, version));
      const stream = Buffer.concat(packets);
      const wanted = reference(stream, version);
      expect(wanted).toHaveLength(packets.length);
      for (const pieceBytes of [stream.length, 1, 1 + randomInt(random, 3000)]) {
        const read = readStream(stream, version, pieceBytes);
        expect(read).toHaveLength(packets.length);
        wanted.forEach((packet, i) => assertSame(read[i], packet));
      }
    }
  },
);

test.each([3, 4, 5] as const)(
  'a CONNECT of version %i is read as mqtt-packet reads it',
  (version) => {
    const random = seededRandom(600 + version);
    for (let round = 0; round < 500; round++) {
      const stream = randomConnect(random, version);
      const [wanted] = reference(stream, version);
      if (wanted?.cmd !== 'connect') throw new Error('no CONNECT');
      for (const pieceBytes of [stream.length, 1]) {
        const [read] = readStream(stream, undefined, pieceBytes);
        assertConnect(read as Connect, wanted, version);
      }
    }
  },
);
