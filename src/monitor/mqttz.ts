// /mqttz: the MQTT sessions, those of clients that are away included: what waits for whom, what was dropped, and when a
// session ends. nats-server has no such page; names and paging are as in /connz.

import { formatTime, toSnakeCase } from './format.ts';

/** A session, as far as it is shown. */
export interface MqttzSession {
  readonly clientId: string;
  readonly user: string | undefined;
  readonly connected: boolean;
  /** 3 is MQTT 3.1, 4 is 3.1.1; undefined while it is away. */
  readonly version: 3 | 4 | 5 | undefined;
  readonly persistent: boolean;
  readonly subscriptions: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly inFlight: number;
  readonly received: number;
  /** By reason. */
  readonly dropped: object;
  readonly expiryLeftMs: number | undefined;
}

export interface MqttzInput {
  readonly serverId: string;
  readonly wallMs: number;
  readonly sessions: Iterable<MqttzSession>;
}

export interface MqttzOptions {
  /** Only this client; undefined: all. */
  readonly clientId: string | undefined;
  /** Only those connected, or away. */
  readonly state: 'connected' | 'away' | undefined;
  readonly offset: number;
  readonly limit: number;
}

const PROTOCOLS = { 3: '3.1', 4: '3.1.1', 5: '5.0' } as const;

/** The JSON of /mqttz. `total` counts what the filters let through. */
export function mqttz(input: MqttzInput, options: MqttzOptions): Record<string, unknown> {
  const { clientId, state, offset, limit } = options;
  const shown: object[] = [];
  let total = 0;
  for (const session of input.sessions) {
    if (clientId !== undefined && session.clientId !== clientId) continue;
    if (state !== undefined && (state === 'connected') !== session.connected) continue;
    if (total >= offset && total < offset + limit) shown.push(sessionJson(session));
    total++;
  }
  return {
    server_id: input.serverId,
    now: formatTime(input.wallMs),
    num_sessions: shown.length,
    total,
    offset,
    limit,
    sessions: shown,
  };
}

function sessionJson(session: MqttzSession): object {
  const { user, version, expiryLeftMs } = session;
  return {
    client_id: session.clientId,
    ...(user === undefined ? {} : { authorized_user: user }),
    state: session.connected ? 'connected' : 'away',
    ...(version === undefined ? {} : { protocol: PROTOCOLS[version] }),
    persistent: session.persistent,
    subscriptions: session.subscriptions,
    queued_messages: session.queuedMessages,
    queued_bytes: session.queuedBytes,
    in_flight: session.inFlight,
    received: session.received,
    dropped: toSnakeCase(session.dropped),
    ...(expiryLeftMs === undefined ? {} : { expires_in_seconds: Math.ceil(expiryLeftMs / 1000) }),
  };
}
