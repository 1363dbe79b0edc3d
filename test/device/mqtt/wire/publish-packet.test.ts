import { parser, type IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import type { Outgoing } from '../../../../device/mqtt/session/types.ts';
import { encodeProperties } from '../../../../device/mqtt/wire/properties.ts';
import {
  encodePublish,
  publishBytes,
  type Publishing,
} from '../../../../device/mqtt/wire/publish-packet.ts';
import type { Properties, Version } from '../../../../device/mqtt/wire/types.ts';
import { encodeName } from '../../../../device/mqtt/wire/utf8.ts';

function outgoing(
  topic: string,
  data: Buffer,
  rest: Partial<Outgoing> = {},
  properties: Properties = {},
): Outgoing {
  return {
    form: {
      topic: encodeName(topic),
      properties: encodeProperties(properties),
      data,
      expiresMs: Infinity,
    },
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    subscriptionIdentifiers: [],
    ...rest,
  };
}

/** Writes it, looks that its size was told rightly, and reads it as a client's library does. */
function written(message: Outgoing, how: Publishing): IPublishPacket {
  const bytes = encodePublish(message, how);
  expect(publishBytes(message, how)).toBe(bytes.length);
  const reader = parser({ protocolVersion: how.version });
  let read: IPublishPacket | undefined;
  reader.on('packet', (packet) => {
    if (packet.cmd === 'publish') read = packet;
  });
  reader.on('error', (error) => {
    throw error;
  });
  expect(reader.parse(bytes)).toBe(0);
  if (read === undefined) throw new Error('no PUBLISH');
  return read;
}

const never = { remainingExpirySeconds: undefined };

test.each([3, 4, 5] as const)(
  'a PUBLISH of version %i is read by a client, at every length of its length',
  (version) => {
    for (const length of [0, 1, 100, 115, 120, 16_370, 16_380, 16_400, 2_097_140, 2_097_160])
      for (const [qos, packetId] of [
        [0, 0],
        [1, 1],
        [2, 65_535],
      ] as const) {
        const data = Buffer.alloc(length, 7);
        const dup = qos > 0;
        const message = outgoing('a/bä', data, { qos, packetId, retain: true, dup });
        const packet = written(message, { version, ...never });
        expect(packet).toMatchObject({ topic: 'a/bä', qos, retain: true, dup });
        expect(packet.messageId ?? 0).toBe(packetId);
        expect(data.equals(packet.payload as Buffer)).toBe(true);
      }
  },
);

test('every flag stands for itself', () => {
  const first = (rest: Partial<Outgoing>): number | undefined =>
    encodePublish(outgoing('a', Buffer.alloc(0), rest), { version: 4, ...never })[0];
  expect(first({})).toBe(0x30);
  expect(first({ retain: true })).toBe(0x31);
  expect(first({ qos: 1, packetId: 1 })).toBe(0x32);
  expect(first({ qos: 2, packetId: 1 })).toBe(0x34);
  expect(first({ qos: 2, packetId: 1, dup: true })).toBe(0x3c);
});

test('a client of 5.0 gets the properties of the message and its own, at every length of theirs', () => {
  for (const length of [0, 100, 110, 120, 16_340, 16_380, 40_000]) {
    const filler = 'x'.repeat(length);
    const properties: Properties = {
      contentType: filler,
      responseTopic: 'r',
      correlationData: Buffer.from('c'),
      payloadFormatIndicator: 1,
      userProperties: [
        ['k', '1'],
        ['k', '2'],
      ],
    };
    const message = outgoing(
      'a',
      Buffer.from('data'),
      { qos: 1, packetId: 9, subscriptionIdentifiers: [1, 128, 268_435_455] },
      properties,
    );
    const how = { version: 5, remainingExpirySeconds: 77, topicAlias: 3 } as const;
    expect(written(message, how)).toMatchObject({
      topic: 'a',
      payload: Buffer.from('data'),
      properties: {
        contentType: filler,
        responseTopic: 'r',
        correlationData: Buffer.from('c'),
        payloadFormatIndicator: true,
        userProperties: { k: ['1', '2'] },
        subscriptionIdentifier: [1, 128, 268_435_455],
        messageExpiryInterval: 77,
        topicAlias: 3,
      },
    });
  }
});

test('a topic that the client knows by its alias stays out', () => {
  const message = outgoing('a/long/topic', Buffer.from('x'));
  const how: Publishing = { version: 5, ...never, topicAlias: 65_535, omitTopic: true };
  expect(encodePublish(message, how).toString('hex')).toBe('3007000003' + '23ffff' + '78');
  expect(publishBytes(message, how)).toBe(9);
});

test('an expiry of 0 seconds is said', () => {
  const how = { version: 5, remainingExpirySeconds: 0 } as const;
  const packet = written(outgoing('a', Buffer.alloc(0)), how);
  expect(packet.properties).toEqual({ messageExpiryInterval: 0 });
});

test('the older versions get neither properties nor alias, and always the topic', () => {
  const message = outgoing(
    'a',
    Buffer.from('x'),
    { subscriptionIdentifiers: [7] },
    { contentType: 't' },
  );
  for (const version of [3, 4] satisfies Version[]) {
    const how = { version, remainingExpirySeconds: 5, topicAlias: 1, omitTopic: true };
    expect(encodePublish(message, how).toString('hex')).toBe('3004' + '000161' + '78');
    expect(publishBytes(message, how)).toBe(6);
  }
});
