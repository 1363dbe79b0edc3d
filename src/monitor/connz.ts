// /connz: the clients, of NATS and of MQTT, in nats-server's names.

import { formatTime, formatUptime } from './format.ts';

export interface ConnzClient {
  readonly cid: number;
  readonly type: 'nats' | 'websocket' | 'mqtt';
  /** Client Identifier of an MQTT client. */
  readonly mqttClient?: string;
  readonly ip: string;
  readonly port: number;
  /** Monotonic time of its connection, and of the last bytes from it. */
  readonly sinceMs: number;
  readonly lastInMs: number;
  readonly rttMs: number | undefined;
  readonly pendingBytes: number;
  readonly counters: {
    readonly inMsgs: number;
    readonly inBytes: number;
    readonly outMsgs: number;
    readonly outBytes: number;
  };
  readonly subscriptions: readonly ConnzSubscription[];
  /** Empty where it did not say. */
  readonly name: string;
  readonly lang: string;
  readonly version: string;
  /** Undefined for nobody in particular. */
  readonly user: string | undefined;
}

export interface ConnzSubscription {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly sid: string;
  /** Undefined where nobody counts. */
  readonly delivered: number | undefined;
  /** It ends after this many; 0 for never. */
  readonly max: number;
}

export interface ConnzInput {
  readonly serverId: string;
  readonly wallMs: number;
  /** Monotonic. */
  readonly nowMs: number;
  readonly clients: readonly ConnzClient[];
}

export interface ConnzOptions {
  /** Whether each client's subscriptions are listed. */
  readonly subs: boolean | 'detail';
  /** Only this client; undefined: all. */
  readonly cid: number | undefined;
  /** Only the MQTT client with this identifier; undefined: all. */
  readonly mqttClient: string | undefined;
  readonly offset: number;
  readonly limit: number;
}

/** The JSON of /connz. */
export function connz(input: ConnzInput, options: ConnzOptions): Record<string, unknown> {
  const { wallMs, nowMs } = input;
  const { cid, mqttClient, offset, limit, subs } = options;
  const clients = input.clients.filter(
    (client) =>
      (cid === undefined || client.cid === cid) &&
      (mqttClient === undefined || client.mqttClient === mqttClient),
  );
  const shown = clients.slice(offset, offset + limit);
  return {
    server_id: input.serverId,
    now: formatTime(wallMs),
    num_connections: shown.length,
    total: clients.length,
    offset,
    limit,
    connections: shown.map((client) => clientJson(client, { wallMs, nowMs, subs })),
  };
}

function clientJson(
  client: ConnzClient,
  { wallMs, nowMs, subs }: { wallMs: number; nowMs: number; subs: ConnzOptions['subs'] },
): object {
  const { counters, subscriptions, rttMs } = client;
  const given = Object.entries({
    name: client.name,
    lang: client.lang,
    version: client.version,
    authorized_user: client.user ?? '',
    mqtt_client: client.mqttClient ?? '',
  }).filter(([, text]) => text !== '');
  return {
    cid: client.cid,
    kind: 'Client',
    type: client.type,
    ip: client.ip,
    port: client.port,
    start: formatTime(wallMs - (nowMs - client.sinceMs)),
    last_activity: formatTime(wallMs - (nowMs - client.lastInMs)),
    ...(rttMs === undefined ? {} : { rtt: `${Math.max(1, Math.round(rttMs * 1000))}µs` }),
    uptime: formatUptime(nowMs - client.sinceMs),
    idle: formatUptime(nowMs - client.lastInMs),
    pending_bytes: client.pendingBytes,
    in_msgs: counters.inMsgs,
    out_msgs: counters.outMsgs,
    in_bytes: counters.inBytes,
    out_bytes: counters.outBytes,
    subscriptions: subscriptions.length,
    ...Object.fromEntries(given),
    ...(subscriptions.length === 0 ? {} : listing(client, subs)),
  };
}

function listing({ cid, subscriptions }: ConnzClient, subs: ConnzOptions['subs']): object {
  switch (subs) {
    case false:
      return {};
    case true:
      return {
        subscriptions_list: subscriptions.map(({ subject, queue }) =>
          queue === undefined ? subject : `${subject} [${queue}]`,
        ),
      };
    case 'detail':
      return {
        subscriptions_list_detail: subscriptions.map(({ subject, queue, sid, delivered, max }) => ({
          account: '$G',
          subject,
          ...(queue === undefined ? {} : { qgroup: queue }),
          sid,
          ...(delivered === undefined ? {} : { msgs: delivered }),
          ...(max === 0 ? {} : { max }),
          cid,
        })),
      };
  }
}
