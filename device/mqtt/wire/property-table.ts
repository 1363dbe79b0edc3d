// The properties of MQTT 5.0 [2.2.2.2]: what each is called here, how it is written, and in which packets it may stand.

import { PacketType } from './packet-type.ts';
import type { Properties } from './types.ts';

/** The properties of the Will, which stand in the middle of CONNECT: a place of their own beside the packet types. */
export const WILL = 0;

/** Where properties stand: a value of PacketType, or WILL. */
export type PropertyPlace = number;

type NamesOf<T> = {
  [K in keyof Properties]-?: Required<Properties>[K] extends T ? K : never;
}[keyof Properties];

/** `kind` says how the value is written, and which values are allowed. */
export type PropertyEntry = { readonly id: number; readonly places: number } & (
  | { readonly kind: 'bit'; readonly name: NamesOf<0 | 1> }
  | {
      readonly kind: 'uint16' | 'uint16 from 1' | 'uint32' | 'uint32 from 1';
      readonly name: Exclude<NamesOf<number>, NamesOf<0 | 1>>;
    }
  | { readonly kind: 'utf8' | 'topic'; readonly name: NamesOf<string> }
  | { readonly kind: 'binary'; readonly name: NamesOf<Buffer> }
  | { readonly kind: 'identifier'; readonly name: 'subscriptionIdentifiers' }
  | { readonly kind: 'pair'; readonly name: 'userProperties' }
);

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp } = PacketType;
const { subscribe, suback, unsubscribe, unsuback, disconnect, auth } = PacketType;

function at(...places: PropertyPlace[]): number {
  return places.reduce((bits, place) => bits | (1 << place), 0);
}

const MESSAGE = at(publish, WILL);
const ACKS = at(puback, pubrec, pubrel, pubcomp);
const CONNACK = at(connack);
const BOTH_SIDES = at(connect, connack);
const REASONED = ACKS | at(connack, suback, unsuback, disconnect, auth);

/** In the order in which they are written. */
export const PROPERTIES: readonly PropertyEntry[] = [
  { id: 0x01, name: 'payloadFormatIndicator', kind: 'bit', places: MESSAGE },
  { id: 0x02, name: 'messageExpiryInterval', kind: 'uint32', places: MESSAGE },
  { id: 0x03, name: 'contentType', kind: 'utf8', places: MESSAGE },
  { id: 0x08, name: 'responseTopic', kind: 'topic', places: MESSAGE },
  { id: 0x09, name: 'correlationData', kind: 'binary', places: MESSAGE },
  { id: 0x0b, name: 'subscriptionIdentifiers', kind: 'identifier', places: at(publish, subscribe) },
  { id: 0x11, name: 'sessionExpiryInterval', kind: 'uint32', places: BOTH_SIDES | at(disconnect) },
  { id: 0x12, name: 'assignedClientIdentifier', kind: 'utf8', places: CONNACK },
  { id: 0x13, name: 'serverKeepAlive', kind: 'uint16', places: CONNACK },
  { id: 0x15, name: 'authenticationMethod', kind: 'utf8', places: BOTH_SIDES | at(auth) },
  { id: 0x16, name: 'authenticationData', kind: 'binary', places: BOTH_SIDES | at(auth) },
  { id: 0x17, name: 'requestProblemInformation', kind: 'bit', places: at(connect) },
  { id: 0x18, name: 'willDelayInterval', kind: 'uint32', places: at(WILL) },
  { id: 0x19, name: 'requestResponseInformation', kind: 'bit', places: at(connect) },
  { id: 0x1a, name: 'responseInformation', kind: 'utf8', places: CONNACK },
  { id: 0x1c, name: 'serverReference', kind: 'utf8', places: at(connack, disconnect) },
  { id: 0x1f, name: 'reasonString', kind: 'utf8', places: REASONED },
  { id: 0x21, name: 'receiveMaximum', kind: 'uint16 from 1', places: BOTH_SIDES },
  { id: 0x22, name: 'topicAliasMaximum', kind: 'uint16', places: BOTH_SIDES },
  { id: 0x23, name: 'topicAlias', kind: 'uint16 from 1', places: at(publish) },
  { id: 0x24, name: 'maximumQoS', kind: 'bit', places: CONNACK },
  { id: 0x25, name: 'retainAvailable', kind: 'bit', places: CONNACK },
  {
    id: 0x26,
    name: 'userProperties',
    kind: 'pair',
    places: REASONED | MESSAGE | at(connect, subscribe, unsubscribe),
  },
  { id: 0x27, name: 'maximumPacketSize', kind: 'uint32 from 1', places: BOTH_SIDES },
  { id: 0x28, name: 'wildcardSubscriptionAvailable', kind: 'bit', places: CONNACK },
  { id: 0x29, name: 'subscriptionIdentifiersAvailable', kind: 'bit', places: CONNACK },
  { id: 0x2a, name: 'sharedSubscriptionAvailable', kind: 'bit', places: CONNACK },
];
