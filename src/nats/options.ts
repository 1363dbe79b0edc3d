// The listener in the words of the configuration and of monitoring.

import { readFileSync } from 'node:fs';
import type { NatsConfig } from '../config/types.ts';
import type { ConnzClient } from '../monitor/connz.ts';
import type { NatsUser } from './auth.ts';
import type { Connection } from './connection.ts';
import type { NatsOptions } from './shared.ts';

/** The users with their secrets. Throws when a file of one cannot be read. */
export function natsUsers(nats: NatsConfig | undefined): NatsUser[] {
  return (nats?.users ?? []).map(({ user, login, permissions }) => ({
    user,
    permissions,
    secret:
      login.type === 'nkey'
        ? login
        : {
            type: login.type,
            text: 'password' in login ? login.password : readFileSync(login.file, 'utf8').trim(),
          },
  }));
}

export function natsOptions(
  { listen, allowAnonymous, tls, websocket, limits = {} }: NatsConfig,
  users: readonly NatsUser[],
  rest: Pick<NatsOptions, 'serverId' | 'serverName' | 'apiLevel' | 'domain'>,
): NatsOptions {
  return { listen, allowAnonymous, users, tls, websocket, limits, ...rest };
}

/** One client, for /connz. */
export function clientView(connection: Connection): ConnzClient {
  const { peer, greeting, options, counters, subscriptions } = connection;
  return {
    cid: greeting.clientId,
    type: peer.type,
    ip: peer.ip,
    port: peer.port,
    sinceMs: connection.sinceMs,
    lastInMs: connection.lastInMs,
    rttMs: connection.rttMs,
    pendingBytes: connection.pendingBytes,
    counters,
    subscriptions: [...subscriptions.all],
    name: options.name,
    lang: options.lang,
    version: options.version,
    user: connection.user?.user,
  };
}
