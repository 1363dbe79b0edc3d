// What devices write when nobody watches: topics that no subject looks like, and properties that no header does.

import type { IPublishPacket } from 'mqtt';
import { randomInt, type Random } from './random.ts';

const SHORT = `/|//|a/|/a|a//b|a.b/c|.|..|a./b|/.|./|a b/c d| |a/ /b|*|a/*/b|>|a/>|a>b/c*d|a/$b/c|a/_INBOX/b|%2F/%|a/2a|/2a`;

export const ODD_TOPICS: readonly string[] = [
  ...SHORT.split('|'),
  'a\tb',
  'é/ü/日本/😀',
  '\u00a0x',
  '\u0085/\u2028',
  '\u007f',
  '\ufeffa',
  'e\u0301/é',
  `long/${'x'.repeat(995)}`,
  Array.from({ length: 500 }, (_, i) => i % 10).join('/'),
  'x/'.repeat(500),
];

const PIECES = [
  'a',
  'B',
  '-',
  ' ',
  ':',
  '%',
  '=',
  '\r\n',
  'é',
  '😀',
  '\t',
  'Nats-',
  'Mqtt-',
  '\u0001',
];

/** What MQTT.js can say and hear: several values of one name are an array. */
export function randomProperties(random: Random): NonNullable<IPublishPacket['properties']> {
  const text = (): string =>
    Array.from(
      { length: randomInt(random, 6) },
      () => PIECES[randomInt(random, PIECES.length)],
    ).join('');
  const properties: NonNullable<IPublishPacket['properties']> = {};
  if (randomInt(random, 2)) properties.messageExpiryInterval = 100 + randomInt(random, 1e6);
  if (randomInt(random, 2)) properties.contentType = text();
  if (randomInt(random, 2)) properties.responseTopic = `r${text()}`;
  if (randomInt(random, 2))
    properties.correlationData = Buffer.from(text() + String.fromCodePoint(randomInt(random, 256)));
  const userProperties: Record<string, string | string[]> = {};
  for (let i = randomInt(random, 4); i > 0; i--)
    userProperties[`${text()}${i}`] = randomInt(random, 3) ? text() : [`1${text()}`, text()];
  if (Object.keys(userProperties).length > 0) properties.userProperties = userProperties;
  return properties;
}
