// Properties as bytes and as objects [2.2.2], as a client sends them and as it gets them. A property that stands where it may not is
// malformed; one that comes twice, or with a value that it cannot have, is a Protocol Error.

import { Cursor } from './cursor.ts';
import { PacketType } from './packet-type.ts';
import { PROPERTIES, type PropertyEntry, type PropertyPlace } from './property-table.ts';
import { notAllowed, ProtocolError } from './protocol-error.ts';
import { ReasonCode } from './reason-codes.ts';
import { NO_PROPERTIES, type Properties } from './types.ts';
import { encodeName } from './utf8.ts';
import { encodeVariable } from './variable-integer.ts';

/**
 * User Properties of one packet; more end the connection with Quota exceeded. Far more than any program sends, and few enough that an
 * object for each costs less than the packet itself may.
 */
const USER_PROPERTIES_MAX = 1024;

const EMPTY = Buffer.alloc(0);
const BY_ID: readonly (PropertyEntry | undefined)[] = Array.from({ length: 0x2b }, (_, id) =>
  PROPERTIES.find((entry) => entry.id === id),
);

type Draft = { -readonly [K in keyof Properties]: Properties[K] };

/**
 * Reads the properties in `bytes`, which hold them and nothing else: what we have written ourselves, as many as they are.
 * Throws a ProtocolError.
 */
export function decodeProperties(bytes: Buffer, place: PropertyPlace): Properties {
  if (bytes.length === 0) return NO_PROPERTIES;
  return readAll(new Cursor(bytes, 0), place, Number.POSITIVE_INFINITY);
}

/** Reads the Property Length and the properties at `cursor`. Throws a ProtocolError. */
export function readProperties(cursor: Cursor, place: PropertyPlace): Properties {
  const length = cursor.variable();
  return length === 0 ? NO_PROPERTIES : readAll(cursor.part(length), place, USER_PROPERTIES_MAX);
}

function readAll(cursor: Cursor, place: PropertyPlace, pairsMax: number): Properties {
  const draft: Draft = {};
  const pairs: [string, string][] = [];
  while (!cursor.done) {
    const id = cursor.variable();
    const entry = BY_ID[id];
    if (entry === undefined || (entry.places & (1 << place)) === 0)
      throw new ProtocolError(`property ${id} where it may not stand`); // [2.2.2.2]
    if (entry.kind === 'pair') {
      if (pairs.length >= pairsMax)
        throw new ProtocolError('too many User Properties', ReasonCode.quotaExceeded);
      pairs.push([cursor.utf8(), cursor.utf8()]);
      continue;
    }
    if (draft[entry.name] !== undefined) throw notAllowed(`property ${id} twice`);
    readOne(cursor, entry, draft, place);
  }
  if (pairs.length > 0) draft.userProperties = pairs;
  return draft;
}

function readOne(cursor: Cursor, entry: PropertyEntry, draft: Draft, place: PropertyPlace): void {
  switch (entry.kind) {
    case 'bit':
      draft[entry.name] = bit(cursor.byte(), entry.id);
      return;
    case 'uint16':
      draft[entry.name] = cursor.uint16();
      return;
    case 'uint16 from 1':
    case 'uint32 from 1':
      draft[entry.name] = positive(cursor, entry);
      return;
    case 'uint32':
      draft[entry.name] = cursor.uint32();
      return;
    case 'utf8':
      draft[entry.name] = cursor.utf8();
      return;
    case 'topic':
      draft[entry.name] = topicName(cursor.utf8());
      return;
    case 'binary':
      draft[entry.name] = cursor.binary();
      return;
    case 'identifier':
      // [MQTT-3.3.4-6]
      if (place === PacketType.publish) throw notAllowed('a Subscription Identifier of a client');
      draft[entry.name] = [identifier(cursor.variable())];
      return;
    case 'pair': // Read where they are counted.
  }
}

function bit(value: number, id: number): 0 | 1 {
  if (value > 1) throw notAllowed(`property ${id} is ${value}`);
  return value === 1 ? 1 : 0;
}

function positive(cursor: Cursor, { id, kind }: PropertyEntry): number {
  const value = kind === 'uint16 from 1' ? cursor.uint16() : cursor.uint32();
  if (value > 0) return value;
  const isAlias = BY_ID[id]?.name === 'topicAlias'; // [MQTT-3.3.2-8]
  throw new ProtocolError(
    `property ${id} is 0`,
    isAlias ? ReasonCode.topicAliasInvalid : ReasonCode.protocolError,
  );
}

/** [MQTT-3.3.2-14], [MQTT-4.7.3-1]. */
function topicName(topic: string): string {
  if (topic === '') throw notAllowed('an empty Response Topic');
  if (topic.includes('+') || topic.includes('#'))
    throw notAllowed('a Response Topic with wildcards');
  return topic;
}

function identifier(value: number): number {
  if (value === 0) throw notAllowed('Subscription Identifier 0'); // [3.8.2.1.2]
  return value;
}

/**
 * Writes `properties` without their length. Values are ours and within their ranges; a string or Binary Data over 65,535
 * bytes throws a RangeError.
 */
export function encodeProperties(properties: Properties): Buffer {
  if (properties === NO_PROPERTIES) return EMPTY;
  const parts: Buffer[] = [];
  for (const entry of PROPERTIES) {
    if (properties[entry.name] !== undefined) writeOne(parts, entry, properties);
  }
  const [first] = parts;
  if (first === undefined) return EMPTY;
  return parts.length === 1 ? first : Buffer.concat(parts);
}

function writeOne(parts: Buffer[], entry: PropertyEntry, properties: Properties): void {
  const { id } = entry;
  switch (entry.kind) {
    case 'bit':
      parts.push(Buffer.from([id, properties[entry.name] ?? 0]));
      return;
    case 'uint16':
    case 'uint16 from 1':
      parts.push(sized(id, 2, properties[entry.name] ?? 0));
      return;
    case 'uint32':
    case 'uint32 from 1':
      parts.push(sized(id, 4, properties[entry.name] ?? 0));
      return;
    case 'utf8':
    case 'topic':
      parts.push(Buffer.from([id]), encodeName(properties[entry.name] ?? ''));
      return;
    case 'binary': {
      const data = properties[entry.name] ?? EMPTY;
      parts.push(sized(id, 2, data.length), data);
      return;
    }
    case 'identifier':
      for (const value of properties[entry.name] ?? [])
        parts.push(Buffer.from([id]), encodeVariable(value));
      return;
    case 'pair':
      for (const [name, value] of properties[entry.name] ?? [])
        parts.push(Buffer.from([id]), encodeName(name), encodeName(value));
  }
}

function sized(id: number, length: 2 | 4, value: number): Buffer {
  const bytes = Buffer.allocUnsafe(1 + length);
  bytes[0] = id;
  bytes.writeUIntBE(value, 1, length);
  return bytes;
}
