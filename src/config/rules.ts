// What values must be to each other: no two streams take the same subject, no listener is open to a network by accident,
// nothing is forwarded that does not exist. Runs over whatever could be read, so that these problems come with the rest.

import { realpathSync } from 'node:fs';
import { collide } from '../subject.ts';
import { checkExposure, checkServers, distinct } from './checks.ts';
import type { KEYS } from './keys.ts';
import { checkLeaf } from './leaf-rules.ts';
import { checkMqtt } from './mqtt-rules.ts';
import { checkSources } from './mqtt-source-rules.ts';
import type { Problems } from './problems.ts';
import type { Draft } from './schema.ts';
import { checkTlsFiles } from './tls-rules.ts';
import { formatDuration, formatSize } from './units.ts';
import { formatListen, isLoopback, type Listen } from './values.ts';

export type ConfigDraft = Draft<typeof KEYS>;
type StreamDraft = ConfigDraft['stream'][number];
type SerialDraft = ConfigDraft['serial'][number];
type NatsDraft = NonNullable<ConfigDraft['nats']>;

/** The store makes it by itself; a configured one would take its place. */
const DEAD_LETTER_STREAM = 'dead_letter';

/** Checks everything that one value alone cannot tell. `fileMode`: the permissions of the configuration file itself. */
export function checkRules(draft: ConfigDraft, fileMode: number, problems: Problems): void {
  distinct(draft.stream, 'stream', 'name', problems);
  distinct(draft.serial, 'serial', 'name', problems);
  distinct(draft.mqtt_source, 'mqtt_source', 'name', problems);
  distinct(draft.forward, 'forward', 'stream', problems);
  for (const [i, stream] of draft.stream.entries())
    checkStream(stream, `stream[${i + 1}]`, problems);
  checkOverlaps(draft.stream, problems);
  checkMemory(draft, problems);
  checkPorts(draft.serial, problems);
  for (const [i, port] of draft.serial.entries()) checkFraming(port, `serial[${i + 1}]`, problems);
  if (draft.mqtt !== undefined) checkMqtt(draft.mqtt, fileMode, problems);
  if (draft.nats !== undefined) checkNats(draft.nats, fileMode, problems);
  checkListeners(draft, problems);
  checkSources(draft, problems);
  if (draft.hub !== undefined) {
    const { servers = [], tls } = draft.hub;
    checkServers('hub', { key: 'servers', servers, tls: tls !== undefined }, problems);
  }
  checkForwards(draft, problems);
  checkLeaf(draft, problems);
}

/** At its own limit a stream drops the oldest; at the end of the memory it would refuse the newest. */
function checkMemory({ stream: streams, jetstream }: ConfigDraft, problems: Problems): void {
  const most = jetstream?.max_memory;
  for (const [i, { storage, max_bytes: bytes }] of streams.entries()) {
    if (storage !== 'memory' || bytes === undefined || most === undefined || bytes <= most)
      continue;
    problems.add(
      `stream[${i + 1}].max_bytes`,
      `found ${formatSize(bytes)} in memory, expected at most jetstream.max_memory, which is ${formatSize(most)}`,
    );
  }
}

function checkStream(stream: StreamDraft, at: string, problems: Problems): void {
  if (stream.name === DEAD_LETTER_STREAM)
    problems.add(
      `${at}.name`,
      `found "${stream.name}", expected another name: Mangrove keeps what the hub refuses there`,
    );
  const { max_age: maxAgeMs, duplicate_window: windowMs } = stream;
  if (maxAgeMs === undefined || windowMs === undefined || windowMs <= maxAgeMs) return;
  const path = `${at}.duplicate_window`;
  // Only a window that was written: the default shrinks to max_age by itself.
  if (!problems.isWritten(path)) return;
  problems.add(
    path,
    `found "${formatDuration(windowMs)}", expected at most max_age, which is "${formatDuration(maxAgeMs)}"`,
  );
}

/** A message has one home: neither two streams nor two subjects of one stream may take it. */
function checkOverlaps(streams: readonly StreamDraft[], problems: Problems): void {
  const seen: { subject: string; stream: StreamDraft; path: string }[] = [];
  for (const [i, stream] of streams.entries()) {
    for (const [j, subject] of (stream.subjects ?? []).entries()) {
      const path = `stream[${i + 1}].subjects[${j + 1}]`;
      const other = seen.find((earlier) => collide(earlier.subject, subject));
      if (other !== undefined) {
        const owner =
          other.stream === stream ? 'this stream' : `stream "${other.stream.name ?? '?'}"`;
        problems.add(
          path,
          `found "${subject}", which overlaps with "${other.subject}" of ${owner} ` +
            `(${problems.where(other.path)}), expected each subject in one place only`,
        );
      }
      seen.push({ subject, stream, path });
    }
  }
}

/** Two readers of one device would each get a part of its bytes. Follows the links of /dev/serial/by-id. */
function checkPorts(ports: readonly SerialDraft[], problems: Problems): void {
  const seen = new Map<string, string>();
  for (const [i, port] of ports.entries()) {
    if (port.path === undefined) continue;
    const path = `serial[${i + 1}].path`;
    const device = realDevice(port.path);
    const first = seen.get(device);
    if (first === undefined) seen.set(device, path);
    else
      problems.add(
        path,
        `found "${port.path}", the same device as in ${problems.where(first)}, expected each device once`,
      );
  }
}

