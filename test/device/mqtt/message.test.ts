// Properties of MQTT 5.0 as headers of NATS, and back.

import { expect, test } from 'vitest';
import { responseSubject, toForm, toMessage } from '../../../device/mqtt/message.ts';
import { PacketType } from '../../../device/mqtt/wire/packet-type.ts';
import { decodeProperties } from '../../../device/mqtt/wire/properties.ts';
import { NO_PROPERTIES, type Properties } from '../../../device/mqtt/wire/types.ts';
import { decodeHeaders, encodeHeaders } from '../../../src/headers.ts';
import type { Message } from '../../../src/message.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../../support/random.ts';

const DATA = Buffer.from('21.5');
const NOW_MS = 1_000_000;

function message(properties: Properties): Message {
  return toMessage({ data: DATA, properties }, 'plant1.a');
}

function headerLines(properties: Properties): [string, string][] {
  return decodeHeaders(message(properties).headers);
}

/** What an MQTT 5.0 client is shown of a message: its properties, with the expiry. */
function shown(of: Partial<Message>): Properties {
  const form = toForm({ subject: 'plant1.a', data: DATA, ...of }, NOW_MS);
  if (form === undefined) throw new Error('no form');
  const properties = decodeProperties(form.properties, PacketType.publish);
  return form.expiresMs === Infinity
    ? properties
    : { ...properties, messageExpiryInterval: (form.expiresMs - NOW_MS) / 1000 };
}

function shownLines(...lines: [string, string][]): Properties {
  const headers = encodeHeaders(lines);
  return shown(headers === undefined ? {} : { headers });
}

test('what has no properties has no headers, and the other way round', () => {
  expect(message(NO_PROPERTIES)).toEqual({ subject: 'plant1.a', data: DATA });
  const form = toForm({ subject: 'plant1.a', data: DATA }, NOW_MS);
  expect(form?.properties).toHaveLength(0);
  expect(form?.expiresMs).toBe(Infinity);
  expect(form?.data).toBe(DATA);
  expect(form?.topic).toEqual(Buffer.from('\0\x08plant1/a', 'latin1'));
});

test('properties are headers that a NATS program can read', () => {
  expect(
    headerLines({
      payloadFormatIndicator: 1,
      messageExpiryInterval: 60,
      contentType: 'text/plain; charset=utf-8',
      responseTopic: 'replies/meter 7',
      correlationData: Buffer.from([0, 1, 254, 255]),
      userProperties: [
        ['unit', '°C'],
        ['site', 'plant 1'],
        ['unit', ''],
        ['Nats-Msg-Id', 'a-1'],
      ],
    }),
  ).toEqual([
    ['Mqtt-Payload-Format-Indicator', '1'],
    ['Mqtt-Message-Expiry', '60'],
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['Mqtt-Response-Topic', 'replies/meter 7'],
    ['Mqtt-Correlation-Data', 'AAH+/w=='],
    ['unit', '°C'],
    ['site', 'plant 1'],
    ['unit', ''],
    ['Nats-Msg-Id', 'a-1'],
  ]);
});

test.each([
  [['Nats-Rollup', 'all'], 'Nats-Rollup=all'],
  [['Nats-Expected-Last-Sequence', '0'], 'Nats-Expected-Last-Sequence=0'],
  [['nats-ttl', '1s'], 'nats-ttl=1s'],
  [['Nats-Msg-Id-2', 'x'], 'Nats-Msg-Id-2=x'],
  [['Nats-Msg-Id', ' x'], 'Nats-Msg-Id=%20x'],
  [['Mqtt-Message-Expiry', '1'], 'Mqtt-Message-Expiry=1'],
  [['MQTT-user-property', 'a=b'], 'MQTT-user-property=a%3Db'],
  [['Content-Type', 'x'], 'Content-Type=x'],
  [['two words', 'x'], 'two%20words=x'],
  [['a:b', 'x'], 'a%3Ab=x'],
  [['', ''], '='],
  [['a', 'b\r\nNats-Rollup: all'], 'a=b%0D%0ANats-Rollup%3A%20all'],
  [['a\r\nNats-Rollup', 'all'], 'a%0D%0ANats-Rollup=all'],
  [['a', '\u00a0b'], 'a=%C2%A0b'],
  [['größe', 'ß'], 'gr%C3%B6%C3%9Fe=%C3%9F'],
] as const)(
  'a device cannot set the header of the User Property %j: it is escaped',
  (pair, escaped) => {
    const properties = { userProperties: [pair] };
    expect(headerLines(properties)).toEqual([['Mqtt-User-Property', escaped]]);
    const { headers } = message(properties);
    expect(shown(headers === undefined ? {} : { headers })).toEqual(properties);
  },
);

