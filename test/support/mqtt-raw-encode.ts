// Encodes what a client sends, of any version, without an opinion on whether it is allowed: the tests also say what no
// library would. Written from the standard and not from our own codecs, so that the two can be held against each other.

export type RawVersion = 3 | 4 | 5;

/** Identifier and type of each property, in the words of MQTT 5.0 [2.2.2.2]. */
export const PROPERTIES = {
  payloadFormatIndicator: { id: 1, type: 'byte' },
  messageExpiryInterval: { id: 2, type: 'four' },
  contentType: { id: 3, type: 'string' },
  responseTopic: { id: 8, type: 'string' },
  correlationData: { id: 9, type: 'binary' },
  subscriptionIdentifier: { id: 11, type: 'varint' },
  sessionExpiryInterval: { id: 17, type: 'four' },
  assignedClientIdentifier: { id: 18, type: 'string' },
  serverKeepAlive: { id: 19, type: 'two' },
  authenticationMethod: { id: 21, type: 'string' },
  authenticationData: { id: 22, type: 'binary' },
  requestProblemInformation: { id: 23, type: 'byte' },
  willDelayInterval: { id: 24, type: 'four' },
  requestResponseInformation: { id: 25, type: 'byte' },
  responseInformation: { id: 26, type: 'string' },
  serverReference: { id: 28, type: 'string' },
  reasonString: { id: 31, type: 'string' },
  receiveMaximum: { id: 33, type: 'two' },
  topicAliasMaximum: { id: 34, type: 'two' },
  topicAlias: { id: 35, type: 'two' },
  maximumQoS: { id: 36, type: 'byte' },
  retainAvailable: { id: 37, type: 'byte' },
  userProperty: { id: 38, type: 'pair' },
  maximumPacketSize: { id: 39, type: 'four' },
  wildcardSubscriptionAvailable: { id: 40, type: 'byte' },
  subscriptionIdentifiersAvailable: { id: 41, type: 'byte' },
  sharedSubscriptionAvailable: { id: 42, type: 'byte' },
} as const;

export type PropertyName = keyof typeof PROPERTIES;
export type PropertyValue = number | string | Buffer | readonly [string, string];
/** In the order of the packet, as often as there. */
export type RawProperties = readonly (readonly [PropertyName, PropertyValue])[];

export interface RawWill {
  readonly topic: string;
  readonly data: string | Buffer;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: RawProperties;
}

export interface RawConnect {
  readonly version: RawVersion;
  readonly clientId: string;
  /** Clean Start; default true. */
  readonly clean?: boolean;
  readonly keepAliveSeconds?: number;
  readonly will?: RawWill | undefined;
  readonly username?: string;
  readonly password?: string;
  readonly properties?: RawProperties;
}

export interface RawPublish {
  readonly topic: string;
  readonly data: string | Buffer;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  /** Left out of the packet where undefined, whatever the QoS. */
  readonly packetId?: number | undefined;
  readonly properties?: RawProperties;
}

export interface RawFilter {
  readonly filter: string;
  readonly qos: number;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: number;
}

export const RAW_PINGREQ = Buffer.from([0xc0, 0]);
export const ACK_TYPE = { puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7 } as const;

/** A whole packet: its first byte, its length, and `parts`. */
export function rawPacket(first: number, ...parts: readonly Buffer[]): Buffer {
  const rest = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first]), rawVarint(rest.length), rest]);
}

export function rawConnect(connect: RawConnect): Buffer {
  const { version, clientId, clean = true, keepAliveSeconds = 0, will } = connect;
  const { username, password, properties = [] } = connect;
  const flags =
    (username === undefined ? 0 : 0x80) |
    (password === undefined ? 0 : 0x40) |
    (will?.retain === true ? 0x20 : 0) |
    ((will?.qos ?? 0) << 3) |
    (will === undefined ? 0 : 4) |
    (clean ? 2 : 0);
  return rawPacket(
    0x10,
    rawText(version === 3 ? 'MQIsdp' : 'MQTT'),
    Buffer.from([version, flags]),
    two(keepAliveSeconds),
    block(version, properties),
    rawText(clientId),
    ...(will === undefined
      ? []
      : [block(version, will.properties ?? []), rawText(will.topic), binary(will.data)]),
    ...(username === undefined ? [] : [rawText(username)]),
    ...(password === undefined ? [] : [rawText(password)]),
  );
}

