// The [mqtt] table as the listener receives it.

import type { KEYS } from './keys.ts';
import type { Values } from './schema.ts';
import type { MqttAclEntry, MqttConfig, MqttConfigLimits, MqttUser } from './types.ts';
import { isLoopback, type Listen } from './values.ts';

type Mqtt = NonNullable<Values<typeof KEYS>['mqtt']>;

/** Session Expiry Interval of a session that never ends [MQTT 5.0, 3.1.2.11.2]. */
const NEVER_SECONDS = 0xffff_ffff;

export function toMqtt(mqtt: Mqtt): MqttConfig {
  const { listen, users, password_file: passwordFile, tls, websocket, acl } = mqtt;
  const isGuarded =
    users.length > 0 || passwordFile !== undefined || tls?.user_from_certificate === true;
  const isLocal = addressesOf(mqtt).every(({ host }) => isLoopback(host));
  return {
    listen,
    users: users.map(toUser),
    passwordFile,
    allowAnonymous: mqtt.allow_anonymous ?? (!isGuarded && isLocal),
    tls:
      tls === undefined
        ? undefined
        : {
            certFile: tls.cert,
            keyFile: tls.key,
            caFile: tls.ca,
            listen: tls.listen,
            userFromCertificate: tls.user_from_certificate,
          },
    websocket:
      websocket === undefined
        ? undefined
        : {
            listen: websocket.listen,
            origins: websocket.origins ?? [],
            tls: websocket.tls ?? (tls !== undefined && tls.listen === undefined),
          },
    acl: acl.length === 0 ? undefined : acl.map(toAclEntry),
    limits: toLimits(mqtt),
    sysIntervalMs: mqtt.sys_interval,
  };
}

/** Where clients come in. */
export function addressesOf(mqtt: {
  readonly listen: Listen;
  readonly tls?: { readonly listen?: Listen | undefined } | undefined;
  readonly websocket?: { readonly listen: Listen } | undefined;
}): Listen[] {
  const { listen, tls, websocket } = mqtt;
  return [listen, tls?.listen, websocket?.listen].filter((each) => each !== undefined);
}

function toUser({ user, password, password_file, hash }: Mqtt['users'][number]): MqttUser {
  if (hash !== undefined) return { user, hash };
  return password_file === undefined
    ? { user, password: password ?? '' }
    : { user, passwordFile: password_file };
}

function toAclEntry(entry: Mqtt['acl'][number]): MqttAclEntry {
  return {
    users: entry.users,
    publish: entry.publish ?? [],
    subscribe: entry.subscribe ?? [],
    denyPublish: entry.deny_publish ?? [],
    denySubscribe: entry.deny_subscribe ?? [],
  };
}

function toLimits(mqtt: Mqtt): MqttConfigLimits {
  const { session_expiry_max: expiryMs, keep_alive_max: keepAliveMs } = mqtt;
  return {
    connectionsMax: mqtt.max_connections,
    queuedMessagesMax: mqtt.queue_messages_max,
    queuedBytesMax: mqtt.queue_bytes_max,
    queueDiscard: mqtt.queue_discard,
    sessionExpirySecondsMax:
      expiryMs === undefined ? NEVER_SECONDS : Math.min(NEVER_SECONDS, Math.ceil(expiryMs / 1000)),
    keepAliveSecondsMax: keepAliveMs === undefined ? 0 : Math.ceil(keepAliveMs / 1000),
    publishesInFlightMax: mqtt.receive_maximum,
    packetBytesMax: mqtt.max_packet_size,
  };
}
