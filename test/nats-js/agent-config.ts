// What a configuration of nats-server means for an agent. What an agent does not have (accounts, operators, clusters, leaf
// nodes) is refused by name, never left out silently: a test that needs it shall fail at the start.

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  Config,
  NatsConfig,
  NatsPermissions,
  NatsUser,
  ServerTls,
} from '../../src/config/types.ts';
import type { NatsLimits } from '../../src/nats/limits.ts';
import type { ConfMap, ConfValue } from './nats-conf.ts';

/** An agent cannot do what the file asks for. */
export class NotApplicableError extends Error {}

/** What the launcher needs beside the configuration of the agent. */
export interface Launch {
  readonly config: Config;
  /** Where the file with the ports goes; undefined: nowhere. */
  readonly portsDir: string | undefined;
}

/** Whatever is not here is not understood, and therefore refused. */
const KNOWN = new Set(
  `host net port listen http http_port monitor_port server_name server_tags ports_file_dir debug trace logtime
   leafnodes websocket jetstream authorization max_payload max_connections max_control_line max_pending
   max_subscriptions logfile ping_interval ping_max write_deadline tls lame_duck_duration lame_duck_grace_period`.split(
    /\s+/,
  ),
);
const SECOND_MS = 1000;
/** Where nats-server would take three quarters of the memory. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024;

/** Reads `conf`; `file` is where it was. Throws a NotApplicableError. */
export function toLaunch(conf: ConfMap, file: string): Launch {
  for (const key of Object.keys(conf))
    if (!KNOWN.has(key)) throw new NotApplicableError(`an agent has no "${key}"`);
  const leaf = mapOf(conf['leafnodes']);
  if (leaf['remotes'] !== undefined) throw new NotApplicableError('an agent has no leaf nodes');
  const store = mapOf(conf['jetstream']);
  const name = text(conf['host'] ?? conf['net'] ?? '127.0.0.1');
  const host = name === '0.0.0.0' ? '::' : name; // Go listens to both kinds of address.
  const gateway =
    text(store['domain']) || text(conf['server_name']) || `nats-server-${process.pid}`;
  const dataDir = text(store['store_dir']) || mkdtempSync(join(tmpdir(), 'nats-server-data-'));
  return {
    portsDir: text(conf['ports_file_dir']) || undefined,
    config: {
      file,
      gateway: {
        name: gateway,
        dataDir,
        commitIntervalMs: 0,
      },
      domain: text(store['domain']) || gateway,
      log: { level: conf['debug'] === true || conf['trace'] === true ? 'debug' : 'warn' },
      mqtt: undefined,
      nats: toNats(conf, host),
      monitor: toMonitor(conf, host),
      jetstream: {
        fileBytesMax: limit(store['max_file_store'] ?? store['max_file']),
        memoryBytesMax:
          limit(store['max_memory_store'] ?? store['max_mem_store'] ?? store['max_memory']) ??
          MEMORY_BYTES_MAX,
      },
      streams: [],
      serial: [],
      mqttSources: [],
      hub: undefined,
      forwards: [],
      leaf: undefined,
      kvMirrors: [],
    },
  };
}

function toNats(conf: ConfMap, host: string): NatsConfig {
  const { users, timeoutMs } = toUsers(mapOf(conf['authorization']));
  const websocket = conf['websocket'] === undefined ? undefined : mapOf(conf['websocket']);
  return {
    listen: { host, port: port(conf['port'] ?? 4222) },
    users,
    allowAnonymous: users.length === 0,
    tls: toTls(conf['tls']),
    websocket:
      websocket === undefined
        ? undefined
        : {
            listen: { host: text(websocket['host']) || host, port: port(websocket['port']) },
            origins: listOf(websocket['allowed_origins']).map(text),
          },
    limits: toLimits(conf, timeoutMs),
  };
}

function toLimits(conf: ConfMap, authTimeoutMs: number | undefined): Partial<NatsLimits> {
  const numbers: Record<string, keyof NatsLimits> = {
    max_payload: 'payloadBytesMax',
    max_connections: 'connectionsMax',
    max_control_line: 'controlLineBytesMax',
    max_pending: 'pendingBytesMax',
    max_subscriptions: 'subscriptionsMax',
    ping_max: 'pingsOutMax',
  };
  const limits: Partial<NatsLimits> = {};
  for (const [key, limit] of Object.entries(numbers))
    if (conf[key] !== undefined) limits[limit] = Number(conf[key]);
  if (conf['ping_interval'] !== undefined) limits.pingIntervalMs = ms(conf['ping_interval']);
  if (conf['write_deadline'] !== undefined) limits.writeDeadlineMs = ms(conf['write_deadline']);
  if (authTimeoutMs !== undefined) limits.authTimeoutMs = authTimeoutMs;
  return limits;
}

