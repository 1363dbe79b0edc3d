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
const valid = packets.map((packet) => generate(packet));
const harmless = [3, 4, 4, 6, 7, 8, 10].map((i) => valid[i]!);

function pick<T>(random: Random, from: readonly T[]): T {
  return from[randomInt(random, from.length)]!;
}

/** Random bytes, a valid packet, or a valid one with something done to it. */
function piece(random: Random): Buffer {
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
    if (randomInt(random, 8) > 0) client.write(pick(random, valid.slice(0, 3)));
    for (let i = 0; i < 1 + randomInt(random, 12); i++) {
      const bytes = piece(random);
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
  expect(stats.wills).toBeGreaterThan(20);
});
