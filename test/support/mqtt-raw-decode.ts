// Decodes what a broker sends, of any version, and finds fault where the standard does: wrong flags, lengths that do not
// fit, properties that do not belong to the packet or come twice, text that is no UTF-8, packets that only clients send.

import {
  PROPERTIES,
  type PropertyName,
  type PropertyValue,
  type RawVersion,
} from './mqtt-raw-encode.ts';

export type ReceivedProperties = (readonly [PropertyName, PropertyValue])[];

export type RawPacket =
  | { type: 'connack'; present: boolean; code: number; properties: ReceivedProperties }
  | {
      type: 'publish';
      topic: string;
      data: Buffer;
      qos: number;
      retain: boolean;
      dup: boolean;
      /** 0 for QoS 0. */
      packetId: number;
      properties: ReceivedProperties;
    }
  | {
      type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
      packetId: number;
      code: number;
      properties: ReceivedProperties;
    }
  | {
      type: 'suback' | 'unsuback';
      packetId: number;
      codes: number[];
      properties: ReceivedProperties;
    }
  | { type: 'pingresp' }
  | { type: 'disconnect' | 'auth'; code: number; properties: ReceivedProperties };

const ACKS = ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const;

const ANY_ACK: readonly PropertyName[] = ['reasonString', 'userProperty'];
/** What may come in each packet from a server [2.2.2.2]. */
const ALLOWED: Readonly<Record<string, readonly PropertyName[]>> = {
  connack: [
    'sessionExpiryInterval',
    'assignedClientIdentifier',
    'serverKeepAlive',
    'authenticationMethod',
    'authenticationData',
    'responseInformation',
    'serverReference',
    'reasonString',
    'receiveMaximum',
    'topicAliasMaximum',
    'maximumQoS',
    'retainAvailable',
    'userProperty',
    'maximumPacketSize',
    'wildcardSubscriptionAvailable',
    'subscriptionIdentifiersAvailable',
    'sharedSubscriptionAvailable',
  ],
  publish: [
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
    'subscriptionIdentifier',
    'topicAlias',
    'userProperty',
  ],
  suback: ANY_ACK,
  unsuback: ANY_ACK,
  puback: ANY_ACK,
  pubrec: ANY_ACK,
  pubrel: ANY_ACK,
  pubcomp: ANY_ACK,
  disconnect: ['serverReference', 'reasonString', 'userProperty'],
  auth: ['authenticationMethod', 'authenticationData', 'reasonString', 'userProperty'],
};

