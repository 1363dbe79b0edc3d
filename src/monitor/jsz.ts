// /jsz: the streams, in nats-server's shapes. The forwarder's confirmed mark appears as a consumer named `hub`, which is
// what it would be in JetStream: `ack_floor` is what the hub has confirmed, `num_pending` what still waits.

import { formatTime, toNanoseconds, toSnakeCase } from './format.ts';

/** What the hub has of one stream. */
export interface ForwardSnapshot {
  /** Everything up to this local sequence is at the hub; 0 for nothing yet. */
  readonly confirmedSeq: number;
  /** Its sequence in the hub's stream, where it is known. */
  readonly hubSeq?: number | undefined;
  /** Messages behind the confirmed mark. */
  readonly pending: number;
  readonly pendingBytes?: number | undefined;
  /** Such as `idle`, `sending`, `waiting`, `stopped`. */
  readonly state: string;
  /** Why, for people. */
  readonly detail?: string | undefined;
}

export interface StreamSnapshot {
  readonly config: {
    readonly name: string;
    readonly subjects: readonly string[];
    readonly retention: string;
    readonly storage: string;
    readonly maxAgeMs: number | undefined;
    /** The limit that holds, a share of the disk included; undefined for none. */
    readonly maxBytes: number | undefined;
    readonly maxMsgs: number | undefined;
    readonly discard: string;
    readonly duplicateWindowMs: number;
    readonly duplicateIdsMax: number;
  };
  /** Wall clock of the stream's creation; null when it is not known. */
  readonly createdMs: number | null;
  readonly messages: number;
  readonly bytes: number;
  readonly firstSeq: number;
  readonly firstTimeMs: number | null;
  readonly lastSeq: number;
  readonly lastTimeMs: number | null;
  /** Distinct subjects. */
  readonly subjects: number;
  /** The last sequence that the disk has for sure. */
  readonly durableSeq: number;
  /** Message IDs remembered at the moment. */
  readonly duplicateIds: number;
  /** Null when the stream is not forwarded. */
  readonly forward: ForwardSnapshot | null;
  /** How far a mirror is, as the API shows it; undefined for other streams. */
  readonly mirror?: object | undefined;
  /** Those of clients. */
  readonly consumers: number;
  /** They, as the API shows each. */
  consumerDetails(): readonly object[];
}

export interface JszInput {
  readonly serverId: string;
  /** The wall clock now. */
  readonly wallMs: number;
  /** The data directory. */
  readonly storeDir: string;
  readonly streams: readonly StreamSnapshot[];
  /** What clients may take, in bytes, and the domain; absent where it is not known. */
  readonly limits?:
    | { readonly maxMemory: number; readonly maxStorage: number; readonly domain: string }
    | undefined;
}

/** Which details are asked for, as nats-server has them: consumers imply streams; config adds to either. */
export interface JszOptions {
  readonly streams: boolean;
  readonly consumers: boolean;
  readonly config: boolean;
  readonly accounts: boolean;
}

/** The JSON of /jsz. */
export function jsz(input: JszInput, options: JszOptions): Record<string, unknown> {
  const { streams } = input;
  const bytes = sum(streams, (stream) => stream.bytes);
  const storage = sum(streams, ({ config, bytes: own }) => (config.storage === 'file' ? own : 0));
  const withStreams = options.streams || options.consumers;
  const details = streams.map((stream) => streamDetail(stream, options, input.wallMs));
  const account = {
    name: '$G',
    id: '$G',
    memory: bytes - storage,
    storage,
    ...(withStreams ? { stream_detail: details } : {}),
  };
  return {
    server_id: input.serverId,
    now: formatTime(input.wallMs),
    config: { ...(toSnakeCase(input.limits ?? {}) as object), store_dir: input.storeDir },
    memory: bytes - storage,
    storage,
    accounts: 1,
    streams: streams.length,
    consumers: sum(streams, countConsumers),
    messages: sum(streams, (stream) => stream.messages),
    bytes,
    ...(withStreams || options.accounts ? { account_details: [account] } : {}),
    total: 1,
  };
}

function streamDetail(stream: StreamSnapshot, options: JszOptions, wallMs: number): object {
  const { forward } = stream;
  return {
    name: stream.config.name,
    created: formatTime(stream.createdMs),
    ...(options.config ? { config: streamConfig(stream) } : {}),
    state: {
      messages: stream.messages,
      bytes: stream.bytes,
      first_seq: stream.firstSeq,
      first_ts: formatTime(stream.firstTimeMs),
      last_seq: stream.lastSeq,
      last_ts: formatTime(stream.lastTimeMs),
      num_subjects: stream.subjects,
      consumer_count: countConsumers(stream),
    },
    durable_seq: stream.durableSeq,
    duplicate_ids: stream.duplicateIds,
    ...(stream.mirror === undefined ? {} : { mirror: stream.mirror }),
    ...(forward === null ? {} : { forward: toSnakeCase(forward) }),
    ...(options.consumers && countConsumers(stream) > 0
      ? { consumer_detail: consumerDetail(stream, options, wallMs) }
      : {}),
  };
}

/** The forwarder's mark counts as one. */
function countConsumers({ consumers, forward }: StreamSnapshot): number {
  return consumers + (forward === null ? 0 : 1);
}

function consumerDetail(stream: StreamSnapshot, options: JszOptions, wallMs: number): object[] {
  const { forward } = stream;
  const hub = forward === null ? [] : [hubConsumer(stream, forward, options, wallMs)];
  const others = stream.consumerDetails();
  return [...hub, ...(options.config ? others : others.map(withoutConfig))];
}

function withoutConfig(detail: object): object {
  return Object.fromEntries(Object.entries(detail).filter(([key]) => key !== 'config'));
}

function streamConfig({ config }: StreamSnapshot): object {
  return {
    name: config.name,
    subjects: config.subjects,
    retention: config.retention,
    max_msgs: config.maxMsgs ?? -1,
    max_bytes: config.maxBytes ?? -1,
    max_age: toNanoseconds(config.maxAgeMs ?? 0),
    discard: config.discard,
    storage: config.storage,
    num_replicas: 1,
    duplicate_window: toNanoseconds(config.duplicateWindowMs),
    duplicate_ids_max: config.duplicateIdsMax,
  };
}

function hubConsumer(
  stream: StreamSnapshot,
  forward: ForwardSnapshot,
  options: JszOptions,
  wallMs: number,
): object {
  const config = {
    durable_name: 'hub',
    name: 'hub',
    deliver_policy: 'all',
    ack_policy: 'all',
    replay_policy: 'instant',
  };
  return {
    stream_name: stream.config.name,
    name: 'hub',
    ...(options.config ? { config } : {}),
    ack_floor: { stream_seq: forward.confirmedSeq },
    num_pending: forward.pending,
    ts: formatTime(wallMs),
  };
}

function sum<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((total, item) => total + value(item), 0);
}
