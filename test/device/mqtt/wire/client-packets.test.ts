import { generate, parser, type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import {
  decode,
  isWellFormed,
  propertiesEnd,
  splitPublish,
  type Version,
} from '../../../../device/mqtt/wire/client-packets.ts';
import { ProtocolError } from '../../../../device/mqtt/wire/protocol-error.ts';
import { frame, startOf } from '../../../support/mqtt-frames.ts';
import { randomBytes, randomInt, seededRandom } from '../../../support/random.ts';

/** What mqtt-packet makes of the bytes, or undefined. */
function reference(bytes: Buffer, protocolVersion: Version): Packet | undefined {
  const reader = parser({ protocolVersion });
  let packet: Packet | undefined;
  let failed = false;
  reader.on('packet', (parsed) => (packet = parsed));
  reader.on('error', () => (failed = true));
  reader.parse(bytes);
  return failed ? undefined : packet;
}

test.each([4, 5] as const)(
  'a PUBLISH of a broker is read by hand as mqtt-packet reads it, version %i',
  (protocolVersion) => {
    const random = seededRandom(2);
    for (let i = 0; i < 2000; i++) {
      const qos = randomInt(random, 2) === 0 ? 0 : 1;
      const bytes = generate(
        {
          cmd: 'publish',
          topic: 'ä'.repeat(1 + randomInt(random, 60)),
          qos,
          messageId: 1 + randomInt(random, 65_535),
          retain: randomInt(random, 2) === 1,
          dup: qos === 1 && randomInt(random, 2) === 1,
          payload: randomBytes(random, randomInt(random, 300)),
          properties: { contentType: 'x'.repeat(randomInt(random, 200)) },
        },
        { protocolVersion },
      );
      const wanted = reference(bytes, protocolVersion);
      if (wanted?.cmd !== 'publish') throw new Error('no PUBLISH');
      const publish = splitPublish(bytes, startOf(bytes), protocolVersion);
      expect(publish.topic).toBe(wanted.topic);
      expect(publish.packetId).toBe(wanted.messageId ?? 0);
      expect(publish.qos).toBe(wanted.qos);
      expect(publish.retain).toBe(wanted.retain);
      expect(publish.data.equals(wanted.payload as Buffer)).toBe(true);
    }
  },
);

test.each([
  ['QoS 2, which was not asked for', 0x34, '"a" 0001'],
  ['QoS 3', 0x36, '"a" 0001'],
  ['DUP with QoS 0', 0x38, '"a"'],
  ['an empty topic', 0x32, '0000 0001'],
  ['a topic beyond the packet', 0x30, '00ff 6162'],
  ['no Packet Identifier', 0x32, '"a"'],
  ['Packet Identifier 0', 0x32, '"a" 0000'],
  ['nothing at all', 0x30, ''],
])('a PUBLISH of a broker with %s breaks the protocol', (_what, first, rest) => {
  expect(() => splitPublish(frame(first, rest), 2, 4)).toThrow(ProtocolError);
});

test('an ill-formed topic is seen, and U+FFFD is an ordinary character', () => {
  const good = frame(0x30, '"a\ufffd"');
  expect(isWellFormed(splitPublish(good, 2, 4).topic, good)).toBe(true);
  for (const topic of ['0002 c328', '0003 eda080']) {
    const bad = frame(0x30, topic);
    expect(isWellFormed(splitPublish(bad, 2, 4).topic, bad)).toBe(false);
  }
});

test('properties are passed over, and end within the packet', () => {
  expect(propertiesEnd(Buffer.from('00ff', 'hex'), 0)).toBe(1);
  expect(propertiesEnd(Buffer.concat([Buffer.from('8001', 'hex'), Buffer.alloc(128)]), 0)).toBe(
    130,
  );
  for (const bad of ['', '02ff', '80', 'ffffffff01'])
    expect(() => propertiesEnd(Buffer.from(bad, 'hex'), 0)).toThrow(ProtocolError);
});

test('one broken CONNACK leaves nothing behind for the next', () => {
  expect(() => decode(Buffer.from('2004010005ff', 'hex'), 5)).toThrow(ProtocolError);
  expect(decode(Buffer.from('200601000313003c', 'hex'), 5)).toMatchObject({
    cmd: 'connack',
    sessionPresent: true,
    properties: { serverKeepAlive: 60 },
  });
});