/** The first whole packet in `bytes`, and how long it is; undefined while there is none. Throws on what is none. */
export function decodeRaw(
  version: RawVersion,
  bytes: Buffer,
): { packet: RawPacket; length: number } | undefined {
  let [size, shift, at] = [0, 0, 1];
  for (; ; at++, shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    if (shift > 21) throw new Error('a Remaining Length of five bytes');
    size |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  const length = at + 1 + size;
  if (bytes.length < length) return undefined;
  const reader = new Reader(bytes.subarray(at + 1, length));
  const packet = decode(version, bytes[0] ?? 0, reader);
  reader.end(packet.type);
  return { packet, length };
}

function decode(version: RawVersion, first: number, reader: Reader): RawPacket {
  const type = first >> 4;
  const flags = first & 15;
  if (type === 3) return publish(version, flags, reader);
  if (flags !== (type === 6 ? 2 : 0)) throw new Error(`flags ${flags} in a packet of type ${type}`);
  if (type === 2) return connack(version, reader);
  const ack = ACKS[type - 4];
  if (ack !== undefined) {
    const packetId = reader.packetId();
    return { type: ack, packetId, ...reasoned(version, ack, reader) };
  }
  if (type === 9 || type === 11) {
    const kind = type === 9 ? 'suback' : 'unsuback';
    const packetId = reader.packetId();
    const properties = version === 5 ? reader.properties(kind) : [];
    return { type: kind, packetId, properties, codes: [...reader.rest()] };
  }
  if (type === 13) return { type: 'pingresp' };
  if ((type === 14 || type === 15) && version === 5) {
    const kind = type === 14 ? 'disconnect' : 'auth';
    return { type: kind, ...reasoned(version, kind, reader) };
  }
  throw new Error(`a packet of type ${type}, which no server sends`);
}

function publish(version: RawVersion, flags: number, reader: Reader): RawPacket {
  const qos = (flags >> 1) & 3;
  if (qos === 3) throw new Error('a PUBLISH of QoS 3');
  if (qos === 0 && (flags & 8) !== 0) throw new Error('DUP at QoS 0 [MQTT-3.3.1-2]');
  const topic = reader.text();
  if (/[+#\0]/.test(topic)) throw new Error(`a wildcard in the Topic Name ${topic}`);
  const packetId = qos === 0 ? 0 : reader.packetId();
  const properties = version === 5 ? reader.properties('publish') : [];
  const aliased = properties.some(([name]) => name === 'topicAlias');
  if (topic === '' && !aliased) throw new Error('a PUBLISH without a topic');
  const data = Buffer.from(reader.rest());
  return {
    type: 'publish',
    topic,
    data,
    qos,
    retain: (flags & 1) !== 0,
    dup: (flags & 8) !== 0,
    packetId,
    properties,
  };
}

function connack(version: RawVersion, reader: Reader): RawPacket {
  const flags = reader.byte();
  const code = reader.byte();
  if (flags > 1) throw new Error(`Connect Acknowledge Flags ${flags}`);
  if (flags === 1 && code !== 0) throw new Error('a refusal with a session [MQTT-3.2.2-6]');
  if (flags === 1 && version === 3) throw new Error('Session Present to a client of 3.1');
  // A server that does not know 5.0 answers in the words of 3.1.1.
  const properties = version === 5 && reader.left > 0 ? reader.properties('connack') : [];
  return { type: 'connack', present: flags === 1, code, properties };
}

function reasoned(
  version: RawVersion,
  type: string,
  reader: Reader,
): { code: number; properties: ReceivedProperties } {
  if (reader.left === 0) return { code: 0, properties: [] };
  if (version !== 5) throw new Error(`a reason code in a ${type} before 5.0`);
  const code = reader.byte();
  return { code, properties: reader.left === 0 ? [] : reader.properties(type) };
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.#take(1)[0] ?? 0;
  }

  packetId(): number {
    const id = this.#take(2).readUInt16BE();
    if (id === 0) throw new Error('Packet Identifier 0');
    return id;
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#binary());
  }

  rest(): Buffer {
    return this.#take(this.left);
  }

  end(type: string): void {
    if (this.left > 0) throw new Error(`${this.left} bytes behind a ${type}`);
  }

  /** With their length in front. */
  properties(type: string): ReceivedProperties {
    const block = new Reader(this.#take(this.#varint()));
    const found: ReceivedProperties = [];
    while (block.left > 0) {
      const each = block.#property();
      const [name] = each;
      if (ALLOWED[type]?.includes(name) !== true) throw new Error(`${name} in a ${type}`);
      const mayRepeat = name === 'userProperty' || name === 'subscriptionIdentifier';
      if (!mayRepeat && found.some(([other]) => other === name))
        throw new Error(`${name} twice in a ${type}`);
      found.push(each);
    }
    return found;
  }

  #property(): readonly [PropertyName, PropertyValue] {
    const id = this.#varint();
    for (const [name, kind] of Object.entries(PROPERTIES))
      if (kind.id === id) return [name as PropertyName, this.#value(kind.type)];
    throw new Error(`property ${id}`);
  }

  #value(type: (typeof PROPERTIES)[PropertyName]['type']): PropertyValue {
    switch (type) {
      case 'byte':
        return this.byte();
      case 'two':
        return this.#take(2).readUInt16BE();
      case 'four':
        return this.#take(4).readUInt32BE();
      case 'varint':
        return this.#varint();
      case 'string':
        return this.text();
      case 'binary':
        return Buffer.from(this.#binary());
      case 'pair':
        return [this.text(), this.text()];
    }
  }

  #varint(): number {
    let [value, shift] = [0, 0];
    for (;;) {
      const byte = this.byte();
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
      shift += 7;
      if (shift > 21) throw new Error('a length of five bytes');
    }
  }

  #binary(): Buffer {
    return this.#take(this.#take(2).readUInt16BE());
  }

  #take(count: number): Buffer {
    if (this.left < count) throw new Error('a packet that ends too early');
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
}
