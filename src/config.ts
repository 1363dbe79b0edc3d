// Reads the configuration: a TOML file, with values from the environment on top. It promises to return a configuration in
// which nothing is left to check, or to throw every problem of it at once, each with its place and what was expected.

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from './config/document.ts';
import { applyEnvironment } from './config/environment.ts';
import { systemError } from './config/files.ts';
import { toHub, toLeaf } from './config/hub.ts';
import { KEYS } from './config/keys.ts';
import { ConfigError, Problems } from './config/problems.ts';
import { toMqtt } from './config/mqtt.ts';
import { defaultClientId } from './config/mqtt-source-rules.ts';
import { checkRules } from './config/rules.ts';
import { readTable, type Values } from './config/schema.ts';
import type {
  Config,
  FramingConfig,
  MqttSourceConfig,
  NatsConfig,
  NatsUser,
  SerialConfig,
  StreamConfig,
} from './config/types.ts';
import { isLoopback } from './config/values.ts';

export { ConfigError } from './config/problems.ts';
export type { Problem } from './config/problems.ts';
export type * from './config/types.ts';

/** The exit code for a configuration that cannot be used (EX_CONFIG of sysexits.h). systemd does not restart after it. */
export const EXIT_CONFIG = 78;

/** A configuration is a few kilobytes; a megabyte is another file. */
const FILE_BYTES_MAX = 1024 * 1024;

type All = Values<typeof KEYS>;

/** Reads and checks the file at `path`, with the MANGROVE_* variables of `env` on top. Throws a ConfigError. */
export function loadConfig(path: string, env: NodeJS.ProcessEnv): Config {
  const file = resolve(path);
  const { text, mode } = readText(path);
  const problems = new Problems(path);
  const context = { problems, baseDir: dirname(file) };
  const root = parseDocument(text, path);
  applyEnvironment(KEYS, root, env, context);
  const draft = readTable(KEYS, root, '', context);
  checkRules(draft, mode, problems);
  problems.throwIfAny();
  return toConfig(draft as All, file); // Without a problem, a draft is complete.
}

function readText(path: string): { text: string; mode: number } {
  try {
    const descriptor = openSync(path, 'r');
    try {
      const { mode, size } = fstatSync(descriptor);
      if (size > FILE_BYTES_MAX)
        throw unreadable(path, 'found more than 1MiB, expected a TOML file');
      const bytes = readFileSync(descriptor);
      return { text: decode(bytes, path), mode };
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const message = `cannot read the configuration: ${systemError(error)}; expected a TOML file, see --config`;
    throw unreadable(path, message, error);
  }
}

function decode(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes); // It also drops a byte-order mark.
  } catch (error) {
    throw unreadable(path, 'not valid UTF-8, expected a TOML file', error);
  }
}

function unreadable(file: string, message: string, cause?: unknown): ConfigError {
  const place = { line: undefined, column: undefined, variable: undefined };
  return new ConfigError([{ file, ...place, key: '', message }], cause);
}

function toConfig(all: All, file: string): Config {
  const { gateway } = all;
  return {
    file,
    gateway: {
      name: gateway.name,
      dataDir: gateway.data_dir,
      commitIntervalMs: gateway.commit_interval,
    },
    domain: all.leaf?.domain ?? gateway.name,
    log: { level: all.log.level },
    mqtt: all.mqtt === undefined ? undefined : toMqtt(all.mqtt),
    nats: all.nats === undefined ? undefined : toNats(all.nats),
    monitor: all.monitor === undefined ? undefined : { listen: all.monitor.listen },
    jetstream: {
      fileBytesMax: all.jetstream.max_file,
      memoryBytesMax: all.jetstream.max_memory,
    },
    streams: all.stream.map(toStream),
    serial: all.serial.map(toSerial),
    mqttSources: all.mqtt_source.map((source) => toMqttSource(source, gateway.name)),
    hub: all.hub === undefined ? undefined : toHub(all.hub),
    forwards: all.forward.map(({ stream, mode, order, grace }) => ({
      stream,
      mode,
      order,
      graceMs: grace,
    })),
    leaf: all.leaf === undefined ? undefined : toLeaf(all.leaf),
    kvMirrors: all.kv_mirror.map(({ bucket, domain, history, max_bytes: maxBytes }) => ({
      bucket,
      domain,
      history,
      maxBytes,
    })),
  };
}

