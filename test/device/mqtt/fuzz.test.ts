// Whatever a client sends, the listener closes it or goes on: nothing is thrown, nothing is left behind, and a client
// beside it notices nothing. `SEED=… vitest run test/device/mqtt/fuzz` runs one seed.

import { generate, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { connectPacket } from '../../support/mqtt-client.ts';
import { Gateway } from '../../support/mqtt-gateway.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../../support/random.ts';

const ROUNDS = 400;
const SEEDS = process.env['SEED'] === undefined ? [1, 2, 3, 4, 5] : [Number(process.env['SEED'])];

const packets: Packet[] = [
  connectPacket({ clientId: 'fuzz' }),
  connectPacket({
    clientId: 'fuzz',
    clean: false,
    keepalive: 30,
    username: 'u',
    password: Buffer.from('p'),
  }),
  connectPacket({ clientId: 'fuzz', will: { topic: 'w', payload: 'gone', qos: 1, retain: true } }),
  { cmd: 'publish', topic: 'f/a', payload: 'x'.repeat(200), qos: 0, dup: false, retain: true },
  { cmd: 'publish', topic: 'f/a/b', payload: 'x', qos: 1, messageId: 5, dup: false, retain: false },
  { cmd: 'publish', topic: 'f/b', payload: 'x', qos: 2, messageId: 6, dup: false, retain: false },
  {
    cmd: 'subscribe',
    messageId: 7,
    subscriptions: [
      { topic: 'f/#', qos: 1 },
      { topic: '+/b', qos: 0 },
    ],
  },
  { cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['f/#', '+/b'] },
  { cmd: 'puback', messageId: 1 },
  { cmd: 'pubrel', messageId: 1 },
  { cmd: 'pingreq' },
  { cmd: 'disconnect' },
  { cmd: 'suback', messageId: 7, granted: [1] },
];
/** The same in 5.0, with properties. */
const packets5: Packet[] = [
  connectPacket({
    clientId: 'fuzz',
    protocolVersion: 5,
    properties: { receiveMaximum: 3, topicAliasMaximum: 4, maximumPacketSize: 300 },
  }),
  connectPacket({
    clientId: 'fuzz',
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 60, requestProblemInformation: false },
  }),
  connectPacket({
    clientId: 'fuzz',
    protocolVersion: 5,
    will: {
      topic: 'w',
      payload: Buffer.from('gone'),
      qos: 2,
      retain: true,
      properties: { willDelayInterval: 1, messageExpiryInterval: 5 },
    },
  }),
  {
    cmd: 'publish',
    topic: 'f/a',
    payload: 'x',
    qos: 1,
    messageId: 5,
    dup: false,
    retain: true,
    properties: { topicAlias: 1, messageExpiryInterval: 3, userProperties: { a: 'b' } },
  },
  {
    cmd: 'publish',
    topic: '',
    payload: 'x',
    qos: 0,
    dup: false,
    retain: false,
    properties: { topicAlias: 1 },
  },
  { cmd: 'publish', topic: 'f/b', payload: 'x', qos: 2, messageId: 6, dup: false, retain: false },
  {
    cmd: 'subscribe',
    messageId: 7,
    properties: { subscriptionIdentifier: 9 },
    subscriptions: [
      { topic: 'f/#', qos: 2, nl: true, rap: true, rh: 1 },
      { topic: '$share/g/+/b', qos: 1 },
    ],
  },
  { cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['f/#', '$share/g/+/b'] },
  { cmd: 'puback', messageId: 1, reasonCode: 0x80 },
  { cmd: 'pubrec', messageId: 1, reasonCode: 0 },
  { cmd: 'pubcomp', messageId: 1, reasonCode: 0 },
  { cmd: 'pubrel', messageId: 6, reasonCode: 0, properties: { reasonString: 'why' } },
  { cmd: 'pingreq' },
  { cmd: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 5 } },
  { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'x' } },
];

interface Kit {
  readonly connects: readonly Buffer[];
  readonly valid: readonly Buffer[];
  readonly harmless: readonly Buffer[];
}

