// What the listener says of itself: INFO, and the header of answers to $SYS requests.

import { VERSION } from '../version.ts';
import type { NatsOptions, Shared } from './shared.ts';

/**
 * Clients choose what they use by the version of the server, as a number of nats-server's. This is the one whose client
 * protocol we speak; `mangrove` says what we are.
 */
export const PROTOCOL_VERSION = '2.14.0';

/** Where a client is. */
export interface Peer {
  readonly ip: string;
  readonly port: number;
  readonly type: 'nats' | 'websocket';
  /** The socket is TLS, or will be right behind INFO. */
  readonly tls: boolean;
}

/** The greeting of one client: what INFO tells it alone. */
export interface Greeting {
  readonly clientId: number;
  /** Empty where there is nothing to sign. */
  readonly nonce: string;
}

/** The JSON of INFO; `more` is what it has besides later. */
export function info(
  { options, limits, users, address }: Shared,
  { clientId, nonce }: Greeting,
  peer: Peer,
  more: object = {},
): object {
  return {
    server_id: options.serverId,
    server_name: options.serverName,
    version: PROTOCOL_VERSION,
    mangrove: VERSION,
    proto: 1,
    go: `node${process.version.slice(1)}`,
    ...address,
    headers: true,
    max_payload: limits.payloadBytesMax,
    client_id: clientId,
    client_ip: peer.ip,
    ...jetStreamOf(options),
    ...(users.required ? { auth_required: true } : {}),
    ...(peer.tls ? { tls_required: true } : {}),
    ...(peer.tls && options.tls?.caFile !== undefined ? { tls_verify: true } : {}),
    ...(nonce === '' ? {} : { nonce }),
    ...more,
  };
}

function jetStreamOf({ apiLevel, domain }: NatsOptions): object {
  if (apiLevel === undefined) return {};
  return { jetstream: true, api_lvl: apiLevel, ...(domain === undefined ? {} : { domain }) };
}

/** `server` of an answer. */
export function serverInfo({ options, clock, address }: Shared): object {
  return {
    name: options.serverName,
    host: address.host,
    id: options.serverId,
    ver: PROTOCOL_VERSION,
    jetstream: options.apiLevel !== undefined,
    flags: 0,
    seq: 0,
    time: new Date(clock.wallMs()).toISOString(),
  };
}
