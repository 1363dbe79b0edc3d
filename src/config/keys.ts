// Every table and key of the configuration, with its kind, its default and its limits.

import {
  credentialsFile,
  device,
  passwordFile,
  path,
  pemFile,
  pemSecretFile,
  secretFile,
  seedFile,
} from './files.ts';
import { STREAMS_MAX } from '../jetstream/stream-types.ts';
import { aclFilter, publishFilter } from './mqtt-values.ts';
import { brokerUrl, brokerUser, clientId, topicFilter } from './mqtt-source-values.ts';
import {
  boolean,
  duration,
  integer,
  listOf,
  oneOf,
  oneOfNumbers,
  oneOrMore,
  size,
} from './kinds.ts';
import { domain, exportSubject, importSubject } from './leaf-values.ts';
import { alwaysTable, optional, preset, required, secret, table, tables } from './schema.ts';
import {
  delimiter,
  hubServer,
  leafServer,
  listen,
  name,
  origin,
  password,
  passwordHash,
  publishSubject,
  streamSubject,
  subjectFilter,
  subscriptionFilter,
  userKey,
  userName,
} from './values.ts';

/** Ports of one gateway; a USB bus ends earlier. */
const SERIAL_MAX = 64;
/** Brokers that are read; a plant has one or two. */
const MQTT_SOURCES_MAX = 16;
/** A frame becomes one message, and must pass a hub with the usual max_payload of 1 MiB. */
const FRAME_MAX = 512 * 1024;
/** Buckets of the hub that are kept here; each is a stream of its own. */
const KV_MIRRORS_MAX = 64;
/** Users of one listener; a larger number belongs in a directory service. */
const USERS_MAX = 1000;
/** Entries of an access list: one for each kind of device, or for each user. */
const ACL_ENTRIES_MAX = 1000;

