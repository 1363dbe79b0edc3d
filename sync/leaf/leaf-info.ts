// INFO of a hub: what it says of itself before the login, with the login, and whenever something of it changes. Whatever
// else stands there is passed over: newer hubs say more.

import { matches } from '../../src/subject.ts';
import { leafError, type LeafError } from './leaf-error.ts';
import type { HubInfo, SubjectRights } from './types.ts';

/** Lists of permissions and addresses beyond this are cut: a hub that says more is no nats-server. */
const LIST_MAX = 4_096;

/** INFO as it came; some of it only a link needs. */
export interface LeafInfo extends HubInfo {
  /** It comes from a port for leaf nodes. Where a hub does not advertise itself, its word about the next INFO shows that. */
  readonly leafnodePort: boolean;
  /** How the hub would compress the link, in its words; undefined where it knows nothing of that. */
  readonly compression: string | undefined;
  /** The account of the hub is its system account. */
  readonly systemAccount: boolean;
}

/** Reads the JSON of INFO. Throws a LeafError of kind `not a hub` where it is none. */
export function readInfo(json: string, server: string): LeafInfo {
  const value = parsed(json);
  if (value === undefined) throw notAHub(server);
  const text = (key: string): string | undefined => {
    const found = value[key];
    return typeof found === 'string' && found !== '' ? found : undefined;
  };
  const is = (key: string): boolean => value[key] === true;
  const count = (key: string): number => {
    const found = value[key];
    return typeof found === 'number' && Number.isSafeInteger(found) && found > 0 ? found : 0;
  };
  const leafnodeUrls = strings(value['leafnode_urls']);
  const serverId = text('server_id');
  if (serverId === undefined) throw notAHub(server);
  return {
    serverId,
    serverName: text('server_name') ?? serverId,
    version: text('version') ?? '',
    domain: text('domain'),
    cluster: text('cluster'),
    headers: is('headers'),
    jetstream: is('jetstream'),
    payloadBytesMax: count('max_payload'),
    nonce: text('nonce'),
    compression: text('compression'),
    authRequired: is('auth_required'),
    tlsRequired: is('tls_required'),
    leafnodeUrls,
    lameDuck: is('ldm'),
    connectInfo: is('connect_info'),
    remoteAccount: text('remote_account'),
    mayImport: rights(value['import']),
    mayExport: rights(value['export']),
    systemAccount: is('acc_is_sys'),
    leafnodePort: count('client_id') > 0 && (leafnodeUrls !== undefined || is('info_on_connect')),
  };
}

/**
 * What an INFO after the first one changes. It has no nonce, and says nothing of permissions unless it is the one that
 * follows a login: then what it leaves out is allowed.
 */
export function mergeInfo(before: LeafInfo, next: LeafInfo): LeafInfo {
  if (next.connectInfo) return { ...next, nonce: before.nonce };
  return {
    ...next,
    nonce: before.nonce,
    leafnodePort: before.leafnodePort,
    connectInfo: before.connectInfo,
    remoteAccount: before.remoteAccount,
    systemAccount: before.systemAccount,
    leafnodeUrls: next.leafnodeUrls ?? before.leafnodeUrls,
    mayImport: next.mayImport ?? before.mayImport,
    mayExport: next.mayExport ?? before.mayExport,
  };
}

/** Whether the lists of an INFO let `subject` pass. */
export function isAllowed(rights: SubjectRights | undefined, subject: string): boolean {
  const { allow, deny = [] } = rights ?? {};
  const listed = allow === undefined || allow.some((filter) => matches(filter, subject));
  return listed && !deny.some((filter) => matches(filter, subject));
}

function notAHub(server: string): LeafError {
  return leafError('not a hub', `${server}: what answers there is no nats-server`);
}

function parsed(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { ...value }
      : undefined;
  } catch {
    return undefined;
  }
}

function strings(value: unknown): string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.filter((item) => typeof item === 'string').slice(0, LIST_MAX);
}

function rights(value: unknown): SubjectRights | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { allow, deny } = value as { allow?: unknown; deny?: unknown };
  return { allow: strings(allow), deny: strings(deny) };
}
