import { expect, test } from 'vitest';
import { PacketType } from '../../../../device/mqtt/wire/packet-type.ts';
import { decodeProperties } from '../../../../device/mqtt/wire/properties.ts';
import { ProtocolError } from '../../../../device/mqtt/wire/protocol-error.ts';
import type { Version } from '../../../../device/mqtt/wire/types.ts';
import { decodeFrame, frame, readStream, startOf } from '../../../support/mqtt-frames.ts';
import { randomConnect, randomPacket } from '../../../support/mqtt-random-packets.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../../../support/random.ts';

const VERSIONS: readonly Version[] = [3, 4, 5];
const REASONS = new Set([0x81, 0x82, 0x84, 0x94, 0x95, 0x97]);

/** Whether it is taken; anything but a ProtocolError with a reason that may be said goes on. */
function taken(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (!(error instanceof ProtocolError) || !REASONS.has(error.reasonCode)) throw error;
    return false;
  }
}

/** One to four changes: a bit, a byte, a piece left out, doubled or moved, the end cut off or something behind it. */
function mutate(random: Random, packet: Buffer): Buffer {
  let bytes = Buffer.from(packet);
  for (let count = 1 + randomInt(random, 4); count > 0 && bytes.length > 0; count--) {
    const at = randomInt(random, bytes.length);
    const length = 1 + randomInt(random, 8);
    switch (randomInt(random, 6)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << randomInt(random, 8));
        break;
      case 1:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0xed][randomInt(random, 6)] ?? 0;
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      default:
        bytes = Buffer.concat([bytes, randomBytes(random, length)]);
    }
  }
  return bytes;
}

test.each(VERSIONS)(
  'changed packets of version %i are read or refused, and nothing else',
  (version) => {
    const random = seededRandom(700 + version);
    let good = 0;
    const rounds = 3000;
    for (let round = 0; round < rounds; round++) {
      const isConnect = round % 3 === 0;
      const packet = isConnect ? randomConnect(random, version) : randomPacket(random, version);
      const changed = mutate(random, packet);
      const spoken = isConnect ? undefined : version;
      const whole = taken(() => readStream(changed, spoken));
      if (changed.length < 300) expect(taken(() => readStream(changed, spoken, 1))).toBe(whole);
      if (whole) good++;
    }
    // Both happen, or the changes are too small or too large to say anything.
    expect(good).toBeGreaterThan(rounds / 20);
    expect(good).toBeLessThan((rounds * 19) / 20);
  },
);

test.each(VERSIONS)(
  'changed contents behind a right Remaining Length meet the decoders of version %i',
  (version) => {
    const random = seededRandom(800 + version);
    for (let round = 0; round < 3000; round++) {
      const packet =
        round % 3 === 0 ? randomConnect(random, version) : randomPacket(random, version);
      const content = mutate(random, packet.subarray(startOf(packet)));
      const changed = frame(packet[0] ?? 0, content);
      const before = Buffer.from(changed);
      taken(() => decodeFrame(changed, startOf(changed), version));
      expect(changed.equals(before)).toBe(true);
    }
  },
);

test('random bytes are read or refused', () => {
  const random = seededRandom(900);
  for (let round = 0; round < 3000; round++) {
    const stream = randomBytes(random, randomInt(random, 60));
    for (const version of [undefined, ...VERSIONS]) taken(() => readStream(stream, version));
    for (const place of [0, PacketType.connect, PacketType.publish, PacketType.auth])
      taken(() => decodeProperties(stream, place));
  }
});

test('every packet cut anywhere behind a right Remaining Length is refused, or is a shorter packet', () => {
  const random = seededRandom(1000);
  for (const version of VERSIONS)
    for (let round = 0; round < 150; round++) {
      const packet =
        round % 3 === 0 ? randomConnect(random, version) : randomPacket(random, version);
      const content = packet.subarray(startOf(packet));
      for (let end = 0; end < Math.min(content.length, 200); end++) {
        const cut = frame(packet[0] ?? 0, content.subarray(0, end));
        taken(() => decodeFrame(cut, startOf(cut), version));
      }
    }
});

test('the largest packets of the smallest parts are read in one pass', () => {
  const filters = Buffer.concat([
    Buffer.from([0, 1]),
    Buffer.alloc(65_532, Buffer.from('00016101', 'hex')),
  ]);
  const [read] = readStream(frame(0x82, filters), 4) as { filters: unknown[] }[];
  expect(read?.filters).toHaveLength(16_383);
  // A million bytes of User Properties: given up long before the end.
  const pairs = Buffer.alloc(1_000_000, Buffer.from('2600000000', 'hex'));
  const length = Buffer.from('c0843d', 'hex');
  const flood = frame(0x30, Buffer.concat([Buffer.from('000161', 'hex'), length, pairs]));
  expect(() => readStream(flood, 5)).toThrow('User Properties');
});