function realDevice(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // Unplugged at the moment.
  }
}

/** The keys that belong to one framing only, and whether it needs them. */
const FRAMING_KEYS = [
  { key: 'delimiter', owner: 'delimiter', needed: true },
  { key: 'frame_length', owner: 'fixed', needed: true },
  { key: 'idle_ms', owner: 'fixed', needed: false },
] as const;

function checkFraming(port: SerialDraft, at: string, problems: Problems): void {
  const { framing, frame_length: length, frame_bytes_max: bytesMax } = port;
  if (framing === undefined) return;
  for (const { key, owner, needed } of FRAMING_KEYS) {
    const path = `${at}.${key}`;
    if (framing !== owner && problems.isWritten(path))
      problems.add(path, `only for framing = "${owner}", and this port has framing = "${framing}"`);
    if (framing === owner && needed && !problems.isWritten(path))
      problems.add(path, `missing, expected with framing = "${owner}"`);
  }
  const bounded = length !== undefined && bytesMax !== undefined && length > bytesMax;
  if (framing === 'fixed' && bounded && problems.isWritten(`${at}.frame_bytes_max`))
    problems.add(
      `${at}.frame_length`,
      `found ${length}, expected at most frame_bytes_max, which is ${bytesMax}`,
    );
}

const NATS_LOGINS = ['password', 'password_file', 'token_file', 'nkey'];

function checkNats(nats: NatsDraft, fileMode: number, problems: Problems): void {
  distinct(nats.users, 'nats.users', 'user', problems);
  for (const [i, user] of nats.users.entries()) {
    const at = `nats.users[${i + 1}]`;
    const ways = NATS_LOGINS.filter((key) => problems.isWritten(`${at}.${key}`));
    if (ways.length !== 1)
      problems.add(
        at,
        `user "${user.user ?? '?'}" has ${ways.length === 0 ? 'no way to log in' : ways.join(' and ')}, ` +
          `expected one of ${NATS_LOGINS.join(', ')}`,
      );
    const inline = problems.isWritten(`${at}.password`);
    if (inline && problems.placeOf(`${at}.password`).line !== undefined)
      checkExposure(`${at}.password`, fileMode, problems);
  }
  if (nats.tls !== undefined) checkTlsFiles(nats.tls, 'nats.tls', problems);
  if (nats.users.length > 0) return;
  if (nats.allow_anonymous === false)
    return problems.add(
      'nats.allow_anonymous',
      'found false without users: nobody could connect; add [[nats.users]]',
    );
  if (nats.allow_anonymous === true) return;
  for (const [path, listen] of [
    ['nats.listen', nats.listen],
    ['nats.websocket.listen', nats.websocket?.listen],
  ] as const)
    if (listen !== undefined && !isLoopback(listen.host))
      problems.add(
        path,
        `found "${formatListen(listen)}", which other machines can reach, without users; ` +
          'expected [[nats.users]], or allow_anonymous = true if everybody there may do everything',
      );
}

/** Two listeners on one port: the second would not start. */
function checkListeners(draft: ConfigDraft, problems: Problems): void {
  const listeners = [
    { path: 'mqtt.listen', listen: draft.mqtt?.listen },
    { path: 'mqtt.tls.listen', listen: draft.mqtt?.tls?.listen },
    { path: 'mqtt.websocket.listen', listen: draft.mqtt?.websocket?.listen },
    { path: 'nats.listen', listen: draft.nats?.listen },
    { path: 'nats.websocket.listen', listen: draft.nats?.websocket?.listen },
    { path: 'monitor.listen', listen: draft.monitor?.listen },
  ];
  for (const [i, { path, listen }] of listeners.entries()) {
    if (listen === undefined) continue;
    const first = listeners
      .slice(0, i)
      .find((earlier) => earlier.listen !== undefined && isSamePort(earlier.listen, listen));
    if (first !== undefined)
      problems.add(
        path,
        `found "${formatListen(listen)}", the port of ${first.path}, expected a port of its own`,
      );
  }
}

function isSamePort(a: Listen, b: Listen): boolean {
  return a.port === b.port && a.port !== 0 && (a.host === b.host || isWildcard(a) || isWildcard(b));
}

function isWildcard({ host }: Listen): boolean {
  return host === '0.0.0.0' || host === '::';
}

function checkForwards(draft: ConfigDraft, problems: Problems): void {
  const names = draft.stream.map((stream) => stream.name);
  for (const [i, forward] of draft.forward.entries()) {
    const path = `forward[${i + 1}]`;
    if (!problems.isWritten('hub'))
      problems.add(path, 'found without [hub], expected a [hub] with servers to forward to');
    const stream = draft.stream.find(({ name }) => name !== undefined && name === forward.stream);
    if (stream?.storage === 'memory')
      problems.add(
        `${path}.stream`,
        `found "${forward.stream}", whose storage is memory, expected a stream with storage = "file": what is in memory is gone when the power is`,
      );
    // Where a stream's own name could not be read, it may be the one that is meant.
    if (forward.stream === undefined || names.includes(forward.stream) || names.includes(undefined))
      continue;
    const known = names.map((name) => `"${name}"`).join(', ');
    problems.add(
      `${path}.stream`,
      `found "${forward.stream}", expected the name of a [[stream]]${known === '' ? '' : `: ${known}`}`,
    );
  }
}
