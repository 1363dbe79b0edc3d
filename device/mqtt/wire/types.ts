// Control Packets as objects, in the words of MQTT 5.0; 3.1 and 3.1.1 have a part of each. What a packet does not carry is
// undefined, so that it can be told from zero. Clauses in brackets are those of MQTT 5.0 where nothing else is said.

/** Protocol levels: 3 is MQTT 3.1 (MQIsdp), 4 is 3.1.1, 5 is 5.0. */
export type Version = 3 | 4 | 5;

export type QoS = 0 | 1 | 2;

/** `[name, value]` in the order of the packet, which is kept on the way [MQTT-3.3.2-18]. */
export type UserProperties = readonly (readonly [string, string])[];

/** The properties of a packet [2.2.2.2]. Intervals are seconds, sizes bytes. */
export interface Properties {
  readonly payloadFormatIndicator?: 0 | 1;
  readonly messageExpiryInterval?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Buffer;
  /** One in a SUBSCRIBE; one for each matching subscription in a PUBLISH to a client. */
  readonly subscriptionIdentifiers?: readonly number[];
  readonly sessionExpiryInterval?: number;
  readonly assignedClientIdentifier?: string;
  readonly serverKeepAlive?: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Buffer;
  readonly requestProblemInformation?: 0 | 1;
  readonly willDelayInterval?: number;
  readonly requestResponseInformation?: 0 | 1;
  readonly responseInformation?: string;
  readonly serverReference?: string;
  readonly reasonString?: string;
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  readonly topicAlias?: number;
  readonly maximumQoS?: 0 | 1;
  readonly retainAvailable?: 0 | 1;
  readonly maximumPacketSize?: number;
  readonly wildcardSubscriptionAvailable?: 0 | 1;
  readonly subscriptionIdentifiersAvailable?: 0 | 1;
  readonly sharedSubscriptionAvailable?: 0 | 1;
  readonly userProperties?: UserProperties;
}

/** Of a packet without any: shared, so that the common case costs nothing. */
export const NO_PROPERTIES: Properties = Object.freeze({});

/** The last Will as CONNECT brings it [3.1.3.2 to 3.1.3.4]. */
export interface WillFields {
  readonly topic: string;
  /** A slice of the packet. */
  readonly data: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties;
}

export interface Connect {
  readonly version: Version;
  /** A bridge of mosquitto's: its level has the highest bit set. It wants no echo, and retain as it was published. */
  readonly bridge: boolean;
  readonly clientId: string;
  /** Clean Session in 3.1 and 3.1.1. */
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  readonly will: WillFields | undefined;
  readonly properties: Properties;
}

export interface Publish {
  /** Empty where only a Topic Alias names it. */
  readonly topic: string;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly properties: Properties;
  /** A slice of the packet. */
  readonly data: Buffer;
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP. `reasonCode` is 0 where the packet has none. */
export interface Ack {
  readonly packetId: number;
  readonly reasonCode: number;
  readonly properties: Properties;
}

export interface FilterOptions {
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0: retained messages at each SUBSCRIBE; 1: only at a new subscription; 2: never. */
  readonly retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  readonly packetId: number;
  readonly filters: readonly FilterOptions[];
  readonly properties: Properties;
}

export interface Unsubscribe {
  readonly packetId: number;
  readonly filters: readonly string[];
  readonly properties: Properties;
}

/** DISCONNECT and AUTH. */
export interface Reasoned {
  readonly reasonCode: number;
  readonly properties: Properties;
}
