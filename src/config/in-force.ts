// What a configuration that was read again can change while the agent runs, and what it cannot: the gateway's name and
// where its data lie are part of everything that was started, and an address is bound once.

import { isDeepStrictEqual } from 'node:util';
import type { Config, MqttConfig, MqttConfigLimits } from './types.ts';

/** The configuration that is in force from now on, and the keys of the file that wait for a restart. */
export interface InForce {
  readonly config: Config;
  readonly needRestart: readonly string[];
}

/** Puts `next` in force where that is possible, and leaves the rest as `running` has it. */
export function inForce(running: Config, next: Config): InForce {
  const needRestart: string[] = [];
  const kept = (key: string, before: unknown, after: unknown): boolean => {
    const differs = !isDeepStrictEqual(before, after);
    if (differs) needRestart.push(key);
    return differs;
  };
  const nameKept = kept('gateway.name', running.gateway.name, next.gateway.name);
  kept('gateway.data_dir', running.gateway.dataDir, next.gateway.dataDir);
  kept('gateway.commit_interval', running.gateway.commitIntervalMs, next.gateway.commitIntervalMs);
  // All of [mqtt] and [nats] waits with its addresses: users that are right for the new one may be none at all, and the listener still
  // has the old one, which the whole network may reach.
  const mqttKept =
    kept('mqtt', running.mqtt === undefined, next.mqtt === undefined) ||
    kept('mqtt.listen', running.mqtt?.listen, next.mqtt?.listen) ||
    kept('mqtt.tls', running.mqtt?.tls, next.mqtt?.tls) ||
    kept('mqtt.websocket', running.mqtt?.websocket, next.mqtt?.websocket);
  const mqtt = mqttKept || next.mqtt === undefined ? running.mqtt : bounded(running, next.mqtt);
  const natsKept =
    kept('nats', running.nats === undefined, next.nats === undefined) ||
    kept('nats.listen', running.nats?.listen, next.nats?.listen) ||
    kept('nats.tls', running.nats?.tls, next.nats?.tls) ||
    kept('nats.websocket', running.nats?.websocket, next.nats?.websocket);
  const monitorKept =
    kept('monitor', running.monitor === undefined, next.monitor === undefined) ||
    kept('monitor.listen', running.monitor?.listen, next.monitor?.listen);
  kept('jetstream', running.jetstream, next.jetstream);
  // Streams, advisories and listeners name the domain from the start on. One that is taken away stops to cross at once.
  const domainKept = kept('leaf.domain', running.domain, next.leaf?.domain ?? running.gateway.name);
  const leaf =
    domainKept && next.leaf?.domain !== undefined
      ? { ...next.leaf, domain: running.leaf?.domain }
      : next.leaf;
  // Sources carry the gateway's name, and were compared with the listener's new address: not with ours.
  const sourcesKept =
    (nameKept || mqttKept) && kept('mqtt_source', running.mqttSources, next.mqttSources);
  const config = {
    ...next,
    gateway: running.gateway,
    domain: running.domain,
    jetstream: running.jetstream,
    mqtt,
    nats: natsKept ? running.nats : next.nats,
    mqttSources: sourcesKept ? running.mqttSources : next.mqttSources,
    monitor: monitorKept ? running.monitor : next.monitor,
    leaf,
  };
  return { config, needRestart };

  /** The listener's limits hold from its start on; all else is in force at once. */
  function bounded({ mqtt: before }: Config, after: MqttConfig): MqttConfig {
    if (before === undefined) return after;
    for (const [limit, key] of MQTT_LIMITS)
      kept(`mqtt.${key}`, before.limits[limit], after.limits[limit]);
    kept('mqtt.sys_interval', before.sysIntervalMs, after.sysIntervalMs);
    return { ...after, limits: before.limits, sysIntervalMs: before.sysIntervalMs };
  }
}

/** The keys of the file for the limits of the listener. */
const MQTT_LIMITS = [
  ['connectionsMax', 'max_connections'],
  ['queuedMessagesMax', 'queue_messages_max'],
  ['queuedBytesMax', 'queue_bytes_max'],
  ['queueDiscard', 'queue_discard'],
  ['sessionExpirySecondsMax', 'session_expiry_max'],
  ['keepAliveSecondsMax', 'keep_alive_max'],
  ['publishesInFlightMax', 'receive_maximum'],
  ['packetBytesMax', 'max_packet_size'],
] as const satisfies readonly (readonly [keyof MqttConfigLimits, string])[];
