import { generate, parser, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import {
  decode,
  decodePublish,
  decodePuback,
  encodeConnackUnsupported,
  encodeName,
  encodePubacks,
  encodePublish,
  ProtocolError,
} from '../../../device/mqtt/packets.ts';
import { randomBytes, randomInt, seededRandom } from '../../support/random.ts';

/** What mqtt-packet makes of the bytes, or undefined. */
function reference(bytes: Buffer): Packet | undefined {
  const reader = parser({ protocolVersion: 4 });
  let packet: Packet | undefined;
  let failed = false;
  reader.on('packet', (parsed) => (packet = parsed));
  reader.on('error', () => (failed = true));
  reader.parse(bytes);
  return failed ? undefined : packet;
}

/** The length of the fixed header. */
function startOf(frame: Buffer): number {
  let at = 1;
  while ((frame[at] ?? 0) & 0x80) at++;
  return at + 1;
}

test('a PUBLISH is read by hand exactly as mqtt-packet reads it', () => {
  const random = seededRandom(2);
  for (let i = 0; i < 3000; i++) {
    const qos = randomInt(random, 2) === 0 ? 0 : 1;
    const frame = generate({
      cmd: 'publish',
      topic: 'ä'.repeat(1 + randomInt(random, 60)),
      qos,
      messageId: 1 + randomInt(random, 65_535),
      retain: randomInt(random, 2) === 1,
      dup: qos === 1 && randomInt(random, 2) === 1,
      payload: randomBytes(random, randomInt(random, 300)),
    });
    const wanted = reference(frame);
    if (wanted?.cmd !== 'publish') throw new Error('no PUBLISH');
    const publish = decodePublish(frame, startOf(frame));
    expect(publish.topic).toBe(wanted.topic);
    expect(publish.packetId).toBe(wanted.messageId ?? 0);
    expect(publish.qos).toBe(wanted.qos);
    expect(publish.retain).toBe(wanted.retain);
    expect(publish.data.equals(wanted.payload as Buffer)).toBe(true);
  }
});

test('a PUBLISH is written so that mqtt-packet reads it, at every length of its length', () => {
  for (const length of [0, 1, 100, 117, 118, 119, 16_370, 16_380, 16_400, 2_097_140, 2_097_160])
    for (const packetId of [0, 1, 65_535]) {
      const data = Buffer.alloc(length, 7);
      const packet = reference(
        encodePublish(encodeName('a/b'), data, { packetId, retain: true, dup: packetId > 0 }),
      );
      if (packet?.cmd !== 'publish') throw new Error('no PUBLISH');
      expect(packet.topic).toBe('a/b');
      expect(packet.qos).toBe(packetId === 0 ? 0 : 1);
      expect(packet.messageId ?? 0).toBe(packetId);
      expect([packet.retain, packet.dup]).toEqual([true, packetId > 0]);
      expect(data.equals(packet.payload as Buffer)).toBe(true);
    }
});

test('PUBACKs are written in order as one buffer', () => {
  const packets = encodePubacks([1, 258, 65_535]);
  expect(packets.toString('hex')).toBe('40020001400201024002ffff');
  expect(decodePuback(packets.subarray(4, 8))).toBe(258);
});

test.each([
  ['QoS 2', '3405000161 0001'],
  ['QoS 3', '3605000161 0001'],
  ['DUP with QoS 0', '380400016162'],
  ['an empty topic', '32040000 0001'],
  ['a topic beyond the packet', '3004 00ff6162'],
  ['no Packet Identifier', '3203 000161'],
  ['Packet Identifier 0', '3205 000161 0000'],
  ['ill-formed UTF-8', '3004 0002c328'],
  ['a surrogate', '3005 0003eda080'],
  ['U+0000 in the topic', '3004 00026100'],
  ['nothing at all', '3000'],
])('a PUBLISH with %s breaks the protocol', (_, hex) => {
  const frame = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  expect(() => decodePublish(frame, 2)).toThrow(ProtocolError);
});

test('U+FFFD itself is an ordinary character', () => {
  const frame = generate({
    cmd: 'publish',
    topic: 'a\ufffd',
    qos: 0,
    dup: false,
    retain: false,
    payload: '',
  });
  expect(decodePublish(frame, 2).topic).toBe('a\ufffd');
});

test.each([
  ['SUBSCRIBE with Packet Identifier 0', '8206 0000 000161 00'],
  ['SUBSCRIBE without a Packet Identifier', '8200'],
  ['SUBSCRIBE without filters', '8202 0001'],
  ['SUBSCRIBE with QoS 3', '8206 0001 000161 03'],
  ['SUBSCRIBE with reserved bits', '8206 0001 000161 81'],
  ['SUBSCRIBE whose filter is cut', '8206 0001 00ff61 00'],
  ['SUBSCRIBE without the last QoS', '8205 0001 000161'],
  ['SUBSCRIBE with ill-formed UTF-8', '8206 0001 0001ff 00'],
  ['UNSUBSCRIBE without filters', 'a202 0001'],
  ['UNSUBSCRIBE with Packet Identifier 0', 'a205 0000 000161'],
  ['PUBACK with a length of 3', '4003 000100'],
])('%s breaks the protocol', (_, hex) => {
  const frame = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const read = frame[0] === 0x40 ? decodePuback : decode;
  expect(() => read(frame)).toThrow(ProtocolError);
});

test('one broken packet leaves nothing behind for the next', () => {
  expect(() => decode(Buffer.from('82060001 00ff6100'.replaceAll(' ', ''), 'hex'))).toThrow(
    ProtocolError,
  );
  const packet = decode(Buffer.from('820600010001610 1'.replaceAll(' ', ''), 'hex'));
  expect(packet).toMatchObject({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: 'a', qos: 1 }],
  });
});

test('an MQTT 5 client is told in its own form', () => {
  expect(encodeConnackUnsupported().toString('hex')).toBe('2003008400');
});
