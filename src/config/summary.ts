// What a checked configuration would run, for `mangrove check`, and what in it is allowed but probably not meant.

import { existsSync } from 'node:fs';
import { collide, isCovered, isFilter, matches } from '../subject.ts';
import { expiryWarnings } from './expiry-warnings.ts';
import { addressesOf } from './mqtt.ts';
import { sharedFilter } from './mqtt-source-values.ts';
import { namesInPasswordFile } from './password-file.ts';
import type {
  Config,
  HubConfig,
  JetStreamConfig,
  KvMirrorConfig,
  LeafConfig,
  MqttConfig,
  MqttSourceConfig,
  NatsConfig,
  SerialConfig,
  StreamConfig,
} from './types.ts';
import { formatDuration, formatSize } from './units.ts';
import { formatListen, isLoopback } from './values.ts';

/** One line for each part that would run. Looks whether the serial devices are there now. */
export function summary(config: Config): string {
  const { gateway, mqtt, monitor, hub, leaf } = config;
  const lines: [string, string][] = [['gateway', `${gateway.name}, data in ${gateway.dataDir}`]];
  for (const port of config.serial) lines.push(['serial', describePort(port)]);
  if (mqtt !== undefined) {
    lines.push(['mqtt', describeMqtt(mqtt)]);
  }
  if (config.nats !== undefined)
    lines.push(['nats', `${describeNats(config.nats)}; ${describeRoom(config.jetstream)}`]);
  for (const source of config.mqttSources) lines.push(['source', describeSource(source)]);
  for (const stream of config.streams) lines.push(['stream', describeStream(stream, config)]);
  if (hub !== undefined) {
    const target = `stream ${hub.stream}, subjects ${hub.prefix}.${gateway.name}.>`;
    lines.push(['hub', `${hub.servers.join(', ')} (${describeDoor(hub)}), ${target}`]);
  }
  if (leaf !== undefined) for (const text of describeLeaf(leaf)) lines.push(['leaf', text]);
  for (const mirror of config.kvMirrors) lines.push(['kv', describeMirror(mirror)]);
  if (monitor !== undefined) lines.push(['monitor', `http://${formatListen(monitor.listen)}`]);
  return lines.map(([part, text]) => `  ${part.padEnd(8)} ${text}`).join('\n');
}

function describeMqtt(mqtt: MqttConfig): string {
  const { listen, tls, websocket, users, acl } = mqtt;
  const parts = [
    formatListen(listen),
    tls?.listen === undefined ? '' : `TLS ${formatListen(tls.listen)}`,
    websocket === undefined ? '' : `WebSocket ${formatListen(websocket.listen)}`,
    tls === undefined ? 'no TLS' : tls.listen === undefined ? 'TLS' : '',
    users.length === 0 ? '' : `${users.length} users`,
    mqtt.passwordFile === undefined ? '' : `users of ${mqtt.passwordFile}`,
    tls?.userFromCertificate === true ? 'users by certificate' : '',
    mqtt.allowAnonymous ? 'anonymous clients allowed' : '',
    acl === undefined ? 'no access list' : `access list of ${acl.length}`,
  ];
  return parts.filter((part) => part !== '').join(', ');
}

function describeNats({ listen, users, allowAnonymous, tls, websocket }: NatsConfig): string {
  const parts = [
    formatListen(listen),
    websocket === undefined ? '' : `WebSocket ${formatListen(websocket.listen)}`,
    tls === undefined ? 'no TLS' : 'TLS',
    users.length === 0 ? '' : `${users.length} users`,
    allowAnonymous ? 'anonymous clients allowed' : '',
  ];
  return parts.filter((part) => part !== '').join(', ');
}

function describeRoom({ fileBytesMax, memoryBytesMax }: JetStreamConfig): string {
  const disk = fileBytesMax === undefined ? 'a quarter of the free' : formatSize(fileBytesMax);
  return `streams of clients take up to ${disk} disk, ${formatSize(memoryBytesMax)} memory`;
}

function describePort(port: SerialConfig): string {
  const { framing } = port;
  const character = `${port.dataBits}${port.parity.slice(0, 1).toUpperCase()}${port.stopBits}`;
  const frames = {
    line: () => 'lines',
    delimiter: () =>
      framing.type === 'delimiter' ? `frames up to ${framing.delimiter.toString('hex')}` : '',
    fixed: () => (framing.type === 'fixed' ? `frames of ${framing.length} bytes` : ''),
  }[framing.type]();
  const absent = existsSync(port.path) ? '' : ' (not there at the moment)';
  return `${port.name}: ${port.path}${absent} at ${port.baudRate} ${character}, ${frames} to ${port.subject}`;
}