test('a Content Type or Response Topic that a header would change is escaped', () => {
  const properties = { contentType: ' text\t', responseTopic: ' 100%/\ta ' };
  expect(headerLines(properties)).toEqual([
    ['Mqtt-Content-Type', '%20text%09'],
    ['Mqtt-Response-Topic', '%20100%25/%09a%20'],
  ]);
});

const NAMES = [
  'unit',
  'Nats-Msg-Id',
  'Nats-TTL',
  'Mqtt-X',
  'Content-Type',
  'Status',
  '',
  ' ',
  'é',
  'a b',
  'a:b',
  'a=b',
  '%41',
  '\n',
];
const VALUES = [
  '',
  ' ',
  'v',
  ' v',
  'v ',
  'a\r\nb',
  '\t',
  '\x01',
  '°C',
  '%',
  '%41',
  '\ufeff',
  '\u2028x',
  '\ufffe',
  '\u{1f600}',
  '+=&',
];

function pick<T>(random: Random, values: readonly T[]): T {
  const value = values[randomInt(random, values.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
}

function randomProperties(random: Random): Properties {
  const some = (): boolean => randomInt(random, 2) === 0;
  return {
    ...(some() ? { payloadFormatIndicator: some() ? 1 : 0 } : {}),
    ...(some() ? { messageExpiryInterval: pick(random, [0, 1, 86_400, 0xffff_ffff]) } : {}),
    ...(some() ? { contentType: pick(random, VALUES) } : {}),
    ...(some()
      ? { responseTopic: `r${pick(random, VALUES).replaceAll('+', '')}/${some() ? '' : ' '}` }
      : {}),
    ...(some() ? { correlationData: randomBytes(random, randomInt(random, 40)) } : {}),
    ...(some()
      ? {
          userProperties: Array.from({ length: 1 + randomInt(random, 5) }, () => [
            pick(random, NAMES),
            pick(random, VALUES) + pick(random, VALUES),
          ]) as [string, string][],
        }
      : {}),
  } as Properties;
}

test('every set of properties comes back as it was', () => {
  const random = seededRandom(5);
  for (let i = 0; i < 20_000; i++) {
    const properties = randomProperties(random);
    const { headers } = message(properties);
    expect(shown(headers === undefined ? {} : { headers })).toEqual(properties);
    // No line was broken, and none was smuggled in.
    const names = decodeHeaders(headers).map(([name]) => name);
    expect(names.filter((name) => /^nats-/i.test(name) && name !== 'Nats-Msg-Id')).toEqual([]);
    const { userProperties, ...others } = properties;
    expect(names).toHaveLength(Object.keys(others).length + (userProperties?.length ?? 0));
  }
});

test('all headers of a NATS message are shown as User Properties, in order', () => {
  expect(
    shownLines(
      ['X-One', 'a'],
      ['X One', 'b'],
      ['x-one', ' c '],
      ['X-One', 'd=e'],
      ['Nats-Stream', 'S'],
      ['Nats-Sequence', '7'],
      ['Größe', 'ß'],
      ['Empty', ''],
    ).userProperties,
  ).toEqual([
    ['X-One', 'a'],
    ['X One', 'b'],
    ['x-one', 'c'],
    ['X-One', 'd=e'],
    ['Nats-Stream', 'S'],
    ['Nats-Sequence', '7'],
    ['Größe', 'ß'],
    ['Empty', ''],
  ]);
});

test('a status line, a line without a name or a colon, and bytes that are no text are shown too', () => {
  const block = (text: string): Properties => shown({ headers: Buffer.from(text, 'latin1') });
  expect(block('NATS/1.0 503\r\n\r\n').userProperties).toEqual([['Status', '503']]);
  expect(
    block('NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 3\r\n\r\n').userProperties,
  ).toEqual([
    ['Status', '100'],
    ['Description', 'Idle Heartbeat'],
    ['Nats-Last-Stream', '3'],
  ]);
  expect(
    block('NATS/1.0\r\nno colon\r\n: no name\r\nodd: \xff\0\ta\r\n\r\n').userProperties,
  ).toEqual([
    ['no colon', ''],
    ['', 'no name'],
    ['odd', '\ufffd  a'],
  ]);
  expect(block('')).toEqual({});
  expect(block('NATS/1.0\r\n\r\n')).toEqual({});
});

test.each([
  ['Mqtt-Payload-Format-Indicator', '2'],
  ['Mqtt-Message-Expiry', '-1'],
  ['Mqtt-Message-Expiry', '4294967296'],
  ['Mqtt-Message-Expiry', ''],
  ['Mqtt-Response-Topic', 'a/+'],
  ['Mqtt-Response-Topic', '#'],
  ['Mqtt-Response-Topic', ''],
  ['Mqtt-Response-Topic', '%zz'],
  ['Mqtt-Response-Topic', '%00'],
  ['Mqtt-Correlation-Data', 'no base64!'],
  ['Mqtt-Content-Type', '%'],
  ['Mqtt-User-Property', 'no equals sign'],
  ['Mqtt-User-Property', 'a=%zz'],
  ['Mqtt-User-Property', 'a=%00'],
  ['Mqtt-Other', 'x'],
])('the header %s: %j means nothing to MQTT, and is shown as it is', (name, value) => {
  expect(shownLines([name, value])).toEqual({ userProperties: [[name, value]] });
});

test('of a header that MQTT has once, the first holds and the others are shown', () => {
  expect(
    shownLines(
      ['Mqtt-Payload-Format-Indicator', '0'],
      ['Mqtt-Payload-Format-Indicator', '1'],
      ['Mqtt-Message-Expiry', '5'],
      ['Mqtt-Message-Expiry', '6'],
      ['Content-Type', 'a'],
      ['Content-Type', 'b'],
      ['Mqtt-Response-Topic', 'a'],
      ['Mqtt-Response-Topic', 'b'],
      ['Mqtt-Correlation-Data', 'AA=='],
      ['Mqtt-Correlation-Data', 'AQ=='],
    ),
  ).toEqual({
    payloadFormatIndicator: 0,
    messageExpiryInterval: 5,
    contentType: 'a',
    responseTopic: 'a',
    correlationData: Buffer.of(0),
    userProperties: [
      ['Mqtt-Payload-Format-Indicator', '1'],
      ['Mqtt-Message-Expiry', '6'],
      ['Content-Type', 'b'],
      ['Mqtt-Response-Topic', 'b'],
      ['Mqtt-Correlation-Data', 'AQ=='],
    ],
  });
});

test('the Response Topic is where NATS programs answer, and their reply subject is a Response Topic', () => {
  expect(message({ responseTopic: 'replies/v1.2' }).reply).toBe('replies.v1//2');
  expect(shown({ reply: '_INBOX.AbC.1' }).responseTopic).toBe('_INBOX/AbC/1');
  const headers = encodeHeaders([['Mqtt-Response-Topic', 'b/c']]);
  const both = { reply: 'a.b', ...(headers === undefined ? {} : { headers }) };
  expect(shown(both).responseTopic).toBe('b/c');
});

test('nobody is asked to answer where a device may not publish', () => {
  expect(message({ responseTopic: '$JS/API/STREAM/DELETE/S' }).reply).toBeUndefined();
  expect(message({ responseTopic: 'x'.repeat(2000) }).reply).toBeUndefined();
  expect(shown({ reply: '$JS.ACK.S.C.1.2.3.4.5' })).toEqual({});
  // No topic stands for these: an answer would go elsewhere.
  expect(shown({ reply: 'a.b+c' })).toEqual({});
  expect(shown({ reply: 'a/b' })).toEqual({});
});

test('the subject to which a device may answer is known from the message in its queue', () => {
  const form = (of: Partial<Message>) => toForm({ subject: 'a', data: DATA, ...of }, NOW_MS);
  const subjectOf = (of: Partial<Message>): string | undefined => {
    const made = form(of);
    return made === undefined ? undefined : responseSubject(made);
  };
  expect(subjectOf({})).toBeUndefined();
  expect(subjectOf({ reply: '_INBOX.a.b' })).toBe('_INBOX.a.b');
  expect(subjectOf(message({ responseTopic: 'r/v1.2' }))).toBe('r.v1//2');
  expect(subjectOf(message({ responseTopic: 'x'.repeat(2000) }))).toBeUndefined();
  expect(subjectOf(message({ contentType: 'x' }))).toBeUndefined();
});

test('a header that is longer than a string of MQTT cannot be sent to its clients', () => {
  const headers = encodeHeaders([['Long', 'x'.repeat(65_536)]]);
  if (headers === undefined) throw new Error('no headers');
  expect(toForm({ subject: 'a', headers, data: DATA }, NOW_MS)).toBeUndefined();
  expect(shownLines(['Long', 'x'.repeat(65_535)]).userProperties).toHaveLength(1);
});

test('headers of ours stand before those of the device', () => {
  const { headers } = toMessage(
    { data: DATA, properties: { userProperties: [['a', 'b']] } },
    'plant1.a',
    [['Source', 'hall2']],
  );
  expect(decodeHeaders(headers)).toEqual([
    ['Source', 'hall2'],
    ['a', 'b'],
  ]);
});