function toNats(nats: NonNullable<All['nats']>): NatsConfig {
  const { listen, users, allow_anonymous, tls, websocket } = nats;
  const local = isLoopback(listen.host) && isLoopback(websocket?.listen.host ?? 'localhost');
  return {
    listen,
    users: users.map(toNatsUser),
    allowAnonymous: allow_anonymous ?? (users.length === 0 && local),
    tls:
      tls === undefined
        ? undefined
        : {
            certFile: tls.cert,
            keyFile: tls.key,
            caFile: tls.ca,
            handshakeFirst: tls.handshake_first,
          },
    websocket:
      websocket === undefined
        ? undefined
        : { listen: websocket.listen, origins: websocket.origins ?? [] },
  };
}

function toNatsUser(user: NonNullable<All['nats']>['users'][number]): NatsUser {
  const { publish, subscribe, allow_responses: allowResponses } = user;
  const denyPublish = user.deny_publish ?? [];
  const denySubscribe = user.deny_subscribe ?? [];
  const free = publish === undefined && subscribe === undefined && !allowResponses;
  const permissions =
    free && denyPublish.length + denySubscribe.length === 0
      ? undefined
      : { publish, denyPublish, subscribe, denySubscribe, allowResponses };
  return { user: user.user, login: toLogin(user), permissions };
}

function toLogin(user: NonNullable<All['nats']>['users'][number]): NatsUser['login'] {
  if (user.nkey !== undefined) return { type: 'nkey', publicKey: user.nkey };
  if (user.token_file !== undefined) return { type: 'token', file: user.token_file };
  if (user.password_file !== undefined) return { type: 'password', file: user.password_file };
  return { type: 'password', password: user.password ?? '' };
}

function toStream(stream: All['stream'][number]): StreamConfig {
  return {
    name: stream.name,
    subjects: stream.subjects,
    retention: stream.retention,
    storage: stream.storage,
    maxAgeMs: stream.max_age,
    maxBytes: stream.max_bytes,
    maxMsgs: stream.max_msgs,
    discard: stream.discard,
    // As nats-server does: a default window that is longer than the messages live would be of no use.
    duplicateWindowMs: Math.min(stream.duplicate_window, stream.max_age ?? Infinity),
    duplicateIdsMax: stream.duplicate_ids_max,
  };
}

function toSerial(port: All['serial'][number]): SerialConfig {
  return {
    name: port.name,
    path: port.path,
    baudRate: port.baud_rate,
    dataBits: port.data_bits,
    stopBits: port.stop_bits,
    parity: port.parity,
    framing: toFraming(port),
    frameBytesMax: Math.max(port.frame_bytes_max, port.frame_length ?? 0),
    decode: port.decode,
    subject: port.subject ?? `serial.${port.name}`,
  };
}

function toFraming(port: All['serial'][number]): FramingConfig {
  switch (port.framing) {
    case 'line':
      return { type: 'line' };
    case 'delimiter':
      return { type: 'delimiter', delimiter: port.delimiter ?? Buffer.of() };
    case 'fixed':
      return { type: 'fixed', length: port.frame_length ?? 0, idleMs: port.idle_ms };
  }
}

function toMqttSource(source: All['mqtt_source'][number], gateway: string): MqttSourceConfig {
  const { host, port, tls } = source.url;
  const { ca, cert, key } = source.tls ?? {};
  return {
    name: source.name,
    host,
    port,
    tls: tls ? { caFile: ca, certFile: cert, keyFile: key } : undefined,
    topics: source.topics,
    qos: source.qos,
    prefix: source.prefix,
    clientId: source.client_id ?? defaultClientId(gateway, source.name),
    retained: source.retained,
    protocol: source.protocol,
    user: source.user,
    passwordFile: source.password_file,
    keepAliveMs: source.keep_alive,
    reconnectMaxMs: source.reconnect_max,
  };
}
