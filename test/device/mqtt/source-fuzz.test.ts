// Whatever a broker sends, the agent lives, is read by the same rules, and comes back; what it may have believed stays
// true: nothing is acknowledged that is not stored.

import { generate, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { SourceRig } from '../../support/mqtt-broker.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../../support/random.ts';

const ROUNDS = 40;

function valid(random: Random, id: number): Buffer {
  const packets: Packet[] = [
    {
      cmd: 'publish',
      topic: 'plant1/a',
      payload: `m${id}`,
      qos: 1,
      messageId: id,
      dup: false,
      retain: false,
    },
    {
      cmd: 'publish',
      topic: 'plant1/b',
      payload: Buffer.alloc(300, 1),
      qos: 0,
      dup: false,
      retain: true,
    },
    { cmd: 'suback', messageId: 1, granted: [1] },
    { cmd: 'unsuback', messageId: 1, granted: [0] },
    { cmd: 'pingresp' },
    { cmd: 'disconnect', reasonCode: 0x8b },
    {
      cmd: 'connack',
      reasonCode: 0,
      returnCode: 0,
      sessionPresent: true,
      properties: { serverKeepAlive: 9 },
    },
  ];
  return generate(packets[randomInt(random, packets.length)]!, { protocolVersion: 5 });
}

/** Some valid packets with a few bytes changed, left out or put in. */
function damaged(random: Random): Buffer {
  const bytes = Array.from(
    Buffer.concat(Array.from({ length: 6 }, (_, i) => valid(random, i + 1))),
  );
  for (let i = 0; i < 1 + randomInt(random, 4); i++) {
    const at = randomInt(random, bytes.length);
    const kind = randomInt(random, 3);
    if (kind === 0) bytes[at] = randomInt(random, 256);
    else bytes.splice(at, kind === 1 ? 1 : 0, ...(kind === 2 ? [randomInt(random, 256)] : []));
  }
  return Buffer.from(bytes);
}

test.each([1, 2, 3])('seed %i', async (seed) => {
  const random = seededRandom(seed);
  await using rig = new SourceRig({ retained: seed === 2 });
  rig.start();
  for (let round = 1; round <= ROUNDS; round++) {
    const end = await rig.end(round);
    if (randomInt(random, 4) > 0) await end.welcome(randomInt(random, 2) === 0);
    const bytes = randomInt(random, 5) === 0 ? randomBytes(random, 200) : damaged(random);
    for (let at = 0; at < bytes.length;) {
      const step = 1 + randomInt(random, 64);
      end.write(bytes.subarray(at, at + step));
      at += step;
      if (randomInt(random, 3) === 0) await rig.idle();
    }
    await rig.settle();
    const { acked, stored, rejected, unrouted, droppedTopics, droppedRetained, droppedOversize } =
      rig.source.stats();
    const settled =
      stored + rejected + unrouted + droppedTopics + droppedRetained + droppedOversize;
    expect(acked).toBeLessThanOrEqual(settled + rig.source.stats().redelivered);
    end.stream.destroy();
    await rig.settle();
    rig.clock.advance(rig.pauseMs);
  }
  const last = await rig.end(ROUNDS + 1);
  await last.welcome();
  last.publish('plant1/last', 'still here', 9);
  await rig.settle();
  expect(rig.stream.stored.at(-1)).toBe('still here');
  expect(last.takePubacks()).toEqual([9]);
});
