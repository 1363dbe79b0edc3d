// /leafz: the leafnode link, in nats-server's shape, with what it tells beside that under names of our own.

import { formatTime } from './format.ts';

/** The link as it says of itself; its times are in milliseconds. */
export interface LeafzStatus {
  readonly connected: boolean;
  readonly detail: string;
  readonly problem: string | null;
  /** Counts what it does; see heartbeat.ts. */
  readonly steps: number;
  /** Undefined while there is no connection. */
  readonly hub:
    | {
        readonly name: string;
        readonly version: string;
        readonly domain: string | undefined;
        readonly account: string;
        readonly ip: string;
        readonly port: number;
        readonly tls: boolean;
        readonly compression: string;
        readonly rttMs: number | undefined;
        /** Subjects that the hub knows of us. */
        readonly advertised: readonly string[];
        /** How many subjects we keep of what the hub wants. */
        readonly wanted: number;
        readonly wantedSubjects?: (() => readonly string[]) | undefined;
        readonly waitingBytes: number;
      }
    | undefined;
  readonly counters: Readonly<Record<LeafCounter, number>>;
}

type LeafCounter =
  | 'connects'
  | 'inMsgs'
  | 'inBytes'
  | 'outMsgs'
  | 'outBytes'
  | 'droppedMsgs'
  | 'deniedOutMsgs'
  | 'deniedInMsgs'
  | 'oversizeMsgs';

export interface LeafzInput {
  readonly serverId: string;
  readonly wallMs: number;
  /** Undefined where there is no `[leaf]`. */
  readonly link: LeafzStatus | undefined;
}

/** The JSON of /leafz. `subs`: whether the subjects are listed. A link without a connection is no leaf, as in nats-server. */
export function leafz(
  { serverId, wallMs, link }: LeafzInput,
  { subs }: { readonly subs: boolean },
): Record<string, unknown> {
  const leafs = link?.hub === undefined ? [] : [leafJson(link, link.hub, subs)];
  return { server_id: serverId, now: formatTime(wallMs), leafnodes: leafs.length, leafs };
}

function leafJson(
  { counters }: LeafzStatus,
  hub: NonNullable<LeafzStatus['hub']>,
  subs: boolean,
): object {
  const { rttMs, domain, advertised, wantedSubjects } = hub;
  return {
    id: counters.connects,
    name: hub.name,
    is_spoke: true,
    account: '$G',
    ip: hub.ip,
    port: hub.port,
    ...(rttMs === undefined ? {} : { rtt: formatRtt(rttMs) }),
    in_msgs: counters.inMsgs,
    out_msgs: counters.outMsgs,
    in_bytes: counters.inBytes,
    out_bytes: counters.outBytes,
    subscriptions: hub.wanted,
    ...(subs ? { subscriptions_list: wantedSubjects?.() ?? [] } : {}),
    compression: hub.compression,
    version: hub.version,
    ...(domain === undefined ? {} : { domain }),
    remote_account: hub.account,
    tls: hub.tls,
    pending_bytes: hub.waitingBytes,
    dropped_msgs: counters.droppedMsgs,
    denied_out_msgs: counters.deniedOutMsgs,
    denied_in_msgs: counters.deniedInMsgs,
    oversize_msgs: counters.oversizeMsgs,
    advertised: advertised.length,
    ...(subs ? { advertised_list: advertised } : {}),
  };
}

/** As Go writes a duration below a minute, to the microsecond. */
function formatRtt(ms: number): string {
  if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))}µs`;
  return ms < 1000 ? `${Number(ms.toFixed(3))}ms` : `${Number((ms / 1000).toFixed(6))}s`;
}