export function rawPublish(version: RawVersion, publish: RawPublish): Buffer {
  const { topic, data, qos = 0, retain = false, dup = false, packetId, properties = [] } = publish;
  return rawPacket(
    0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
    rawText(topic),
    ...(packetId === undefined ? [] : [two(packetId)]),
    block(version, properties),
    typeof data === 'string' ? Buffer.from(data) : data,
  );
}

export function rawSubscribe(
  version: RawVersion,
  packetId: number,
  filters: readonly RawFilter[],
  properties: RawProperties = [],
): Buffer {
  const entries = filters.map((each) =>
    Buffer.concat([
      rawText(each.filter),
      Buffer.from([
        each.qos |
          (each.noLocal === true ? 4 : 0) |
          (each.retainAsPublished === true ? 8 : 0) |
          ((each.retainHandling ?? 0) << 4),
      ]),
    ]),
  );
  return rawPacket(0x82, two(packetId), block(version, properties), ...entries);
}

export function rawUnsubscribe(
  version: RawVersion,
  packetId: number,
  filters: readonly string[],
  properties: RawProperties = [],
): Buffer {
  return rawPacket(0xa2, two(packetId), block(version, properties), ...filters.map(rawText));
}

/** The short form without a reason code where there is none. */
export function rawAck(
  type: keyof typeof ACK_TYPE,
  packetId: number,
  reasonCode?: number,
  properties?: RawProperties,
): Buffer {
  const first = (ACK_TYPE[type] << 4) | (type === 'pubrel' ? 2 : 0);
  return rawPacket(first, two(packetId), reasoned(reasonCode, properties));
}

export function rawDisconnect(reasonCode?: number, properties?: RawProperties): Buffer {
  return rawPacket(0xe0, reasoned(reasonCode, properties));
}

export function rawAuth(reasonCode?: number, properties?: RawProperties): Buffer {
  return rawPacket(0xf0, reasoned(reasonCode, properties));
}

function reasoned(reasonCode?: number, properties?: RawProperties): Buffer {
  if (reasonCode === undefined) return Buffer.alloc(0);
  const code = Buffer.from([reasonCode]);
  return properties === undefined ? code : Buffer.concat([code, block(5, properties)]);
}

/** Properties with their length in front; nothing before 5.0. */
function block(version: RawVersion, properties: RawProperties): Buffer {
  if (version !== 5) return Buffer.alloc(0);
  const bytes = Buffer.concat(properties.map(([name, value]) => property(name, value)));
  return Buffer.concat([rawVarint(bytes.length), bytes]);
}

function property(name: PropertyName, value: PropertyValue): Buffer {
  const { id, type } = PROPERTIES[name];
  return Buffer.concat([Buffer.from([id]), propertyValue(type, value)]);
}

function propertyValue(
  type: (typeof PROPERTIES)[PropertyName]['type'],
  value: PropertyValue,
): Buffer {
  if (typeof value === 'string') return rawText(value);
  if (typeof value === 'number') return number(type, value);
  if (Buffer.isBuffer(value)) return binary(value);
  const [key, text] = value as readonly [string, string];
  return Buffer.concat([rawText(key), rawText(text)]);
}

function number(type: string, value: number): Buffer {
  if (type === 'varint') return rawVarint(value);
  const bytes = Buffer.alloc(type === 'four' ? 4 : type === 'two' ? 2 : 1);
  bytes.writeUIntBE(value, 0, bytes.length);
  return bytes;
}

export function rawText(text: string): Buffer {
  return binary(Buffer.from(text));
}

function binary(data: string | Buffer): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  return Buffer.concat([two(bytes.length), bytes]);
}

export function two(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

export function rawVarint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    if (rest <= 127) return Buffer.from(bytes);
  }
}