function kit(from: readonly Packet[], protocolVersion: 4 | 5, harmless: readonly number[]): Kit {
  const valid = from.map((packet) => generate(packet, { protocolVersion }));
  return { connects: valid.slice(0, 3), valid, harmless: harmless.map((i) => valid[i]!) };
}

const KITS: Readonly<Record<4 | 5, Kit>> = {
  4: kit(packets, 4, [3, 4, 4, 5, 6, 7, 8, 9, 10]),
  5: kit(packets5, 5, [3, 3, 4, 5, 6, 7, 9, 10, 11, 12]),
};

function pick<T>(random: Random, from: readonly T[]): T {
  return from[randomInt(random, from.length)]!;
}

/** Random bytes, a valid packet, or a valid one with something done to it. */
function piece(random: Random, { valid, harmless }: Kit): Buffer {
  // Mostly what does not end the connection by itself.
  const packet = Buffer.from(pick(random, randomInt(random, 10) === 0 ? valid : harmless));
  switch (randomInt(random, 14)) {
    case 0:
      return randomBytes(random, randomInt(random, 64));
    case 1:
      return packet.subarray(0, randomInt(random, packet.length));
    case 2:
      for (let i = 0; i < 1 + randomInt(random, 4); i++)
        packet[randomInt(random, packet.length)] = randomInt(random, 256);
      return packet;
    case 3:
      packet[1] = randomInt(random, 256);
      return packet;
    case 4:
      return Buffer.concat([
        packet.subarray(0, 1),
        randomBytes(random, 1 + randomInt(random, 5)),
        packet.subarray(1),
      ]);
    case 5:
      return Buffer.concat([packet, randomBytes(random, randomInt(random, 16))]);
    default:
      return packet;
  }
}

test.each(SEEDS)('seed %i', async (seed) => {
  const random = seededRandom(seed);
  using gateway = new Gateway({
    streamSubject: 'f.>',
    limits: { halfOpenMax: 20, queuedMessagesMax: 50 },
  });
  const witness = gateway.client();
  await witness.connect({ clientId: 'witness' });
  await witness.subscribe({ 'witness/#': 1 }, 1);
  let answers = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const client = gateway.client();
    client.deaf = true;
    const tools = KITS[randomInt(random, 2) === 0 ? 4 : 5];
    if (randomInt(random, 8) > 0) client.write(pick(random, tools.connects));
    for (let i = 0; i < 1 + randomInt(random, 12); i++) {
      const bytes = piece(random, tools);
      const at = randomInt(random, bytes.length + 1);
      client.write(bytes.subarray(0, at));
      if (randomInt(random, 3) === 0) await gateway.idle();
      client.write(bytes.subarray(at));
    }
    await gateway.idle();
    if (randomInt(random, 2) === 0) client.stream.destroy();
    if (round % 20 !== 0) continue;
    gateway.clock.advance(1000);
    witness.publish('witness/a', String(round), 1 + round);
    expect((await witness.expect('puback')).messageId).toBe(1 + round);
    const { payload, messageId } = await witness.expect('publish');
    expect(String(payload)).toBe(String(round));
    witness.puback(messageId!);
    answers++;
  }
  for (const client of gateway.clients) if (client !== witness) client.stream.destroy();
  await gateway.settle();
  expect(witness.closed).toBe(false);
  expect(answers).toBe(ROUNDS / 20);
  const stats = gateway.listener.stats();
  expect(stats).toMatchObject({ connections: 1, halfOpen: 0, partialBytes: 0, memoryBytes: 0 });
  expect(stats.protocolErrors).toBeGreaterThan(ROUNDS / 4);
  expect(stats.connects).toBeGreaterThan(ROUNDS / 4);
  expect(stats.inMsgs).toBeGreaterThan(100);
  expect(stats.pubacks).toBeGreaterThan(50);
  expect(stats.pubrecs).toBeGreaterThan(20);
  expect(stats.wills).toBeGreaterThan(20);
});