function describeSource(source: MqttSourceConfig): string {
  const tls = source.tls === undefined ? 'no TLS' : 'TLS';
  const login = source.user === undefined ? 'no login' : `login as ${source.user}`;
  const target = source.prefix === undefined ? '' : ` to ${source.prefix}.>`;
  return `${source.name}: ${formatListen(source)} (${tls}, ${login}), ${source.topics.join(' ')}${target}`;
}

function describeStream(stream: StreamConfig, config: Config): string {
  const limits = [
    stream.maxAgeMs === undefined ? '' : `max_age ${formatDuration(stream.maxAgeMs)}`,
    `max_bytes ${stream.maxBytes === undefined ? `a share of the ${stream.storage === 'file' ? 'disk' : 'memory for streams'}` : formatSize(stream.maxBytes)}`,
    stream.maxMsgs === undefined ? '' : `max_msgs ${stream.maxMsgs}`,
    stream.retention === 'limits' ? '' : `retention ${stream.retention}`,
    stream.storage === 'file' ? '' : 'in memory only',
  ].filter((part) => part !== '');
  const forward = config.forwards.find((candidate) => candidate.stream === stream.name);
  const sourced = config.leaf?.domain === undefined ? 'kept here only' : 'the hub may source it';
  const where = forward === undefined ? sourced : 'forwarded to the hub';
  return `${stream.name}: ${stream.subjects.join(' ')}; ${limits.join(', ')}; ${where}`;
}

function describeDoor({ auth, tls }: Pick<HubConfig, 'auth' | 'tls'>): string {
  const login = auth.type === 'none' ? 'no login' : `login by ${auth.type}`;
  return `${tls === undefined ? 'no TLS' : 'TLS'}, ${login}`;
}

/** One line for the link, and one for all that crosses it in each direction. */
function describeLeaf(leaf: LeafConfig): string[] {
  const { urls, domain, exports, imports } = leaf;
  const streams =
    domain === undefined
      ? ''
      : `everything of JetStream that is asked for by $JS.${domain}.API.>, and answers`;
  const out = [streams === '' ? 'answers' : streams, ...exports];
  const asked = domain === undefined ? [] : [`requests on $JS.${domain}.API.>`];
  return [
    `${urls.join(', ')} (${describeDoor(leaf)}), ${domain === undefined ? 'no JetStream' : `JetStream domain ${domain}`}`,
    `to the hub: ${out.join(', ')}`,
    `from the hub: ${['answers', ...asked, ...imports].join(', ')}`,
  ];
}

function describeMirror({ bucket, domain, history, maxBytes }: KvMirrorConfig): string {
  const parts = [
    `${bucket}: as the bucket of that name ${domain === undefined ? 'of the hub' : `in domain ${domain}`}`,
    history === undefined ? '' : `history ${history}`,
    maxBytes === undefined ? '' : `max_bytes ${formatSize(maxBytes)}`,
  ];
  return parts.filter((part) => part !== '').join(', ');
}

/**
 * Sentences about what is allowed but probably not meant; each is explained in docs/operations/configuration.md.
 * `wallMs`: the time of day, for certificates that expire.
 */
export function warnings(config: Config, wallMs: number): readonly string[] {
  const { mqtt, monitor, hub, leaf, streams } = config;
  const found: string[] = [];
  const imported = leaf?.imports.length ?? 0;
  const silent = config.serial.length + config.mqttSources.length + imported === 0;
  if (mqtt === undefined && config.nats === undefined && silent)
    found.push('Nothing comes in: there is no [mqtt], [nats], [[serial]] or [[mqtt_source]].');
  if (streams.length + config.kvMirrors.length === 0)
    found.push('Nothing is kept: there is no [[stream]].');
  else
    found.push(
      ...config.serial.filter((port) => !isTaken(port, streams)).map(unkept),
      ...config.mqttSources.flatMap((source) => unkeptTopics(source, streams)),
    );
  if (mqtt !== undefined) found.push(...mqttWarnings(mqtt));
  if (config.nats !== undefined) found.push(...natsWarnings(config.nats));
  for (const { host, name, passwordFile, tls } of config.mqttSources)
    if (passwordFile !== undefined && tls === undefined && !isLoopback(host))
      found.push(`[[mqtt_source]] ${name} sends its password over the network without TLS.`);
  if (monitor !== undefined && !isLoopback(monitor.listen.host))
    found.push('[monitor] is readable for everybody who reaches it.');
  if (hub !== undefined) {
    if (config.forwards.length === 0)
      found.push('Nothing is forwarded: there is a [hub] but no [[forward]].');
    if (isOpen(hub, hub.servers))
      found.push('[hub] may send its password or token over the network without TLS.');
  }
  if (leaf !== undefined) found.push(...leafWarnings(leaf, config));
  found.push(...expiryWarnings(config, wallMs));
  return found;
}

