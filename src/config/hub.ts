// The two ways to the hub, of `[hub]` and of `[leaf]`, as the parts of the agent receive them.

import type { KEYS } from './keys.ts';
import type { Values } from './schema.ts';
import type { HubAuth, HubConfig, HubTls, LeafConfig } from './types.ts';

type All = Values<typeof KEYS>;
type Hub = NonNullable<All['hub']>;
type Leaf = NonNullable<All['leaf']>;

export function toHub(hub: Hub): HubConfig {
  return {
    servers: hub.servers.map(({ address }) => address),
    auth: toAuth(hub),
    tls: toTls(hub.tls, hub.servers),
    stream: hub.stream,
    prefix: hub.prefix,
    create: hub.create,
    keepAliveMs: hub.keep_alive,
    reconnectMaxMs: hub.reconnect_max,
  };
}

export function toLeaf(leaf: Leaf): LeafConfig {
  return {
    urls: leaf.url.map(({ address }) => address),
    auth: toAuth(leaf),
    tls: toTls(leaf.tls, leaf.url),
    domain: leaf.domain,
    exports: leaf.exports ?? [],
    imports: leaf.imports ?? [],
    keepAliveMs: leaf.keep_alive,
    reconnectMaxMs: leaf.reconnect_max,
    compression: leaf.compression,
  };
}

/** A server that says `tls://` needs no table. */
function toTls(
  table: Hub['tls'],
  servers: readonly { readonly tls: boolean }[],
): HubTls | undefined {
  const { ca, cert, key, handshake_first: handshakeFirst = false } = table ?? {};
  return table !== undefined || servers.some(({ tls }) => tls)
    ? { caFile: ca, certFile: cert, keyFile: key, handshakeFirst }
    : undefined;
}

type Login = Pick<Hub, 'credentials' | 'user' | 'password_file' | 'token_file' | 'nkey_file'>;

function toAuth(login: Login): HubAuth {
  const { credentials, user, password_file: passwordFile, token_file, nkey_file } = login;
  if (credentials !== undefined) return { type: 'credentials', file: credentials };
  if (user !== undefined && passwordFile !== undefined)
    return { type: 'password', user, passwordFile };
  if (token_file !== undefined) return { type: 'token', file: token_file };
  return nkey_file === undefined ? { type: 'none' } : { type: 'nkey', file: nkey_file };
}