function toMonitor(conf: ConfMap, host: string): Config['monitor'] {
  const http = conf['http'] ?? conf['http_port'] ?? conf['monitor_port'];
  if (http === undefined) return undefined;
  const [, name, number] = /^(?:(.*):)?(-?\d+)$/.exec(text(http)) ?? [];
  return { listen: { host: name || host, port: port(Number(number)) } };
}

function toTls(value: ConfValue | undefined): ServerTls | undefined {
  if (value === undefined) return undefined;
  const tls = mapOf(value);
  const first = tls['handshake_first'] ?? false;
  if (typeof first !== 'boolean') throw new NotApplicableError('an agent knows when TLS begins');
  const verify = tls['verify'] === true;
  return {
    certFile: text(tls['cert_file']),
    keyFile: text(tls['key_file']),
    caFile: verify ? text(tls['ca_file']) : undefined,
    handshakeFirst: first,
  };
}

// --- users ---

function toUsers(authorization: ConfMap): { users: NatsUser[]; timeoutMs: number | undefined } {
  const { timeout, users: list, token, user, username, password, pass, ...rest } = authorization;
  const { default_permissions: presets, permissions, ...unknown } = rest;
  const [strange] = Object.keys(unknown);
  if (strange !== undefined) throw new NotApplicableError(`an agent has no "${strange}"`);
  const users = listOf(list).map((each) => toUser(mapOf(each), presets));
  if (token !== undefined) users.push(named('token', 'token', text(token), permissions));
  const name = text(user ?? username);
  if (name !== '')
    users.push(named(name, 'password', text(password ?? pass), permissions ?? presets));
  return { users, timeoutMs: timeout === undefined ? undefined : ms(timeout) };
}

function toUser(user: ConfMap, presets: ConfValue | undefined): NatsUser {
  const permissions = user['permissions'] ?? user['permission'] ?? presets;
  const nkey = text(user['nkey']);
  if (nkey !== '')
    return {
      user: nkey,
      login: { type: 'nkey', publicKey: nkey },
      permissions: toPermissions(permissions),
    };
  const name = text(user['user'] ?? user['username']);
  return named(name, 'password', text(user['password'] ?? user['pass']), permissions);
}

function named(
  user: string,
  type: 'password' | 'token',
  secret: string,
  permissions: ConfValue | undefined,
): NatsUser {
  if (/^\$2[abxy]\$/.test(secret)) throw new NotApplicableError('an agent has no bcrypt passwords');
  return { user, login: { type, password: secret }, permissions: toPermissions(permissions) };
}

function toPermissions(value: ConfValue | undefined): NatsPermissions | undefined {
  if (value === undefined) return undefined;
  const permissions = mapOf(value);
  const publish = side(permissions['publish'] ?? permissions['pub']);
  const subscribe = side(permissions['subscribe'] ?? permissions['sub']);
  const responses = permissions['allow_responses'];
  return {
    publish: publish.allow,
    denyPublish: publish.deny,
    subscribe: subscribe.allow,
    denySubscribe: subscribe.deny,
    allowResponses: responses !== undefined && responses !== false,
  };
}

function side(value: ConfValue | undefined): { allow: string[] | undefined; deny: string[] } {
  if (value === undefined) return { allow: undefined, deny: [] };
  if (!isMap(value)) return { allow: listOf(value).map(text), deny: [] };
  const { allow, deny } = value;
  return {
    allow: allow === undefined ? undefined : listOf(allow).map(text),
    deny: listOf(deny).map(text),
  };
}

// --- values ---

function isMap(value: ConfValue | undefined): value is ConfMap {
  return typeof value === 'object' && !Array.isArray(value);
}

function mapOf(value: ConfValue | undefined): ConfMap {
  return isMap(value) ? value : {};
}

function listOf(value: ConfValue | undefined): readonly ConfValue[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly ConfValue[]) : [value];
}

function text(value: ConfValue | undefined): string {
  return value === undefined || typeof value === 'object' ? '' : String(value);
}

/** -1 is nats-server's word for any free port. */
function port(value: ConfValue | undefined): number {
  return Math.max(0, Number(value ?? 0));
}

/** -1 is nats-server's word for none. */
function limit(value: ConfValue | undefined): number | undefined {
  return value === undefined || Number(value) < 0 ? undefined : Number(value);
}

/** Seconds, or a number with a unit. */
function ms(value: ConfValue): number {
  const units: Record<string, number> = { ms: 1, s: SECOND_MS, m: 60 * SECOND_MS };
  const [, digits, unit = 's'] = /^([\d.]+)(ms|s|m)?$/.exec(text(value)) ?? [];
  if (digits === undefined) throw new NotApplicableError(`a duration "${text(value)}"`);
  return Number(digits) * (units[unit] ?? SECOND_MS);
}