function mqttWarnings(mqtt: MqttConfig): string[] {
  const found: string[] = [];
  const { tls, websocket, acl } = mqtt;
  if (addressesOf(mqtt).some(({ host }) => !isLoopback(host))) {
    if (acl === undefined)
      found.push(
        '[mqtt] can be reached from other machines, and lets them publish and receive nothing: add [[mqtt.acl]] with `publish` and `subscribe`.',
      );
    if (mqtt.allowAnonymous)
      found.push('[mqtt] lets everybody in who reaches it: allow_anonymous = true.');
  }
  const owned = tls !== undefined && tls.listen === undefined;
  const plain = [owned ? undefined : mqtt.listen, websocket?.tls ? undefined : websocket?.listen];
  const hasPasswords = mqtt.users.length > 0 || mqtt.passwordFile !== undefined;
  if (hasPasswords && plain.some((each) => each !== undefined && !isLoopback(each.host)))
    found.push('[mqtt] receives passwords over the network without TLS.');
  const nobodies = unknownUsers(mqtt);
  if (nobodies.length > 0)
    found.push(`[[mqtt.acl]] names users that nobody is: ${nobodies.join(', ')}.`);
  return found;
}

/** Names in the access list that no client can have. What certificates say is not known here. */
function unknownUsers({ users, passwordFile, acl = [], tls }: MqttConfig): string[] {
  if (tls?.userFromCertificate === true) return [];
  const known = new Set([...users.map(({ user }) => user), ...namesInPasswordFile(passwordFile)]);
  const named = new Set(acl.flatMap((entry) => entry.users ?? []));
  return [...named].filter((name) => !known.has(name));
}

function natsWarnings({ listen, users, allowAnonymous, tls, websocket }: NatsConfig): string[] {
  const found: string[] = [];
  if (isLoopback(listen.host) && isLoopback(websocket?.listen.host ?? 'localhost')) return found;
  if (allowAnonymous)
    found.push('[nats] lets everybody who reaches it do everything: allow_anonymous = true.');
  if (tls === undefined && users.some(({ login }) => login.type !== 'nkey'))
    found.push('[nats] receives passwords or tokens over the network without TLS.');
  return found;
}

function isTaken(port: SerialConfig, streams: readonly StreamConfig[]): boolean {
  return streams.some((stream) => stream.subjects.some((filter) => matches(filter, port.subject)));
}

function unkept(port: SerialConfig): string {
  return `No [[stream]] takes "${port.subject}": what serial port ${port.name} sends is not kept.`;
}

function unkeptTopics(
  { name, prefix, topics }: MqttSourceConfig,
  streams: readonly StreamConfig[],
): string[] {
  return topics
    .filter((topic) => {
      const filter = subjectFilter(topic, prefix);
      // Levels with dots, or empty ones, have subjects that cannot be told here.
      if (topic.includes('.') || !isFilter(filter)) return false;
      return !streams.some((stream) => stream.subjects.some((taken) => collide(taken, filter)));
    })
    .map((topic) => `No [[stream]] takes "${topic}" of [[mqtt_source]] ${name}: it is not kept.`);
}

function subjectFilter(topic: string, prefix: string | undefined): string {
  const levels = sharedFilter(topic)
    .split('/')
    .map((level) => (level === '+' ? '*' : level === '#' ? '>' : level.replaceAll(' ', '%20')));
  return [...(prefix === undefined ? [] : [prefix]), ...levels].join('.');
}

function leafWarnings(leaf: LeafConfig, { streams, kvMirrors }: Config): string[] {
  const found: string[] = [];
  const { domain, exports, imports } = leaf;
  if (domain === undefined && exports.length + imports.length + kvMirrors.length === 0)
    found.push('Nothing crosses: [leaf] has no domain, no exports and no imports.');
  for (const subject of exports.filter((each) => isWide(each)))
    found.push(`[leaf] exports "${subject}": all that is published here may go to the hub.`);
  for (const subject of imports.filter((each) => isWide(each)))
    found.push(`[leaf] imports "${subject}": whatever the hub publishes may come in.`);
  for (const subject of exports) {
    const owner = streams.find((stream) => stream.subjects.some((own) => isCovered(subject, own)));
    if (owner !== undefined)
      found.push(
        `[leaf] exports "${subject}", which [[stream]] ${owner.name} takes: what a stream stores goes to the hub as a stream.`,
      );
  }
  if (isOpen(leaf, leaf.urls))
    found.push('[leaf] may send its password or token over the network without TLS.');
  return found;
}

/** Whether it says nothing about whose messages these are. */
function isWide(subject: string): boolean {
  return /^[*>]/.test(subject);
}

/** Whether others on the way could read the secret. */
function isOpen(
  { auth, tls }: Pick<HubConfig, 'auth' | 'tls'>,
  servers: readonly string[],
): boolean {
  const isTold = auth.type === 'password' || auth.type === 'token';
  const hosts = servers.map((server) => server.replace(/:\d+$/, '').replace(/[[\]]/g, ''));
  return tls === undefined && isTold && hosts.some((host) => !isLoopback(host));
}
