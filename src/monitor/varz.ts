// /varz: the agent as a whole, in nats-server's names, with sections of our own for what nats-server does not have. A
// figure that we do not have is left out: a zero would be read as a measurement.

import { formatTime, formatUptime, toSnakeCase } from './format.ts';
import type { Usage } from './process-usage.ts';

export interface VarzInput {
  /** Random, new at every start. */
  readonly serverId: string;
  /** The gateway's name. */
  readonly serverName: string;
  /** Of the protocol that clients speak here, as INFO has it: tools choose by it what they ask for. */
  readonly version: string;
  readonly agentVersion: string;
  /** The wall clock now. */
  readonly wallMs: number;
  /** Monotonic time since the start. */
  readonly uptimeMs: number;
  readonly usage: Usage;
  readonly broker: {
    readonly inMsgs: number;
    readonly inBytes: number;
    readonly outMsgs: number;
    readonly outBytes?: number;
    /** Messages that neither a stream nor a subscriber took. */
    readonly nobodyMsgs: number;
  };
  readonly subscriptions: number;
  /** Clients connected now, of all protocols. */
  readonly connections: number;
  /** Leafnode links that stand now. */
  readonly leafnodes: number;
  /** Clients since the start. */
  readonly totalConnections?: number;
  /** NATS clients that were cut off because they did not read; undefined where there is no such listener. */
  readonly slowConsumers?: number | undefined;
  /** What the parts say of themselves, in camelCase; an absent part is off. */
  readonly sections: {
    readonly mqtt?: object | undefined;
    readonly nats?: object | undefined;
    readonly serial?: readonly object[] | undefined;
    readonly mqttSources?: readonly object[] | undefined;
    readonly hub?: object | undefined;
    readonly leaf?: object | undefined;
    readonly jetstream?: object | undefined;
    readonly store?: object | undefined;
  };
}

/** The JSON of /varz. `start` is reckoned back from now, so that it is right once the clock is. */
export function varz(input: VarzInput): Record<string, unknown> {
  const { broker, usage } = input;
  return {
    server_id: input.serverId,
    server_name: input.serverName,
    version: input.version,
    mangrove: input.agentVersion,
    start: formatTime(input.wallMs - input.uptimeMs),
    now: formatTime(input.wallMs),
    uptime: formatUptime(input.uptimeMs),
    mem: usage.memBytes,
    cores: usage.cores,
    cpu: usage.cpuPercent,
    connections: input.connections,
    total_connections: input.totalConnections,
    leafnodes: input.leafnodes,
    in_msgs: broker.inMsgs,
    in_bytes: broker.inBytes,
    out_msgs: broker.outMsgs,
    out_bytes: broker.outBytes,
    unrouted_msgs: broker.nobodyMsgs,
    subscriptions: input.subscriptions,
    ...(input.slowConsumers === undefined ? {} : { slow_consumers: input.slowConsumers }),
    ...(toSnakeCase(input.sections) as object),
  };
}