const log = alwaysTable({
  level: preset(oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal']), 'info'),
});

const gateway = alwaysTable({
  name: required(name),
  data_dir: preset(path, '/var/lib/mangrove'),
  commit_interval: preset(duration('0s', '1s'), '0s'),
});

const mqtt = table({
  listen: preset(listen, '127.0.0.1:1883'),
  allow_anonymous: optional(boolean),
  users: tables('user', USERS_MAX, {
    user: required(userName),
    password: secret(optional(password)),
    password_file: optional(secretFile),
    hash: secret(optional(passwordHash)),
  }),
  password_file: optional(passwordFile),
  max_connections: preset(integer(1, 100_000), 10_000),
  queue_messages_max: preset(integer(1, 1_000_000), 10_000),
  queue_bytes_max: preset(size('64KiB', '1GiB'), '16MiB'),
  queue_discard: preset(oneOf(['new', 'old']), 'new'),
  session_expiry_max: optional(duration('1s', '36500d')),
  keep_alive_max: optional(duration('1s', '65535s')),
  receive_maximum: preset(integer(1, 65_535), 1024),
  max_packet_size: preset(size('1KiB', '1MiB'), '1MiB'),
  sys_interval: preset(duration('0s', '1h'), '10s'),
  acl: tables('users', ACL_ENTRIES_MAX, {
    users: optional(listOf(brokerUser, 'user names')),
    publish: optional(listOf(publishFilter, 'topic filters')),
    subscribe: optional(listOf(aclFilter, 'topic filters')),
    deny_publish: optional(listOf(aclFilter, 'topic filters')),
    deny_subscribe: optional(listOf(aclFilter, 'topic filters')),
  }),
  tls: table({
    cert: required(pemFile),
    key: required(pemSecretFile),
    ca: optional(pemFile),
    listen: optional(listen),
    user_from_certificate: preset(boolean, false),
  }),
  websocket: table({
    listen: required(listen),
    origins: optional(listOf(origin, 'origins')),
    tls: optional(boolean),
  }),
});

const nats = table({
  listen: preset(listen, '127.0.0.1:4222'),
  allow_anonymous: optional(boolean),
  users: tables('user', USERS_MAX, {
    user: required(userName),
    password: secret(optional(password)),
    password_file: optional(secretFile),
    token_file: optional(secretFile),
    nkey: optional(userKey),
    publish: optional(listOf(subjectFilter, 'subjects')),
    deny_publish: optional(listOf(subjectFilter, 'subjects')),
    subscribe: optional(listOf(subscriptionFilter, 'subjects')),
    deny_subscribe: optional(listOf(subscriptionFilter, 'subjects')),
    allow_responses: preset(boolean, false),
  }),
  tls: table({
    cert: required(pemFile),
    key: required(pemSecretFile),
    ca: optional(pemFile),
    handshake_first: preset(boolean, false),
  }),
  websocket: table({
    listen: required(listen),
    origins: optional(listOf(origin, 'origins')),
  }),
});

const monitor = table({
  listen: preset(listen, '127.0.0.1:8222'),
});

const jetstream = alwaysTable({
  max_file: optional(size('1MiB', '64TiB')),
  max_memory: preset(size('1MiB', '1TiB'), '64MiB'),
});

const stream = tables('name', STREAMS_MAX, {
  name: required(name),
  subjects: required(listOf(streamSubject, 'subjects')),
  retention: preset(oneOf(['limits', 'interest', 'workqueue']), 'limits'),
  storage: preset(oneOf(['file', 'memory']), 'file'),
  max_age: optional(duration('100ms', '36500d')),
  max_bytes: optional(size('64KiB', '64TiB')),
  max_msgs: optional(integer(1, 1e12)),
  discard: preset(oneOf(['old', 'new']), 'old'),
  duplicate_window: preset(duration('100ms', '30d'), '2m'),
  duplicate_ids_max: preset(integer(1, 10_000_000), 100_000),
});

const serial = tables('name', SERIAL_MAX, {
  name: required(name),
  path: required(device),
  baud_rate: preset(integer(50, 4_000_000), 9600),
  data_bits: preset(oneOfNumbers([5, 6, 7, 8]), 8),
  stop_bits: preset(oneOfNumbers([1, 2]), 1),
  parity: preset(oneOf(['none', 'even', 'odd']), 'none'),
  framing: preset(oneOf(['line', 'delimiter', 'fixed']), 'line'),
  delimiter: optional(delimiter),
  frame_length: optional(integer(1, FRAME_MAX)),
  frame_bytes_max: preset(integer(1, FRAME_MAX), 4096),
  idle_ms: optional(integer(1, 3_600_000)),
  decode: preset(oneOf(['raw'], ['json', 'modbus', 'nmea']), 'raw'),
  subject: optional(publishSubject),
});

const mqttSource = tables('name', MQTT_SOURCES_MAX, {
  name: required(name),
  url: required(brokerUrl),
  topics: required(listOf(topicFilter, 'topics')),
  qos: preset(oneOfNumbers([0, 1]), 1),
  prefix: optional(publishSubject),
  retained: preset(boolean, false),
  client_id: optional(clientId),
  user: optional(brokerUser),
  password_file: optional(secretFile),
  tls: table({
    ca: optional(pemFile),
    cert: optional(pemFile),
    key: optional(pemSecretFile),
  }),
  protocol: preset(oneOf(['auto', '5', '3.1.1']), 'auto'),
  keep_alive: preset(duration('100ms', '1h'), '15s'),
  reconnect_max: preset(duration('10ms', '1h'), '15s'),
});

const hub = table({
  servers: required(listOf(hubServer, 'servers')),
  credentials: optional(credentialsFile),
  user: optional(userName),
  password_file: optional(secretFile),
  token_file: optional(secretFile),
  nkey_file: optional(seedFile),
  tls: table({
    ca: optional(pemFile),
    cert: optional(pemFile),
    key: optional(pemSecretFile),
    handshake_first: preset(boolean, false),
  }),
  stream: preset(name, 'EDGE'),
  prefix: preset(publishSubject, 'edge'),
  create: preset(boolean, false),
  keep_alive: preset(duration('100ms', '1h'), '15s'),
  reconnect_max: preset(duration('10ms', '1h'), '15s'),
});

const forward = tables('stream', STREAMS_MAX, {
  stream: required(name),
  mode: preset(oneOf(['auto', 'atomic', 'fast', 'window']), 'auto'),
  order: preset(oneOf(['strict', 'relaxed']), 'strict'),
  grace: preset(duration('0s', '36500d'), '10m'),
});

const leaf = table({
  url: required(oneOrMore(leafServer, 'servers')),
  credentials: optional(credentialsFile),
  user: optional(userName),
  password_file: optional(secretFile),
  token_file: optional(secretFile),
  nkey_file: optional(seedFile),
  tls: table({
    ca: optional(pemFile),
    cert: optional(pemFile),
    key: optional(pemSecretFile),
    handshake_first: preset(boolean, false),
  }),
  domain: optional(domain),
  exports: optional(listOf(exportSubject, 'subjects', 0)),
  imports: optional(listOf(importSubject, 'subjects', 0)),
  compression: preset(oneOf(['auto', 'on', 'off']), 'auto'),
  keep_alive: preset(duration('100ms', '1h'), '15s'),
  reconnect_max: preset(duration('10ms', '1h'), '15s'),
});

const kvMirror = tables('bucket', KV_MIRRORS_MAX, {
  bucket: required(name),
  domain: optional(domain),
  history: optional(integer(1, 64)),
  max_bytes: optional(size('64KiB', '64TiB')),
});

/** The whole configuration, in the order of the documentation. */
export const KEYS = {
  gateway,
  log,
  mqtt,
  nats,
  monitor,
  jetstream,
  stream,
  serial,
  mqtt_source: mqttSource,
  hub,
  forward,
  leaf,
  kv_mirror: kvMirror,
};
